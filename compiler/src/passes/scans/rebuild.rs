//! Builds a scan again with other inputs and outputs.

use std::collections::{BTreeSet, HashMap};

use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::Graph;
use crate::ops::Op;
use crate::ops::scan::Scan;
use crate::ops::source::{Input, InputRole};

/// Where a value of a body comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Given {
    /// The value outside the scan: the value itself, or its sequence.
    pub(super) value: ValueId,
    /// Whether each step gets a slice of it.
    pub(super) is_sequence: bool,
}

/// The constants and slices of a scan with the operands that they come from.
pub(super) fn given(scan: &Scan, operands: &[ValueId]) -> HashMap<ValueId, Given> {
    let constants = scan.constants();
    let inputs = scan.body.inputs().map(|(value, _)| value).take(constants + scan.slices);
    let given = |index: usize| Given { value: operands[index], is_sequence: index >= constants };
    inputs.enumerate().map(|(index, input)| (input, given(index))).collect()
}

/// The carried inputs of a scan's body.
pub(super) fn carried_inputs(scan: &Scan) -> Vec<ValueId> {
    scan.body.inputs().map(|(value, _)| value).skip(scan.constants() + scan.slices).collect()
}

/// The values of a body from which some of its values are computed, themselves included, up to given values.
pub(super) fn needed(
    body: &Graph,
    from: impl IntoIterator<Item = ValueId>,
    given: &HashMap<ValueId, Given>,
) -> BTreeSet<ValueId> {
    let mut needed = BTreeSet::new();
    let mut pending: Vec<ValueId> = from.into_iter().collect();
    while let Some(value) = pending.pop() {
        if needed.insert(value) && !given.contains_key(&value) {
            pending.extend(&body.producer(value).operands);
        }
    }
    needed
}

/// The scan that carries some of a scan's carried values and collects some values of its body, with its operands. Values
/// that are given come from outside. Its results are the carried values, then the collected ones, in order.
pub(super) fn rebuild(
    scan: &Scan,
    operands: &[ValueId],
    given: &HashMap<ValueId, Given>,
    carried: &[usize],
    collected: &[ValueId],
) -> Result<(Scan, Vec<ValueId>), GraphError> {
    let body = &scan.body;
    let outputs = body.outputs();
    let ends = carried.iter().map(|&index| outputs[index].value).chain(collected.iter().copied());
    let needed = needed(body, ends, given);
    let mut result = Graph::new(body.name());
    let mut values: HashMap<ValueId, ValueId> = HashMap::new();
    let mut new_operands = Vec::new();
    let mut declare = |result: &mut Graph, name: String, value: ValueId, operand: ValueId| {
        let input = Input { name, role: InputRole::Data, ty: body.ty(value).clone() };
        values.insert(value, result.add_single(input, &[], "")?);
        new_operands.push(operand);
        Ok::<(), GraphError>(())
    };
    let mut slices = 0;
    for is_sequence in [false, true] {
        let of_kind = needed.iter().filter_map(|value| Some((*value, *given.get(value)?)));
        let of_kind = of_kind.filter(|(_, given)| given.is_sequence == is_sequence);
        for (index, (value, given)) in of_kind.enumerate() {
            let kind = if is_sequence { "slice" } else { "constant" };
            declare(&mut result, format!("{kind}{index}"), value, given.value)?;
            slices += usize::from(is_sequence);
        }
    }
    let inputs = carried_inputs(scan);
    let first = scan.constants() + scan.slices;
    for (place, &index) in carried.iter().enumerate() {
        declare(&mut result, format!("carried{place}"), inputs[index], operands[first + index])?;
    }
    for node in body.nodes() {
        let is_needed =
            node.results.iter().any(|value| needed.contains(value) && !values.contains_key(value));
        if is_needed && !matches!(node.op, Op::Input(_)) {
            let operands: Vec<ValueId> = node.operands.iter().map(|operand| values[operand]).collect();
            let results = result.add(node.op.clone(), &operands, &node.label)?;
            for (old, new) in node.results.iter().zip(results) {
                values.entry(*old).or_insert(new);
            }
        }
    }
    for (place, &index) in carried.iter().enumerate() {
        result.add_output(&format!("carried{place}"), values[&outputs[index].value])?;
    }
    for (place, value) in collected.iter().enumerate() {
        result.add_output(&format!("collected{place}"), values[value])?;
    }
    let op = Scan::new(result, scan.steps.clone(), slices, carried.len())
        .reversed(scan.reverse)
        .recomputed(scan.recomputed);
    Ok((op, new_operands))
}
