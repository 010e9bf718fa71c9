//! The layout of the memory that callers of an object own: the weights of a plan, and the arena of a run.

use crate::abi::{ALIGNMENT, POINTER_BYTES, WORD_BYTES, table_entries};
use crate::plan::{Plan, SlotKind};

/// The bytes before the weights of the first variant: see [`super::Object::weights_header`].
pub(super) const HEADER_BYTES: usize = ALIGNMENT;

/// Where the weights of a plan are, in bytes from their start: its prepacked memory, followed by the parameters that runs
/// read as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightLayout {
    /// The slots of parameters and states that runs read, each with its start.
    pub parameters: Vec<(usize, usize)>,
    /// The total.
    pub bytes: usize,
}

impl WeightLayout {
    /// The layout for a plan.
    ///
    /// # Panics
    /// If a parameter has an open size, which no graph has.
    pub fn of(plan: &Plan) -> Self {
        let mut bytes = (plan.memory.prepacked * WORD_BYTES).next_multiple_of(ALIGNMENT);
        let mut parameters = Vec::new();
        for slot in plan.slots_of(&plan.run) {
            if plan.slots[slot].kind == SlotKind::Parameter {
                let words = plan.slots[slot].size.at(&[]).expect("parameters have fixed sizes");
                parameters.push((slot, bytes));
                bytes += (words * WORD_BYTES).next_multiple_of(ALIGNMENT);
            }
        }
        WeightLayout { parameters, bytes }
    }
}

/// Where the parts of the arena of a run are, in bytes from its start. The arenas of open sizes follow them.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArenaLayout {
    /// The values of the open sizes; the table of addresses is before them.
    pub(super) values: usize,
    pub(super) fixed: usize,
    pub(super) scratch: usize,
    pub(super) open: usize,
}

impl ArenaLayout {
    pub(super) fn of(plan: &Plan) -> Self {
        let aligned = |bytes: usize| bytes.next_multiple_of(ALIGNMENT);
        let entries = table_entries(plan.memory.open.len(), plan.slots.len(), plan.windows.len());
        let values = aligned(entries * POINTER_BYTES);
        let fixed = values + aligned(plan.sizes.polynomials().len() * POINTER_BYTES);
        let scratch = fixed + aligned(plan.memory.fixed * WORD_BYTES);
        let open = scratch + aligned(plan.memory.scratch * plan.threads * WORD_BYTES);
        ArenaLayout { values, fixed, scratch, open }
    }
}
