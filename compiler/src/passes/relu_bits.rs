//! Replaces a ReLU's result by a sign mask, if only the gradient of the ReLU would keep the result.

use std::collections::HashMap;

use super::is_relu_grad;
use crate::entity::{NodeId, ValueId};
use crate::error::GraphError;
use crate::graph::Graph;
use crate::ops::sign_mask::{MaskedSelect, SignMask};
use crate::ops::{Move, Operator, Role};

/// Turns `relu_grad(g, y)` into `masked_select(g, bits)` with `bits = sign_mask(y)`, computed next to `y`, if all other
/// readers of `y` run before the first gradient: from there on only the mask is kept.
///
/// Reshapes of `y` count as `y`. Values that are concatenated or are part of another value are left alone: others may
/// need the memory they share.
///
/// # Errors
/// None for a valid graph.
pub fn relu_bits(graph: &Graph) -> Result<Graph, GraphError> {
    let Some(backward) =
        graph.node_ids().find(|(_, node)| node.op.facts().role == Role::LossGradient).map(|(id, _)| id)
    else {
        return Ok(graph.clone());
    };
    let uses = Uses::of(graph, backward);
    let mut bits: HashMap<ValueId, Option<ValueId>> = graph
        .nodes()
        .iter()
        .filter(|node| is_relu_grad(node) && uses.are_replaceable(node.operands[1]))
        .map(|node| (node.operands[1], None))
        .collect();
    let mut result = Graph::new(graph.name());
    let mut values = HashMap::new();
    for node in graph.nodes() {
        if is_relu_grad(node)
            && let Some(&Some(bits)) = bits.get(&node.operands[1])
        {
            let operands = [values[&node.operands[0]], bits];
            let gradient = result.add_single(MaskedSelect {}, &operands, &node.label)?;
            values.insert(node.results[0], gradient);
            continue;
        }
        result.copy_node(node, &mut values)?;
        for value in &node.results {
            if let Some(made) = bits.get_mut(value) {
                *made = Some(result.add_single(SignMask {}, &[values[value]], &node.label)?);
            }
        }
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}

/// The readers of each value, and when they run.
struct Uses<'g> {
    graph: &'g Graph,
    /// The first node that computes a gradient.
    backward: NodeId,
    users: Vec<Vec<NodeId>>,
    /// Whether it is an output or an update.
    is_named: Vec<bool>,
}

impl<'g> Uses<'g> {
    fn of(graph: &'g Graph, backward: NodeId) -> Self {
        let mut users = vec![Vec::new(); graph.value_count()];
        for (id, node) in graph.node_ids() {
            node.operands.iter().for_each(|operand| users[operand.index()].push(id));
        }
        let mut is_named = vec![false; graph.value_count()];
        for named in graph.outputs().iter().chain(graph.updates()) {
            is_named[named.value.index()] = true;
        }
        Uses { graph, backward, users, is_named }
    }

    /// Whether a mask may replace a value and free its memory.
    fn are_replaceable(&self, y: ValueId) -> bool {
        let shares = match self.graph.producer(y).op.facts().role {
            Role::Source(_) | Role::Move(Move::Reshape | Move::Join { .. } | Move::Part { .. }) => true,
            Role::Move(Move::Copy)
            | Role::Identity
            | Role::Product(_)
            | Role::Elementwise(_)
            | Role::LossGradient
            | Role::Other => false,
        };
        let ty = self.graph.ty(y);
        let is_gradient = |id: NodeId| {
            let node = self.graph.node(id);
            is_relu_grad(node) && node.operands[0] != y && self.graph.ty(node.operands[0]) == ty
        };
        // Gradients of the value itself may come later; reads of its reshapes must not.
        let holds = |value: ValueId, id: NodeId| {
            id < self.backward || id > self.backward && value == y && is_gradient(id)
        };
        !shares && ty.shape.is_batched() && !ty.shape.has_open_item() && self.are_readers(y, holds)
    }

    /// Whether a predicate holds for a value and all its readers, and for its reshapes and their readers, and nothing
    /// else uses any of them.
    fn are_readers(&self, value: ValueId, holds: impl Fn(ValueId, NodeId) -> bool) -> bool {
        let mut pending = vec![value];
        while let Some(value) = pending.pop() {
            if self.is_named[value.index()] {
                return false;
            }
            for &id in &self.users[value.index()] {
                match self.graph.node(id).op.facts().role {
                    Role::Move(Move::Join { .. } | Move::Part { .. }) => return false,
                    Role::Move(Move::Reshape) => pending.push(self.graph.node(id).results[0]),
                    Role::Move(Move::Copy)
                    | Role::Source(_)
                    | Role::Identity
                    | Role::Product(_)
                    | Role::Elementwise(_)
                    | Role::LossGradient
                    | Role::Other => {
                        if !holds(value, id) {
                            return false;
                        }
                    }
                }
            }
        }
        true
    }
}
