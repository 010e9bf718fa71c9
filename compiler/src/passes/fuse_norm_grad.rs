//! Fuses the gradient of an activation into the gradient of the batch normalisation before the activation.

use std::collections::HashMap;

use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::Op;
use crate::ops::batch_norm::BatchNormGrad;
use crate::ops::elementwise::{BinaryKind, UnaryKind};

/// Computes the gradient of `activation(batch_norm(x))` with one operator, which normalises `x` again instead of reading
/// the activation's result or its operand, and never writes the gradient between both. Both kernels of a normalisation's
/// gradient read all elements, so this saves three passes over memory, and two more in the forward pass if the
/// activation's operand is no longer needed.
///
/// The gradient between both must have no other user: if it also goes to a residual connection, it is left alone.
///
/// The pass runs before [`super::release_relu`] and [`super::relu_bits`], which handle the activations that remain, and
/// before [`super::dce`], which removes the gradients that are fused.
///
/// # Errors
/// None for a valid graph.
pub fn fuse_norm_grad(graph: &Graph) -> Result<Graph, GraphError> {
    let only_users = graph.only_users();
    let mut result = Graph::new(graph.name());
    let mut values = HashMap::new();
    for (_, node) in graph.node_ids() {
        let fused = fusion(graph, node).filter(|_| only_users[node.operands[0].index()].is_some());
        let Some(Fusion { activation, g, beta }) = fused else {
            result.copy_node(node, &mut values)?;
            continue;
        };
        let operands = [&[g], &node.operands[1..], &[beta]].concat();
        let operands: Vec<ValueId> = operands.iter().map(|operand| values[operand]).collect();
        let results = result.add(BatchNormGrad { activation: Some(activation) }, &operands, &node.label)?;
        values.extend(node.results.iter().copied().zip(results));
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}

/// The activation before a normalisation's gradient.
struct Fusion {
    activation: UnaryKind,
    /// The gradient to the activation's result.
    g: ValueId,
    /// The last operand of the normalisation.
    beta: ValueId,
}

/// The activation that the gradient of a normalisation may include.
fn fusion(graph: &Graph, node: &Node) -> Option<Fusion> {
    let Op::BatchNormGrad(BatchNormGrad { activation: None }) = node.op else { return None };
    let [gradient, x, gamma, mean, inverse] = node.operands[..] else { return None };
    let slope = graph.producer(gradient);
    let Op::Binary(binary) = &slope.op else { return None };
    let [g, at] = slope.operands[..] else { return None };
    let (activation, normalised) = activation(graph, binary.kind, at)?;
    let norm = graph.producer(normalised);
    let Op::BatchNormTraining(op) = &norm.op else { return None };
    let is_same = norm.operands[..2] == [x, gamma]
        && norm.results[..3] == [normalised, mean, inverse]
        && op.epilogue.is_empty()
        && graph.ty(g) == graph.ty(x);
    is_same.then(|| Fusion { activation, g, beta: norm.operands[2] })
}

/// The activation whose slope at `at` a kind of gradient multiplies by, and its operand.
fn activation(graph: &Graph, kind: BinaryKind, at: ValueId) -> Option<(UnaryKind, ValueId)> {
    if let Op::Unary(unary) = &graph.producer(at).op
        && unary.kind.gradient() == Some((kind, true))
    {
        return Some((unary.kind, graph.producer(at).operands[0]));
    }
    match kind {
        BinaryKind::ActivationGrad(activation) if !activation.slope_takes_result() => {
            Some((UnaryKind::Activation(activation), at))
        }
        _ => None,
    }
}
