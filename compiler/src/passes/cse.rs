//! Common subexpressions: one operator applied twice to the same values is computed once.

use std::collections::HashMap;

use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node, source_name};
use crate::ops::Op;

/// Merges nodes with equal operators and equal operands into the first of them, which keeps its label.
///
/// Inputs, parameters and states never merge: each is a place of its own. Constants do. Every operator is a function of
/// its operands and attributes alone, so that all others may merge; two dropouts of one rate differ in their `stream`.
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

/// What makes two nodes equal. `Op`'s own equality is not enough: it takes −0 for 0, and 1/−0 is not 1/0.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    /// The operator with its attributes in the serialised form, which tells −0 from 0; of a constant, its shape.
    operator: String,
    /// A constant's elements as bits, because the serialised form has no words for NaN and infinity.
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
