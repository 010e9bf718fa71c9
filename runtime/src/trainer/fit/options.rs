//! Options of the training loop.

use std::path::PathBuf;

use windlass_compiler::setters;

use super::history::EpochReport;
use crate::error::Error;
use crate::metrics::Metric;
use crate::schedule::{Rule, Schedule};

/// How [`Trainer::fit`](crate::Trainer::fit) trains. `FitOptions::epochs(20)` has the defaults:
///
/// ```
/// use windlass::{EarlyStopping, FitOptions, FitSchedule};
///
/// let options = FitOptions::epochs(20)
///     .schedule(FitSchedule::one_cycle(0.01))
///     .early_stopping(EarlyStopping::after(3))
///     .save_last("training.safetensors"); // to resume from
/// assert!(options.plateau.is_none());
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FitOptions {
    /// The epochs to reach, counted from the beginning of the trainer; 10 by default. A trainer that has trained as many
    /// trains no more.
    pub epochs: u64,
    /// The metrics of both data sets. By default the accuracy, if the loss has one. Metrics of the training data are those
    /// of the outputs of each step, before its update.
    pub metrics: Option<Vec<Metric>>,
    /// What early stopping, the plateau and the best epoch are decided by; the loss by default.
    pub monitor: Monitor,
    /// The learning rate of each step.
    pub schedule: FitSchedule,
    /// Whether the rate falls when the results no longer improve; on top of the schedule. Off by default.
    pub plateau: Option<Plateau>,
    /// Whether training ends when the results no longer improve. Off by default.
    pub early_stopping: Option<EarlyStopping>,
    /// Whether the model has the parameters of its best epoch in the end, instead of the last ones. They take the memory
    /// of a second copy, in files too. Off by default.
    pub restore_best: bool,
    /// A file for the trainer after each epoch, to resume from.
    pub save_last: Option<PathBuf>,
    /// A file for the trainer after each epoch that is the best so far.
    pub save_best: Option<PathBuf>,
    /// A file for the history as CSV, written after each epoch.
    pub csv: Option<PathBuf>,
    /// What is shown on the standard error.
    pub progress: Progress,
    /// A directory for an event file that TensorBoard shows: loss, learning rate and gradient norm of each step, and loss and
    /// metrics of both data sets of each epoch, over the steps. A resumed fit writes another file, which TensorBoard joins
    /// with the first.
    #[cfg(feature = "tensorboard")]
    pub tensorboard: Option<PathBuf>,
    /// Whether Ctrl-C ends the fit after the step that runs, with [`FitEnd::Interrupted`](super::FitEnd::Interrupted). The history
    /// does not have the epoch that was interrupted, and `save_last` keeps the one before it, to resume from. A second Ctrl-C
    /// ends the program. Off by default, because it sets the handler of the whole process; programs with a handler of their
    /// own leave it off and end a fit by the callback.
    #[cfg(feature = "ctrlc")]
    pub stop_on_ctrl_c: bool,
}

impl Default for FitOptions {
    fn default() -> Self {
        FitOptions {
            epochs: 10,
            metrics: None,
            monitor: Monitor::Loss,
            schedule: FitSchedule::OfTrainer,
            plateau: None,
            early_stopping: None,
            restore_best: false,
            save_last: None,
            save_best: None,
            csv: None,
            progress: Progress::Auto,
            #[cfg(feature = "tensorboard")]
            tensorboard: None,
            #[cfg(feature = "ctrlc")]
            stop_on_ctrl_c: false,
        }
    }
}

impl FitOptions {
    /// Options with a number of epochs, and the defaults.
    pub fn epochs(epochs: u64) -> Self {
        FitOptions { epochs, ..FitOptions::default() }
    }

    setters! {
        metrics: impl Into<Vec<Metric>> = Some(metrics.into());
        monitor: Monitor;
        schedule: FitSchedule;
        plateau: impl Into<Option<Plateau>> = plateau.into();
        early_stopping: impl Into<Option<EarlyStopping>> = early_stopping.into();
        restore_best: bool;
        save_last: impl Into<PathBuf> = Some(save_last.into());
        save_best: impl Into<PathBuf> = Some(save_best.into());
        csv: impl Into<PathBuf> = Some(csv.into());
        progress: Progress;
        #[cfg(feature = "tensorboard")]
        tensorboard: impl Into<PathBuf> = Some(tensorboard.into());
        #[cfg(feature = "ctrlc")]
        stop_on_ctrl_c: bool;
    }

    /// Checks the settings against the metrics that are computed.
    pub(super) fn check(&self, metrics: &[Metric]) -> Result<(), Error> {
        if let Monitor::Metric(metric) = self.monitor
            && !metrics.contains(&metric)
        {
            let expected = "one of `metrics`, or the loss";
            return Err(Error::setting("monitor", format!("`{metric}`"), expected));
        }
        let is_amount = |value: f64| value.is_finite() && value >= 0.0;
        if let Some(EarlyStopping { patience, min_delta }) = &self.early_stopping {
            if *patience == 0 {
                return Err(Error::setting("early_stopping.patience", 0, "at least 1"));
            }
            if !is_amount(*min_delta) {
                return Err(Error::setting("early_stopping.min_delta", min_delta, "at least 0 and finite"));
            }
        }
        if let Some(Plateau { factor, threshold, min_rate, .. }) = &self.plateau {
            if !(*factor > 0.0 && *factor < 1.0) {
                return Err(Error::setting("plateau.factor", factor, "above 0 and below 1"));
            }
            if !is_amount(*threshold) {
                return Err(Error::setting("plateau.threshold", threshold, "at least 0 and finite"));
            }
            if !is_amount(*min_rate) {
                return Err(Error::setting("plateau.min_rate", min_rate, "at least 0 and finite"));
            }
        }
        Ok(())
    }
}

/// What decides how good an epoch is: a result of the validation data, or of the training data if there are no others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Monitor {
    /// The loss.
    #[default]
    Loss,
    /// One of the metrics.
    Metric(Metric),
}

impl Monitor {
    /// The monitored result of an epoch; none if it is not finite or not defined.
    pub(super) fn of(self, report: &EpochReport) -> Option<f64> {
        let results = report.validation.as_ref().unwrap_or(&report.training);
        let value = match self {
            Monitor::Loss => Some(results.loss),
            Monitor::Metric(metric) => results.metric(metric),
        };
        value.filter(|value| value.is_finite())
    }

    /// Whether larger results are better.
    pub(super) fn larger_is_better(self) -> bool {
        match self {
            Monitor::Loss => false,
            Monitor::Metric(metric) => metric.larger_is_better(),
        }
    }
}

/// The learning rate of the steps of a fit. Schedules over all its steps end with its last epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum FitSchedule {
    /// That of the trainer's options.
    #[default]
    OfTrainer,
    /// One cycle over all steps (Smith and Topin 2018, arXiv:1708.07120): from 1/25 of the peak up to it, then down to
    /// 1/250,000 of it, each along half a cosine, like PyTorch's `OneCycleLR`.
    OneCycle {
        /// The maximum rate.
        peak_rate: f64,
        /// The share of the steps before the maximum, above 0 and below 1; 0.3 is usual.
        warm_up: f64,
    },
    /// Half a cosine down to 0 over all steps, after a linear rise from 0.
    Cosine {
        /// The maximum rate.
        rate: f64,
        /// The share of the steps with rising rates, from 0 and below 1.
        warm_up: f64,
    },
}

impl FitSchedule {
    /// One cycle with the usual settings.
    pub const fn one_cycle(peak_rate: f64) -> Self {
        FitSchedule::OneCycle { peak_rate, warm_up: 0.3 }
    }

    /// The schedule over a number of steps; none for that of the trainer.
    pub(super) fn over(self, steps: u64) -> Result<Option<Schedule>, Error> {
        let first = |share: f64| (steps as f64 * share).round() as u64;
        match self {
            FitSchedule::OfTrainer => Ok(None),
            FitSchedule::OneCycle { peak_rate, warm_up } => {
                if !(warm_up > 0.0 && warm_up < 1.0) {
                    return Err(Error::setting("one_cycle.warm_up", warm_up, "above 0 and below 1"));
                }
                let warm_up = first(warm_up).saturating_sub(1).max(1);
                Schedule::new(Rule::OneCycle {
                    peak_rate,
                    warm_up,
                    steps: steps.saturating_sub(1).max(warm_up + 1),
                    start_factor: 1.0 / 25.0,
                    final_factor: 1.0 / 250_000.0,
                })
                .map(Some)
            }
            FitSchedule::Cosine { rate, warm_up } => {
                if !(0.0..1.0).contains(&warm_up) {
                    return Err(Error::setting("cosine.warm_up", warm_up, "from 0 and below 1"));
                }
                let warm_up = first(warm_up);
                Schedule::cosine_with_warm_up(rate, steps.max(warm_up + 1), warm_up).map(Some)
            }
        }
    }
}

/// When training ends because the results no longer improve.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct EarlyStopping {
    /// The number of epochs without an improvement after which training ends, at least 1.
    pub patience: u64,
    /// The least change that counts as an improvement; 0 by default.
    pub min_delta: f64,
}

impl EarlyStopping {
    /// Early stopping after this many epochs without any improvement.
    pub const fn after(patience: u64) -> Self {
        EarlyStopping { patience, min_delta: 0.0 }
    }

    setters! {
        patience: u64;
        min_delta: f64;
    }
}

impl Default for EarlyStopping {
    /// After ten epochs without any improvement.
    fn default() -> Self {
        EarlyStopping::after(10)
    }
}

/// When the learning rate falls because the results no longer improve, like PyTorch's `ReduceLROnPlateau`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plateau {
    /// What the rate is multiplied with, above 0 and below 1; 0.1 by default.
    pub factor: f64,
    /// The number of epochs without an improvement that are tolerated: the rate falls after one more; 10 by default.
    pub patience: u64,
    /// The least improvement that counts, as a share of the best result; 0.0001 by default.
    pub threshold: f64,
    /// The epochs after a fall in which results do not count; 0 by default.
    pub cooldown: u64,
    /// The least rate; 0 by default.
    pub min_rate: f64,
}

impl Plateau {
    setters! {
        factor: f64;
        patience: u64;
        threshold: f64;
        cooldown: u64;
        min_rate: f64;
    }
}

impl Default for Plateau {
    fn default() -> Self {
        Plateau { factor: 0.1, patience: 10, threshold: 1e-4, cooldown: 0, min_rate: 0.0 }
    }
}

/// What a fit shows on the standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// A bar with the remaining time if it is a terminal, and a line after each epoch.
    #[default]
    Auto,
    /// A line after each epoch.
    Lines,
    /// Nothing.
    Silent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cycle_is_that_of_pytorch() {
        // OneCycleLR(optimizer, max_lr=0.5, total_steps=20): the first rates, the largest, and the last ones.
        let schedule = FitSchedule::one_cycle(0.5).over(20).unwrap().unwrap();
        let expected = [
            (0, 0.02),
            (1, 0.065_835_921_350_012_64),
            (2, 0.185_835_921_350_012_6),
            (5, 0.5),
            (6, 0.493_732_003_117_543_7),
            (12, 0.250_001),
            (18, 0.006_269_996_882_456_3),
            (19, 2e-6),
        ];
        for (step, rate) in expected {
            assert!(
                (schedule.rate(step) - rate).abs() < 1e-12,
                "{step}: {} is not {rate}",
                schedule.rate(step)
            );
        }
        assert!(FitSchedule::one_cycle(0.5).over(1).unwrap().is_some());
        assert!(FitSchedule::Cosine { rate: 0.5, warm_up: 0.9 }.over(1).unwrap().is_some());
        assert_eq!(FitSchedule::OfTrainer.over(10).unwrap(), None);
    }
}
