//! The area under the receiver operating characteristic.

/// The area under the receiver operating characteristic (ROC AUC): the probability that a random positive example has a
/// larger score than a random negative one, where equal scores count one half (Hanley and McNeil 1982). Scores may be
/// logits or probabilities. It keeps all scores until it is computed.
///
/// ```
/// use windlass::metrics::RocAuc;
/// let mut auc = RocAuc::default();
/// for (score, is_positive) in [(0.1, false), (0.4, false), (0.35, true), (0.8, true)] {
///     auc.record(score, is_positive);
/// }
/// assert_eq!(auc.value(), Some(0.75));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RocAuc {
    scores: Vec<(f32, bool)>,
}

impl RocAuc {
    /// Adds an example.
    pub fn record(&mut self, score: f32, is_positive: bool) {
        self.scores.push((score, is_positive));
    }

    /// The area; `None` without a positive or a negative example, or with a NaN score.
    pub fn value(&self) -> Option<f64> {
        let positives = self.scores.iter().filter(|(_, is_positive)| *is_positive).count() as f64;
        let negatives = self.scores.len() as f64 - positives;
        if positives == 0.0 || negatives == 0.0 || self.scores.iter().any(|(score, _)| score.is_nan()) {
            return None;
        }
        let mut sorted = self.scores.clone();
        // Zeros of either sign are equal scores.
        sorted.iter_mut().for_each(|(score, _)| *score += 0.0);
        sorted.sort_unstable_by(|(left, _), (right, _)| left.total_cmp(right));
        let (mut below, mut pairs) = (0.0, 0.0);
        for equal in sorted.chunk_by(|(left, _), (right, _)| left == right) {
            let positive = equal.iter().filter(|(_, is_positive)| *is_positive).count() as f64;
            let negative = equal.len() as f64 - positive;
            pairs += positive * (below + negative / 2.0);
            below += negative;
        }
        Some(pairs / (positives * negatives))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn auc(scores: &[(f32, bool)]) -> Option<f64> {
        RocAuc { scores: scores.to_vec() }.value()
    }

    #[test]
    fn special_cases() {
        assert_eq!(auc(&[]), None);
        assert_eq!(auc(&[(0.5, true)]), None);
        assert_eq!(auc(&[(0.5, true), (f32::NAN, false)]), None);
        assert_eq!(auc(&[(0.0, true), (-0.0, false)]), Some(0.5));
        assert_eq!(auc(&[(f32::INFINITY, true), (f32::NEG_INFINITY, false)]), Some(1.0));
    }

    proptest! {
        #[test]
        fn it_counts_all_pairs(scores in prop::collection::vec((0..6u8, any::<bool>()), 2..40)) {
            let scores: Vec<(f32, bool)> = scores.into_iter().map(|(s, p)| (f32::from(s), p)).collect();
            let (mut sum, mut count) = (0.0, 0.0);
            for &(own, _) in scores.iter().filter(|(_, p)| *p) {
                for &(other, _) in scores.iter().filter(|(_, p)| !*p) {
                    count += 1.0;
                    sum += if own > other { 1.0 } else if own == other { 0.5 } else { 0.0 };
                }
            }
            prop_assert_eq!(auc(&scores), (count > 0.0).then(|| sum / count));
        }
    }
}
