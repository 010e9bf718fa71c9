//! Dead code elimination.

use std::collections::HashMap;

use crate::error::GraphError;
use crate::graph::{Graph, source_name};

/// Removes every node that no output or update depends on.
///
/// Inputs, parameters and states stay even if they are unused: they are the signature of the network, and a caller that
/// binds them by name, or a checkpoint that lists them, must not depend on the passes. Constants are not part of the
/// signature and are removed.
///
/// # Errors
/// None for a valid graph.
pub fn dce(graph: &Graph) -> Result<Graph, GraphError> {
    let live = graph.reachable(graph.outputs().iter().chain(graph.updates()).map(|named| named.value));
    let mut result = Graph::new(graph.name());
    let mut values = HashMap::new();
    for node in graph.nodes() {
        let in_signature = source_name(&node.op).is_some();
        if in_signature || node.results.iter().any(|value| live.contains(value)) {
            result.copy_node(node, &mut values)?;
        }
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}
