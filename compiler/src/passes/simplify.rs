//! Algebraic identities that hold for every bit pattern: −0, infinities and NaN included.
//!
//! What only holds for most numbers is left alone. `x + 0` is such a case: it turns −0 into 0, so that only −0 is neutral
//! in a sum. So is `x · 0`, which is NaN for an infinite `x`. A NaN stays a NaN, though perhaps another one.

use std::collections::HashMap;

use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::structure::Reshape;
use crate::ops::{Elementwise, Move, Op, Operator, Role};
use crate::shape::Shape;

/// Applies, in one sweep, these identities:
///
/// - a reshape of a reshape is one reshape, and one to the same shape is nothing;
/// - a function of elements whose steps were unfolded from the batch is computed before they are, so that it stands next to
///   the product before it and may be fused with it;
/// - a slice of a whole axis and a concatenation of one value are nothing;
/// - multiplying or dividing by a constant of ones, subtracting one of zeros, and adding one of negative zeros are
///   nothing ([`Op::Scale`], [`Op::Bias`] and [`Op::Binary`]).
///
/// Operators that lose their users so are left to [`super::dce`].
///
/// # Errors
/// None for a valid graph.
pub fn simplify(graph: &Graph) -> Result<Graph, GraphError> {
    let mut result = Graph::new(graph.name());
    let mut values: HashMap<ValueId, ValueId> = HashMap::new();
    for node in graph.nodes() {
        if is_identity(graph, node) {
            values.insert(node.results[0], values[&node.operands[0]]);
        } else if let Op::Reshape(reshape) = &node.op {
            let value = reshape_from_origin(&mut result, reshape, values[&node.operands[0]], &node.label)?;
            values.insert(node.results[0], value);
        } else if let Some(value) = before_unfolding(&mut result, node, &values)? {
            values.insert(node.results[0], value);
        } else {
            result.copy_node(node, &mut values)?;
        }
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}

/// Whether the node's result is its first operand, bit for bit.
fn is_identity(graph: &Graph, node: &Node) -> bool {
    let all = |operand: usize, number: f32| is_constant_of(graph, node.operands[operand], number);
    match node.op.facts().role {
        Role::Elementwise(Elementwise { neutral, .. }) => neutral.is_some_and(|number| all(1, number)),
        Role::Move(Move::Part { .. } | Move::Join { .. }) => {
            node.operands.len() == 1 && graph.ty(node.operands[0]) == graph.ty(node.results[0])
        }
        Role::Move(Move::Reshape | Move::Copy)
        | Role::Source(_)
        | Role::Identity
        | Role::Product(_)
        | Role::LossGradient
        | Role::Other => false,
    }
}

/// Whether a value is a constant whose every element has the bits of `number`.
fn is_constant_of(graph: &Graph, value: ValueId, number: f32) -> bool {
    let Op::Constant(constant) = &graph.producer(value).op else { return false };
    constant.values.iter().all(|element| element.to_bits() == number.to_bits())
}

/// A function of elements of a value whose batch was unfolded into a batch and steps, computed before that and unfolded
/// behind; `None` for anything else.
fn before_unfolding(
    result: &mut Graph,
    node: &Node,
    values: &HashMap<ValueId, ValueId>,
) -> Result<Option<ValueId>, GraphError> {
    let Role::Elementwise(Elementwise { in_any_shape: true, .. }) = node.op.facts().role else {
        return Ok(None);
    };
    let operands: Vec<ValueId> = node.operands.iter().map(|operand| values[operand]).collect();
    let unfolded = |value: ValueId| {
        let producer = result.producer(value);
        let is_reshape = matches!(producer.op, Op::Reshape(_));
        let origin = producer.operands.first().copied().filter(|_| is_reshape)?;
        let [from, to] = [origin, value].map(|value| &result.ty(value).shape);
        (from.is_batched() && from.dims().first() != to.dims().first()).then(|| from.clone())
    };
    let Some(shape) = operands.iter().find_map(|&operand| unfolded(operand)) else { return Ok(None) };
    let after = result.ty(operands[0]).shape.clone();
    let mut folded = Vec::with_capacity(operands.len());
    for operand in operands {
        // A single number meets every element.
        let is_number = result.ty(operand).shape == Shape::scalar();
        folded.push(match is_number {
            true => operand,
            false => reshape_from_origin(result, &Reshape { shape: shape.clone() }, operand, &node.label)?,
        });
    }
    let value = result.add_single(node.op.clone(), &folded, &node.label)?;
    reshape_from_origin(result, &Reshape { shape: after }, value, &node.label).map(Some)
}

/// Reshapes what `x` was before it was itself reshaped. No chain is longer than one: earlier reshapes went this way too.
fn reshape_from_origin(
    result: &mut Graph,
    reshape: &Reshape,
    x: ValueId,
    label: &str,
) -> Result<ValueId, GraphError> {
    let producer = result.producer(x);
    let origin = if let Op::Reshape(_) = producer.op { producer.operands[0] } else { x };
    if result.ty(origin).shape == reshape.shape {
        return Ok(origin);
    }
    result.add_single(reshape.clone(), &[origin], label)
}
