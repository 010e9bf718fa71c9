//! Dead code: nodes that no output and no update needs.

use std::collections::HashMap;

use crate::error::GraphError;
use crate::graph::{Graph, source_name};

/// Drops every node of whose results no output or update is computed.
///
/// Inputs, parameters and states stay even when unused: they are the signature of the network, and a caller that binds
/// them by name, or a checkpoint that lists them, must not depend on what the passes found out. A constant is no part
/// of the signature and goes.
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
