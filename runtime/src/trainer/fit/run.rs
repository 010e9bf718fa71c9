//! The state of a fit between epochs, which is saved with the trainer.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::history::{EpochReport, History};
use super::options::{EarlyStopping, FitOptions, Plateau};
use crate::checkpoint::Metadata;
use crate::error::{CheckpointError, Error};

/// The note of a file's metadata that holds a [`Run`].
const NOTE: &str = "fit";

/// The state of a fit between epochs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::trainer) struct Run {
    pub(super) history: History,
    /// The step at which the schedule over the epochs begins.
    pub(super) first_step: u64,
    /// A rate in place of the schedule.
    pub(super) rate: Option<f64>,
    /// What the rate is multiplied with.
    pub(super) rate_factor: f64,
    /// The best result so far.
    best: Option<f64>,
    stopping: Waiting,
    plateau: Waiting,
    /// Whether the file has the parameters of the best epoch.
    pub(in crate::trainer) has_best: bool,
}

/// Epochs without an improvement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Waiting {
    /// The result that others must improve.
    best: Option<f64>,
    waited: u64,
    /// Epochs left in which results do not count.
    cooling: u64,
}

impl Default for Run {
    fn default() -> Self {
        Run {
            history: History::default(),
            first_step: 0,
            rate: None,
            rate_factor: 1.0,
            best: None,
            stopping: Waiting::default(),
            plateau: Waiting::default(),
            has_best: false,
        }
    }
}

impl Run {
    /// Adds the state to the metadata of a file, if there is any; `has_best` says whether the file has the parameters of
    /// the best epoch.
    pub(in crate::trainer) fn write(&self, metadata: &mut Metadata, has_best: bool) {
        let run = Run { has_best, ..self.clone() };
        if run != Run::default()
            && let Ok(text) = serde_json::to_string(&run)
        {
            metadata.notes.insert(NOTE.to_owned(), text);
        }
    }

    /// The state in the metadata of a file.
    pub(in crate::trainer) fn read(path: &Path, metadata: &Metadata) -> Result<Self, Error> {
        let Some(text) = metadata.notes.get(NOTE) else { return Ok(Run::default()) };
        serde_json::from_str(text).map_err(|error| {
            Error::Checkpoint(CheckpointError::Format {
                path: path.to_owned(),
                problem: format!("its note `{NOTE}`: {error}"),
            })
        })
    }

    /// Whether enough epochs have passed without an improvement.
    pub(super) fn has_waited(&self, stopping: Option<&EarlyStopping>) -> bool {
        stopping.is_some_and(|stopping| self.stopping.waited >= stopping.patience)
    }

    /// Takes note of the results of an epoch. Returns whether it is the best so far.
    pub(super) fn watch(&mut self, report: &EpochReport, options: &FitOptions) -> bool {
        let value = options.monitor.of(report);
        let larger = options.monitor.larger_is_better();
        if let Some(EarlyStopping { min_delta, .. }) = options.early_stopping {
            let bound = |best: f64| if larger { best + min_delta } else { best - min_delta };
            self.stopping.next(value, larger, bound);
        }
        let improved = is_better(value, self.best, larger, |best| best);
        if improved {
            self.best = value;
        }
        improved
    }

    /// Lowers the rate, `rate` now, if the results no longer improve.
    pub(super) fn reduce_on(
        &mut self,
        plateau: &Plateau,
        report: &EpochReport,
        options: &FitOptions,
        rate: f64,
    ) {
        let larger = options.monitor.larger_is_better();
        let share = if larger { 1.0 + plateau.threshold } else { 1.0 - plateau.threshold };
        self.plateau.next(options.monitor.of(report), larger, |best| best * share);
        if self.plateau.cooling > 0 {
            (self.plateau.cooling, self.plateau.waited) = (self.plateau.cooling - 1, 0);
        }
        if self.plateau.waited > plateau.patience {
            let lower = (rate * plateau.factor).max(plateau.min_rate);
            if lower < rate {
                self.rate_factor *= lower / rate;
            }
            (self.plateau.cooling, self.plateau.waited) = (plateau.cooldown, 0);
        }
    }
}

impl Waiting {
    /// Counts an epoch; `bound` is what a result must exceed to improve on the best one.
    fn next(&mut self, value: Option<f64>, larger: bool, bound: impl Fn(f64) -> f64) {
        if is_better(value, self.best, larger, bound) {
            (self.best, self.waited) = (value, 0);
        } else {
            self.waited += 1;
        }
    }
}

fn is_better(value: Option<f64>, best: Option<f64>, larger: bool, bound: impl Fn(f64) -> f64) -> bool {
    match (value, best) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(value), Some(best)) if larger => value > bound(best),
        (Some(value), Some(best)) => value < bound(best),
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::Monitor;
    use super::*;
    use crate::evaluation::Evaluation;
    use crate::metrics::Metric;

    fn report(value: f64) -> EpochReport {
        let metrics = vec![(Metric::Accuracy, Some(value))];
        let training = Evaluation { loss: value, metrics, examples: 1 };
        EpochReport { epoch: 1, steps: 1, learning_rate: 0.1, seconds: 0.0, training, validation: None }
    }

    /// The rate after each epoch with these losses.
    fn rates(plateau: Plateau, losses: &[f64]) -> Vec<f64> {
        let (mut run, options) = (Run::default(), FitOptions::default());
        let step = |&loss: &f64| {
            let rate = run.rate_factor;
            run.reduce_on(&plateau, &report(loss), &options, rate);
            (run.rate_factor * 1e6).round() / 1e6
        };
        losses.iter().map(step).collect()
    }

    // The expected values are those of PyTorch's ReduceLROnPlateau with an initial rate of 1.

    #[test]
    fn the_rate_falls_one_epoch_after_the_patience() {
        let plateau = Plateau::default().factor(0.5).patience(1);
        assert_eq!(
            rates(plateau, &[1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.6]),
            [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.25]
        );
        let plateau = plateau.cooldown(2).patience(0);
        assert_eq!(rates(plateau, &[1.0, 1.0, 1.0, 1.0, 1.0]), [1.0, 0.5, 0.5, 0.5, 0.25]);
    }

    #[test]
    fn small_improvements_do_not_count_and_the_rate_has_a_floor() {
        let plateau = Plateau::default().factor(0.1).patience(0).threshold(0.1).min_rate(0.05);
        assert_eq!(rates(plateau, &[1.0, 0.95, 0.85, 0.8, f64::NAN]), [1.0, 0.1, 0.1, 0.05, 0.05]);
    }

    #[test]
    fn early_stopping_counts_epochs_without_an_improvement() {
        let options = FitOptions::default()
            .early_stopping(EarlyStopping::default().patience(2).min_delta(0.1))
            .monitor(Monitor::Metric(Metric::Accuracy));
        let mut run = Run::default();
        let seen = [0.5, 0.55, 0.65, 0.7, 0.6].map(|accuracy| {
            let improved = run.watch(&report(accuracy), &options);
            (improved, run.has_waited(options.early_stopping.as_ref()))
        });
        assert_eq!(seen, [(true, false), (true, false), (true, false), (true, false), (false, true)]);
    }

    #[test]
    fn files_without_or_with_a_wrong_note() {
        let path = Path::new("x.safetensors");
        let mut metadata = Metadata::default();
        Run::default().write(&mut metadata, false);
        assert!(metadata.notes.is_empty());
        let run = Run { rate: Some(0.1 + 0.2), ..Run::default() };
        run.write(&mut metadata, false);
        assert_eq!(Run::read(path, &metadata).unwrap(), run);
        metadata.notes.insert(NOTE.to_owned(), "{".to_owned());
        assert!(Run::read(path, &metadata).unwrap_err().to_string().contains("its note `fit`"));
    }
}
