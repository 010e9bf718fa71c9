//! Beam search: likely sequences, found by extending the best few prefixes at every step.

use ndarray::Array2;
use windlass_compiler::setters;

use super::TextError;
use crate::error::Error;

/// How sequences are searched.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BeamOptions {
    /// The number of prefixes that are extended at every step, and of sequences that are returned.
    pub width: usize,
    /// The most tokens of a sequence.
    pub steps: usize,
    /// The token that ends a sequence; `None` for sequences that all have `steps` tokens.
    pub end: Option<i32>,
    /// The exponent α of the length in a score, `log P / Lᵅ`: 0 prefers short sequences, larger ones long sequences.
    pub length_penalty: f64,
    /// The tokens before the first one, such as `<bos>`.
    pub start: Vec<i32>,
}

impl BeamOptions {
    setters! {
        width: usize;
        steps: usize;
        end: impl Into<Option<i32>> = end.into();
        length_penalty: f64;
        start: impl Into<Vec<i32>> = start.into();
    }
}

impl Default for BeamOptions {
    /// Two prefixes, at most 50 tokens, no end, and a length penalty of 0.75, as in Dive into Deep Learning 10.8.
    fn default() -> Self {
        BeamOptions { width: 2, steps: 50, end: None, length_penalty: 0.75, start: Vec::new() }
    }
}

/// A sequence that a beam search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// The tokens, without those at the start and without the end token.
    pub tokens: Vec<i32>,
    /// The logarithm of its probability, including that of the end token.
    pub log_probability: f64,
    /// `log_probability / Lᵅ`, where the length `L` includes the end token.
    pub score: f64,
    /// Whether the end token ended it; otherwise it has the maximum length.
    pub is_complete: bool,
}

/// A sequence that is being extended: the tokens after the start, and the logarithm of its probability.
type Prefix = (Vec<i32>, f64);

/// Finds likely sequences (Dive into Deep Learning 10.8). `next` gets some prefixes of the same length, including the
/// tokens at the start, and returns the logarithms of the probabilities of each next token, `[prefixes, vocabulary]`:
/// for example [`log_probabilities`](super::log_probabilities) of a network's scores. The result has at most `width`
/// sequences, the best score first.
///
/// ```
/// use ndarray::Array2;
/// use windlass::text::{BeamOptions, beam_search};
///
/// // After an even token, 1 is likeliest; after an odd one, the end, 0.
/// let next = |prefixes: &[Vec<i32>]| -> Result<Array2<f32>, windlass::Error> {
///     let row = |prefix: &Vec<i32>| if prefix[prefix.len() - 1] % 2 == 0 { [0.1, 0.6, 0.3] } else { [0.7, 0.1, 0.2] };
///     Ok(Array2::from_shape_fn((prefixes.len(), 3), |(n, token)| (row(&prefixes[n])[token] as f32).ln()))
/// };
/// let options = BeamOptions::default().end(0).start(vec![2]);
/// let found = beam_search(&options, next)?;
/// assert_eq!(found[0].tokens, [1]);
/// assert!((found[0].log_probability - (0.6f64 * 0.7).ln()).abs() < 1e-6);
/// # Ok::<(), windlass::Error>(())
/// ```
///
/// # Errors
/// [`Error::Setting`] for a width or number of steps of 0, or a penalty below 0; [`Error::Text`] for log-probabilities of
/// another shape, NaN, above 0, or none above −∞; and the errors of `next`.
pub fn beam_search<E: From<Error>>(
    options: &BeamOptions,
    mut next: impl FnMut(&[Vec<i32>]) -> Result<Array2<f32>, E>,
) -> Result<Vec<Hypothesis>, E> {
    let BeamOptions { width, steps, end, length_penalty, start } = options;
    check_options(options)?;
    let score = |log_probability: f64, length: usize| log_probability / (length as f64).powf(*length_penalty);
    let mut active: Vec<Prefix> = vec![(Vec::new(), 0.0)];
    let mut found: Vec<Hypothesis> = Vec::new();
    for length in 1..=*steps {
        let prefixes: Vec<Vec<i32>> =
            active.iter().map(|(tokens, _)| [&start[..], tokens].concat()).collect();
        let rows = next(&prefixes)?;
        check_rows(&rows, active.len(), *end)?;
        let candidates = best(&active, &rows, *width);
        let mut kept = Vec::with_capacity(*width);
        for (row, token, log_probability) in candidates {
            let mut tokens = active[row].0.clone();
            let is_complete = Some(token) == *end;
            if !is_complete {
                tokens.push(token);
            }
            if is_complete || length == *steps {
                let score = score(log_probability, length);
                found.push(Hypothesis { tokens, log_probability, score, is_complete });
            } else {
                kept.push((tokens, log_probability));
            }
        }
        // Stable: of equal scores, those found first.
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(*width);
        // Probabilities only decrease, and the score of one is best at the maximum length.
        let may_improve = |prefix: &Prefix| {
            found.len() < *width || found.last().is_some_and(|last| score(prefix.1, *steps) > last.score)
        };
        active = kept.into_iter().filter(may_improve).collect();
        if active.is_empty() {
            break;
        }
    }
    Ok(found)
}

fn check_options(options: &BeamOptions) -> Result<(), Error> {
    for (setting, size) in [("width", options.width), ("steps", options.steps)] {
        if size == 0 {
            return Err(Error::setting(setting, size, "at least 1"));
        }
    }
    let penalty = options.length_penalty;
    if !penalty.is_finite() || penalty < 0.0 {
        return Err(Error::setting("length_penalty", penalty, "at least 0, and finite"));
    }
    Ok(())
}

fn check_rows(rows: &Array2<f32>, prefixes: usize, end: Option<i32>) -> Result<(), Error> {
    let vocabulary = rows.ncols();
    if rows.nrows() != prefixes || vocabulary == 0 {
        return Err(TextError::ScoresShape { prefixes, got: rows.shape().to_vec() }.into());
    }
    if i32::try_from(vocabulary - 1).is_err() {
        return Err(TextError::TooManyTokens { tokens: vocabulary }.into());
    }
    if let Some(end) = end
        && !usize::try_from(end).is_ok_and(|end| end < vocabulary)
    {
        return Err(TextError::EndToken { end, vocabulary }.into());
    }
    check_values(rows.iter())?;
    if rows.iter().all(|value| *value == f32::NEG_INFINITY) {
        let problem = "are all minus infinity: no token is possible";
        return Err(TextError::Scores { problem }.into());
    }
    Ok(())
}

/// Checks that numbers may be logarithms of probabilities.
pub(super) fn check_values<'v>(values: impl Iterator<Item = &'v f32>) -> Result<(), TextError> {
    // Rounding may leave a certain token slightly above 0.
    const ROUNDING: f32 = 1e-3;
    for value in values {
        if value.is_nan() {
            return Err(TextError::Scores { problem: "contain NaN" });
        }
        if *value > ROUNDING {
            return Err(TextError::Scores {
                problem: "are above 0, so that they are no logarithms of probabilities; pass logits through \
                          `log_probabilities`",
            });
        }
    }
    Ok(())
}

/// The best extensions of all prefixes: the prefix, the token, and the logarithm of the probability. Of equal ones, the
/// first prefixes and tokens.
fn best(active: &[Prefix], rows: &Array2<f32>, width: usize) -> Vec<(usize, i32, f64)> {
    let extensions = rows.indexed_iter().map(|((row, token), value)| {
        // Above 0 only by rounding.
        let log_probability = active[row].1 + f64::from(value.min(0.0));
        (row, token as i32, log_probability)
    });
    let mut extensions: Vec<_> = extensions.filter(|(_, _, value)| *value > f64::NEG_INFINITY).collect();
    extensions.sort_by(|a, b| b.2.total_cmp(&a.2));
    extensions.truncate(width);
    extensions
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::text::log_probabilities;

    /// Probabilities of four tokens that depend on the last two; 0 is the end.
    fn probabilities(prefix: &[i32]) -> [f32; 4] {
        let last = prefix.iter().rev().take(2).fold(1u32, |sum, token| 5 * sum + *token as u32);
        let mut random = last.wrapping_mul(2_654_435_761);
        let logits = [(); 4].map(|()| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) as f32 / 4_194_304.0
        });
        let rows = log_probabilities(&array![logits]);
        [rows[[0, 0]], rows[[0, 1]], rows[[0, 2]], rows[[0, 3]]]
    }

    fn next(prefixes: &[Vec<i32>]) -> Result<Array2<f32>, Error> {
        Ok(Array2::from_shape_fn((prefixes.len(), 4), |(n, token)| probabilities(&prefixes[n])[token]))
    }

    /// Every sequence, best first.
    fn exhaustive(options: &BeamOptions) -> Vec<Hypothesis> {
        let mut found = Vec::new();
        let mut open = vec![(Vec::new(), 0.0)];
        while let Some((tokens, log_probability)) = open.pop() {
            let row = probabilities(&[&options.start[..], &tokens].concat());
            for token in 0..4 {
                let log_probability: f64 = log_probability + f64::from(row[token as usize]);
                let mut tokens: Vec<i32> = tokens.clone();
                let length = tokens.len() + 1;
                let is_complete = Some(token) == options.end;
                if !is_complete {
                    tokens.push(token);
                }
                if is_complete || length == options.steps {
                    let score = log_probability / (length as f64).powf(options.length_penalty);
                    found.push(Hypothesis { tokens, log_probability, score, is_complete });
                } else {
                    open.push((tokens, log_probability));
                }
            }
        }
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found
    }

    /// With as many prefixes as there are, the search is exhaustive.
    #[test]
    fn a_wide_beam_finds_the_best_sequences() {
        for length_penalty in [0.0, 0.75, 2.0] {
            for end in [None, Some(0)] {
                let options = BeamOptions::default()
                    .width(300)
                    .steps(4)
                    .end(end)
                    .length_penalty(length_penalty)
                    .start(vec![1, 3]);
                let (found, expected) = (beam_search(&options, next).unwrap(), exhaustive(&options));
                assert_eq!(found.len(), expected.len().min(300));
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((found.score - expected.score).abs() < 1e-9, "{found:?}, not {expected:?}");
                }
                assert_eq!(found[0], expected[0]);
            }
        }
    }

    #[test]
    fn one_prefix_is_greedy() {
        let options = BeamOptions::default().width(1).steps(12).end(0);
        let mut tokens: Vec<i32> = Vec::new();
        let mut complete = false;
        while tokens.len() < 12 && !complete {
            let row = probabilities(&tokens);
            let best = crate::metrics::argmax(&row).unwrap() as i32;
            complete = best == 0;
            tokens.extend((!complete).then_some(best));
        }
        let found = beam_search(&options, next).unwrap();
        assert_eq!((found.len(), &found[0].tokens, found[0].is_complete), (1, &tokens, complete));
    }

    /// Greedy search takes the likelier first token, 1; the beam also tries 2, whose continuation is certain.
    #[test]
    fn a_wider_beam_beats_greedy_search() {
        let table = |prefix: &[i32]| match prefix {
            [] => [0.0, 0.6, 0.4f32],
            [1] => [0.0, 0.5, 0.5],
            _ => [1.0, 0.0, 0.0],
        };
        let next = |prefixes: &[Vec<i32>]| -> Result<Array2<f32>, Error> {
            Ok(Array2::from_shape_fn((prefixes.len(), 3), |(n, token)| table(&prefixes[n])[token].ln()))
        };
        let search = |width| {
            let options =
                BeamOptions::default().width(width).steps(3).end(0).length_penalty(0.0).start(vec![]);
            beam_search(&options, next).unwrap()[0].tokens.clone()
        };
        assert_eq!(search(1)[0], 1);
        assert_eq!(search(2), [2]);
    }

    #[test]
    fn longer_sequences_win_with_a_larger_penalty() {
        // Ending at once has probability 0.3; three tokens have 0.7 · 0.7 · 0.6.
        let next = |prefixes: &[Vec<i32>]| -> Result<Array2<f32>, Error> {
            let row = |prefix: &Vec<i32>| if prefix.len() < 2 { [0.3f32, 0.7] } else { [0.4, 0.6] };
            Ok(Array2::from_shape_fn((prefixes.len(), 2), |(n, token)| row(&prefixes[n])[token].ln()))
        };
        let best = |length_penalty| {
            let options =
                BeamOptions::default().width(4).steps(3).end(0).length_penalty(length_penalty).start(vec![]);
            beam_search(&options, next).unwrap()[0].tokens.len()
        };
        assert_eq!((best(0.0), best(2.0)), (0, 3));
    }

    #[test]
    fn mistakes_are_typed() {
        let with = |options: &BeamOptions, rows: Array2<f32>| {
            beam_search(options, |_| Ok::<_, Error>(rows.clone())).unwrap_err().to_string()
        };
        let one = BeamOptions::default().steps(1).end(1);
        let nan = array![[f32::NAN, 0.0]];
        assert_eq!(with(&one, nan), "the scores of the next token contain NaN");
        assert!(with(&one, array![[0.0, 3.0]]).contains("are above 0"));
        assert!(with(&one, array![[f32::NEG_INFINITY; 2]]).contains("no token is possible"));
        assert_eq!(
            with(&one, array![[0.0, 0.0], [0.0, 0.0]]),
            "a beam search needs log-probabilities of shape [1, vocabulary], one row per prefix, but got [2, 2]"
        );
        assert!(with(&one, array![[0.0]]).contains("the end token 1 is outside the vocabulary of 1"));
        for (options, setting) in [
            (one.clone().width(0), "width"),
            (one.clone().steps(0), "steps"),
            (one.clone().length_penalty(-0.5), "length_penalty"),
            (one.clone().length_penalty(f64::NAN), "length_penalty"),
        ] {
            assert!(
                with(&options, array![[0.0, 0.0]]).starts_with(&format!("`{setting}` is ")),
                "{options:?}"
            );
        }
        // Errors of the network are passed on.
        let refused = beam_search(&one, |_| Err(Error::EmptyBatch { network: "Net".to_owned() }));
        assert!(matches!(refused, Err(Error::EmptyBatch { .. })));
    }
}
