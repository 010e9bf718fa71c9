//! Folds batch normalisation with running statistics into the preceding product. For inference only: in training the
//! parameters, and so the folded weights, change in every step.

use std::collections::{HashMap, HashSet};

use crate::entity::{NodeId, ValueId};
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::batch_norm::BatchNorm;
use crate::ops::elementwise::{Bias, Binary, BinaryKind, Scale, Unary, UnaryKind};
use crate::ops::source::Constant;
use crate::ops::{Op, Operator, Product, Rewrite, Role};
use crate::shape::Shape;

/// Replaces a convolution or dense layer `W·x + b` whose only user is a [`BatchNorm`] by one with other weights. With
/// `s = γ / √(variance + ε)`, one scalar per output channel,
///
/// `((W·x + b) − mean)·s + β  =  (s·W)·x + (β + (b − mean)·s)`.
///
/// The new weight and bias are computed by graph nodes from parameters and states only: the program computes them once,
/// when it loads its parameters. Groups need no special care, because `s` scales whole rows of the weight, each of
/// which belongs to one output channel. Rounding changes, so results agree within rounding but not bit for bit.
///
/// Only products without an epilogue fold; the pass runs before [`super::fuse_epilogue`].
///
/// # Errors
/// None for a valid graph.
pub fn fold_batch_norm(graph: &Graph) -> Result<Graph, GraphError> {
    let (folds, fused) = find_folds(graph);
    let mut result = Graph::new(graph.name());
    let mut values = HashMap::new();
    for (id, node) in graph.node_ids() {
        if let (Some(fold), Op::BatchNorm(norm)) = (folds.get(&id), &node.op) {
            let value = emit(&mut result, fold, norm, node, &values)?;
            values.insert(node.results[0], value);
        } else if !fused.contains(&id) {
            result.copy_node(node, &mut values)?;
        }
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}

/// The product that a batch normalisation folds into.
struct Fold<'a> {
    product: &'a Node,
    /// The bias operator between product and normalisation, if any.
    bias: Option<&'a Node>,
}

/// The foldable normalisations by node, and the nodes that they replace.
fn find_folds(graph: &Graph) -> (HashMap<NodeId, Fold<'_>>, HashSet<NodeId>) {
    let only_users = graph.only_users();
    let only_user = |node: &Node| only_users[node.results[0].index()];
    let mut folds = HashMap::new();
    let mut fused = HashSet::new();
    for (id, product) in graph.node_ids() {
        let is_layer = product.op.facts().role == Role::Product(Product::ByRows);
        if !is_layer || !product.op.epilogue().is_some_and(<[_]>::is_empty) {
            continue;
        }
        let Some(mut user) = only_user(product) else { continue };
        let mut path = vec![id];
        let mut bias = None;
        if let Op::Bias(_) = graph.node(user).op {
            path.push(user);
            bias = Some(graph.node(user));
            let Some(next) = only_user(graph.node(user)) else { continue };
            user = next;
        }
        if let Op::BatchNorm(norm) = &graph.node(user).op
            && norm.epilogue.is_empty()
        {
            folds.insert(user, Fold { product, bias });
            fused.extend(path);
        }
    }
    (folds, fused)
}

/// Emits the folded product with its bias, and the nodes that compute its parameters.
fn emit(
    result: &mut Graph,
    fold: &Fold<'_>,
    norm: &BatchNorm,
    node: &Node,
    values: &HashMap<ValueId, ValueId>,
) -> Result<ValueId, GraphError> {
    let label = &node.label;
    let [_, gamma, beta, mean, variance] = node.operands[..] else {
        return Err(GraphError::Invalid { reason: "batch_norm without its five operands".to_owned() });
    };
    let [gamma, beta, mean, variance] = [gamma, beta, mean, variance].map(|value| values[&value]);
    let [x, weight] = [fold.product.operands[0], fold.product.operands[1]].map(|value| values[&value]);
    let add = Binary { kind: BinaryKind::Add };
    let subtract = Binary { kind: BinaryKind::Subtract };
    let multiply = Binary { kind: BinaryKind::Multiply };

    // The attribute is an f64, but programs compute in f32.
    let epsilon = Constant { shape: Shape::scalar(), values: vec![norm.epsilon as f32] };
    let epsilon = result.add_single(epsilon, &[], label)?;
    let variance = result.add_single(add, &[variance, epsilon], label)?;
    let inverse_deviation = result.add_single(Unary { kind: UnaryKind::Rsqrt }, &[variance], label)?;
    let scale = result.add_single(multiply, &[gamma, inverse_deviation], label)?;

    let bias = match fold.bias {
        Some(bias) => {
            let centred = result.add_single(subtract, &[values[&bias.operands[1]], mean], label)?;
            let scaled = result.add_single(multiply, &[centred, scale], label)?;
            result.add_single(add, &[beta, scaled], label)?
        }
        None => {
            let scaled = result.add_single(multiply, &[mean, scale], label)?;
            result.add_single(subtract, &[beta, scaled], label)?
        }
    };
    let weight = result.add_single(Scale::along(0), &[weight, scale], label)?;

    let product = result.add_single(fold.product.op.clone(), &[x, weight], &fold.product.label)?;
    result.add_single(Bias {}, &[product, bias], &fold.product.label)
}
