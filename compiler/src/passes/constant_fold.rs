//! Evaluates nodes that depend only on constants.

use std::collections::HashMap;

use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::interp::{Array, Data, Evaluate};
use crate::ops::Op;
use crate::ops::source::Constant;
use crate::shape::{DType, Type};

/// The maximum size of a folded result: beyond it, computing the value is cheaper than storing it in the program.
const MAX_ELEMENTS: usize = 1 << 16;

/// Replaces every node whose operands are all constants by constants, evaluated by the interpreter in `f32`.
///
/// A node stays if a result has more than 2¹⁶ elements, holds integers, depends on the batch (which no constant does),
/// or is not finite: a program should show where such numbers come from. The constants it read are left to
/// [`super::dce`].
///
/// The interpreter rounds like compiled programs, except for exponentials, logarithms and functions built on them,
/// where programs may differ in the last bits.
///
/// # Errors
/// None for a valid graph.
pub fn constant_fold(graph: &Graph) -> Result<Graph, GraphError> {
    let mut result = Graph::new(graph.name());
    let mut values = HashMap::new();
    for node in graph.nodes() {
        match evaluate(graph, node, &result, &values) {
            Some(constants) => {
                for (&value, constant) in node.results.iter().zip(constants) {
                    values.insert(value, result.add_single(constant, &[], &node.label)?);
                }
            }
            None => result.copy_node(node, &mut values)?,
        }
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}

/// The results of a node as constants, if it can be folded. Its operands are looked up in the new graph, where earlier
/// nodes are already folded.
fn evaluate(
    graph: &Graph,
    node: &Node,
    result: &Graph,
    values: &HashMap<ValueId, ValueId>,
) -> Option<Vec<Constant>> {
    let constant = |operand: &ValueId| {
        let Op::Constant(constant) = &result.producer(values[operand]).op else { return None };
        Some(constant)
    };
    let operands: Vec<&Constant> = node.operands.iter().map(constant).collect::<Option<_>>()?;
    let types = graph.types(&node.results);
    let foldable = types.iter().all(|Type { dtype, shape }| {
        *dtype == DType::F32 && !shape.is_batched() && shape.item_elements() <= MAX_ELEMENTS
    });
    // A node without operands is a source. Scans may have many steps.
    if operands.is_empty() || !foldable || matches!(node.op, Op::Scan(_)) {
        return None;
    }
    let arrays: Vec<Array<f32>> =
        operands.iter().map(|constant| Array::new(constant.shape.item(), constant.values.clone())).collect();
    let sizes: Vec<Vec<usize>> = types.iter().map(|ty| ty.shape.item()).collect();
    let computed = node.op.evaluate(&arrays.iter().collect::<Vec<_>>(), &sizes);
    computed
        .into_iter()
        .zip(types)
        .map(|(array, ty)| match array.data {
            Data::Real(values) if values.iter().all(|value| value.is_finite()) => {
                Some(Constant { shape: ty.shape, values })
            }
            Data::Real(_) | Data::Int(_) => None,
        })
        .collect()
}
