//! Rewrites ReLU gradients to use another value than the ReLU's result, so that the result need not be kept.

use std::collections::HashMap;

use super::is_relu_grad;
use crate::entity::{NodeId, ValueId};
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::Op;

/// Applies two identities, which hold for every bit pattern:
///
/// - `relu_grad(max_pool_grad(g, argmax), y)` with the argmax indices of `max_pool(y)` is
///   `max_pool_grad(relu_grad(g, pooled), argmax)`: an element of `y` only gets gradients from windows whose maximum it
///   is, so `pooled` equals that element in all of them, even if it is NaN. Where `y` is at most 0, both sides are sums of zeros. A window whose
///   argmax has no value above −∞ has found −∞ there, or points into the padding, which is dropped.
/// - `relu_grad(dropout(g), y)` with the mask of `z = dropout(y)` is `relu_grad(dropout(g), z)`: dropped elements get
///   zero anyway, and the others are scaled by a factor of at least 1, which preserves signs and NaN. It is applied
///   where nothing else needs `y`; otherwise both `y` and `z` would be kept.
///
/// Pooled gradients are also smaller. A max pool may follow another, and a dropout may follow the pools. The operator
/// that routes the gradient must have the ReLU's gradient as its only user: the gradient of a value with several uses
/// is a sum, for which the identities do not hold.
///
/// # Errors
/// None for a valid graph.
pub fn release_relu(graph: &Graph) -> Result<Graph, GraphError> {
    let releases = find_releases(graph);
    let by_place: HashMap<NodeId, &Release> =
        releases.values().filter_map(|release| Some((release.before?, release))).collect();
    let mut result = Graph::new(graph.name());
    let mut values = HashMap::new();
    for (id, node) in graph.node_ids() {
        if let Some(release) = by_place.get(&id) {
            let gradient = release.add(graph, &mut result, &values)?;
            let operands = [gradient, values[&node.operands[1]]];
            let routed = result.add_single(node.op.clone(), &operands, &node.label)?;
            values.insert(node.results[0], routed);
        } else if let Some(release) = releases.get(&id) {
            let gradient = match release.before {
                Some(_) => values[&node.operands[0]],
                None => release.add(graph, &mut result, &values)?,
            };
            values.insert(node.results[0], gradient);
        } else {
            result.copy_node(node, &mut values)?;
        }
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}

/// A ReLU gradient to rewrite.
struct Release {
    /// The gradient's node.
    node: NodeId,
    /// The max-pooling gradient that it moves before; `None` if it stays.
    before: Option<NodeId>,
    /// Its new operands: the incoming gradient, and the value that replaces the ReLU's result.
    operands: [ValueId; 2],
}

impl Release {
    fn add(
        &self,
        from: &Graph,
        to: &mut Graph,
        values: &HashMap<ValueId, ValueId>,
    ) -> Result<ValueId, GraphError> {
        let node = from.node(self.node);
        to.add_single(node.op.clone(), &self.operands.map(|operand| values[&operand]), &node.label)
    }
}

fn find_releases(graph: &Graph) -> HashMap<NodeId, Release> {
    let only_users = graph.only_users();
    let uses = graph.use_counts();
    let dropouts = dropouts(graph);
    let mut releases = HashMap::new();
    for (id, node) in graph.node_ids().filter(|(_, node)| is_relu_grad(node)) {
        let y = node.operands[1];
        let mut release = Release { node: id, before: None, operands: [node.operands[0], y] };
        while only_users[release.operands[0].index()].is_some()
            && let Some(operands) = before_max_pool(graph, release.operands)
        {
            release.before = Some(graph.producer_id(release.operands[0]));
            release.operands = operands;
        }
        let [gradient, activation] = release.operands;
        // The dropout, and this gradient if it stays.
        let users = 1 + usize::from(activation == y);
        if uses[activation.index()] == users
            && let Some(dropped) = after_dropout(graph, &dropouts, release.operands)
            && graph.producer_id(dropped) < release.before.unwrap_or(id)
        {
            release.operands = [gradient, dropped];
        }
        if release.operands[1] != y {
            releases.insert(id, release);
        }
    }
    releases
}

/// For the gradient of a max pool of `activation`: the gradient before it, and the pool's result.
fn before_max_pool(graph: &Graph, [gradient, activation]: [ValueId; 2]) -> Option<[ValueId; 2]> {
    let routed = graph.producer(gradient);
    let Op::MaxPoolGrad(grad) = &routed.op else { return None };
    let pool = graph.producer(routed.operands[1]);
    let Op::MaxPool(forward) = &pool.op else { return None };
    let is_same = forward.window == grad.window && pool.operands[0] == activation;
    (is_same && graph.ty(gradient) == graph.ty(activation)).then_some([routed.operands[0], pool.results[0]])
}

/// The dropouts of each value, in order.
fn dropouts(graph: &Graph) -> HashMap<ValueId, Vec<&Node>> {
    let mut dropouts: HashMap<ValueId, Vec<&Node>> = HashMap::new();
    for node in graph.nodes() {
        if let Op::DropoutTraining(_) = node.op {
            dropouts.entry(node.operands[0]).or_default().push(node);
        }
    }
    dropouts
}

/// For the gradient of a dropout of `activation`: the dropout's result.
fn after_dropout(
    graph: &Graph,
    dropouts: &HashMap<ValueId, Vec<&Node>>,
    [gradient, activation]: [ValueId; 2],
) -> Option<ValueId> {
    let masked = graph.producer(gradient);
    let Op::DropoutTraining(_) = masked.op else { return None };
    let is_forward =
        |node: &&&Node| node.op == masked.op && node.operands == [activation, masked.operands[1]];
    let forward = dropouts.get(&activation)?.iter().find(is_forward)?;
    (graph.ty(gradient) == graph.ty(activation)).then_some(forward.results[0])
}
