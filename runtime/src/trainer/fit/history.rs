//! The results of each epoch.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::options::Monitor;
use crate::atomic_file;
use crate::error::Error;
use crate::evaluation::Evaluation;
use crate::metrics::Metric;

/// The results of an epoch. It prints as the line that [`Trainer::fit`](crate::Trainer::fit) shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// All steps so far: updates of the parameters.
    pub steps: u64,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// The time of steps and validation, in seconds.
    pub seconds: f64,
    /// Loss and metrics of the training data: each batch at the time of its step, before the update.
    pub training: Evaluation,
    /// Loss and metrics of the validation data after the epoch, if there are any.
    pub validation: Option<Evaluation>,
}

impl fmt::Display for EpochReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {:2}: {}", self.epoch, self.training)?;
        if let Some(validation) = &self.validation {
            write!(f, "; validation {validation}")?;
        }
        write!(f, "; rate {:.3e}, {:.1} s", self.learning_rate, self.seconds)
    }
}

/// Why a fit has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FitEnd {
    /// All epochs are trained.
    Epochs,
    /// The results no longer improved.
    EarlyStopping,
    /// The callback ended it.
    Callback,
    /// Ctrl-C ended it, after a step or an epoch: `FitOptions::stop_on_ctrl_c`, with the feature `ctrlc`.
    Interrupted,
}

/// The results of all epochs of a trainer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The epochs in order.
    pub epochs: Vec<EpochReport>,
    /// Why the last fit has ended; [`None`] before its end.
    pub end: Option<FitEnd>,
}

impl History {
    /// The last epoch.
    pub fn last(&self) -> Option<&EpochReport> {
        self.epochs.last()
    }

    /// The best epoch; the first of equal ones.
    pub fn best(&self, monitor: Monitor) -> Option<&EpochReport> {
        let of = |report| {
            let value = monitor.of(report)?;
            Some(if monitor.larger_is_better() { -value } else { value })
        };
        let numbered = self.epochs.iter().filter_map(|report| Some((of(report)?, report)));
        numbered.min_by(|(left, _), (right, _)| left.total_cmp(right)).map(|(_, report)| report)
    }

    /// The epochs as comma-separated values, with a line of names: `epoch`, `steps`, `learning_rate`, `seconds`, `loss`
    /// and the metrics of the training data, `validation_loss` and the metrics of the validation data. A metric without
    /// a value is empty.
    pub fn to_csv(&self) -> String {
        let mut text = "epoch,steps,learning_rate,seconds".to_owned();
        // A resumed trainer may have other metrics than before.
        let columns = |report: &EpochReport| {
            let metrics = |results: &Evaluation| results.metrics.iter().map(|(metric, _)| *metric).collect();
            (metrics(&report.training), report.validation.as_ref().map(metrics))
        };
        let (training, validation): (Vec<Metric>, Option<Vec<Metric>>) =
            self.last().map(columns).unwrap_or_default();
        let mut title = |prefix: &str, metrics: &[Metric]| {
            text += &format!(",{prefix}loss");
            metrics.iter().for_each(|metric| text += &format!(",{prefix}{metric}"));
        };
        title("", &training);
        if let Some(metrics) = &validation {
            title("validation_", metrics);
        }
        text.push('\n');
        for report in &self.epochs {
            let EpochReport { epoch, steps, learning_rate, seconds, .. } = report;
            text += &format!("{epoch},{steps},{learning_rate},{seconds:.3}");
            let mut values = |results: Option<&Evaluation>, metrics: &[Metric]| {
                let all = std::iter::once(results.map(|results| results.loss))
                    .chain(metrics.iter().map(|metric| results.and_then(|results| results.metric(*metric))));
                all.for_each(|value| {
                    text += &value.map_or_else(|| ",".to_owned(), |value| format!(",{value}"))
                });
            };
            values(Some(&report.training), &training);
            if let Some(metrics) = &validation {
                values(report.validation.as_ref(), metrics);
            }
            text.push('\n');
        }
        text
    }

    /// Writes [`History::to_csv`] to a file, atomically.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_csv(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let text = self.to_csv();
        let path = path.as_ref();
        atomic_file::write(path, |writer| writer.write_all(text.as_bytes())).map_err(Error::io("write", path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(epoch: u64, loss: f64, accuracy: Option<f64>) -> EpochReport {
        let metrics = vec![(Metric::Accuracy, accuracy), (Metric::TopK(5), Some(1.0))];
        let training = Evaluation { loss: loss + 0.5, metrics: Vec::new(), examples: 8 };
        let validation = Some(Evaluation { loss, metrics, examples: 4 });
        EpochReport { epoch, steps: 2 * epoch, learning_rate: 0.1, seconds: 1.5, training, validation }
    }

    fn history() -> History {
        let epochs = vec![report(1, 0.5, Some(0.25)), report(2, 0.25, None), report(3, f64::NAN, Some(0.75))];
        History { epochs, end: Some(FitEnd::Epochs) }
    }

    #[test]
    fn csv_has_a_column_for_each_result() {
        assert_eq!(
            history().to_csv(),
            "epoch,steps,learning_rate,seconds,loss,validation_loss,validation_accuracy,validation_top5\n\
             1,2,0.1,1.500,1,0.5,0.25,1\n2,4,0.1,1.500,0.75,0.25,,1\n3,6,0.1,1.500,NaN,NaN,0.75,1\n"
        );
        assert_eq!(History::default().to_csv(), "epoch,steps,learning_rate,seconds,loss\n");
    }

    #[test]
    fn json_keeps_every_bit() {
        let mut history = history();
        history.epochs[0].training.loss = 0.1 + 0.2;
        let text = serde_json::to_string(&history).unwrap();
        let back: History = serde_json::from_str(&text).unwrap();
        assert_eq!(back.epochs[..2], history.epochs[..2]);
        assert!(back.epochs[2].training.loss.is_nan());
        assert_eq!(back.end, history.end);
    }

    #[test]
    fn the_best_epoch_is_that_of_the_monitor() {
        let history = history();
        let best = |monitor| history.best(monitor).map(|report| report.epoch);
        assert_eq!(best(Monitor::Loss), Some(2));
        assert_eq!(best(Monitor::Metric(Metric::Accuracy)), Some(3));
        assert_eq!(best(Monitor::Metric(Metric::TopK(5))), Some(1));
        assert_eq!(best(Monitor::Metric(Metric::F1)), None);
    }

    #[test]
    fn an_epoch_is_a_line() {
        assert_eq!(
            report(2, 0.25, None).to_string(),
            "epoch  2: loss 0.7500; validation loss 0.2500, accuracy -, top5 1.0000; rate 1.000e-1, 1.5 s"
        );
    }
}
