//! Merges scans that compute the same.

use std::collections::HashMap;

use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::Op;
use crate::ops::scan::Scan;

/// Replaces scans that only differ in what they collect by the first of them, which collects everything that any of them
/// does. Differentiation adds such scans.
///
/// # Errors
/// None for a valid graph.
pub fn merge_scans(graph: &Graph) -> Result<Graph, GraphError> {
    let mut result = Graph::new(graph.name());
    let mut values: HashMap<ValueId, ValueId> = HashMap::new();
    for (index, node) in graph.nodes().iter().enumerate() {
        if node.results.first().is_some_and(|result| values.contains_key(result)) {
            continue;
        }
        let Op::Scan(scan) = &node.op else {
            result.copy_node(node, &mut values)?;
            continue;
        };
        let equal: Vec<(&Node, &Scan)> = graph.nodes()[index..]
            .iter()
            .filter_map(|other| match &other.op {
                Op::Scan(own) if other.operands == node.operands && are_equal(scan, own) => {
                    Some((other, own))
                }
                _ => None,
            })
            .collect();
        // What each collects, once, after the carried values.
        let mut collected: Vec<ValueId> = Vec::new();
        for (_, own) in &equal {
            for output in &own.body.outputs()[own.carried..] {
                if !collected.contains(&output.value) {
                    collected.push(output.value);
                }
            }
        }
        let mut body = scan.body.with_outputs(&(0..scan.carried).collect::<Vec<_>>());
        for (place, &value) in collected.iter().enumerate() {
            body.add_output(&format!("collected {place}"), value)?;
        }
        let operands: Vec<ValueId> = node.operands.iter().map(|operand| values[operand]).collect();
        let results = result.add(scan.with_body(body), &operands, &node.label)?;
        for (other, own) in equal {
            for (place, &old) in other.results.iter().enumerate() {
                let new = match place.checked_sub(own.carried) {
                    None => place,
                    Some(index) => {
                        let value = own.body.outputs()[own.carried + index].value;
                        let place = collected.iter().position(|known| *known == value);
                        own.carried + place.unwrap_or_default()
                    }
                };
                values.insert(old, results[new]);
            }
        }
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}

/// Whether two scans only differ in what they collect.
fn are_equal(left: &Scan, right: &Scan) -> bool {
    let carried = |scan: &Scan| -> Vec<ValueId> {
        scan.body.outputs()[..scan.carried].iter().map(|output| output.value).collect()
    };
    (&left.steps, left.reverse, left.recomputed, left.slices, left.carried)
        == (&right.steps, right.reverse, right.recomputed, right.slices, right.carried)
        && carried(left) == carried(right)
        && left.body.nodes() == right.body.nodes()
}
