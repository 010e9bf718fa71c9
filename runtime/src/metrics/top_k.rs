//! Top-k accuracy.

use super::{check_classes, check_counts, share};
use crate::error::Error;

/// The fraction of examples whose label is among the `k` largest scores. Of equal scores, the first counts as the larger,
/// as in [`argmax`](super::argmax). An example with a NaN score counts as wrong.
///
/// ```
/// use windlass::metrics::TopK;
/// let mut top = TopK::new(2, 3)?;
/// top.record(&[0.1, 0.7, 0.2, 0.5, 0.4, 0.1], &[2, 2])?;
/// assert_eq!(top.value(), Some(0.5));
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopK {
    k: usize,
    classes: usize,
    correct: u64,
    total: u64,
}

impl TopK {
    /// The accuracy over no examples yet.
    ///
    /// # Errors
    /// [`Error::Setting`] for zero classes, or a `k` of 0 or above the number of classes.
    pub fn new(k: usize, classes: usize) -> Result<Self, Error> {
        check_classes(classes)?;
        if !(1..=classes).contains(&k) {
            return Err(Error::setting("k", k, format!("from 1 to {classes}, the number of classes")));
        }
        Ok(TopK { k, classes, correct: 0, total: 0 })
    }

    /// Adds a batch: scores `[count, classes]` and `count` labels.
    ///
    /// # Errors
    /// [`Error::Count`] if the numbers do not match, [`Error::LabelOutOfRange`]; nothing is added then.
    pub fn record(&mut self, scores: &[f32], labels: &[i32]) -> Result<(), Error> {
        check_counts(scores, labels, self.classes)?;
        for (scores, &label) in scores.chunks_exact(self.classes).zip(labels) {
            self.add(scores, label as usize);
        }
        Ok(())
    }

    pub(super) fn add(&mut self, scores: &[f32], label: usize) {
        let own = scores[label];
        let before = scores[..label].iter().filter(|score| **score >= own).count();
        let after = scores[label + 1..].iter().filter(|score| **score > own).count();
        let is_number = scores.iter().all(|score| !score.is_nan());
        self.total += 1;
        self.correct += u64::from(is_number && before + after < self.k);
    }

    /// The fraction; `None` before the first example.
    pub fn value(&self) -> Option<f64> {
        share(self.correct, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_and_nan() {
        let value = |k, scores: &[f32], label| {
            let mut top = TopK::new(k, 3).unwrap();
            top.record(scores, &[label]).unwrap();
            top.value().unwrap()
        };
        assert_eq!([0, 1, 2].map(|label| value(1, &[0.5, 0.5, 0.5], label)), [1.0, 0.0, 0.0]);
        assert_eq!([0, 1, 2].map(|label| value(2, &[0.5, 0.5, 0.5], label)), [1.0, 1.0, 0.0]);
        assert_eq!(value(3, &[0.5, 0.5, 0.5], 2), 1.0);
        assert_eq!(value(3, &[f32::NAN, 0.5, 0.5], 1), 0.0);
        assert!(TopK::new(0, 3).is_err() && TopK::new(4, 3).is_err());
    }
}
