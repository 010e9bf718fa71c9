//! The network as it runs at inference: dropout as declared is the identity.
//!
//! Batch normalisation needs nothing here: as declared it already uses its running statistics.

use std::collections::HashMap;

use crate::error::GraphError;
use crate::graph::Graph;
use crate::ops::{Operator, Role};

/// Takes every [`Role::Identity`] out, which dropout is as declared; its users read its operand. Dropout in training, which draws
/// a mask, stays.
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
