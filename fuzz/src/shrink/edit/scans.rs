//! Edits that make the bodies of scans smaller. The results of the scan stay.

use std::collections::HashMap;

use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::Graph;
use windlass_compiler::ops::Op;
use windlass_compiler::ops::scan::Scan;

/// Smaller scans, each with the operand that it no longer takes.
pub(super) fn smaller(scan: &Scan) -> Vec<(Scan, Option<usize>)> {
    let mut found = Vec::new();
    let inputs: Vec<ValueId> = scan.body.inputs().map(|(value, _)| value).collect();
    let uses = scan.body.use_counts();
    let (constants, slices) = (scan.constants(), scan.slices);
    for (index, &input) in inputs.iter().enumerate().take(constants + slices).rev() {
        if uses[input.index()] == 0
            && let Some(body) = rebuilt(&scan.body, Change { without: Some(input), forward: None })
        {
            let mut scan = scan.with_body(body);
            scan.slices = slices - usize::from(index >= constants);
            found.push((scan, Some(index)));
        }
    }
    for node in scan.body.nodes() {
        if node.op.source().is_none() {
            let same = |operand: &&ValueId| scan.body.ty(**operand) == scan.body.ty(node.results[0]);
            for &operand in node.operands.iter().filter(same) {
                let change = Change { without: None, forward: Some((node.results[0], operand)) };
                found.extend(rebuilt(&scan.body, change).map(|body| (scan.with_body(body), None)));
            }
        }
        if let Op::Scan(inner) = &node.op {
            for (inner, without) in smaller(inner) {
                let mut operands = node.operands.clone();
                if let Some(index) = without {
                    operands.remove(index);
                }
                let body = replaced(&scan.body, node.results[0], &inner.into(), &operands);
                found.extend(body.map(|body| (scan.with_body(body), None)));
            }
        }
    }
    if scan.reverse {
        found.push((scan.clone().reversed(false), None));
    }
    found
}

/// A change of a body.
struct Change {
    /// An input that is removed.
    without: Option<ValueId>,
    /// A value, and another that replaces it.
    forward: Option<(ValueId, ValueId)>,
}

/// A body with a change, without nodes that nothing needs. Inputs stay.
fn rebuilt(body: &Graph, change: Change) -> Option<Graph> {
    let mut made = Graph::new(body.name());
    let mut values = HashMap::new();
    for node in body.nodes() {
        if node.results.first() == change.without.as_ref() {
            continue;
        }
        made.copy_node(node, &mut values).ok()?;
        if let Some((value, by)) = change.forward
            && node.results[0] == value
        {
            values.insert(value, values[&by]);
        }
    }
    made.copy_ends(body, &values).ok()?;
    cleaned(&made)
}

fn replaced(body: &Graph, result: ValueId, op: &Op, operands: &[ValueId]) -> Option<Graph> {
    let mut made = Graph::new(body.name());
    let mut values: HashMap<ValueId, ValueId> = HashMap::new();
    for node in body.nodes() {
        if node.results[0] == result {
            let operands: Vec<ValueId> = operands.iter().map(|operand| values[operand]).collect();
            let results = made.add(op.clone(), &operands, "").ok()?;
            values.extend(node.results.iter().copied().zip(results));
        } else {
            made.copy_node(node, &mut values).ok()?;
        }
    }
    made.copy_ends(body, &values).ok()?;
    cleaned(&made)
}

/// A body without operators that nothing needs.
fn cleaned(body: &Graph) -> Option<Graph> {
    let needed = body.reachable(body.outputs().iter().map(|output| output.value));
    let mut made = Graph::new(body.name());
    let mut values = HashMap::new();
    for node in body.nodes() {
        if matches!(node.op, Op::Input(_)) || node.results.iter().any(|result| needed.contains(result)) {
            made.copy_node(node, &mut values).ok()?;
        }
    }
    made.copy_ends(body, &values).ok()?;
    Some(made)
}
