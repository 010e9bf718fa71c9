//! The names that a graph uses and does not declare.

use std::collections::HashSet;

use crate::proto;

/// The names that nodes, with their nested graphs, and results use, without those that nodes declare.
pub(super) fn names<'m, 'r>(
    nodes: &[&'m proto::Node],
    results: impl IntoIterator<Item = &'r &'m str>,
) -> HashSet<&'m str>
where
    'm: 'r,
{
    let mut used: HashSet<&str> = results.into_iter().copied().collect();
    for node in nodes {
        used.extend(node.inputs.iter().map(String::as_str));
        for graph in node.attributes.iter().filter_map(|attribute| attribute.graph.as_ref()) {
            used.extend(of_graph(graph));
        }
    }
    for name in nodes.iter().flat_map(|node| &node.outputs) {
        used.remove(name.as_str());
    }
    used.remove("");
    used
}

fn of_graph(graph: &proto::Graph) -> HashSet<&str> {
    let nodes: Vec<&proto::Node> = graph.nodes.iter().collect();
    let results: Vec<&str> = graph.outputs.iter().map(|output| output.name.as_str()).collect();
    let mut used = names(&nodes, &results);
    for input in &graph.inputs {
        used.remove(input.name.as_str());
    }
    for tensor in &graph.initializers {
        used.remove(tensor.name.as_str());
    }
    used
}
