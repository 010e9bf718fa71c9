//! The training loop: epochs of steps, validation, checkpoints, and what depends on the results.

#[cfg(feature = "tensorboard")]
mod events;
mod history;
#[cfg(feature = "ctrlc")]
mod interrupt;
mod options;
#[cfg(feature = "plot")]
mod plot;
mod range_test;
mod reporter;
mod run;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

#[cfg(feature = "tensorboard")]
use self::events::Events;
pub use self::history::{EpochReport, FitEnd, History};
#[cfg(feature = "ctrlc")]
use self::interrupt::Interrupt;
pub use self::options::{EarlyStopping, FitOptions, FitSchedule, Monitor, Plateau, Progress};
pub use self::range_test::{RangeTest, RatePoint, RateSearch};
use self::reporter::Reporter;
pub(super) use self::run::Run;
use super::{StepReport, Trainer};
use crate::data::{Batches, Minibatch};
use crate::error::Error;
use crate::evaluation::{Evaluation, EvaluationOptions, Evaluator, Mean};
use crate::metrics::{Metric, Tallies};
use crate::network::AnyNetwork;

/// What a callback of [`Trainer::fit_with`] is told.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum FitEvent<'e> {
    /// A step was taken.
    Step {
        /// The epoch, counted from 1.
        epoch: u64,
        /// Its result.
        report: StepReport,
    },
    /// An epoch has ended, and its validation too. Checkpoints are saved after the callback.
    Epoch(&'e EpochReport),
}

/// What an epoch reads and writes.
struct Epoch<'f, V> {
    validation: &'f V,
    evaluator: Option<Evaluator>,
    tallies: Tallies,
    reporter: Reporter,
    #[cfg(feature = "tensorboard")]
    events: Option<Events>,
    #[cfg(feature = "ctrlc")]
    interrupt: Option<Interrupt>,
}

impl<V> Epoch<'_, V> {
    /// Whether Ctrl-C was pressed, if it ends the fit.
    #[cfg(feature = "ctrlc")]
    fn is_interrupted(&self) -> bool {
        self.interrupt.as_ref().is_some_and(Interrupt::is_pressed)
    }

    /// Nothing but the options and the callback ends the fit.
    #[cfg(not(feature = "ctrlc"))]
    fn is_interrupted(&self) -> bool {
        false
    }
}

impl<N: AnyNetwork> Trainer<N> {
    /// Trains for a number of epochs: the steps of all batches of `train`, then an evaluation on `validation`, which may
    /// be `()`, no data. Results are those of the loop of [`Trainer::step`] that a program would write, to the bit.
    ///
    /// The epochs count from the beginning of the trainer: one that was saved after 3 epochs and resumed trains 7 more to
    /// reach 10, with the same bits as if it had not been interrupted, and its history has all 10.
    ///
    /// ```
    /// use windlass::{Builder, Dynamic, EarlyStopping, FitOptions, Layer, Optimizer, Progress, Trainer, TrainerOptions};
    /// use windlass::data::TensorDataset;
    ///
    /// let mut builder = Builder::new("Larger");
    /// let x = builder.input("point", &[2])?;
    /// let y = builder.layer("f1", &Layer::linear(2), x)?;
    /// builder.output("class", y)?;
    /// let model = Dynamic::new(builder.finish()?)?.model(0)?;
    ///
    /// let points: Vec<f32> = (0..400).map(|i| i as f32 * 0.618 % 1.0).collect();
    /// let labels: Vec<i32> = points.chunks(2).map(|point| i32::from(point[0] > point[1])).collect();
    /// let (train, validation) = TensorDataset::new(points, labels)?.split_randomly(160, 0)?;
    ///
    /// let mut trainer = Trainer::new(model, TrainerOptions::default().optimizer(Optimizer::sgd()))?;
    /// let options = FitOptions::epochs(20)
    ///     .early_stopping(EarlyStopping::after(5))
    ///     .restore_best(true)
    ///     .progress(Progress::Silent);
    /// let history = trainer.fit(&train.shuffled(16, 0)?, &validation.in_order(40)?, options)?;
    /// let last = history.last().ok_or("no epoch")?;
    /// assert!(last.training.loss < history.epochs[0].training.loss);
    /// assert!(last.validation.is_some());
    /// println!("{}", history.to_csv());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] for an option outside its range, a metric that does not fit the loss, or no batches to train on;
    /// [`Error::Diverged`] for a loss that is NaN or infinite; those of [`Trainer::step`], of
    /// [`Model::evaluate_with`](crate::Model::evaluate_with) and of [`Trainer::save`]. Finished epochs stay in
    /// [`Trainer::history`].
    pub fn fit<T: Batches, V: Batches>(
        &mut self,
        train: &T,
        validation: &V,
        options: FitOptions,
    ) -> Result<History, Error> {
        self.fit_with(train, validation, options, |_, _| ControlFlow::Continue(()))
    }

    /// Like [`Trainer::fit`], with a callback after each step and each epoch. It may change the trainer, for example with
    /// [`Trainer::set_learning_rate`]. A break ends the training: after a step at once, so that the history does not have
    /// this epoch; after an epoch, when its checkpoints are saved.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// # use windlass::{Builder, Layer};
    /// use windlass::{FitEnd, FitEvent, FitOptions, Progress};
    /// use windlass::data::TensorDataset;
    /// # use windlass::{Dynamic, Trainer, TrainerOptions};
    /// #
    /// # let mut builder = Builder::new("Larger");
    /// # let x = builder.input("point", &[2])?;
    /// # let y = builder.layer("f1", &Layer::linear(2), x)?;
    /// # builder.output("class", y)?;
    /// # let model = Dynamic::new(builder.finish()?)?.model(0)?;
    /// # let mut trainer = Trainer::new(model, TrainerOptions::default())?;
    /// # let data = TensorDataset::new(vec![0.5; 2 * 32], vec![0; 32])?;
    ///
    /// let options = FitOptions::epochs(100).progress(Progress::Silent);
    /// let history = trainer.fit_with(&data.shuffled(8, 0)?, &(), options, |trainer, event| match event {
    ///     FitEvent::Epoch(report) if report.training.loss < 0.1 => ControlFlow::Break(()),
    ///     FitEvent::Epoch(report) if report.epoch == 2 => {
    ///         let rate = trainer.learning_rate() / 2.0;
    ///         if trainer.set_learning_rate(rate).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    ///     }
    ///     _ => ControlFlow::Continue(()),
    /// })?;
    /// assert_eq!(history.end, Some(FitEnd::Callback));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Trainer::fit`].
    pub fn fit_with<T: Batches, V: Batches>(
        &mut self,
        train: &T,
        validation: &V,
        options: FitOptions,
        mut callback: impl FnMut(&mut Self, FitEvent<'_>) -> ControlFlow<()>,
    ) -> Result<History, Error> {
        if train.count() == 0 {
            return Err(Error::setting("train", "without batches", "of one batch at least"));
        }
        let metrics = self.metrics(&options)?;
        options.check(&metrics)?;
        let (loss, shape) = self.targets().first();
        let mut tallies = Tallies::default();
        if let Some(shape) = shape {
            tallies = Tallies::new(&metrics, loss, shape)?;
        }
        let evaluator = match validation.count() {
            0 => None,
            _ => Some(Evaluator::new(&self.model, &self.evaluation_options(Some(metrics)))?),
        };
        let reporter = Reporter::new(options.progress, options.epochs, train.count());
        let mut epoch = Epoch {
            validation,
            evaluator,
            tallies,
            reporter,
            #[cfg(feature = "tensorboard")]
            events: options.tensorboard.as_deref().map(Events::create).transpose()?,
            #[cfg(feature = "ctrlc")]
            interrupt: options.stop_on_ctrl_c.then(Interrupt::listen).transpose()?,
        };
        if self.progress.history.epochs.is_empty() {
            self.progress.first_step = self.step;
        }
        let steps = options.epochs.saturating_mul(train.count() as u64).div_ceil(self.options.batches());
        self.fit_schedule = options.schedule.over(steps)?;
        self.progress.history.end = None;
        let end = self.fit_epochs(train, &options, &mut epoch, &mut callback);
        self.fit_schedule = None;
        self.progress.history.end = Some(end?);
        if options.restore_best
            && let Some(best) = &self.best
        {
            *self.model.parameters_mut() = best.clone();
        }
        Ok(self.progress.history.clone())
    }

    fn fit_epochs<T: Batches, V: Batches>(
        &mut self,
        train: &T,
        options: &FitOptions,
        epoch: &mut Epoch<'_, V>,
        callback: &mut impl FnMut(&mut Self, FitEvent<'_>) -> ControlFlow<()>,
    ) -> Result<FitEnd, Error> {
        while (self.progress.history.epochs.len() as u64) < options.epochs {
            if self.progress.has_waited(options.early_stopping.as_ref()) {
                return Ok(FitEnd::EarlyStopping);
            }
            let Some(report) = self.fit_epoch(train, epoch, callback)? else {
                return Ok(if epoch.is_interrupted() { FitEnd::Interrupted } else { FitEnd::Callback });
            };
            let improved = self.progress.watch(&report, options);
            if improved && options.restore_best {
                self.best = Some(self.model.parameters().clone());
            }
            if let Some(plateau) = &options.plateau {
                let rate = self.learning_rate();
                self.progress.reduce_on(plateau, &report, options, rate);
            }
            self.progress.history.epochs.push(report.clone());
            let flow = callback(self, FitEvent::Epoch(&report));
            if let Some(path) = options.save_best.as_ref().filter(|_| improved) {
                self.save(path)?;
            }
            if let Some(path) = &options.save_last {
                self.save(path)?;
            }
            if let Some(path) = &options.csv {
                self.progress.history.write_csv(path)?;
            }
            #[cfg(feature = "tensorboard")]
            if let Some(events) = &mut epoch.events {
                events.epoch(&report)?;
            }
            epoch.reporter.epoch(&report);
            if flow.is_break() {
                return Ok(FitEnd::Callback);
            }
            if epoch.is_interrupted() {
                return Ok(FitEnd::Interrupted);
            }
        }
        Ok(FitEnd::Epochs)
    }

    /// One epoch; none if the callback ends it early.
    fn fit_epoch<T: Batches, V: Batches>(
        &mut self,
        train: &T,
        epoch: &mut Epoch<'_, V>,
        callback: &mut impl FnMut(&mut Self, FitEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Option<EpochReport>, Error> {
        let number = self.progress.history.epochs.len() as u64;
        let start = Instant::now();
        self.reset_states();
        epoch.tallies.reset();
        epoch.reporter.begin(number + 1);
        let (mut mean, mut last, mut refused, mut is_stopped) = (Mean::default(), None, None, false);
        let Epoch {
            tallies,
            reporter,
            #[cfg(feature = "tensorboard")]
            events,
            #[cfg(feature = "ctrlc")]
            interrupt,
            ..
        } = epoch;
        train.visit(number, &mut |batch| match self.fit_batch(batch, tallies) {
            Ok((report, examples)) => {
                mean.add(report.loss, examples);
                last = Some(report);
                reporter.step(&mean);
                #[cfg(feature = "tensorboard")]
                if let Some(Err(error)) = events.as_mut().map(|events| events.step(&report, self.step)) {
                    refused = Some(error);
                    return ControlFlow::Break(());
                }
                let flow = callback(self, FitEvent::Step { epoch: number + 1, report });
                #[cfg(feature = "ctrlc")]
                let flow = match interrupt.as_ref().is_some_and(Interrupt::is_pressed) {
                    true => ControlFlow::Break(()),
                    false => flow,
                };
                is_stopped = flow.is_break();
                flow
            }
            Err(error) => {
                refused = Some(error);
                ControlFlow::Break(())
            }
        })?;
        if let Some(error) = refused {
            return Err(error);
        }
        if is_stopped {
            return Ok(None);
        }
        let (Some(loss), Some(last)) = (mean.value(), last) else {
            return Err(Error::setting("train", "without batches", "of one batch at least"));
        };
        let training = Evaluation { loss, metrics: epoch.tallies.values(), examples: mean.examples() };
        let validation = match &mut epoch.evaluator {
            Some(evaluator) => Some(evaluator.run(&self.model, epoch.validation)?),
            None => None,
        };
        Ok(Some(EpochReport {
            epoch: number + 1,
            steps: self.step,
            learning_rate: last.learning_rate,
            seconds: start.elapsed().as_secs_f64(),
            training,
            validation,
        }))
    }

    /// A step on a batch, and its number of samples.
    fn fit_batch(
        &mut self,
        batch: Minibatch<'_>,
        tallies: &mut Tallies,
    ) -> Result<(StepReport, usize), Error> {
        let feeds = batch.inputs.in_order_of(self.network())?;
        let declared = Arc::clone(&self.declared);
        let target = declared.named(self.network().name(), batch.target)?;
        let sizes = self.checked_sizes(&feeds, &target)?;
        let step = self.step;
        let report = self.step_with(&feeds, &target, &sizes, |run, version| run.execute(version))?;
        if !report.loss.is_finite() {
            return Err(Error::Diverged {
                network: self.network().name().to_owned(),
                step,
                loss: report.loss,
                learning_rate: report.learning_rate,
            });
        }
        if !tallies.is_empty() {
            let name = self.loss_output();
            if let (Some(output), Some(target)) = (self.find_output(name), target.of(name)) {
                tallies.record(&output.elements, ndarray::Dimension::slice(&output.sizes), target)?;
            }
        }
        Ok((report, sizes.batch()))
    }

    /// The loss of the options and the usual metrics on a data set, with the present parameters.
    ///
    /// # Errors
    /// Those of [`Model::evaluate_with`](crate::Model::evaluate_with).
    pub fn evaluate<B: Batches>(&self, data: &B) -> Result<Evaluation, Error> {
        Evaluator::new(&self.model, &self.evaluation_options(None))?.run(&self.model, data)
    }

    fn evaluation_options(&self, metrics: Option<Vec<Metric>>) -> EvaluationOptions {
        let mut options =
            EvaluationOptions::default().loss(self.options.loss.clone()).losses(self.options.losses.clone());
        options.output.clone_from(&self.options.output);
        options.metrics = metrics;
        options
    }

    /// The metrics of a fit.
    fn metrics(&self, options: &FitOptions) -> Result<Vec<Metric>, Error> {
        Ok(options.metrics.clone().unwrap_or_else(|| Metric::usual(self.targets().first().0)))
    }

    /// The epochs that [`Trainer::fit`] has trained, in all calls, and before the trainer was resumed.
    pub fn history(&self) -> &History {
        &self.progress.history
    }

    /// The learning rate of the next step.
    pub fn learning_rate(&self) -> f64 {
        self.rate_of(self.step)
    }

    /// Sets the learning rate of all further steps, in place of the schedule. It is saved with the trainer.
    ///
    /// # Errors
    /// [`Error::Setting`] for a rate that is negative, or not finite as an `f32`.
    pub fn set_learning_rate(&mut self, rate: f64) -> Result<(), Error> {
        if !(rate as f32).is_finite() || rate < 0.0 {
            return Err(Error::setting("learning rate", rate, "at least 0, and finite as an f32"));
        }
        (self.progress.rate, self.progress.rate_factor) = (Some(rate), 1.0);
        Ok(())
    }

    /// The learning rate of a step.
    pub(super) fn rate_of(&self, step: u64) -> f64 {
        let scheduled = || match &self.fit_schedule {
            Some(schedule) => schedule.rate(step.saturating_sub(self.progress.first_step)),
            None => self.options.rate(step),
        };
        self.progress.rate.unwrap_or_else(scheduled) * self.progress.rate_factor
    }
}
