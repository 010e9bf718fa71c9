//! Algebraic identities that hold for every bit pattern, including −0, infinities and NaN.
//!
//! Identities that hold only for most numbers are not applied. `x + 0` is one: it turns −0 into 0, so only −0 is
//! neutral in a sum. `x · 0` is another, because it is NaN for an infinite `x`. A NaN stays a NaN, perhaps with other
//! bits.

use std::collections::HashMap;

use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::structure::{Reshape, Transpose};
use crate::ops::{Elementwise, Move, Op, Operator, Role};
use crate::shape::Shape;

/// Applies these identities in one sweep:
///
/// - a reshape of a reshape is one reshape, and a reshape to the same shape is the identity; likewise transposes;
/// - an element-wise function of steps that were unfolded from the batch is computed before unfolding, so that it
///   follows the product and can be fused with it; a function of one value is also computed before a transpose;
/// - a slice of a whole axis and a concatenation of one value are the identity;
/// - multiplying or dividing by a constant of ones, subtracting one of zeros, and adding one of negative zeros are the
///   identity ([`Op::Scale`], [`Op::Bias`] and [`Op::Binary`]).
///
/// Operators that lose their users are left to [`super::dce`].
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
        } else if let Op::Transpose(transpose) = &node.op {
            let value =
                transpose_from_origin(&mut result, transpose, values[&node.operands[0]], &node.label)?;
            values.insert(node.results[0], value);
        } else if let Role::Elementwise(Elementwise { in_any_shape: true, .. }) = node.op.facts().role {
            let operands = node.operands.iter().map(|operand| values[operand]).collect();
            let value = elementwise(&mut result, &node.op, operands, &node.label)?;
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

/// Whether a value is a constant whose elements all have the bits of `number`.
fn is_constant_of(graph: &Graph, value: ValueId, number: f32) -> bool {
    let Op::Constant(constant) = &graph.producer(value).op else { return false };
    constant.values.iter().all(|element| element.to_bits() == number.to_bits())
}

/// Adds an element-wise function, before the transpose or the unfolding of the batch into batch and steps that its operand
/// comes from.
fn elementwise(
    result: &mut Graph,
    op: &Op,
    operands: Vec<ValueId>,
    label: &str,
) -> Result<ValueId, GraphError> {
    if let [operand] = operands[..]
        && let Op::Transpose(transpose) = result.producer(operand).op.clone()
    {
        let origin = result.producer(operand).operands[0];
        let value = elementwise(result, op, vec![origin], label)?;
        return transpose_from_origin(result, &transpose, value, label);
    }
    let unfolded = |value: ValueId| {
        let producer = result.producer(value);
        let is_reshape = matches!(producer.op, Op::Reshape(_));
        let origin = producer.operands.first().copied().filter(|_| is_reshape)?;
        let [from, to] = [origin, value].map(|value| &result.ty(value).shape);
        (from.is_batched() && from.dims().first() != to.dims().first()).then(|| from.clone())
    };
    let Some(shape) = operands.iter().find_map(|&operand| unfolded(operand)) else {
        return result.add_single(op.clone(), &operands, label);
    };
    let after = result.ty(operands[0]).shape.clone();
    let mut folded = Vec::with_capacity(operands.len());
    for operand in operands {
        // A scalar is broadcast to every element.
        let is_scalar = result.ty(operand).shape == Shape::scalar();
        folded.push(match is_scalar {
            true => operand,
            false => reshape_from_origin(result, &Reshape { shape: shape.clone() }, operand, label)?,
        });
    }
    let value = result.add_single(op.clone(), &folded, label)?;
    reshape_from_origin(result, &Reshape { shape: after }, value, label)
}

/// Transposes the value that `x` is a transpose of.
fn transpose_from_origin(
    result: &mut Graph,
    transpose: &Transpose,
    x: ValueId,
    label: &str,
) -> Result<ValueId, GraphError> {
    let producer = result.producer(x);
    let (origin, order) = match &producer.op {
        // Axis i of the result is an axis of `x`, which is an axis of the origin.
        Op::Transpose(before) => {
            (producer.operands[0], transpose.order.iter().map(|&axis| before.order[axis]).collect())
        }
        _ => (x, transpose.order.clone()),
    };
    if order.iter().copied().eq(0..order.len()) {
        return Ok(origin);
    }
    result.add_single(Transpose { order }, &[origin], label)
}

/// Reshapes the value that `x` is a reshape of. Chains are never longer than one, because earlier reshapes went this
/// way too.
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
