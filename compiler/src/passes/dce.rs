//! Dead code elimination.

use std::collections::{HashMap, HashSet};

use super::scans::{Without, without_unused};
use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node, source_name};
use crate::ops::Op;

/// Removes every node that no output or update depends on.
///
/// Inputs, parameters and states stay even if they are unused: they are the signature of the network, and a caller that
/// binds them by name, or a checkpoint that lists them, must not depend on the passes. Constants are not part of the
/// signature and are removed. Scans lose the results that are unused, and what only these need.
///
/// # Errors
/// None for a valid graph.
pub fn dce(graph: &Graph) -> Result<Graph, GraphError> {
    let ends = || graph.outputs().iter().chain(graph.updates()).map(|named| named.value);
    let live = graph.reachable(ends());
    let is_live = |node: &Node| node.results.iter().any(|value| live.contains(value));
    let operands = graph.nodes().iter().filter(|node| is_live(node)).flat_map(|node| &node.operands);
    let used: HashSet<ValueId> = operands.copied().chain(ends()).collect();
    let mut result = Graph::new(graph.name());
    let mut values = HashMap::new();
    for node in graph.nodes() {
        if let Op::Scan(scan) = &node.op
            && is_live(node)
            && let Some(Without { op, operands, results }) = without_unused(node, scan, &used)?
        {
            let operands: Vec<ValueId> = operands.iter().map(|operand| values[operand]).collect();
            let new = result.add(op, &operands, &node.label)?;
            values.extend(results.into_iter().zip(new));
            continue;
        }
        let in_signature = source_name(&node.op).is_some();
        if in_signature || is_live(node) {
            result.copy_node(node, &mut values)?;
        }
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}
