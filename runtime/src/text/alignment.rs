//! Decoding of networks that were trained with the CTC loss: labels from the probabilities of classes at each step.

use std::collections::BTreeMap;

use ndarray::ArrayView2;

use super::TextError;
use crate::error::Error;
use crate::metrics::argmax;

/// The labels of an alignment: the classes of all steps without repeats, and then without blanks.
///
/// ```
/// use windlass::text::collapse;
/// assert_eq!(collapse(&[0, 1, 1, 0, 1, 2, 2, 0], 0), [1, 1, 2]);
/// ```
pub fn collapse(classes: &[i32], blank: i32) -> Vec<i32> {
    let mut labels = classes.to_vec();
    labels.dedup();
    labels.retain(|&class| class != blank);
    labels
}

/// The labels of the likeliest class of each step, from scores `[T, classes]`: logits or logarithms of probabilities. The
/// sum of all alignments of other labels may be likelier: see [`prefix_beam_search`].
///
/// ```
/// use ndarray::array;
/// use windlass::text::greedy_labels;
///
/// let logits = array![[0.1, 2.0, 0.3], [0.2, 1.5, 0.1], [3.0, 0.1, 0.2], [0.3, 1.0, 0.9]];
/// assert_eq!(greedy_labels(logits.view(), 0)?, [1, 1]);
/// # Ok::<(), windlass::Error>(())
/// ```
///
/// # Errors
/// [`Error::Text`] for scores with NaN, and for a blank that is no class.
pub fn greedy_labels(scores: ArrayView2<'_, f32>, blank: usize) -> Result<Vec<i32>, Error> {
    check_blank(blank, scores.ncols())?;
    let mut classes = Vec::with_capacity(scores.nrows());
    for row in scores.rows() {
        if row.iter().any(|score| score.is_nan()) {
            return Err(TextError::Scores { problem: "contain NaN" }.into());
        }
        let best = argmax(&row.to_vec()).unwrap_or(blank);
        classes.push(i32::try_from(best).unwrap_or(i32::MAX));
    }
    Ok(collapse(&classes, i32::try_from(blank).unwrap_or(i32::MAX)))
}

/// Labels that a prefix beam search found.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelHypothesis {
    /// The labels.
    pub labels: Vec<i32>,
    /// The logarithm of their probability, summed over the alignments that the search kept, with the weights of labels.
    pub log_probability: f64,
}

/// Finds likely labels by the logarithms of the probabilities of classes `[T, classes]` (Hannun et al. 2014). It keeps the
/// `width` likeliest sequences of labels in each step, and adds up the probabilities of their alignments. The result has at
/// most `width` sequences, the likeliest first.
///
/// ```
/// use ndarray::array;
/// use windlass::text::{greedy_labels, prefix_beam_search};
///
/// // The likeliest alignment is two blanks, with 0.36; but three alignments of label 1 have 0.64 together.
/// let probabilities = array![[0.6f32, 0.4], [0.6, 0.4]].mapv(f32::ln);
/// assert!(greedy_labels(probabilities.view(), 0)?.is_empty());
/// let found = prefix_beam_search(probabilities.view(), 0, 10)?;
/// assert_eq!(found[0].labels, [1]);
/// assert!((found[0].log_probability - 0.64f64.ln()).abs() < 1e-6);
/// # Ok::<(), windlass::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] for a width of 0; [`Error::Text`] for a blank that is no class, and for log-probabilities that are
/// NaN, above 0, or all −∞ in a step.
pub fn prefix_beam_search(
    log_probabilities: ArrayView2<'_, f32>,
    blank: usize,
    width: usize,
) -> Result<Vec<LabelHypothesis>, Error> {
    prefix_beam_search_with(log_probabilities, blank, width, |_, _| 0.0)
}

/// Like [`prefix_beam_search`], with a weight for each label behind the labels before it, which is added to the logarithm of
/// its probability: `α·ln p` by a language model `p`, plus `β` for each label, so that long sequences are not at a
/// disadvantage.
///
/// ```
/// use ndarray::array;
/// use windlass::text::prefix_beam_search_with;
///
/// // "ab" and "ac" are almost as likely, but the language has no "ab".
/// let steps = array![[0.1f32, 0.8, 0.05, 0.05], [0.1, 0.02, 0.45, 0.43]].mapv(f32::ln);
/// let language = |before: &[i32], label: i32| if before == [1] && label == 2 { -10.0 } else { 0.0 };
/// let found = prefix_beam_search_with(steps.view(), 0, 10, language)?;
/// assert_eq!(found[0].labels, [1, 3]);
/// # Ok::<(), windlass::Error>(())
/// ```
///
/// # Errors
/// Those of [`prefix_beam_search`]; [`Error::Text`] for a weight that is NaN or +∞.
pub fn prefix_beam_search_with(
    log_probabilities: ArrayView2<'_, f32>,
    blank: usize,
    width: usize,
    weight: impl Fn(&[i32], i32) -> f64,
) -> Result<Vec<LabelHypothesis>, Error> {
    if width == 0 {
        return Err(Error::setting("width", width, "at least 1"));
    }
    check_blank(blank, log_probabilities.ncols())?;
    check_rows(log_probabilities)?;
    let start = Ends { blank: 0.0, label: f64::NEG_INFINITY };
    let mut beam: Vec<(Vec<i32>, Ends)> = vec![(Vec::new(), start)];
    for row in log_probabilities.rows() {
        // Above 0 only by rounding.
        let score = |class: usize| f64::from(row[class].min(0.0));
        let mut next: BTreeMap<Vec<i32>, Ends> = BTreeMap::new();
        for (labels, ends) in &beam {
            let last = labels.last().copied();
            let same = next.entry(labels.clone()).or_default();
            same.blank = log_sum(same.blank, ends.either() + score(blank));
            for class in (0..row.len()).filter(|&class| class != blank && row[class] > f32::NEG_INFINITY) {
                let label = i32::try_from(class).unwrap_or(i32::MAX);
                // The same label again is one label, unless there was a blank.
                let before = if last == Some(label) { ends.blank } else { ends.either() };
                if last == Some(label) {
                    let same = next.entry(labels.clone()).or_default();
                    same.label = log_sum(same.label, ends.label + score(class));
                }
                if before > f64::NEG_INFINITY {
                    let weight = weight(labels, label);
                    if weight.is_nan() || weight == f64::INFINITY {
                        return Err(
                            TextError::Scores { problem: "have a weight that is NaN or infinite" }.into()
                        );
                    }
                    let longer = next.entry([&labels[..], &[label]].concat()).or_default();
                    longer.label = log_sum(longer.label, before + score(class) + weight);
                }
            }
        }
        beam = next.into_iter().filter(|(_, ends)| ends.either() > f64::NEG_INFINITY).collect();
        // Stable: of equal ones, the first in the order of labels.
        beam.sort_by(|(_, a), (_, b)| b.either().total_cmp(&a.either()));
        beam.truncate(width);
    }
    let hypothesis =
        |(labels, ends): (Vec<i32>, Ends)| LabelHypothesis { labels, log_probability: ends.either() };
    Ok(beam.into_iter().map(hypothesis).collect())
}

/// The logarithms of the probabilities of the alignments of some labels that end in a blank, and in the last label.
#[derive(Clone, Copy, Debug)]
struct Ends {
    blank: f64,
    label: f64,
}

impl Default for Ends {
    fn default() -> Self {
        Ends { blank: f64::NEG_INFINITY, label: f64::NEG_INFINITY }
    }
}

impl Ends {
    fn either(self) -> f64 {
        log_sum(self.blank, self.label)
    }
}

/// The logarithm of the sum of two numbers, from theirs.
fn log_sum(a: f64, b: f64) -> f64 {
    let (largest, other) = if a < b { (b, a) } else { (a, b) };
    if largest == f64::NEG_INFINITY { largest } else { largest + (other - largest).exp().ln_1p() }
}

fn check_blank(blank: usize, classes: usize) -> Result<(), TextError> {
    if i32::try_from(classes).is_err() {
        return Err(TextError::TooManyTokens { tokens: classes });
    }
    if blank < classes { Ok(()) } else { Err(TextError::Blank { blank, classes }) }
}

fn check_rows(rows: ArrayView2<'_, f32>) -> Result<(), TextError> {
    super::beam::check_values(rows.iter())?;
    let is_impossible =
        |row: ndarray::ArrayView1<'_, f32>| row.iter().all(|value| *value == f32::NEG_INFINITY);
    match rows.rows().into_iter().any(is_impossible) {
        true => Err(TextError::Scores { problem: "are all minus infinity in a step: no class is possible" }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};
    use windlass_compiler::interp::{Array, Evaluate};
    use windlass_compiler::ops::ctc::Ctc;

    use super::*;
    use crate::text::log_probabilities;

    /// Logarithms of probabilities of three classes that look random.
    fn steps(count: usize) -> Array2<f32> {
        let noise = |(t, c): (usize, usize)| ((t * 3 + c) as f32 * 0.7548).fract() * 4.0 - 2.0;
        log_probabilities(&Array2::from_shape_fn((count, 3), noise))
    }

    fn loss(steps: &Array2<f32>, labels: &[i32], blank: usize) -> f64 {
        let logarithms = steps.iter().map(|x| f64::from(*x)).collect();
        let logarithms = Array::new([1, steps.nrows(), 3], logarithms);
        let padded = Array::ints([1, labels.len() + 1], [labels, &[0]].concat());
        let [count, length] = [labels.len(), steps.nrows()].map(|n| Array::ints([1], vec![n as i32]));
        let op = Ctc { blank, per_label: false, zero_infinity: false };
        let sizes = [vec![1], vec![1, steps.nrows(), 3]];
        op.evaluate(&[&logarithms, &padded, &count, &length], &sizes)[0].real()[0]
    }

    /// A search that keeps everything has the probability of all alignments, as the loss.
    #[test]
    fn a_wide_beam_has_the_probabilities_of_the_loss() {
        for blank in 0..3 {
            for count in 1..=5 {
                let steps = steps(count);
                let found = prefix_beam_search(steps.view(), blank, 10_000).unwrap();
                assert!(found.len() > 2);
                assert!(found.windows(2).all(|pair| pair[0].log_probability >= pair[1].log_probability));
                let mut all = 0.0;
                for LabelHypothesis { labels, log_probability } in &found {
                    assert!((log_probability + loss(&steps, labels, blank)).abs() < 1e-9, "{labels:?}");
                    all += log_probability.exp();
                }
                assert!((all - 1.0).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_narrow_beam_is_never_likelier() {
        let steps = steps(9);
        let best = |width| prefix_beam_search(steps.view(), 1, width).unwrap()[0].log_probability;
        let [narrow, wide, all] = [1, 8, 10_000].map(best);
        assert!(narrow <= wide + 1e-12 && wide <= all + 1e-12, "{narrow}, {wide}, {all}");
        for width in [1, 2, 7] {
            assert_eq!(prefix_beam_search(steps.view(), 1, width).unwrap().len(), width);
        }
    }

    #[test]
    fn certain_steps_are_read_in_every_way() {
        for (classes, labels) in [
            (vec![0, 0, 0], vec![]),
            (vec![1, 1, 0, 1], vec![1, 1]),
            (vec![2, 1, 1, 2], vec![2, 1, 2]),
            (vec![0, 2, 0, 2, 0], vec![2, 2]),
        ] {
            let certain =
                |(t, c): (usize, usize)| if classes[t] == c as i32 { 0.0 } else { f32::NEG_INFINITY };
            let steps = Array2::from_shape_fn((classes.len(), 3), certain);
            assert_eq!(collapse(&classes, 0), labels);
            assert_eq!(greedy_labels(steps.view(), 0).unwrap(), labels);
            let found = prefix_beam_search(steps.view(), 0, 4).unwrap();
            assert_eq!(found, [LabelHypothesis { labels, log_probability: 0.0 }]);
        }
        assert!(greedy_labels(Array2::zeros((0, 3)).view(), 0).unwrap().is_empty());
        assert_eq!(prefix_beam_search(Array2::zeros((0, 3)).view(), 0, 4).unwrap().len(), 1);
    }

    /// A bonus for each label favours more of them.
    #[test]
    fn weights_of_labels_count() {
        let steps = steps(6);
        let lengths = [-5.0, 0.0, 5.0].map(|bonus| {
            let found = prefix_beam_search_with(steps.view(), 0, 500, |_, _| bonus).unwrap();
            found[0].labels.len()
        });
        assert!(
            lengths[0] < lengths[2] && lengths[0] <= lengths[1] && lengths[1] <= lengths[2],
            "{lengths:?}"
        );
    }

    #[test]
    fn mistakes_are_typed() {
        let refused = |steps: &Array2<f32>, blank, width| {
            prefix_beam_search(steps.view(), blank, width).unwrap_err().to_string()
        };
        let two = array![[-0.5f32, -1.0], [-0.5, -1.0]];
        assert_eq!(refused(&two, 2, 4), "the blank 2 is outside the 2 classes that the scores have");
        assert!(refused(&two, 0, 0).starts_with("`width` is 0"));
        assert!(refused(&array![[0.5, -1.0]], 0, 4).contains("above 0"));
        assert!(refused(&array![[f32::NAN, -1.0]], 0, 4).contains("NaN"));
        let impossible = array![[-0.5, -1.0], [f32::NEG_INFINITY, f32::NEG_INFINITY]];
        assert!(refused(&impossible, 0, 4).contains("no class is possible"));
        let greedy = |steps: &Array2<f32>, blank| greedy_labels(steps.view(), blank).unwrap_err().to_string();
        assert_eq!(greedy(&two, 7), "the blank 7 is outside the 2 classes that the scores have");
        assert!(greedy(&array![[f32::NAN, -1.0]], 0).contains("NaN"));
        let weighted = prefix_beam_search_with(two.view(), 0, 4, |_, _| f64::NAN).unwrap_err();
        assert!(weighted.to_string().contains("weight"));
    }
}
