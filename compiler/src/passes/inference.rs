//! Converts a network to inference mode: dropout is the identity.
//!
//! Batch normalisation already uses its running statistics as declared.

use std::collections::HashMap;

use crate::error::GraphError;
use crate::graph::Graph;
use crate::ops::{Operator, Role};

/// Removes every operator that is the identity outside training ([`Role::Identity`]), such as dropout; its users read its
/// operand. Dropout in training, which draws a mask, stays.
///
/// # Errors
/// None for a valid graph.
pub fn inference(graph: &Graph) -> Result<Graph, GraphError> {
    let mut result = Graph::new(graph.name());
    let mut values = HashMap::new();
    for node in graph.nodes() {
        if node.op.facts().role == Role::Identity {
            values.insert(node.results[0], values[&node.operands[0]]);
        } else {
            result.copy_node(node, &mut values)?;
        }
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}
