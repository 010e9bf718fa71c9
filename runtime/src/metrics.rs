//! Metrics of classification: accuracy, top-k accuracy, the area under the ROC curve, and the confusion matrix with
//! precision, recall and F1; of regression; and perplexity. [`Metric`] names those that a training loop computes.

mod auc;
mod metric;
mod regression;
mod top_k;

use std::fmt;

pub use self::auc::RocAuc;
pub use self::metric::Metric;
pub(crate) use self::metric::Tallies;
pub use self::regression::RegressionErrors;
pub use self::top_k::TopK;

use crate::error::Error;

/// The index of the largest score; the first of equal ones. `None` for no scores or if any is NaN: a network that
/// computes NaN predicts nothing.
///
/// ```
/// use windlass::metrics::argmax;
/// assert_eq!(argmax(&[0.1, 0.7, 0.7]), Some(1));
/// assert_eq!(argmax(&[0.1, f32::NAN]), None);
/// ```
pub fn argmax(scores: &[f32]) -> Option<usize> {
    let mut best = 0;
    for (index, score) in scores.iter().enumerate() {
        if score.is_nan() {
            return None;
        }
        if *score > scores[best] {
            best = index;
        }
    }
    (!scores.is_empty()).then_some(best)
}

/// The perplexity of a language model: the exponential of the mean cross-entropy of its tokens. It is 1 if every token
/// is predicted with certainty, and the size of the vocabulary if all tokens are equally likely.
///
/// ```
/// use windlass::metrics::Perplexity;
/// let mut perplexity = Perplexity::default();
/// perplexity.record(256f32.ln(), 70); // the mean loss of a batch of 70 tokens
/// assert!((perplexity.value().unwrap() - 256.0).abs() < 1e-3);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Perplexity {
    sum: f64,
    tokens: u64,
}

impl Perplexity {
    /// Adds a batch: its mean cross-entropy, as training reports it, and its number of tokens.
    pub fn record(&mut self, mean_cross_entropy: f32, tokens: usize) {
        if tokens > 0 {
            self.sum += f64::from(mean_cross_entropy) * tokens as f64;
            self.tokens += tokens as u64;
        }
    }

    /// The perplexity of all tokens so far; `None` if there are none.
    pub fn value(&self) -> Option<f64> {
        (self.tokens > 0).then(|| (self.sum / self.tokens as f64).exp())
    }
}

/// The fraction of examples whose largest score is at their label. An example with a NaN score counts as wrong.
///
/// ```
/// use windlass::metrics::Accuracy;
/// let mut accuracy = Accuracy::new(2)?;
/// accuracy.record(&[0.9, 0.1, 0.2, 0.8, 0.6, 0.4], &[0, 1, 1])?;
/// assert_eq!(accuracy.value(), Some(2.0 / 3.0));
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accuracy {
    classes: usize,
    correct: u64,
    total: u64,
}

impl Accuracy {
    /// Accuracy over no examples yet.
    ///
    /// # Errors
    /// [`Error::Setting`] for zero classes.
    pub fn new(classes: usize) -> Result<Self, Error> {
        check_classes(classes)?;
        Ok(Accuracy { classes, correct: 0, total: 0 })
    }

    /// Adds a batch: scores `[count, classes]` and `count` labels.
    ///
    /// # Errors
    /// [`Error::Count`] if the numbers do not match, [`Error::LabelOutOfRange`]; nothing is added then.
    pub fn record(&mut self, scores: &[f32], labels: &[i32]) -> Result<(), Error> {
        for (label, prediction) in predictions(scores, labels, self.classes)? {
            self.add(prediction, label);
        }
        Ok(())
    }

    fn add(&mut self, prediction: Option<usize>, label: usize) {
        self.total += 1;
        self.correct += u64::from(prediction == Some(label));
    }

    /// Examples predicted correctly.
    pub fn correct(&self) -> u64 {
        self.correct
    }

    /// All examples.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The fraction of examples predicted correctly; `None` before the first.
    pub fn value(&self) -> Option<f64> {
        share(self.correct, self.total)
    }
}

/// Counts the predictions for the examples of each class. It prints as a table with a row for each true class, a column
/// for each predicted one, and precision, recall and F1.
///
/// ```
/// use windlass::metrics::ConfusionMatrix;
/// let mut matrix = ConfusionMatrix::new(&["cat", "dog"])?;
/// matrix.record(&[0.9, 0.1, 0.2, 0.8, 0.6, 0.4], &[0, 1, 1])?;
/// assert_eq!(matrix.count(1, 0), 1);
/// assert_eq!(matrix.recall(1), Some(0.5));
/// assert_eq!(
///     matrix.to_string(),
///     "\
/// true \\ predicted    0    1  precision  recall      F1
/// 0 cat               1    0     0.5000  1.0000  0.6667
/// 1 dog               1    1     1.0000  0.5000  0.6667
/// accuracy 0.6667 of 3
/// ");
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    class_names: Vec<String>,
    /// `[true class, predicted class]`.
    counts: Vec<u64>,
    /// Examples of each true class with a NaN score.
    undefined: Vec<u64>,
}

impl ConfusionMatrix {
    /// A matrix over no examples yet.
    ///
    /// # Errors
    /// [`Error::Setting`] for zero classes.
    pub fn new<S: AsRef<str>>(class_names: &[S]) -> Result<Self, Error> {
        let classes = class_names.len();
        check_classes(classes)?;
        let class_names = class_names.iter().map(|name| name.as_ref().to_owned()).collect();
        Ok(ConfusionMatrix { class_names, counts: vec![0; classes * classes], undefined: vec![0; classes] })
    }

    /// Adds a batch: scores `[count, classes]` and `count` labels.
    ///
    /// # Errors
    /// [`Error::Count`] if the numbers do not match, [`Error::LabelOutOfRange`]; nothing is added then.
    pub fn record(&mut self, scores: &[f32], labels: &[i32]) -> Result<(), Error> {
        for (label, prediction) in predictions(scores, labels, self.classes())? {
            self.add(prediction, label);
        }
        Ok(())
    }

    fn add(&mut self, prediction: Option<usize>, label: usize) {
        let classes = self.classes();
        match prediction {
            Some(predicted) => self.counts[label * classes + predicted] += 1,
            None => self.undefined[label] += 1,
        }
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// The number of examples of a true class that were predicted as a class; 0 for a class that does not exist.
    pub fn count(&self, class: usize, predicted: usize) -> u64 {
        let exists = class < self.classes() && predicted < self.classes();
        if exists { self.counts[class * self.classes() + predicted] } else { 0 }
    }

    /// Examples of a true class with a NaN score, which have no prediction.
    pub fn undefined(&self, class: usize) -> u64 {
        self.undefined.get(class).copied().unwrap_or(0)
    }

    /// All examples.
    pub fn total(&self) -> u64 {
        self.counts.iter().chain(&self.undefined).sum()
    }

    /// The fraction of examples predicted correctly; `None` before the first.
    pub fn accuracy(&self) -> Option<f64> {
        share((0..self.classes()).map(|class| self.count(class, class)).sum(), self.total())
    }

    /// The fraction of examples predicted as a class that belong to it; `None` if there are none.
    pub fn precision(&self, class: usize) -> Option<f64> {
        share(self.count(class, class), (0..self.classes()).map(|other| self.count(other, class)).sum())
    }

    /// The fraction of examples of a class that are predicted as it; `None` if there are none.
    pub fn recall(&self, class: usize) -> Option<f64> {
        let predicted: u64 = (0..self.classes()).map(|other| self.count(class, other)).sum();
        share(self.count(class, class), predicted + self.undefined(class))
    }

    /// The harmonic mean of precision and recall: twice the correct predictions over all examples of the class plus all
    /// predictions of it. `None` if there are neither.
    pub fn f1(&self, class: usize) -> Option<f64> {
        let column: u64 = (0..self.classes()).map(|other| self.count(other, class)).sum();
        let row: u64 = (0..self.classes()).map(|other| self.count(class, other)).sum();
        share(2 * self.count(class, class), row + self.undefined(class) + column)
    }
}

impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CORNER: &str = "true \\ predicted";
        let last = self.classes() - 1;
        let index_width = last.to_string().len();
        let name_width = self.class_names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let first_width = (index_width + 1 + name_width).max(CORNER.len());
        let largest = self.counts.iter().chain(&self.undefined).max().copied().unwrap_or(0);
        let width = largest.to_string().len().max(index_width).max(3);
        let any_undefined = self.undefined.iter().any(|&count| count > 0);

        write!(f, "{CORNER:first_width$}")?;
        for predicted in 0..self.classes() {
            write!(f, "  {predicted:>width$}")?;
        }
        if any_undefined {
            write!(f, "  {:>width$}", "NaN")?;
        }
        writeln!(f, "  precision  recall      F1")?;
        for (class, name) in self.class_names.iter().enumerate() {
            let title = format!("{class:>index_width$} {name}");
            write!(f, "{title:first_width$}")?;
            for predicted in 0..self.classes() {
                write!(f, "  {:>width$}", self.count(class, predicted))?;
            }
            if any_undefined {
                write!(f, "  {:>width$}", self.undefined(class))?;
            }
            let [precision, recall, f1] =
                [self.precision(class), self.recall(class), self.f1(class)].map(decimal);
            writeln!(f, "  {precision:>9}  {recall:>6}  {f1:>6}")?;
        }
        writeln!(f, "accuracy {} of {}", decimal(self.accuracy()), self.total())
    }
}

fn decimal(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn check_classes(classes: usize) -> Result<(), Error> {
    if classes == 0 { Err(Error::setting("classes", 0, "at least 1")) } else { Ok(()) }
}

/// Checks that there is a row of scores for each label, and that labels are classes.
fn check_counts(scores: &[f32], labels: &[i32], classes: usize) -> Result<(), Error> {
    if scores.len() != labels.len() * classes {
        let expected = format!("{} labels of {classes} classes", labels.len());
        return Err(Error::Count { what: "scores", got: scores.len(), expected });
    }
    let names_a_class = |label: i32| usize::try_from(label).is_ok_and(|label| label < classes);
    if let Some(index) = labels.iter().position(|&label| !names_a_class(label)) {
        return Err(Error::LabelOutOfRange { index, label: labels[index], classes });
    }
    Ok(())
}

/// Each label with its prediction, after checking all of them.
fn predictions<'a>(
    scores: &'a [f32],
    labels: &'a [i32],
    classes: usize,
) -> Result<impl Iterator<Item = (usize, Option<usize>)> + 'a, Error> {
    check_counts(scores, labels, classes)?;
    Ok(labels.iter().map(|&label| label as usize).zip(scores.chunks_exact(classes).map(argmax)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn perplexity_weights_batches_by_their_tokens() {
        let mut perplexity = Perplexity::default();
        assert_eq!(perplexity.value(), None);
        perplexity.record(f32::NAN, 0);
        perplexity.record(2.0, 30);
        perplexity.record(1.0, 10);
        assert!((perplexity.value().unwrap() - 1.75f64.exp()).abs() < 1e-12);
        perplexity.record(f32::INFINITY, 1);
        assert_eq!(perplexity.value(), Some(f64::INFINITY));
    }

    #[test]
    fn argmax_of_special_values() {
        assert_eq!(argmax(&[]), None);
        assert_eq!(argmax(&[f32::NEG_INFINITY, f32::NEG_INFINITY]), Some(0));
        assert_eq!(argmax(&[0.0, f32::INFINITY, 1.0]), Some(1));
        assert_eq!(argmax(&[-0.0, 0.0]), Some(0));
        for scores in [[f32::NAN, 1.0, 2.0], [1.0, f32::NAN, 2.0], [1.0, 2.0, f32::NAN]] {
            assert_eq!(argmax(&scores), None, "{scores:?}");
        }
    }

    #[test]
    fn accuracy_runs_over_batches() {
        let mut accuracy = Accuracy::new(3).unwrap();
        assert_eq!(accuracy.value(), None);
        accuracy.record(&[1.0, 0.0, 0.0], &[0]).unwrap();
        accuracy.record(&[], &[]).unwrap();
        accuracy.record(&[0.0, 2.0, 1.0, f32::NAN, 0.0, 9.0], &[1, 2]).unwrap();
        assert_eq!((accuracy.correct(), accuracy.total()), (2, 3));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_not_counted() {
        let mut accuracy = Accuracy::new(2).unwrap();
        let mut matrix = ConfusionMatrix::new(&["a", "b"]).unwrap();
        for (scores, labels, expected) in [
            (&[0.0; 3][..], &[0][..], "3 scores do not fit 1 labels of 2 classes"),
            (&[0.0; 2], &[], "2 scores do not fit 0 labels of 2 classes"),
            (&[0.0; 4], &[0, 2], "label 2 at position 1 is not one of the 2 classes 0..2"),
            (&[0.0; 4], &[0, -1], "label -1 at position 1 is not one of the 2 classes 0..2"),
        ] {
            assert_eq!(accuracy.record(scores, labels).unwrap_err().to_string(), expected);
            assert_eq!(matrix.record(scores, labels).unwrap_err().to_string(), expected);
        }
        assert_eq!((accuracy.total(), matrix.total()), (0, 0));
        assert!(Accuracy::new(0).is_err());
        assert!(ConfusionMatrix::new::<&str>(&[]).is_err());
    }

    /// Scores that predict the given classes; `None` stands for NaN.
    fn scores(classes: usize, predicted: &[Option<usize>]) -> Vec<f32> {
        let one_hot = |class: &Option<usize>| match class {
            Some(class) => (0..classes).map(|index| if index == *class { 1.0 } else { 0.0 }).collect(),
            None => vec![f32::NAN; classes],
        };
        predicted.iter().flat_map(one_hot).collect()
    }

    #[test]
    fn figures_of_a_class_follow_their_definitions() {
        let mut matrix = ConfusionMatrix::new(&["a", "b", "c"]).unwrap();
        let predicted = [Some(0), Some(0), Some(1), None, Some(0), Some(1)];
        matrix.record(&scores(3, &predicted), &[0, 0, 0, 0, 1, 1]).unwrap();
        assert_eq!(matrix.precision(0), Some(2.0 / 3.0));
        assert_eq!(matrix.recall(0), Some(2.0 / 4.0));
        assert_eq!(matrix.f1(0), Some(4.0 / 7.0));
        assert_eq!((matrix.precision(2), matrix.recall(2), matrix.f1(2)), (None, None, None));
        assert_eq!(matrix.accuracy(), Some(0.5));
        assert_eq!((matrix.count(9, 0), matrix.undefined(9), matrix.precision(9)), (0, 0, None));
        assert_eq!(
            matrix.to_string(),
            "\
true \\ predicted    0    1    2  NaN  precision  recall      F1
0 a                 2    1    0    1     0.6667  0.5000  0.5714
1 b                 1    1    0    0     0.5000  0.5000  0.5000
2 c                 0    0    0    0          -       -       -
accuracy 0.5000 of 6
"
        );
    }

    #[test]
    fn a_table_stays_aligned() {
        let names: Vec<String> = (0..12).map(|class| format!("{}é", "x".repeat(class * 2))).collect();
        let mut matrix = ConfusionMatrix::new(&names).unwrap();
        for _ in 0..12_345 {
            matrix.record(&scores(12, &[Some(11)]), &[3]).unwrap();
        }
        let table = matrix.to_string();
        let widths: Vec<usize> = table.lines().take(13).map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|&width| width == widths[0]), "{table}");
        assert!(table.contains("12345"), "{table}");
    }

    proptest! {
        #[test]
        fn the_matrix_agrees_with_the_accuracy(
            examples in prop::collection::vec((0i32..4, prop::option::of(0usize..4)), 0..50),
        ) {
            let (labels, predicted): (Vec<i32>, Vec<Option<usize>>) = examples.into_iter().unzip();
            let mut accuracy = Accuracy::new(4).unwrap();
            let mut matrix = ConfusionMatrix::new(&["a", "b", "c", "d"]).unwrap();
            accuracy.record(&scores(4, &predicted), &labels).unwrap();
            matrix.record(&scores(4, &predicted), &labels).unwrap();
            prop_assert_eq!(matrix.accuracy(), accuracy.value());
            prop_assert_eq!(matrix.total(), labels.len() as u64);
            for class in 0..4 {
                let harmonic = match (matrix.precision(class), matrix.recall(class)) {
                    (Some(p), Some(r)) if p + r > 0.0 => Some(2.0 * p * r / (p + r)),
                    _ => None,
                };
                if let Some(harmonic) = harmonic {
                    prop_assert!((harmonic - matrix.f1(class).unwrap()).abs() < 1e-12);
                }
            }
        }
    }
}
