//! Fuses the element-wise operators after a product or a batch normalisation (bias, residual sum, activation) into it
//! as an epilogue, which is applied while results are in registers.

use std::collections::{HashMap, HashSet};

use crate::entity::{NodeId, ValueId};
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::epilogue::EpilogueStep;
use crate::ops::{Elementwise, Op, Operator, Rewrite, Role};

/// Moves the chain of [`Op::Bias`], activations and sums of two equal shapes after a convolution, its gradient to the
/// input, a dense layer or a batch normalisation into its epilogue, as long as every intermediate value has a single
/// use.
///
/// A sum directly after a gradient to an input is left alone: in a training step it adds up the gradients of a value
/// with several uses, and is computed in place of one of them.
///
/// The fused node takes the position of the last operator of its chain, where every operand of the chain exists. A
/// chain ends before another result of the node is used. If two operators feed the same sum, the later one takes it, so
/// that it keeps its position.
///
/// This also works in training: the gradients of activations read the activation's result, which is the fused node's,
/// and never the intermediate values. A value that a gradient does read has a second use and ends its chain.
///
/// # Errors
/// None for a valid graph.
pub fn fuse_epilogue(graph: &Graph) -> Result<Graph, GraphError> {
    let (chains, fused) = find_chains(graph);
    let mut result = Graph::new(graph.name());
    let mut values = HashMap::new();
    for (id, node) in graph.node_ids() {
        if let Some(chain) = chains.get(&id) {
            let operands: Vec<ValueId> = chain.operands.iter().map(|operand| values[operand]).collect();
            let results = result.add(chain.op.clone(), &operands, &chain.label)?;
            values.insert(node.results[0], results[0]);
            values.extend(chain.others.iter().copied().zip(results[1..].iter().copied()));
        } else if !fused.contains(&id) {
            result.copy_node(node, &mut values)?;
        }
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}

/// An operator with its whole epilogue.
struct Chain {
    op: Op,
    operands: Vec<ValueId>,
    /// Its results except the first.
    others: Vec<ValueId>,
    label: String,
}

/// The chains by their last node, and the nodes that they replace.
fn find_chains(graph: &Graph) -> (HashMap<NodeId, Chain>, HashSet<NodeId>) {
    let only_users = graph.only_users();
    let first_users = first_users(graph);
    let mut chains = HashMap::new();
    let mut fused = HashSet::new();
    // The later of two operators chooses first.
    for (id, product) in graph.node_ids().rev() {
        if product.op.epilogue().is_none() {
            continue;
        }
        let mut steps = Vec::new();
        let mut operands = product.operands.clone();
        let mut path = vec![id];
        let mut value = product.results[0];
        let others = &product.results[1..];
        let is_gradient = matches!(product.op, Op::ConvGradInput(_));
        let end = others.iter().filter_map(|value| first_users[value.index()]).min();
        while let Some(user) = only_users[value.index()]
            && !fused.contains(&user)
            && !chains.contains_key(&user)
            && end.is_none_or(|end| user < end)
            && let Some((step, operand)) = epilogue_step(graph, graph.node(user), value)
            && !(is_gradient && steps.is_empty() && step == EpilogueStep::Add)
        {
            steps.push(step);
            operands.extend(operand);
            path.push(user);
            value = graph.node(user).results[0];
        }
        if let [inner @ .., last] = &path[..]
            && !inner.is_empty()
        {
            fused.extend(inner);
            let mut op = product.op.clone();
            op.epilogue_mut().into_iter().for_each(|epilogue| epilogue.extend_from_slice(&steps));
            chains
                .insert(*last, Chain { op, operands, others: others.to_vec(), label: product.label.clone() });
        }
    }
    (chains, fused)
}

/// The first user of each value.
fn first_users(graph: &Graph) -> Vec<Option<NodeId>> {
    let mut users = vec![None; graph.value_count()];
    for (id, node) in graph.node_ids() {
        for operand in &node.operands {
            users[operand.index()].get_or_insert(id);
        }
    }
    users
}

/// The epilogue step for an operator on `value`, and the step's operand.
fn epilogue_step(graph: &Graph, node: &Node, value: ValueId) -> Option<(EpilogueStep, Option<ValueId>)> {
    let Role::Elementwise(Elementwise { step: Some(step), .. }) = node.op.facts().role else { return None };
    if !step.takes_operand() {
        return Some((step, None));
    }
    let other = if node.operands[0] == value { node.operands[1] } else { node.operands[0] };
    // The second operand of a sum may be a single number, which no step takes.
    let fits = step == EpilogueStep::Bias || graph.ty(other) == graph.ty(value);
    fits.then_some((step, Some(other)))
}
