//! Evaluates a model on a data set: its loss and metrics.

mod score;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use ndarray::Dimension;
use serde::{Deserialize, Serialize};
use windlass_compiler::autodiff::{Loss, OutputLoss, TrainingOptions, loss_graph, names};
use windlass_compiler::pass::Mode;
use windlass_compiler::plan::SlotKind;
use windlass_compiler::setters;
use windlass_compiler::shape::Sizes;

pub(crate) use self::score::{Mean, maybe_finite};
use crate::available;
use crate::data::{Batches, Minibatch};
use crate::error::Error;
use crate::executor::{Binding, Executor};
use crate::forward::concrete;
use crate::metrics::{Metric, Tallies};
use crate::model::Model;
use crate::network::AnyNetwork;
use crate::network::ports::Least;
use crate::trainer::{Controls, Declared, LabelRows, Target, Targets, label_rows, set_rows};

/// What is evaluated: the loss, and the metrics.
///
/// ```
/// use windlass::{EvaluationOptions, Loss};
/// use windlass::metrics::Metric;
///
/// let options = EvaluationOptions::default()
///     .loss(Loss::MeanSquaredError)
///     .metrics([Metric::MeanAbsoluteError, Metric::RSquared]);
/// assert!(options.output.is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct EvaluationOptions {
    /// The loss; the cross-entropy by default.
    pub loss: Loss,
    /// The losses of several outputs, weighted and summed, instead of `loss`.
    pub losses: Vec<OutputLoss>,
    /// The output used for the loss; by default the only one.
    pub output: Option<String>,
    /// The metrics of that output, or of the first of `losses`. By default the accuracy, if the loss has one.
    pub metrics: Option<Vec<Metric>>,
}

impl EvaluationOptions {
    setters! {
        loss: Loss;
        losses: impl Into<Vec<OutputLoss>> = losses.into();
        output: impl Into<String> = Some(output.into());
        metrics: impl Into<Vec<Metric>> = Some(metrics.into());
    }
}

/// The loss and the metrics of a data set. It prints as `loss 0.4312, accuracy 0.8530`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The mean loss: of the mean losses of batches, weighted by their samples.
    #[serde(with = "maybe_finite")]
    pub loss: f64,
    /// Each metric that was asked for; [`None`] for one that these data do not define.
    pub metrics: Vec<(Metric, Option<f64>)>,
    /// The number of samples.
    pub examples: u64,
}

impl Evaluation {
    /// A metric, if it was asked for and is defined.
    pub fn metric(&self, metric: Metric) -> Option<f64> {
        self.metrics.iter().find(|(own, _)| *own == metric).and_then(|(_, value)| *value)
    }

    /// The accuracy, if it was asked for.
    pub fn accuracy(&self) -> Option<f64> {
        self.metric(Metric::Accuracy)
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loss {:.4}", self.loss)?;
        for (metric, value) in &self.metrics {
            match value {
                Some(value) => write!(f, ", {metric} {value:.4}")?,
                None => write!(f, ", {metric} -")?,
            }
        }
        Ok(())
    }
}

/// The compiled loss of a network, and the memory of evaluations.
#[derive(Debug)]
pub(crate) struct Evaluator {
    options: EvaluationOptions,
    /// The name of the output of the loss, or of the first one.
    output: String,
    /// Computes the loss from outputs of the model.
    executor: Executor,
    declared: Arc<Declared>,
    /// The slots of outputs, each with its place in the model.
    outputs: Vec<(usize, usize)>,
    /// The slot of the loss.
    loss: Option<usize>,
    rows: Vec<LabelRows>,
    tallies: Tallies,
    /// The outputs of a batch.
    results: Vec<Vec<f32>>,
}

impl Evaluator {
    pub(crate) fn new<N: AnyNetwork>(model: &Model<N>, options: &EvaluationOptions) -> Result<Self, Error> {
        let network = model.network();
        let mut training =
            TrainingOptions::default().loss(options.loss.clone()).losses(options.losses.clone());
        training.output.clone_from(&options.output);
        let graph = loss_graph(network.graph(), &training).map_err(|reason| Error::Autodiff {
            network: network.name().to_owned(),
            reason: Box::new(reason),
        })?;
        let (executor, _) = model.compile_beside(&graph, Mode::Inference)?;
        let ports = model.ports();
        let slot = |name: &str| executor.slot(SlotKind::Input, &names::evaluated(name));
        let places = ports.outputs.iter().enumerate();
        let outputs = places.filter_map(|(place, (name, _))| slot(name).map(|slot| (slot, place))).collect();
        let first = || ports.outputs.first().map_or("", |(name, _)| name).to_owned();
        let listed = options.losses.first().map(|loss| loss.output.clone());
        let output = listed.or_else(|| options.output.clone()).unwrap_or_else(first);
        let loss = executor.slot(SlotKind::Output, names::LOSS);
        let mut evaluator = Evaluator {
            options: options.clone(),
            output,
            executor,
            declared: Declared::of(&options.loss, &options.losses, ports),
            outputs,
            loss,
            rows: label_rows(&graph),
            tallies: Tallies::default(),
            results: vec![Vec::new(); ports.outputs.len()],
        };
        let (loss, shape) = evaluator.targets(model).first();
        let metrics = options.metrics.clone().unwrap_or_else(|| Metric::usual(loss));
        if let Some(shape) = shape {
            evaluator.tallies = Tallies::new(&metrics, loss, shape)?;
        }
        Ok(evaluator)
    }

    fn targets<'a, N: AnyNetwork>(&'a self, model: &'a Model<N>) -> Targets<'a> {
        Targets {
            network: model.network().name(),
            ports: model.ports(),
            loss: &self.options.loss,
            losses: &self.options.losses,
            output: &self.output,
            declared: &self.declared,
        }
    }

    /// Evaluates a model on all batches of the first epoch of a data set.
    pub(crate) fn run<N: AnyNetwork, B: Batches>(
        &mut self,
        model: &Model<N>,
        data: &B,
    ) -> Result<Evaluation, Error> {
        self.tallies.reset();
        let (mut mean, mut refused) = (Mean::default(), None);
        data.visit(0, &mut |batch| match self.batch(model, batch) {
            Ok((loss, examples)) => {
                mean.add(loss, examples);
                ControlFlow::Continue(())
            }
            Err(error) => {
                refused = Some(error);
                ControlFlow::Break(())
            }
        })?;
        if let Some(error) = refused {
            return Err(error);
        }
        let Some(loss) = mean.value() else {
            return Err(Error::setting("data", "empty", "of one batch at least"));
        };
        Ok(Evaluation { loss, metrics: self.tallies.values(), examples: mean.examples() })
    }

    /// The loss of a batch, and its number of samples.
    fn batch<N: AnyNetwork>(
        &mut self,
        model: &Model<N>,
        batch: Minibatch<'_>,
    ) -> Result<(f32, usize), Error> {
        let (network, ports) = (model.network(), model.ports());
        let feeds = batch.inputs.in_order_of(network)?;
        let mut sizes = ports.sizes(network.name(), &feeds, Least::OneStep)?;
        let declared = Arc::clone(&self.declared);
        let target = declared.named(network.name(), batch.target)?;
        self.targets(model).check(&target, &sizes)?;
        for ((name, shape), result) in ports.outputs.iter().zip(&mut self.results) {
            let axes = concrete(shape, &sizes);
            let count = axes.slice().iter().fold(1usize, |product, &size| product.saturating_mul(size));
            available::grow(result, count, || {
                format!("the output `{name}` of a batch of {}", sizes.batch())
            })?;
        }
        model.run_feeds(&feeds, self.results.iter_mut().map(Vec::as_mut_slice), &sizes)?;
        self.tally(model, &target, &sizes)?;
        set_rows(&self.rows, &target, &mut sizes);
        Ok((self.loss(&target, &sizes)?, sizes.batch()))
    }

    fn tally<N: AnyNetwork>(
        &mut self,
        model: &Model<N>,
        target: &Target<'_>,
        sizes: &Sizes,
    ) -> Result<(), Error> {
        let place = model.ports().outputs.iter().position(|(name, _)| *name == self.output);
        let own = target.of(&self.output);
        if let (Some(place), Some(target)) = (place.filter(|_| !self.tallies.is_empty()), own) {
            let axes = concrete(&model.ports().outputs[place].1, sizes);
            self.tallies.record(&self.results[place], axes.slice(), target)?;
        }
        Ok(())
    }

    /// The loss of the present outputs.
    fn loss(&self, target: &Target<'_>, sizes: &Sizes) -> Result<f32, Error> {
        let mut controls = Controls::default();
        if !self.rows.is_empty() {
            controls.all_steps.resize(sizes.batch(), i32::MAX);
        }
        let mut loss = [f32::NAN];
        let mut run = self.executor.start(sizes.clone())?;
        for &(slot, place) in &self.outputs {
            run.bind(slot, Binding::Floats(&self.results[place]))?;
        }
        for (place, slot) in self.executor.slots().iter().enumerate() {
            let is_input = slot.kind == SlotKind::Input;
            if let Some(binding) =
                is_input.then(|| controls.binding(&slot.name, slot.ty.dtype, target)).flatten()
            {
                run.bind(place, binding)?;
            }
        }
        if let Some(slot) = self.loss {
            run.bind(slot, Binding::Written(&mut loss))?;
        }
        run.execute(0)?;
        Ok(loss[0])
    }
}
