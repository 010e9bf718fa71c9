//! Moves average pooling before pointwise convolutions, which then compute fewer pixels.

use std::collections::{HashMap, HashSet};

use crate::entity::{NodeId, ValueId};
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::Op;
use crate::ops::conv::ConvGradInput;
use crate::ops::pool::AvgPool;
use crate::ops::window::Window;
use crate::shape::Dim;

/// Applies four identities. For an average pool `P` without padding, a convolution `W` with a kernel size of 1 and the
/// transposed maps `Pᵀ` and `Wᵀ` (the gradients to the inputs):
///
/// - `P(W·x + b)` is `W·P(x) + b`, because both are linear, one over pixels and the other over channels;
/// - `Wᵀ·Pᵀ(g)` is `Pᵀ(Wᵀ·g)`;
/// - the gradient to the weight from `Pᵀ(g)` and `x` is that from `g` and `P(x)`;
/// - the gradient to the bias, the sum of `Pᵀ(g)` over pixels, is that of `g`.
///
/// Pooling 2×2 before instead of after the convolution, as in the transitions of DenseNet, leaves a quarter of the
/// products. Rounding changes; the pool's window must have a power of two of elements, so that the mean of integers
/// is exact wherever their sum is. The forward identity requires that nothing else needs the values between.
///
/// The pass runs before [`super::fuse_epilogue`], since it handles only products without an epilogue, and before
/// [`super::dce`], which removes the pools' gradients that nothing needs any more.
///
/// # Errors
/// None for a valid graph.
pub fn pool_first(graph: &Graph) -> Result<Graph, GraphError> {
    let (pools, moved) = find_pools(graph);
    let mut result = Graph::new(graph.name());
    let mut values = HashMap::new();
    for (id, node) in graph.node_ids() {
        let value = match (pools.get(&id), &node.op) {
            (Some(forward), _) => forward.emit(&mut result, node, &values)?,
            _ if moved.contains(&id) => continue,
            (None, _) => match backward(graph, &mut result, node, &values)? {
                Some(value) => value,
                None => {
                    result.copy_node(node, &mut values)?;
                    continue;
                }
            },
        };
        values.insert(node.results[0], value);
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}

/// A convolution whose results are pooled.
struct Forward<'a> {
    conv: &'a Node,
    /// The bias between convolution and pool, if there is one.
    bias: Option<&'a Node>,
}

impl Forward<'_> {
    /// Adds the pool, the convolution and the bias in this order.
    fn emit(
        &self,
        result: &mut Graph,
        pool: &Node,
        values: &HashMap<ValueId, ValueId>,
    ) -> Result<ValueId, GraphError> {
        let [x, weight] = [0, 1].map(|index: usize| values[&self.conv.operands[index]]);
        let pooled = result.add_single(pool.op.clone(), &[x], &pool.label)?;
        let product = result.add_single(self.conv.op.clone(), &[pooled, weight], &self.conv.label)?;
        match self.bias {
            Some(bias) => {
                result.add_single(bias.op.clone(), &[product, values[&bias.operands[1]]], &bias.label)
            }
            None => Ok(product),
        }
    }
}

/// The pools to move, and the nodes that they move before.
fn find_pools(graph: &Graph) -> (HashMap<NodeId, Forward<'_>>, HashSet<NodeId>) {
    let only_users = graph.only_users();
    let mut pools = HashMap::new();
    let mut moved = HashSet::new();
    for (id, conv) in graph.node_ids() {
        let Op::Conv(op) = &conv.op else { continue };
        let Some(mut user) = only_users[conv.results[0].index()] else { continue };
        let mut path = vec![id];
        let mut bias = None;
        if let Op::Bias(_) = graph.node(user).op {
            path.push(user);
            bias = Some(graph.node(user));
            let Some(next) = only_users[graph.node(user).results[0].index()] else { continue };
            user = next;
        }
        let Op::AvgPool(pool) = &graph.node(user).op else { continue };
        let [inputs, outputs] = [conv.operands[0], conv.results[0]].map(|value| channels(graph, value));
        let sizes = sizes(graph, conv.operands[0]);
        if op.epilogue.is_empty() && pays(&op.window, (op.groups, inputs, outputs), &pool.window, sizes) {
            pools.insert(user, Forward { conv, bias });
            moved.extend(path);
        }
    }
    (pools, moved)
}

/// Adds the nodes that replace the gradient of a pooled convolution or bias; `None` if the node is no such gradient.
fn backward(
    graph: &Graph,
    result: &mut Graph,
    node: &Node,
    values: &HashMap<ValueId, ValueId>,
) -> Result<Option<ValueId>, GraphError> {
    let Some(&pooled) = node.operands.first() else { return Ok(None) };
    let unpool = graph.producer(pooled);
    let Op::AvgPoolGrad(grad) = &unpool.op else { return Ok(None) };
    let g = values[&unpool.operands[0]];
    let sizes = sizes(graph, pooled);
    let outputs = channels(graph, pooled);
    match &node.op {
        Op::ConvGradInput(op) => {
            let inputs = channels(graph, node.results[0]);
            if !op.epilogue.is_empty() || !pays(&op.window, (op.groups, inputs, outputs), &grad.window, sizes)
            {
                return Ok(None);
            }
            let input_sizes = graph.ty(unpool.operands[0]).shape.dims()[2..].iter().map(Dim::polynomial);
            let product = ConvGradInput { input_sizes: input_sizes.collect(), ..op.clone() };
            let product = result.add_single(product, &[g, values[&node.operands[1]]], &node.label)?;
            result.add_single(grad.clone(), &[product], &unpool.label).map(Some)
        }
        Op::ConvGradWeight(op) => {
            let inputs = channels(graph, node.operands[1]);
            if !pays(&op.window, (op.groups, inputs, outputs), &grad.window, sizes) {
                return Ok(None);
            }
            let pool = AvgPool { window: grad.window.clone() };
            let pooled = result.add_single(pool, &[values[&node.operands[1]]], &unpool.label)?;
            result.add_single(op.clone(), &[g, pooled], &node.label).map(Some)
        }
        Op::SumChannels(op) if is_exact(&grad.window) && grad.window.axes() > 1 => {
            result.add_single(*op, &[g], &node.label).map(Some)
        }
        _ => Ok(None),
    }
}

/// Whether the mean of integers is exact wherever their sum is.
fn is_exact(pool: &Window) -> bool {
    !pool.is_padded() && pool.elements().is_power_of_two()
}

/// Whether the identities hold for a convolution from `inputs` to `outputs` channels in groups, and pooling images of
/// these sizes first needs fewer operations. Sequences are left alone, so that their bits do not depend on whether their
/// length is open.
fn pays(
    conv: &Window,
    (groups, inputs, outputs): (usize, usize, usize),
    pool: &Window,
    sizes: Option<Vec<usize>>,
) -> bool {
    let ones = |sizes: &[usize]| sizes.iter().all(|&size| size == 1);
    let is_pointwise = ones(&conv.kernel_size) && ones(&conv.stride) && !conv.is_padded();
    let is_image = conv.axes() > 1;
    let Some(sizes) = sizes.filter(|_| is_pointwise && is_image && is_exact(pool)) else { return false };
    let count = |sizes: &[usize]| sizes.iter().map(|&size| size as u128).product::<u128>();
    let (before, after) = (count(&sizes), count(&pool.output_sizes(&sizes)));
    let product = 2 * (inputs * outputs / groups) as u128;
    let window = pool.elements() as u128;
    after * (window * inputs as u128 + product) < before * product + after * window * outputs as u128
}

/// The channels of a value `[N, C, …]`.
fn channels(graph: &Graph, value: ValueId) -> usize {
    graph.ty(value).shape.item()[0]
}

/// The spatial sizes of a value `[N, C, …]`, if all are fixed.
fn sizes(graph: &Graph, value: ValueId) -> Option<Vec<usize>> {
    graph.ty(value).shape.dims()[2..].iter().map(Dim::fixed).collect()
}
