//! Compares a program's results with the interpreter in double precision, number by number, before it is timed.
//!
//! The interpreter takes some nanoseconds for each multiply-add, so large networks are compared on few samples. A
//! program is the same for all batch sizes; to check that it treats a larger batch in the same way, it is given the
//! same samples repeatedly, where that determines the result.

use std::error::Error;
use std::time::Instant;

use thiserror::Error;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{self, Bindings};
use windlass_compiler::ops::Op;
use windlass_compiler::ops::elementwise::{Unary, UnaryKind};
use windlass_compiler::plan::Accuracy;
use windlass_compiler::summary::summary;
use windlass_runtime::executor::Executor;

use super::task::{Bound, Kind, Task};

/// A wrong result.
#[derive(Debug, Error)]
pub(crate) enum Mismatch {
    /// A number differs too much.
    #[error(
        "wrong answer, so nothing is timed: {result}[{index}] is {got} but the interpreter finds {expected}; the bound \
         is {bound:e}"
    )]
    Element {
        /// The output, parameter or state.
        result: String,
        /// The element.
        index: usize,
        /// The program's result.
        got: f32,
        /// The interpreter's result.
        expected: f64,
        /// The allowed difference.
        bound: f64,
    },
    /// The changes of a parameter differ too much as a whole.
    #[error(
        "wrong answer, so nothing is timed: the changes of {result} are off by {error:e} of their size; the bound is \
         {bound:e}"
    )]
    Whole {
        /// The parameter or state.
        result: String,
        /// The difference.
        error: f64,
        /// The allowed difference.
        bound: f64,
    },
}

/// The allowed error of each number, relative to the largest of its output, or to the largest change of its parameter:
/// some roundings of f32, whose errors in a sum of n numbers grow like √n.
const TOLERANCE: f64 = 2e-5;

/// The minimum scale of a parameter's changes, as a fraction of the largest change of any parameter: before a normalisation,
/// or behind a gate, gradients are small differences of terms as large as those of other parameters.
const WHOLE: f64 = 1.0 / 64.0;

/// The allowed error of a parameter's changes as a whole (root mean square, relative to that of the changes), where
/// rounding may move some activations across a kink.
///
/// Rounding moves a few of many millions of activations across zero, or makes another element of a window the maximum.
/// Each time, one term of a gradient's sum changes: within rounding of the true loss, but far beyond rounding of the
/// gradient. A term is one of some hundred thousand with random signs, and so about 1/√100,000 of the sum.
const TOLERANCE_PAST_KINKS: f64 = 1e-2;

/// How much larger rounding errors may be if Winograd's algorithm is allowed: its worst transform, F(4×4, 5×5), rounds
/// five times as coarsely as a sum. So five times as many kinks are crossed, with random signs: the error of the
/// changes as a whole grows by the square root of five.
const WINOGRAD_ROUNDING: f64 = 5.0;

fn tolerance_past_kinks(accuracy: Accuracy) -> f64 {
    match accuracy {
        Accuracy::Strict => TOLERANCE_PAST_KINKS,
        _ => TOLERANCE_PAST_KINKS * WINOGRAD_ROUNDING.sqrt(),
    }
}

/// The maximum number of kinks of which, at one in some millions, none is expected to be crossed.
const FEW_KINKS: usize = 1 << 18;

/// Multiply-adds for the interpreter, unless even the minimum number of samples needs more.
const WORK: u64 = 2_000_000_000;

/// Multiply-adds that are allowed for a second sample.
const WORK_OF_TWO: u64 = 20_000_000_000;

/// The learning rate of the check: large enough that the changes of parameters are not lost in rounding.
const LEARNING_RATE: f32 = 1.0;

/// Compares a program with the interpreter of the task's graph, for use with a batch size. Reports long work on the
/// standard error.
///
/// # Errors
/// [`Mismatch`], or the reason why the graph does not run.
pub(crate) fn check(
    task: &Task,
    executor: &Executor,
    batch: usize,
    accuracy: Accuracy,
) -> Result<(), Box<dyn Error>> {
    let per_item = summary(&task.graph).totals.multiply_adds.max(1);
    // Gradients are summed over the batch, which a single sample would not show.
    let fewest = if task.kind == Kind::Train && 2 * per_item <= WORK_OF_TWO { 2 } else { 1 };
    let items = ((WORK / per_item) as usize).max(fewest).min(batch);
    let is_long = per_item * items as u64 > WORK;
    let name = task.graph.name();
    if is_long {
        eprintln!("{name}: comparing {items} of {batch} items with the interpreter, which takes a while …");
    }
    let start = Instant::now();
    let sources = task.sources(items, items, LEARNING_RATE);
    let expected = interpret(task, items, sources)?;
    compare(task, executor, &expected, items, items, accuracy)?;
    // With means over the batch, repeating the same samples gives the same loss and gradients.
    let is_determined =
        task.kind == Kind::Infer || (task.treats_items_alike() && batch.is_multiple_of(items));
    if batch > items && is_determined {
        compare(task, executor, &expected, items, batch, accuracy)?;
    }
    if is_long {
        eprintln!("{name}: right, after {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The elements of a sample at which the network has a kink: where it takes a sign or a maximum, or an activation that may
/// have one.
fn kinks(graph: &Graph) -> usize {
    let bends = |op: &Op| {
        matches!(op, Op::MaxPool(_) | Op::Unary(Unary { kind: UnaryKind::Relu | UnaryKind::Activation(_) }))
    };
    let nodes = graph.nodes().iter().filter(|node| bends(&node.op));
    nodes.map(|node| graph.ty(node.results[0]).shape.item_elements()).sum()
}

/// A result of the interpreter.
struct Expected {
    name: String,
    values: Vec<f64>,
    /// The old parameter or state; `None` for an output.
    before: Option<Vec<f64>>,
    /// Whether there is a value for each sample.
    per_item: bool,
}

impl Expected {
    /// The compared values: an output itself, or the change of a parameter.
    fn computed(&self) -> impl Iterator<Item = f64> {
        let before = self.before.iter().flatten().copied().chain(std::iter::repeat(0.0));
        self.values.iter().zip(before).map(|(value, before)| value - before)
    }

    /// The error of rounding a new value to f32, however small its change.
    fn rounding(&self) -> f64 {
        2.0 * f64::from(f32::EPSILON) * largest(self.values.iter().copied())
    }

    /// `smallest` is the minimum scale of changes.
    fn compare(&self, got: &[f32], past_kinks: Option<f64>, smallest: f64) -> Result<(), Mismatch> {
        let pairs = || got.iter().copied().zip(self.values.iter().copied().cycle());
        if let Some(tolerance) = past_kinks
            && self.before.is_some()
        {
            let mean_square = |sum: f64| sum / got.len() as f64;
            let error =
                mean_square(pairs().map(|(got, value)| (f64::from(got) - value).powi(2)).sum()).sqrt();
            let size = mean_square(self.computed().map(|change| change * change).sum()).sqrt();
            let bound = tolerance * size + self.rounding();
            // Written so that NaN fails.
            let is_close = error <= bound;
            return if is_close {
                Ok(())
            } else {
                Err(Mismatch::Whole { result: self.name.clone(), error: error / size, bound: tolerance })
            };
        }
        let smallest = if self.before.is_some() { smallest } else { 0.0 };
        let bound = TOLERANCE * largest(self.computed()).max(smallest) + self.rounding();
        let is_far = |(got, expected): (f32, f64)| {
            let is_close = (f64::from(got) - expected).abs() <= bound;
            !is_close
        };
        match pairs().enumerate().find(|(_, pair)| is_far(*pair)) {
            None => Ok(()),
            Some((index, (got, expected))) => {
                Err(Mismatch::Element { result: self.name.clone(), index, got, expected, bound })
            }
        }
    }
}

fn largest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |largest, value| largest.max(value.abs()))
}

fn interpret(task: &Task, items: usize, sources: Bindings<f32>) -> Result<Vec<Expected>, Box<dyn Error>> {
    let mut sources: Bindings<f64> =
        sources.into_iter().map(|(name, array)| (name, array.convert::<f64>())).collect();
    let outcome = interp::run(&task.graph, items, &sources)?;
    let outputs = task.graph.outputs().iter().map(|named| (named, &outcome.outputs[&named.name]));
    let updates = task.graph.updates().iter().map(|named| (named, &outcome.updates[&named.name]));
    let expected = outputs.chain(updates).map(|(named, array)| Expected {
        name: named.name.clone(),
        values: array.real().to_vec(),
        before: sources.remove(&named.name).map(|before| before.real().to_vec()),
        per_item: task.graph.ty(named.value).shape.is_batched(),
    });
    Ok(expected.collect())
}

fn compare(
    task: &Task,
    executor: &Executor,
    expected: &[Expected],
    items: usize,
    batch: usize,
    accuracy: Accuracy,
) -> Result<(), Box<dyn Error>> {
    let mut memory = Bound::new(executor, &task.sources(items, batch, LEARNING_RATE), batch)?;
    memory.run(executor)?;
    let results = memory.results();
    let past_kinks = (kinks(&task.graph) * items > FEW_KINKS).then(|| tolerance_past_kinks(accuracy));
    let changes = expected.iter().filter(|result| result.before.is_some());
    let smallest = WHOLE * changes.map(|result| largest(result.computed())).fold(0.0, f64::max);
    for result in expected {
        let name = &result.name;
        let got = results.get(name.as_str()).ok_or_else(|| format!("the program has no `{name}`"))?;
        let length = result.values.len() / items * batch;
        if got.len() != if result.per_item { length } else { result.values.len() } {
            return Err(format!("the program's `{name}` has {} elements", got.len()).into());
        }
        result.compare(got, past_kinks, smallest)?;
    }
    Ok(())
}
