//! Metrics by name: those that training loops and evaluations compute.

use std::fmt;

use serde::{Deserialize, Serialize};
use windlass_compiler::autodiff::{Loss, class_axis};
use windlass_compiler::shape::Shape;

use super::{Accuracy, ConfusionMatrix, RegressionErrors, RocAuc, TopK, argmax};
use crate::error::Error;
use crate::trainer::Target;

/// A metric of a network's output against its target.
///
/// With labels, each label has a row of scores: the output is `[N, C]`, `[N, T, C]` or `[N, C, H, W]`, as for the losses.
/// For [`Loss::BinaryCrossEntropy`], each element of the output is a logit of its own, and positive if it is above 0;
/// targets are positive from 0.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// The fraction of correct predictions.
    Accuracy,
    /// The fraction of labels among the largest scores, of which this many count.
    TopK(usize),
    /// The mean precision of the classes that occur in labels or predictions, each with the same weight (macro average);
    /// a class that is never predicted has 0. Of two-valued targets, the precision of the positive ones.
    Precision,
    /// The mean recall of the classes, like [`Metric::Precision`].
    Recall,
    /// The mean F1 of the classes, like [`Metric::Precision`].
    F1,
    /// The area under the receiver operating characteristic, for two classes or binary targets.
    RocAuc,
    /// The mean squared error.
    MeanSquaredError,
    /// The mean absolute error.
    MeanAbsoluteError,
    /// The coefficient of determination, R².
    RSquared,
}

impl Metric {
    /// Whether a larger value is better.
    pub const fn larger_is_better(self) -> bool {
        !matches!(self, Metric::MeanSquaredError | Metric::MeanAbsoluteError)
    }

    /// The metrics that are computed if none are asked for: the accuracy, for losses that have one.
    pub(crate) fn usual(loss: &Loss) -> Vec<Metric> {
        match kind(loss) {
            Kind::Classes | Kind::Binary => vec![Metric::Accuracy],
            Kind::Numbers | Kind::None => Vec::new(),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Metric::Accuracy => "accuracy",
            Metric::TopK(k) => return write!(f, "top{k}"),
            Metric::Precision => "precision",
            Metric::Recall => "recall",
            Metric::F1 => "f1",
            Metric::RocAuc => "auc",
            Metric::MeanSquaredError => "mse",
            Metric::MeanAbsoluteError => "mae",
            Metric::RSquared => "r2",
        };
        f.write_str(name)
    }
}

/// What the targets of a loss are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A label for each row of scores.
    Classes,
    /// A probability for each logit.
    Binary,
    /// Numbers.
    Numbers,
    /// Neither: sequences of labels, or distributions.
    None,
}

fn kind(loss: &Loss) -> Kind {
    match loss {
        Loss::CrossEntropy | Loss::CrossEntropyWith { .. } | Loss::NegativeLogLikelihood { .. } => {
            Kind::Classes
        }
        Loss::BinaryCrossEntropy => Kind::Binary,
        Loss::MeanSquaredError | Loss::MeanAbsoluteError | Loss::Huber { .. } => Kind::Numbers,
        _ => Kind::None,
    }
}

/// The value of a metric so far.
#[derive(Clone, Debug)]
enum Tally {
    Accuracy(Accuracy),
    TopK(TopK),
    /// Macro averages of the classes, or of the second class alone.
    Classes {
        matrix: ConfusionMatrix,
        only_positive: bool,
        of: fn(&ConfusionMatrix, usize) -> Option<f64>,
    },
    RocAuc(RocAuc),
    Regression {
        errors: RegressionErrors,
        of: fn(&RegressionErrors) -> Option<f64>,
    },
}

impl Tally {
    fn new(metric: Metric, kind: Kind, classes: usize) -> Result<Self, Error> {
        let wrong = |expected: &str| Err(Error::setting("metrics", format!("`{metric}`"), expected));
        let matrix = || ConfusionMatrix::new(&vec![""; classes]);
        let by_class = |of| Ok(Tally::Classes { matrix: matrix()?, only_positive: kind == Kind::Binary, of });
        let regression = |of| Ok(Tally::Regression { errors: RegressionErrors::default(), of });
        match (metric, kind) {
            (Metric::Accuracy, Kind::Classes | Kind::Binary) => Ok(Tally::Accuracy(Accuracy::new(classes)?)),
            (Metric::TopK(k), Kind::Classes) => Ok(Tally::TopK(TopK::new(k, classes)?)),
            (Metric::Precision, Kind::Classes | Kind::Binary) => by_class(ConfusionMatrix::precision),
            (Metric::Recall, Kind::Classes | Kind::Binary) => by_class(ConfusionMatrix::recall),
            (Metric::F1, Kind::Classes | Kind::Binary) => by_class(ConfusionMatrix::f1),
            (Metric::RocAuc, Kind::Classes | Kind::Binary) if classes == 2 => {
                Ok(Tally::RocAuc(RocAuc::default()))
            }
            (Metric::RocAuc, Kind::Classes) => {
                wrong("left out for outputs with another number of classes than 2")
            }
            (Metric::MeanSquaredError, Kind::Numbers) => regression(RegressionErrors::mean_squared),
            (Metric::MeanAbsoluteError, Kind::Numbers) => regression(RegressionErrors::mean_absolute),
            (Metric::RSquared, Kind::Numbers) => regression(RegressionErrors::r_squared),
            (Metric::MeanSquaredError | Metric::MeanAbsoluteError | Metric::RSquared, _) => {
                wrong("left out for this loss: it needs the squared, absolute or Huber error of numbers")
            }
            _ => wrong("left out for this loss, which has neither labels nor two-valued targets"),
        }
    }

    /// Adds a row of scores and its label.
    fn add(&mut self, scores: &[f32], label: usize) {
        match self {
            Tally::Accuracy(accuracy) => accuracy.add(argmax(scores), label),
            Tally::TopK(top) => top.add(scores, label),
            Tally::Classes { matrix, .. } => matrix.add(argmax(scores), label),
            Tally::RocAuc(auc) => {
                if let [negative, positive] = scores {
                    auc.record(positive - negative, label == 1);
                }
            }
            Tally::Regression { .. } => {}
        }
    }

    fn value(&self) -> Option<f64> {
        match self {
            Tally::Accuracy(accuracy) => accuracy.value(),
            Tally::TopK(top) => top.value(),
            Tally::Classes { matrix, only_positive: true, of } => of(matrix, 1),
            Tally::Classes { matrix, of, .. } => {
                let occurs = |class: &usize| matrix.f1(*class).is_some();
                let values: Vec<f64> = (0..matrix.classes())
                    .filter(occurs)
                    .map(|class| of(matrix, class).unwrap_or(0.0))
                    .collect();
                (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
            }
            Tally::RocAuc(auc) => auc.value(),
            Tally::Regression { errors, of } => of(errors),
        }
    }
}

/// Metrics of an output, batch by batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tallies {
    metrics: Vec<Metric>,
    empty: Vec<Tally>,
    now: Vec<Tally>,
    /// The axis of the classes.
    axis: usize,
    /// The scores of a row that is not contiguous.
    row: Vec<f32>,
}

impl Tallies {
    /// Tallies of metrics for an output of this shape under a loss.
    ///
    /// # Errors
    /// [`Error::Setting`] for a metric that does not fit the loss or the output.
    pub(crate) fn new(metrics: &[Metric], loss: &Loss, shape: &Shape) -> Result<Self, Error> {
        let (kind, axis) = (kind(loss), class_axis(shape));
        let classes = match kind {
            Kind::Classes => shape.dims().get(axis).and_then(|dim| dim.fixed()).unwrap_or(0),
            _ => 2,
        };
        let empty: Vec<Tally> =
            metrics.iter().map(|&metric| Tally::new(metric, kind, classes)).collect::<Result<_, _>>()?;
        let now = empty.clone();
        Ok(Tallies { metrics: metrics.to_vec(), empty, now, axis, row: Vec::new() })
    }

    /// Whether there is nothing to compute.
    pub(crate) fn is_empty(&self) -> bool {
        self.metrics.is_empty()
    }

    /// Begins anew.
    pub(crate) fn reset(&mut self) {
        self.now.clone_from(&self.empty);
    }

    /// Adds a batch, whose target was checked against its loss: an output of these sizes.
    pub(crate) fn record(
        &mut self,
        output: &[f32],
        sizes: &[usize],
        target: &Target<'_>,
    ) -> Result<(), Error> {
        match target {
            Target::Labels(labels) => {
                let classes = sizes.get(self.axis).copied().unwrap_or(1);
                let inner: usize = sizes.iter().skip(self.axis + 1).product();
                for (position, &label) in labels.elements().iter().enumerate() {
                    let Ok(label) = usize::try_from(label) else { continue };
                    let start = position / inner * classes * inner + position % inner;
                    let row = if inner == 1 {
                        &output[start..start + classes]
                    } else {
                        self.row.clear();
                        self.row.extend((0..classes).map(|class| output[start + class * inner]));
                        &self.row
                    };
                    self.now.iter_mut().for_each(|tally| tally.add(row, label));
                }
            }
            Target::Values(values) => {
                for tally in &mut self.now {
                    match tally {
                        Tally::Regression { errors, .. } => errors.record(output, values.elements())?,
                        tally => {
                            for (&logit, &target) in output.iter().zip(values.elements()) {
                                tally.add(&[0.0, logit], usize::from(target >= 0.5));
                            }
                        }
                    }
                }
            }
            Target::Sequences(_) | Target::Named(_) | Target::Ordered(_) => {}
        }
        Ok(())
    }

    /// The value of each metric; `None` for one that is not defined.
    pub(crate) fn values(&self) -> Vec<(Metric, Option<f64>)> {
        self.metrics.iter().copied().zip(self.now.iter().map(Tally::value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, Array2};

    use super::*;

    fn shape(item: &[usize]) -> Shape {
        Shape::batched(item)
    }

    fn value(metric: Metric, loss: &Loss, output: &Array2<f32>, target: Target<'_>) -> Option<f64> {
        let mut tallies = Tallies::new(&[metric], loss, &shape(&output.shape()[1..])).unwrap();
        let output = output.as_standard_layout();
        tallies.record(output.as_slice().unwrap(), output.shape(), &target).unwrap();
        tallies.values()[0].1
    }

    #[test]
    fn classes_are_averaged_with_equal_weights() {
        // Predictions 0 1 1 2 for the labels 0 0 1 1; class 3 does not occur.
        let scores = ndarray::array![
            [9.0f32, 0.0, 0.0, 0.0],
            [0.0, 9.0, 0.0, 0.0],
            [0.0, 9.0, 0.0, 0.0],
            [0.0, 0.0, 9.0, 0.0]
        ];
        let labels = [0, 0, 1, 1];
        let of = |metric| value(metric, &Loss::CrossEntropy, &scores, Target::from(&labels)).unwrap();
        assert_eq!(of(Metric::Accuracy), 0.5);
        assert_eq!(of(Metric::Precision), (1.0 + 0.5 + 0.0) / 3.0);
        assert_eq!(of(Metric::Recall), (0.5 + 0.5 + 0.0) / 3.0);
        assert!((of(Metric::F1) - (2.0 / 3.0 + 0.5 + 0.0) / 3.0).abs() < 1e-12);
        assert_eq!(of(Metric::TopK(2)), 0.75);
    }

    #[test]
    fn logits_of_two_values_are_compared_with_zero() {
        let logits = ndarray::array![[1.0f32, -1.0], [2.0, -2.0]];
        let targets = ndarray::array![[1.0f32, 1.0], [0.0, 0.0]];
        let of = |metric| value(metric, &Loss::BinaryCrossEntropy, &logits, Target::from(&targets)).unwrap();
        assert_eq!([Metric::Accuracy, Metric::Precision, Metric::Recall].map(of), [0.5; 3]);
        assert_eq!(of(Metric::RocAuc), 0.5);
    }

    #[test]
    fn rows_of_images_lie_across_the_planes() {
        let loss = Loss::CrossEntropy;
        let mut tallies = Tallies::new(&[Metric::Accuracy], &loss, &shape(&[2, 1, 3])).unwrap();
        // Two classes on a row of three pixels: the second class wins at the last two.
        tallies.record(&[0.5, 0.1, 0.2, 0.4, 0.9, 0.3], &[1, 2, 1, 3], &Target::from(&[0, 1, 0])).unwrap();
        assert_eq!(tallies.values(), [(Metric::Accuracy, Some(2.0 / 3.0))]);
        tallies.reset();
        assert_eq!(tallies.values(), [(Metric::Accuracy, None)]);
    }

    #[test]
    fn metrics_that_do_not_fit_are_refused() {
        let refused =
            |metric, loss: &Loss, item: &[usize]| Tallies::new(&[metric], loss, &shape(item)).is_err();
        assert!(refused(Metric::RocAuc, &Loss::CrossEntropy, &[3]));
        assert!(!refused(Metric::RocAuc, &Loss::CrossEntropy, &[2]));
        assert!(refused(Metric::TopK(4), &Loss::CrossEntropy, &[3]));
        assert!(refused(Metric::RSquared, &Loss::CrossEntropy, &[3]));
        assert!(refused(Metric::Accuracy, &Loss::MeanSquaredError, &[3]));
        assert!(refused(Metric::Accuracy, &Loss::ctc(), &[3]));
        assert!(!refused(Metric::RSquared, &Loss::Huber { delta: 1.0 }, &[3]));
    }

    #[test]
    fn numbers_are_compared_with_targets() {
        let predictions = ndarray::array![[1.0f32], [3.0]];
        let targets: Array1<f32> = ndarray::array![1.0, 2.0];
        let target = || Target::from(targets.as_slice().unwrap_or_default());
        assert_eq!(
            value(Metric::MeanSquaredError, &Loss::MeanSquaredError, &predictions, target()),
            Some(0.5)
        );
        assert_eq!(
            value(Metric::MeanAbsoluteError, &Loss::MeanSquaredError, &predictions, target()),
            Some(0.5)
        );
        assert_eq!(value(Metric::RSquared, &Loss::MeanSquaredError, &predictions, target()), Some(-1.0));
    }
}
