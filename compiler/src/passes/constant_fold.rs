//! Folding.
use crate::error::GraphError;
use crate::graph::Graph;
/// Folds.
///
/// # Errors
/// None
pub fn constant_fold(graph: &Graph) -> Result<Graph, GraphError> {
    Ok(graph.clone())
}
