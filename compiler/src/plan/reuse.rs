//! Lets results overwrite an operand: values computed element by element from another value that is no longer needed
//! use its memory. This halves the cache footprint of such a kernel, and reduces the size of the arena.

use std::collections::{HashMap, HashSet};

use super::{Location, Lower, Lowering, View};
use crate::entity::{NodeId, ValueId};
use crate::faults::{Fault, armed};
use crate::graph::{Graph, Node};
use crate::kernel::BufferId;
use crate::ops::{Move, Operator, Role};
use crate::shape::DType;

/// Binds results to the memory of operands whose last user is the result's node. Values must already have their memory,
/// as after [`concat_in_place`](super::joins::concat_in_place).
pub(super) fn reuse_operands(graph: &Graph, lowering: &mut Lowering<'_>) {
    let mut memory = Occupants::of(graph, lowering);
    // Constants are written once and read by every run.
    let constants: HashSet<BufferId> = lowering.constants.iter().map(|(buffer, _)| *buffer).collect();
    for (id, node) in graph.node_ids() {
        for (operand, result) in node.op.memory().over {
            let (from, to) = (node.operands[operand], node.results[result]);
            if graph.ty(from).dtype != DType::F32 || graph.ty(from) != graph.ty(to) {
                continue;
            }
            let (old, new) = (lowering.view(from).clone(), lowering.view(to).clone());
            let is_own = |view: &View| {
                View { address: old.address.clone(), ..view.clone() } == old
                    && view.address.offset == Default::default()
                    && lowering.buffers[view.address.buffer.index()].location == Location::Nowhere
            };
            let is_free = is_own(&old)
                && is_own(&new)
                && !lowering.batch_invariant.contains(&from)
                && !constants.contains(&old.address.buffer)
                && memory.only_holds(new.address.buffer, to)
                && memory.ends_at(old.address.buffer, id, node, operand);
            if is_free {
                memory.add(old.address.buffer, to);
                lowering.bind_view(to, old);
            }
        }
    }
}

/// The values in each buffer, and their last readers.
struct Occupants {
    values: HashMap<BufferId, Vec<ValueId>>,
    /// The last node that reads a value; `None` for a value that is read in other ways, or through its own view.
    last_reader: Vec<Option<NodeId>>,
}

impl Occupants {
    fn of(graph: &Graph, lowering: &Lowering<'_>) -> Self {
        let mut last_reader = vec![Some(NodeId::new(0)); graph.value_count()];
        let mut values: HashMap<BufferId, Vec<ValueId>> = HashMap::new();
        for (id, node) in graph.node_ids() {
            let is_viewed = matches!(node.op.facts().role, Role::Move(Move::Part { .. }));
            for &operand in &node.operands {
                let last = &mut last_reader[operand.index()];
                *last = last.filter(|_| !is_viewed).map(|_| id);
            }
            for &result in &node.results {
                values.entry(lowering.view(result).address.buffer).or_default().push(result);
                if is_viewed {
                    last_reader[result.index()] = None;
                }
            }
        }
        for named in graph.outputs().iter().chain(graph.updates()) {
            last_reader[named.value.index()] = None;
        }
        Occupants { values, last_reader }
    }

    fn only_holds(&self, buffer: BufferId, value: ValueId) -> bool {
        self.values.get(&buffer).is_some_and(|values| values[..] == [value])
    }

    /// Whether a node is the last that reads a buffer, and reads it only as this operand.
    fn ends_at(&self, buffer: BufferId, id: NodeId, node: &Node, operand: usize) -> bool {
        let Some(values) = self.values.get(&buffer) else { return false };
        let elsewhere =
            node.operands.iter().enumerate().any(|(index, value)| index != operand && values.contains(value));
        !elsewhere
            && (armed(Fault::OperandReusedTooEarly)
                || values.iter().all(|value| self.last_reader[value.index()].is_some_and(|last| last <= id)))
    }

    fn add(&mut self, buffer: BufferId, value: ValueId) {
        self.values.entry(buffer).or_default().push(value);
    }
}
