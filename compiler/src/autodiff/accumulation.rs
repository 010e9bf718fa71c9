//! Builds a training step for batches in several parts: one graph sums gradients, another one updates the parameters.

use super::training::{Trained, differentiated, finished};
use super::{AutodiffError, TrainingOptions, names};
use crate::graph::Graph;
use crate::graph::initializer::Initializer;
use crate::ops::elementwise::{Binary, BinaryKind};
use crate::ops::source::{Constant, State};
use crate::shape::Shape;

/// The two graphs of a training step that accumulates gradients.
#[derive(Clone, Debug, PartialEq)]
pub struct Accumulation {
    /// Runs for each batch: forward and backward. It adds the gradients to the states [`names::accumulated`], and updates
    /// running statistics.
    pub gradients: Graph,
    /// Runs after the last of the batches: the update by the mean of the gradients, after which their sums are zeros again.
    /// It has no inputs but control inputs, and no batch.
    pub update: Graph,
}

/// A training step that updates the parameters once for `count` batches, by the mean of their gradients: that of one large
/// batch, if the batches are equally large and the network does not mix samples (batch normalisation does). Clipping, the
/// optimiser and running averages apply to the mean.
///
/// ```
/// use windlass_compiler::autodiff::{TrainingOptions, accumulation_graphs};
/// use windlass_compiler::graph::{Builder, Layer};
///
/// let mut builder = Builder::new("net");
/// let x = builder.input("x", &[4])?;
/// let y = builder.layer("f1", &Layer::linear(3), x)?;
/// builder.output("logits", y)?;
/// let step = accumulation_graphs(&builder.finish()?, &TrainingOptions::default(), 4)?;
/// assert_eq!(step.gradients.updates()[0].name, "optimizer.accumulated.f1.weight");
/// assert_eq!(step.update.updates()[0].name, "f1.weight");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Those of [`training_graph`](super::training_graph), and [`AutodiffError::Setting`] for a count of 0.
pub fn accumulation_graphs(
    graph: &Graph,
    options: &TrainingOptions,
    count: usize,
) -> Result<Accumulation, AutodiffError> {
    if count == 0 {
        let expected = "at least 1";
        return Err(AutodiffError::Setting { setting: "accumulate", value: 0.0, expected });
    }
    let (mut gradients, trained) = differentiated(graph, options)?;
    let mut update = Graph::new(graph.name());
    let factor = Constant { shape: Shape::scalar(), values: vec![(1.0 / count as f64) as f32] };
    let factor = update.add_single(factor, &[], "")?;
    let mut means = Vec::with_capacity(trained.len());
    let mut sums = Vec::with_capacity(trained.len());
    for Trained { value, name, gradient } in trained {
        let node = gradients.producer(value).clone();
        let state = State {
            name: names::accumulated(&name),
            shape: gradients.ty(value).shape.clone(),
            init: Initializer::ZEROS,
        };
        let before = gradients.add_single(state.clone(), &[], &node.label)?;
        let sum = gradients.add_single(Binary { kind: BinaryKind::Add }, &[before, gradient], &node.label)?;
        gradients.add_update(&state.name, sum)?;

        let value = update.add_single(node.op, &[], &node.label)?;
        let sum = update.add_single(state.clone(), &[], &node.label)?;
        let gradient =
            update.add_single(Binary { kind: BinaryKind::Multiply }, &[sum, factor], &node.label)?;
        means.push(Trained { value, name, gradient });
        sums.push((state.name, sum));
    }
    let mut update = finished(update, means, options)?;
    let zero = Constant { shape: Shape::scalar(), values: vec![0.0] };
    let zero = update.add_single(zero, &[], "")?;
    for (name, sum) in sums {
        // Zeros also where a sum is NaN.
        let label = update.producer(sum).label.clone();
        let zeros = update.add_single(Binary { kind: BinaryKind::ReluGrad }, &[sum, zero], &label)?;
        update.add_update(&name, zeros)?;
    }
    Ok(Accumulation { gradients, update })
}
