//! Converts a network to inference mode: dropout is the identity.
//!
//! Batch normalisation already uses its running statistics as declared.

use std::collections::HashMap;

use crate::error::GraphError;
use crate::graph::Graph;
use crate::ops::Op;

/// Removes every [`Op::Dropout`]; its users read its operand. [`Op::DropoutTraining`], which draws a mask, stays.
///
/// # Errors
/// None for a valid graph.
pub fn inference(graph: &Graph) -> Result<Graph, GraphError> {
    let mut result = Graph::new(graph.name());
    let mut values = HashMap::new();
    for node in graph.nodes() {
        if let Op::Dropout(_) = node.op {
            values.insert(node.results[0], values[&node.operands[0]]);
        } else {
            result.copy_node(node, &mut values)?;
        }
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}
