//! The expected results of a graph in double precision, which of them are exact, and the tolerance of each element
//! otherwise. `TOLERANCES.md` justifies all of it.

mod bounds;
mod exact;

use std::collections::BTreeMap;
use std::fmt;

use fastrand::Rng;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{Array, Bindings, Data, Evaluate, InterpError, run};
use windlass_compiler::ops::{Op, Rewrite};
use windlass_compiler::pass::Mode;
use windlass_compiler::plan::Accuracy;
use windlass_compiler::shape::Sizes;

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
    /// Every value in double precision.
    values: Vec<Array<f64>>,
    sizes: Vec<Vec<usize>>,
    exact: Vec<bool>,
    /// For each value, the maximum error of its operator.
    errors: Vec<Option<Vec<f64>>>,
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
        let open = sizes.clone();
        let sizes = values.iter().map(|value| value.sizes.clone()).collect();
        let mut exact = vec![true; values.len()];
        let mut errors = vec![None; values.len()];
        let folded = folded(graph, mode);
        for node in graph.nodes() {
            let operands: Vec<&Array<f64>> =
                node.operands.iter().map(|value| &values[value.index()]).collect();
            let Some(first) = node.results.first().map(|result| result.index()) else { continue };
            let results = &values[first..first + node.results.len()];
            let is_exact = node.operands.iter().all(|value| exact[value.index()])
                && !bounds::may_be_winograd(&node.op, accuracy)
                && !folded[first]
                && exact::is_exact(&node.op, &operands, results);
            exact[first..first + results.len()].fill(is_exact);
            if !is_exact {
                let of_results = bounds::local_errors(&node.op, &operands, results, accuracy);
                errors[first..first + results.len()].clone_from_slice(&of_results);
            }
        }
        let mut reference =
            Reference { graph, open, values, sizes, exact, errors, seed, expected: vec![], confirmed: false };
        reference.expected = reference.estimate(SAMPLES);
        Ok(reference)
    }

    /// The graph's values if every operator has its maximum error, up or down at random. Every second sample also
    /// rounds results to single precision, and the first one only does that: numbers that are equal in f32 are then
    /// equal, which decides argmax indices.
    fn sample(&self, index: usize, numbers: &mut Rng) -> Vec<Array<f64>> {
        let (moves, rounds) = (index > 0, index.is_multiple_of(2));
        let mut values: Vec<Array<f64>> = Vec::with_capacity(self.values.len());
        for node in self.graph.nodes() {
            let Some(first) = node.results.first().map(|result| result.index()) else { continue };
            let kept = first..first + node.results.len();
            if self.exact[first] || node.operands.is_empty() {
                values.extend_from_slice(&self.values[kept]);
                continue;
            }
            let operands: Vec<&Array<f64>> =
                node.operands.iter().map(|value| &values[value.index()]).collect();
            let mut results = node.op.at(&self.open).evaluate(&operands, &self.sizes[kept.clone()]);
            for (result, errors) in results.iter_mut().zip(&self.errors[kept]) {
                if let (Data::Real(values), Some(errors)) = (&mut result.data, errors) {
                    for (value, error) in values.iter_mut().zip(errors) {
                        if moves {
                            *value += if numbers.bool() { *error } else { -*error };
                        }
                        if rounds {
                            *value = f64::from(*value as f32);
                        }
                    }
                }
            }
            values.extend(results);
        }
        values
    }

    /// Every expected result, from this many samples.
    fn estimate(&self, samples: usize) -> Vec<Expected> {
        let named: Vec<_> = self.graph.outputs().iter().chain(self.graph.updates()).collect();
        let mut deviations: Vec<Vec<f64>> = named
            .iter()
            .map(|named| match self.exact[named.value.index()] {
                true => vec![],
                false => vec![0.0; self.values[named.value.index()].elements()],
            })
            .collect();
        let mut numbers = Rng::with_seed(self.seed);
        let samples = if deviations.iter().all(Vec::is_empty) { 0 } else { samples };
        for index in 0..samples {
            let values = self.sample(index, &mut numbers);
            for (named, deviations) in named.iter().zip(&mut deviations) {
                let pairs =
                    values[named.value.index()].real().iter().zip(self.values[named.value.index()].real());
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
                let values = self.values[named.value.index()].real().to_vec();
                let tolerance = (!self.exact[named.value.index()]).then(|| {
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

/// The products whose weights batch normalisation may be folded into, so that their sums have other terms.
fn folded(graph: &Graph, mode: Mode) -> Vec<bool> {
    let mut folded = vec![false; graph.value_count()];
    if mode == Mode::Training {
        return folded;
    }
    for node in graph.nodes().iter().rev() {
        let is_passed_on = matches!(node.op, Op::Bias(_) | Op::Dropout(_)) && folded[node.results[0].index()];
        if is_passed_on || matches!(node.op, Op::BatchNorm(_)) {
            folded[node.operands[0].index()] = true;
        }
    }
    folded
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
