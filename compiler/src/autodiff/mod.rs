//! Automatic differentiation, graph to graph: it adds backward and update nodes to the forward ones, so that one graph
//! is a whole training step.
//!
//! This module walks the graph and builds the training step; each operator's gradient is in `ops/<family>/gradient.rs`.
//! Differentiation precedes all passes: fused operators have no gradient. Gradients of convolutions and dense layers
//! have gradients themselves, because all three operators of each are products; gradients of other operators have none.

mod accumulation;
mod backward;
mod custom;
mod error;
mod evaluation;
mod frozen;
mod gradient_graph;
mod losses;
mod mode;
pub mod names;
mod options;
mod scan_dropout;
mod segments;
mod training;

pub use accumulation::{Accumulation, accumulation_graphs};
pub use backward::Backward;
pub use custom::{LossGraph, LossProblem};
pub use error::AutodiffError;
pub use evaluation::loss_graph;
pub use frozen::{UnknownName, nearest};
pub use gradient_graph::{GradientGraphOptions, gradient_graph};
pub use losses::class_axis;
pub use mode::training_mode;
pub use options::{Loss, Optimizer, OutputLoss, ParameterGroup, TrainingOptions};
pub use training::training_graph;

use crate::entity::ValueId;
use crate::graph::{Graph, Node};
use crate::ops::{Op, dispatch};

/// The gradient rule of an operator.
pub trait Differentiate {
    /// Adds the nodes that propagate gradients from a node's results to its operands.
    ///
    /// `gradients` holds the gradient with respect to each result, at least one of which is present. The returned list
    /// holds one for each operand, of the operand's type. `None`, or a missing entry at the end, is a gradient that is
    /// zero or that [`Backward::needs`] does not request.
    ///
    /// # Errors
    /// [`AutodiffError::NotDifferentiable`] if there is no rule.
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError>;
}

impl Differentiate for Op {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        dispatch!(self, op => op.gradient(backward, node, gradients))
    }
}

/// Adds the gradients of the scalar `of` with respect to some values and returns them in order. The graph's own values
/// keep their ids. A value that `of` does not depend on has a gradient of zeros.
///
/// ```
/// use windlass_compiler::autodiff::gradients;
/// use windlass_compiler::graph::Graph;
///
/// let graph: Graph = r#"graph square {
///   %0 = parameter {name = "w", shape = "[]", init = {constant = 3.0}}
///   %1 = unary(%0) {kind = "square"}
/// }"#
/// .parse()?;
/// let w = graph.source("w").ok_or("no w")?;
/// let square = graph.nodes()[1].results[0];
/// let (graph, to_w) = gradients(&graph, square, &[w])?;
/// assert_eq!(graph.ty(to_w[0]), graph.ty(w));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`AutodiffError::NotScalar`] if `of` is not a scalar, [`AutodiffError::TowardsIntegers`] and
/// [`AutodiffError::UnknownValue`] for values that cannot have a gradient, and the errors of the operators' rules.
pub fn gradients(
    graph: &Graph,
    of: ValueId,
    with_respect_to: &[ValueId],
) -> Result<(Graph, Vec<ValueId>), AutodiffError> {
    let (mut backward, found) = Backward::run(graph.clone(), of, with_respect_to)?;
    let mut gradients = Vec::with_capacity(found.len());
    for (&value, gradient) in with_respect_to.iter().zip(found) {
        gradients.push(match gradient {
            Some(gradient) => gradient,
            None => backward.zeros_like(value)?,
        });
    }
    Ok((backward.into_graph(), gradients))
}

/// The error for a node without a rule.
pub(crate) fn not_differentiable(node: &Node, towards: &'static str) -> AutodiffError {
    AutodiffError::NotDifferentiable { op: node.op.name(), label: node.label.clone(), towards }
}

/// Declares that operators have no gradient rule, and gives the reason.
macro_rules! no_gradient {
    ($($op:ident),* : $towards:literal) => {$(
        impl $crate::autodiff::Differentiate for $op {
            fn gradient(
                &self,
                _: &mut $crate::autodiff::Backward,
                node: &$crate::graph::Node,
                _: &[Option<$crate::entity::ValueId>],
            ) -> Result<Vec<Option<$crate::entity::ValueId>>, $crate::autodiff::AutodiffError> {
                Err($crate::autodiff::not_differentiable(node, $towards))
            }
        }
    )*};
}
pub(crate) use no_gradient;
