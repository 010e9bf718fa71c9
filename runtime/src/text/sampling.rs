//! Draws the next token from the scores of all tokens.

use ndarray::{Array2, ArrayBase, Axis, Data, Ix2};
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::rngs::ChaCha8Rng;
use windlass_compiler::setters;

use super::TextError;
use crate::error::Error;
use crate::metrics::argmax;
use crate::random::{Purpose, stream};

/// How tokens are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SamplerOptions {
    /// Divides the scores: below 1, likely tokens become likelier; 0 always takes the likeliest.
    pub temperature: f64,
    /// Only this many of the likeliest tokens are drawn; `None` for all.
    pub top_k: Option<usize>,
    /// Seed of the draws.
    pub seed: u64,
}

impl SamplerOptions {
    setters! {
        temperature: f64;
        top_k: impl Into<Option<usize>> = top_k.into();
        seed: u64;
    }
}

impl Default for SamplerOptions {
    /// Tokens with their probabilities.
    fn default() -> Self {
        SamplerOptions { temperature: 1.0, top_k: None, seed: 0 }
    }
}

/// Draws tokens from scores (logits or log-probabilities). The same seed and scores give the same tokens.
///
/// ```
/// use windlass::text::{Sampler, SamplerOptions};
///
/// let mut greedy = Sampler::new(SamplerOptions::default().temperature(0.0))?;
/// assert_eq!(greedy.sample(&[0.5, 2.0, -1.0])?, 1);
///
/// let mut sampler = Sampler::new(SamplerOptions::default().temperature(0.8).top_k(2).seed(7))?;
/// for _ in 0..100 {
///     assert_ne!(sampler.sample(&[0.5, 2.0, -1.0])?, 2); // not one of the two likeliest
/// }
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Debug)]
pub struct Sampler {
    options: SamplerOptions,
    random: ChaCha8Rng,
}

impl Sampler {
    /// A sampler.
    ///
    /// # Errors
    /// [`Error::Setting`] for a temperature below 0, infinite or NaN, or a `top_k` of 0.
    pub fn new(options: SamplerOptions) -> Result<Self, Error> {
        if !options.temperature.is_finite() || options.temperature < 0.0 {
            return Err(Error::setting("temperature", options.temperature, "at least 0, and finite"));
        }
        if options.top_k == Some(0) {
            return Err(Error::setting("top_k", 0, "at least 1"));
        }
        Ok(Sampler { options, random: stream(options.seed, Purpose::Text, 0, 2) })
    }

    /// Draws a token from a score for each.
    ///
    /// # Errors
    /// [`Error::Text`] for no scores, a NaN or +∞ among them, or only −∞.
    pub fn sample(&mut self, scores: &[f32]) -> Result<i32, Error> {
        let best = check(scores)?;
        let SamplerOptions { temperature, top_k, .. } = self.options;
        if temperature == 0.0 || top_k == Some(1) {
            return token(best);
        }
        let mut likeliest: Vec<usize> = (0..scores.len()).collect();
        if let Some(count) = top_k.filter(|count| *count < scores.len()) {
            // Of equal scores, the first ones are likelier.
            let later = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
            likeliest.select_nth_unstable_by(count - 1, later);
            likeliest.truncate(count);
            likeliest.sort_unstable();
        }
        // The likeliest has the weight 1, so that their sum neither vanishes nor overflows.
        let weight =
            |index: &usize| ((f64::from(scores[*index]) - f64::from(scores[best])) / temperature).exp();
        let weights = WeightedIndex::new(likeliest.iter().map(weight));
        let weights = weights.map_err(|_| TextError::Scores { problem: "have no finite weights" })?;
        token(likeliest[weights.sample(&mut self.random)])
    }
}

/// The position of the largest of some usable scores.
fn check(scores: &[f32]) -> Result<usize, TextError> {
    let wrong = |problem| Err(TextError::Scores { problem });
    match argmax(scores) {
        None if scores.is_empty() => wrong("are empty"),
        None => wrong("contain NaN"),
        Some(best) if scores[best] == f32::INFINITY => wrong("contain infinity"),
        Some(best) if scores[best] == f32::NEG_INFINITY => {
            wrong("are all minus infinity: no token is possible")
        }
        Some(best) => Ok(best),
    }
}

fn token(index: usize) -> Result<i32, Error> {
    i32::try_from(index).map_err(|_| TextError::TooManyTokens { tokens: index }.into())
}

/// The logarithms of the probabilities that rows of logits stand for: log-softmax, in double precision.
///
/// ```
/// use windlass::text::log_probabilities;
/// let rows = log_probabilities(&ndarray::array![[0.0, 0.0], [1000.0, 0.0]]);
/// assert_eq!(rows, ndarray::array![[-0.6931472, -0.6931472], [0.0, -1000.0]]);
/// ```
pub fn log_probabilities<S: Data<Elem = f32>>(logits: &ArrayBase<S, Ix2>) -> Array2<f32> {
    let mut result = logits.to_owned();
    for mut row in result.axis_iter_mut(Axis(0)) {
        let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = row.iter().map(|score| (f64::from(*score) - largest).exp()).sum();
        row.mapv_inplace(|score| (f64::from(score) - largest - sum.ln()) as f32);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORES: [f32; 5] = [0.0, 1.0, -1.0, 2.0, f32::NEG_INFINITY];

    /// The share of each token in many draws.
    fn shares(options: SamplerOptions) -> [f64; 5] {
        const DRAWS: u32 = 40_000;
        let mut sampler = Sampler::new(options).unwrap();
        let mut counts = [0u32; 5];
        for _ in 0..DRAWS {
            counts[sampler.sample(&SCORES).unwrap() as usize] += 1;
        }
        counts.map(|count| f64::from(count) / f64::from(DRAWS))
    }

    /// The probabilities of the likeliest tokens at a temperature.
    fn expected(temperature: f64, tokens: &[usize]) -> [f64; 5] {
        let mut weights = [0.0; 5];
        for &token in tokens {
            weights[token] = (f64::from(SCORES[token]) / temperature).exp();
        }
        let sum: f64 = weights.iter().sum();
        weights.map(|weight| weight / sum)
    }

    #[test]
    fn tokens_have_their_probabilities() {
        for (temperature, top_k, tokens) in [
            (1.0, None, &[0, 1, 2, 3][..]),
            (0.5, None, &[0, 1, 2, 3]),
            (3.0, Some(3), &[0, 1, 3]),
            (1.0, Some(2), &[1, 3]),
            (1.0, Some(99), &[0, 1, 2, 3]),
        ] {
            let got = shares(SamplerOptions::default().temperature(temperature).top_k(top_k).seed(5));
            for (got, expected) in got.into_iter().zip(expected(temperature, tokens)) {
                // Five standard deviations.
                let bound = 5.0 * (expected * (1.0 - expected) / 40_000.0).sqrt();
                assert!((got - expected).abs() <= bound, "{temperature}, {top_k:?}: {got}, not {expected}");
            }
        }
    }

    #[test]
    fn no_temperature_and_one_token_are_greedy() {
        for (temperature, top_k) in [(0.0, None), (0.0, Some(3)), (1.0, Some(1)), (1e-300, None)] {
            let mut sampler =
                Sampler::new(SamplerOptions::default().temperature(temperature).top_k(top_k).seed(0))
                    .unwrap();
            assert!((0..50).all(|_| sampler.sample(&SCORES).unwrap() == 3));
        }
        // Of equal scores, the first ones are among the likeliest.
        let mut sampler = Sampler::new(SamplerOptions::default().top_k(2)).unwrap();
        assert!((0..50).all(|_| sampler.sample(&[1.0; 6]).unwrap() < 2));
    }

    #[test]
    fn a_seed_repeats_its_draws() {
        let draws = |seed| {
            let mut sampler = Sampler::new(SamplerOptions::default().seed(seed)).unwrap();
            (0..64).map(|_| sampler.sample(&SCORES).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
    }

    #[test]
    fn mistakes_are_typed() {
        let new = |temperature, top_k| {
            Sampler::new(SamplerOptions::default().temperature(temperature).top_k(top_k).seed(0))
        };
        for (temperature, top_k) in [(-1.0, None), (f64::NAN, None), (f64::INFINITY, None), (1.0, Some(0))] {
            assert!(
                matches!(new(temperature, top_k), Err(Error::Setting { .. })),
                "{temperature}, {top_k:?}"
            );
        }
        let mut sampler = new(1.0, None).unwrap();
        for (scores, problem) in [
            (&[][..], "are empty"),
            (&[0.0, f32::NAN], "contain NaN"),
            (&[0.0, f32::INFINITY], "contain infinity"),
            (&[f32::NEG_INFINITY; 2], "are all minus infinity: no token is possible"),
        ] {
            let error = sampler.sample(scores).unwrap_err().to_string();
            assert_eq!(error, format!("the scores of the next token {problem}"));
        }
    }
}
