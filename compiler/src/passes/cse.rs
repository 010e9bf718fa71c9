//! Common subexpression elimination.

use std::collections::HashMap;

use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node, source_name};
use crate::ops::Op;

/// Merges nodes with equal operators and operands into the first of them, which keeps its label.
///
/// Inputs, parameters and states never merge: each has its own memory. Constants do. Every other operator is a function
/// of its operands and attributes only, so it may merge; two dropouts of equal rate differ in their `stream`.
///
/// # Errors
/// None for a valid graph.
pub fn cse(graph: &Graph) -> Result<Graph, GraphError> {
    let mut result = Graph::new(graph.name());
    let mut values = HashMap::new();
    let mut first: HashMap<Key, &Node> = HashMap::new();
    for node in graph.nodes() {
        if source_name(&node.op).is_some() {
            result.copy_node(node, &mut values)?;
            continue;
        }
        let operands = node.operands.iter().map(|operand| values[operand]).collect();
        let key = Key::new(&node.op, operands)?;
        if let Some(&equal) = first.get(&key) {
            for (&value, original) in node.results.iter().zip(&equal.results) {
                values.insert(value, values[original]);
            }
        } else {
            result.copy_node(node, &mut values)?;
            first.insert(key, node);
        }
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}

/// The key by which nodes are equal. `Op`'s own equality is not enough: it treats −0 and 0 as equal, but 1/−0 is not
/// 1/0.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    /// The serialized operator with its attributes, in which −0 differs from 0; for a constant, its shape.
    operator: String,
    /// A constant's elements as bits, because the serialized form has no NaN or infinity.
    elements: Vec<u32>,
    operands: Vec<ValueId>,
}

impl Key {
    fn new(op: &Op, operands: Vec<ValueId>) -> Result<Self, GraphError> {
        if let Op::Constant(constant) = op {
            let elements = constant.values.iter().map(|value| value.to_bits()).collect();
            return Ok(Key { operator: format!("constant {}", constant.shape), elements, operands });
        }
        let operator = serde_json::to_string(op).map_err(|error| GraphError::Invalid {
            reason: format!("{} does not print: {error}", op.name()),
        })?;
        Ok(Key { operator, elements: Vec::new(), operands })
    }
}
