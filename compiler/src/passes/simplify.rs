//! Algebraic identities that hold for every bit pattern: −0, infinities and NaN included.
//!
//! What only holds for most numbers is left alone. `x + 0` is such a case: it turns −0 into 0, so that only −0 is neutral
//! in a sum. So is `x · 0`, which is NaN for an infinite `x`. A NaN stays a NaN, though perhaps another one.

use std::collections::HashMap;

use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::Op;
use crate::ops::elementwise::BinaryKind;
use crate::ops::structure::Reshape;

/// Applies, in one sweep, these identities:
///
/// - a reshape of a reshape is one reshape, and one to the same shape is nothing;
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
    match &node.op {
        Op::Slice(_) => graph.ty(node.operands[0]) == graph.ty(node.results[0]),
        Op::Concat(_) => node.operands.len() == 1,
        Op::Scale(_) => all(1, 1.0),
        Op::Bias(_) => all(1, -0.0),
        Op::Binary(binary) => match binary.kind {
            BinaryKind::Add => all(1, -0.0),
            BinaryKind::Subtract => all(1, 0.0),
            BinaryKind::Multiply | BinaryKind::Divide => all(1, 1.0),
            BinaryKind::ReluGrad | BinaryKind::SigmoidGrad | BinaryKind::TanhGrad => false,
        },
        _ => false,
    }
}

/// Whether a value is a constant whose every element has the bits of `number`.
fn is_constant_of(graph: &Graph, value: ValueId, number: f32) -> bool {
    match &graph.producer(value).op {
        Op::Constant(constant) => constant.values.iter().all(|element| element.to_bits() == number.to_bits()),
        _ => false,
    }
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
