//! A deserialized graph before it is checked.

use serde::Deserialize;

use super::{Graph, Named, Node, ValueData};
use crate::error::GraphError;

/// The parts of a [`Graph`], which may be inconsistent.
#[derive(Deserialize)]
pub(super) struct RawGraph {
    name: String,
    nodes: Vec<Node>,
    values: Vec<ValueData>,
    outputs: Vec<Named>,
    updates: Vec<Named>,
}

impl TryFrom<RawGraph> for Graph {
    type Error = GraphError;

    /// Rebuilds the graph, so that all checks of the builder apply.
    fn try_from(raw: RawGraph) -> Result<Self, GraphError> {
        let mut graph = Graph::new(raw.name);
        for node in raw.nodes {
            let name = node.op.name();
            let results = graph.add(node.op, &node.operands, &node.label)?;
            if results != node.results {
                let reason = format!("`{name}` has the results {results:?}, not {:?}", node.results);
                return Err(GraphError::Malformed { reason });
            }
        }
        if let Some(place) = graph.values.iter().zip(&raw.values).position(|(own, given)| own != given) {
            let (own, given) = (&graph.values[place], &raw.values[place]);
            let reason =
                format!("%{place} is {} of {}, not {} of {}", own.ty, own.producer, given.ty, given.producer);
            return Err(GraphError::Malformed { reason });
        }
        if graph.values.len() != raw.values.len() {
            let reason = format!("there are {} values, not {}", graph.values.len(), raw.values.len());
            return Err(GraphError::Malformed { reason });
        }
        for output in raw.outputs {
            graph.add_output(&output.name, output.value)?;
        }
        for update in raw.updates {
            graph.add_update(&update.name, update.value)?;
        }
        Ok(graph)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::graph::Graph;

    fn graph() -> Graph {
        "graph net {
          %0 = input {name = \"x\", type = \"f32[N, 4]\"}
          %1 = parameter {name = \"w\", shape = \"[4]\", init = \"xavier_uniform\"}
          %2 = bias(%0, %1)
          output \"y\" = %2
          update \"w\" = %1
        }"
        .parse()
        .unwrap()
    }

    /// The graph with one part replaced, or removed if the new part is null.
    #[track_caller]
    fn rejects(pointer: &str, value: Value, expected: &str) {
        let mut whole = serde_json::to_value(graph()).unwrap();
        *whole.pointer_mut(pointer).unwrap() = value;
        let error = serde_json::from_str::<Graph>(&whole.to_string()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_read_is_a_valid_graph_or_an_error() {
        let text = serde_json::to_string(&graph()).unwrap();
        assert_eq!(serde_json::from_str::<Graph>(&text).unwrap(), graph());
        rejects("/outputs/0/value", json!(7), "`output y` uses %7, but there are 3 values before it");
        rejects("/updates/0/value", json!(99), "`update w` uses %99");
        rejects("/updates/0/value", json!(2), "`update w` needs");
        rejects("/updates/0/name", json!("x"), "no parameter or state named `x`");
        rejects("/nodes/2/operands", json!([0, 2]), "`bias` uses %2");
        rejects("/nodes/2/operands", json!([1, 0]), "`bias`");
        rejects("/nodes/2/results", json!([3]), "`bias` has the results [%2], not [%3]");
        rejects("/nodes/2/results", json!([]), "`bias` has the results [%2], not []");
        rejects("/values/2/ty", json!("f32[N, 5]"), "%2 is f32[N, 4] of node2, not f32[N, 5] of node2");
        rejects("/values/2/producer", json!(9), "not f32[N, 4] of node9");
        rejects("/values", json!([]), "there are 3 values, not 0");
        rejects("/nodes/1/op/name", json!("x"), "the name `x` is used twice");
        rejects("/nodes/0/op/type", json!("f32[N, 0]"), "[N, 0]");
        rejects("/nodes/0/op/type", json!("f32[3, N]"), "[3, N]");
    }
}
