//! Refuses to time a wrong answer: what a program computes is compared with the interpreter in double precision, number
//! by number.
//!
//! The interpreter takes about a nanosecond for each multiply-add, so large networks are compared on few items. A
//! program is the same for all batch sizes; that it treats a larger batch as it treats the few is checked by giving it
//! the same items over and over, where that determines the answer.

use std::error::Error;
use std::time::Instant;

use thiserror::Error;
use windlass_compiler::interp::{self, Bindings};
use windlass_compiler::summary::summary;
use windlass_runtime::executor::Executor;

use super::task::{Bound, Kind, Task};

/// A wrong answer.
#[derive(Debug, Error)]
#[error(
    "wrong answer, so nothing is timed: {result}[{index}] is {got} but the interpreter finds {expected}; the bound is \
     {bound:e}"
)]
pub(crate) struct Mismatch {
    /// The output, parameter or state.
    result: String,
    /// The element.
    index: usize,
    /// What the program computed.
    got: f32,
    /// What the interpreter computed.
    expected: f64,
    /// How far apart they may be.
    bound: f64,
}

/// How far results may lie from exact ones, relative to the largest of an output or of the changes of a parameter: some
/// roundings of f32, whose errors in sums of n numbers grow like √n. Gradients lie further off: where the forward pass
/// lands on the other side of a kink, single terms of their sums differ.
fn tolerance(kind: Kind) -> f64 {
    match kind {
        Kind::Infer => 2e-5,
        Kind::Train => 1e-3,
    }
}

/// Multiply-adds that the interpreter is given unless even the fewest items take more.
const WORK: u64 = 2_000_000_000;

/// Multiply-adds that it is given for a second item.
const WORK_OF_TWO: u64 = 20_000_000_000;

/// The learning rate of the check: the changes of parameters are of their own size and not lost in rounding.
const LEARNING_RATE: f32 = 1.0;

/// Compares a program with the interpreter of the task's graph, for use at a batch size. Says on standard error what
/// takes long.
///
/// # Errors
/// [`Mismatch`], or what keeps the graph from running.
pub(crate) fn check(task: &Task, executor: &Executor, batch: usize) -> Result<(), Box<dyn Error>> {
    let per_item = summary(&task.graph).totals.multiply_adds.max(1);
    // Gradients are summed over the batch, which one item would not show.
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
    compare(task, executor, &expected, items, items)?;
    // With means over the batch, a multiple of the same items has the same loss and the same gradients.
    let is_determined =
        task.kind == Kind::Infer || (task.treats_items_alike() && batch.is_multiple_of(items));
    if batch > items && is_determined {
        compare(task, executor, &expected, items, batch)?;
    }
    if is_long {
        eprintln!("{name}: right, after {:.0} s", start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// A result of the interpreter.
struct Expected {
    name: String,
    values: Vec<f64>,
    /// The largest element, or the largest change.
    scale: f64,
    /// The largest value that rounds to f32.
    magnitude: f64,
    /// Whether there is a value for each item.
    per_item: bool,
}

fn interpret(task: &Task, items: usize, sources: Bindings<f32>) -> Result<Vec<Expected>, Box<dyn Error>> {
    let sources: Bindings<f64> =
        sources.into_iter().map(|(name, array)| (name, array.convert::<f64>())).collect();
    let outcome = interp::run(&task.graph, items, &sources)?;
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, |a: f64, b| a.max(b.abs()));
    let outputs = task.graph.outputs().iter().map(|named| (named, &outcome.outputs[&named.name]));
    let updates = task.graph.updates().iter().map(|named| (named, &outcome.updates[&named.name]));
    let mut expected = Vec::new();
    for (named, array) in outputs.chain(updates) {
        let values = array.real().to_vec();
        let magnitude = largest(&mut values.iter().copied());
        let scale = match sources.get(&named.name) {
            Some(old) => largest(&mut values.iter().zip(old.real()).map(|(new, old)| new - old)),
            None => magnitude,
        };
        let per_item = task.graph.ty(named.value).shape.is_batched();
        expected.push(Expected { name: named.name.clone(), values, scale, magnitude, per_item });
    }
    Ok(expected)
}

fn compare(
    task: &Task,
    executor: &Executor,
    expected: &[Expected],
    items: usize,
    batch: usize,
) -> Result<(), Box<dyn Error>> {
    let mut memory = Bound::new(executor, &task.sources(items, batch, LEARNING_RATE), batch)?;
    memory.run(executor)?;
    let results = memory.results();
    for Expected { name, values, scale, magnitude, per_item } in expected {
        let got = results.get(name.as_str()).ok_or_else(|| format!("the program has no `{name}`"))?;
        let repeats = if *per_item { batch.div_ceil(items) } else { 1 };
        assert_eq!(got.len().div_ceil(values.len()), repeats, "{name}");
        let bound = tolerance(task.kind) * scale + 2.0 * f64::from(f32::EPSILON) * magnitude;
        for (index, (&got, &expected)) in got.iter().zip(values.iter().cycle()).enumerate() {
            let is_close = (f64::from(got) - expected).abs() <= bound;
            // Also false for a NaN.
            if !is_close {
                return Err(Mismatch { result: name.clone(), index, got, expected, bound }.into());
            }
        }
    }
    Ok(())
}
