//! The expected results of a graph in double precision, which of them are exact, and the tolerance of each element
//! otherwise. `TOLERANCES.md` justifies all of it.

mod analysis;
mod bounds;
mod exact;

use std::collections::BTreeMap;
use std::fmt;

use fastrand::Rng;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{Array, Bindings, InterpError, run};
use windlass_compiler::pass::Mode;
use windlass_compiler::plan::Accuracy;
use windlass_compiler::shape::Sizes;

use self::analysis::{Analysis, Changes, Context};
use crate::engines::Results;

/// The number of samples for estimating tolerances, and for confirming a disagreement.
const SAMPLES: usize = 6;
const CONFIRMING_SAMPLES: usize = 64;

/// A tolerance is this many times the largest deviation of an element …
const OF_ELEMENT: f64 = 3.0;
/// … plus this many times the mean deviation of its tensor, for elements that happened to change little in all samples.
const OF_TENSOR: f64 = 1.0;

/// The expected value of an output or update.
#[derive(Clone, Debug)]
struct Expected {
    name: String,
    values: Vec<f64>,
    /// The tolerance of each element; `None` if every bit must agree.
    tolerance: Option<Vec<f64>>,
}

/// A wrong element.
#[derive(Clone, Debug, PartialEq)]
pub struct Disagreement {
    /// The output, parameter or state.
    pub name: String,
    /// The element.
    pub index: usize,
    /// The actual value.
    pub got: f32,
    /// The expected value.
    pub expected: f64,
    /// Its tolerance; `None` if every bit must agree.
    pub tolerance: Option<f64>,
    /// The number of wrong elements of this result.
    pub wrong: usize,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Disagreement { name, index, got, expected, tolerance, wrong } = self;
        write!(f, "`{name}`[{index}] is {got:?} but must be {expected:?}")?;
        match tolerance {
            Some(tolerance) => write!(f, " ± {tolerance:.3e}")?,
            None => f.write_str(" exactly")?,
        }
        write!(f, " ({wrong} elements of it are wrong)")
    }
}

/// The numbers of elements by kind of comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Bit for bit.
    pub exact: u64,
    /// Within a tolerance.
    pub within: u64,
    /// Not compared: single precision may overflow.
    pub open: u64,
}

/// The expected results of a graph for one batch size.
#[derive(Debug)]
pub struct Reference<'g> {
    graph: &'g Graph,
    /// The open sizes.
    open: Sizes,
    analysis: Analysis,
    seed: u64,
    expected: Vec<Expected>,
    confirmed: bool,
}

impl<'g> Reference<'g> {
    /// Interprets a graph, and estimates the propagation of rounding errors.
    ///
    /// # Errors
    /// Those of the interpreter.
    pub fn new(
        graph: &'g Graph,
        mode: Mode,
        sizes: &Sizes,
        sources: &Bindings<f64>,
        accuracy: Accuracy,
        seed: u64,
    ) -> Result<Self, InterpError> {
        let values = run(graph, sizes, sources)?.values;
        let (context, open) = (Context { mode, accuracy, sizes }, sizes.clone());
        let analysis = Analysis::new(graph, values, None, context)?;
        let mut reference = Reference { graph, open, analysis, seed, expected: vec![], confirmed: false };
        reference.expected = reference.estimate(SAMPLES);
        Ok(reference)
    }

    /// Every expected result, from this many samples.
    fn estimate(&self, samples: usize) -> Vec<Expected> {
        let Analysis { values: known, exact, .. } = &self.analysis;
        let named: Vec<_> = self.graph.outputs().iter().chain(self.graph.updates()).collect();
        let mut deviations: Vec<Vec<f64>> = named
            .iter()
            .map(|named| match exact[named.value.index()] {
                true => vec![],
                false => vec![0.0; known[named.value.index()].elements()],
            })
            .collect();
        let mut numbers = Rng::with_seed(self.seed);
        let samples = if deviations.iter().all(Vec::is_empty) { 0 } else { samples };
        for index in 0..samples {
            let changes = Changes { moves: index > 0, rounds: index.is_multiple_of(2) };
            let values = self.analysis.sample(self.graph, &self.open, None, changes, &mut numbers);
            for (named, deviations) in named.iter().zip(&mut deviations) {
                let pairs = values[named.value.index()].real().iter().zip(known[named.value.index()].real());
                for (deviation, (moved, value)) in deviations.iter_mut().zip(pairs) {
                    let by = (moved - value).abs();
                    // NaN or infinity here: any result is allowed.
                    *deviation = if by.is_nan() { f64::INFINITY } else { deviation.max(by) };
                }
            }
        }
        named
            .into_iter()
            .zip(deviations)
            .map(|(named, deviations)| {
                let values = known[named.value.index()].real().to_vec();
                let tolerance = (!exact[named.value.index()]).then(|| {
                    let finite = deviations.iter().filter(|deviation| deviation.is_finite());
                    let mean = finite.sum::<f64>() / deviations.len().max(1) as f64;
                    deviations
                        .iter()
                        .zip(&values)
                        .map(|(deviation, value)| {
                            OF_ELEMENT * deviation + OF_TENSOR * mean + bounds::U * value.abs()
                        })
                        .collect()
                });
                Expected { name: named.name.clone(), values, tolerance }
            })
            .collect()
    }

    /// Compares results with the expected ones. A disagreement counts only after many samples.
    ///
    /// # Errors
    /// The first [`Disagreement`].
    pub fn judge(&mut self, results: &Results) -> Result<Compared, Box<Disagreement>> {
        let compared = self.compare(results);
        if compared.is_ok() || self.confirmed {
            return compared;
        }
        self.expected = self.estimate(CONFIRMING_SAMPLES);
        self.confirmed = true;
        self.compare(results)
    }

    fn compare(&self, results: &Results) -> Result<Compared, Box<Disagreement>> {
        let mut compared = Compared::default();
        for expected in &self.expected {
            let got = results.get(&expected.name).map_or(&[][..], Vec::as_slice);
            let mut found: Option<Disagreement> = None;
            for (index, &value) in expected.values.iter().enumerate() {
                let tolerance = expected.tolerance.as_ref().map(|tolerance| tolerance[index]);
                let got = got.get(index).copied().unwrap_or(f32::NAN);
                let agrees = match tolerance {
                    None => {
                        compared.exact += 1;
                        got.to_bits() == (value as f32).to_bits() || got.is_nan() && value.is_nan()
                    }
                    Some(tolerance) if !tolerance.is_finite() => {
                        compared.open += 1;
                        true
                    }
                    Some(_) if !value.is_finite() => {
                        compared.within += 1;
                        f64::from(got) == value || got.is_nan() && value.is_nan()
                    }
                    Some(tolerance) => {
                        compared.within += 1;
                        (f64::from(got) - value).abs() <= tolerance
                    }
                };
                if !agrees {
                    let disagreement = found.get_or_insert_with(|| Disagreement {
                        name: expected.name.clone(),
                        index,
                        got,
                        expected: value,
                        tolerance,
                        wrong: 0,
                    });
                    disagreement.wrong += 1;
                }
            }
            if let Some(disagreement) = found {
                return Err(Box::new(disagreement));
            }
        }
        Ok(compared)
    }
}

/// The interpreter's results in single precision: outputs and updates.
///
/// # Errors
/// Those of the interpreter.
pub fn interpret_single(
    graph: &Graph,
    sizes: &Sizes,
    sources: &Bindings<f64>,
) -> Result<Results, InterpError> {
    let bindings: Bindings<f32> =
        sources.iter().map(|(name, array)| (name.clone(), array.convert::<f32>())).collect();
    let outcome = run(graph, sizes, &bindings)?;
    Ok(results_of(outcome.outputs.into_iter().chain(outcome.updates)))
}

fn results_of(arrays: impl Iterator<Item = (String, Array<f32>)>) -> Results {
    arrays.map(|(name, array)| (name, array.real().to_vec())).collect::<BTreeMap<_, _>>()
}
