//! Passes on scans: merging, moving work out of them, and removing what nothing needs. Other passes also run on the
//! bodies of scans.

mod merge;
mod motion;
mod rebuild;
mod unused;

pub use merge::merge_scans;
pub use motion::move_out_of_scans;
pub(crate) use unused::{Without, without_unused};

use super::Pass;
use crate::error::GraphError;
use crate::graph::Graph;
use crate::ops::Op;

/// Applies a pass to the bodies of all scans, innermost first, and then to the graph.
///
/// # Errors
/// Those of the pass.
pub(crate) fn apply(graph: &Graph, pass: Pass) -> Result<Graph, GraphError> {
    if !graph.nodes().iter().any(|node| matches!(node.op, Op::Scan(_))) {
        return pass(graph);
    }
    let mut inner = Graph::new(graph.name());
    let mut values = std::collections::HashMap::new();
    for node in graph.nodes() {
        match &node.op {
            Op::Scan(scan) => {
                let mut node = node.clone();
                node.op = scan.with_body(apply(&scan.body, pass)?).into();
                inner.copy_node(&node, &mut values)?;
            }
            _ => inner.copy_node(node, &mut values)?,
        }
    }
    inner.copy_ends(graph, &values)?;
    pass(&inner)
}
