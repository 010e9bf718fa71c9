//! Removes the parts of a scan that none of its used results needs.

use std::collections::HashSet;

use super::rebuild::{carried_inputs, given, needed, rebuild};
use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::Node;
use crate::ops::scan::Scan;

/// A scan without the results that are unused, and what only they need: carried values, constants and slices.
pub(crate) struct Without {
    /// The scan.
    pub(crate) op: Scan,
    /// Its operands.
    pub(crate) operands: Vec<ValueId>,
    /// The results of the original scan that its results are, in order.
    pub(crate) results: Vec<ValueId>,
}

/// Removes what nothing needs from a scan, given the used values of its graph. Returns `None` if it needs everything.
///
/// # Errors
/// None for a valid scan.
pub(crate) fn without_unused(
    node: &Node,
    scan: &Scan,
    used: &HashSet<ValueId>,
) -> Result<Option<Without>, GraphError> {
    let given = given(scan, &node.operands);
    let outputs: Vec<ValueId> = scan.body.outputs().iter().map(|output| output.value).collect();
    let (carried, collected) = node.results.split_at(scan.carried);
    let kept: Vec<usize> = (0..collected.len()).filter(|&index| used.contains(&collected[index])).collect();
    let values: Vec<ValueId> = kept.iter().map(|index| outputs[scan.carried + index]).collect();
    let inputs = carried_inputs(scan);
    let mut alive: Vec<bool> = carried.iter().map(|value| used.contains(value)).collect();
    let reached = loop {
        let new = outputs.iter().zip(&alive).filter(|(_, alive)| **alive).map(|(value, _)| *value);
        let reached = needed(&scan.body, new.chain(values.iter().copied()), &given);
        let before = alive.clone();
        for (alive, input) in alive.iter_mut().zip(&inputs) {
            *alive |= reached.contains(input);
        }
        if alive == before {
            break reached;
        }
    };
    let everything = alive.iter().all(|alive| *alive)
        && kept.len() == collected.len()
        && given.keys().all(|value| reached.contains(value));
    if everything {
        return Ok(None);
    }
    let alive: Vec<usize> = (0..alive.len()).filter(|&index| alive[index]).collect();
    let (op, operands) = rebuild(scan, &node.operands, &given, &alive, &values)?;
    let results = alive.iter().map(|&index| carried[index]).chain(kept.iter().map(|&index| collected[index]));
    Ok(Some(Without { op, operands, results: results.collect() }))
}
