//! The layout of the memory that callers of an object own: the weights of a plan, the state of a training, and the arena of
//! a run.

use super::ObjectPort;
use crate::abi::{ALIGNMENT, POINTER_BYTES, WORD_BYTES, table_entries};
use crate::graph::Graph;
use crate::plan::{Plan, SlotKind};
use crate::shape::Sizes;

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
    /// The learning rate, and the two numbers of Adam's correction.
    pub(super) controls: usize,
    /// The kernel that threads share.
    pub(super) job: usize,
    pub(super) fixed: usize,
    pub(super) scratch: usize,
    pub(super) open: usize,
}

impl ArenaLayout {
    pub(super) fn of(plan: &Plan) -> Self {
        let aligned = |bytes: usize| bytes.next_multiple_of(ALIGNMENT);
        let entries = table_entries(plan.memory.open.len(), plan.slots.len(), plan.windows.len());
        let values = aligned(entries * POINTER_BYTES);
        let controls = values + aligned(plan.sizes.polynomials().len() * POINTER_BYTES);
        let job = controls + ALIGNMENT;
        let fixed = job + ALIGNMENT;
        let scratch = fixed + aligned(plan.memory.fixed * WORD_BYTES);
        let open = scratch + aligned(plan.memory.scratch * plan.threads * WORD_BYTES);
        ArenaLayout { values, controls, job, fixed, scratch, open }
    }
}

/// The bytes of the arena of a run at some sizes; `None` if they overflow.
pub(super) fn arena_bytes(plan: &Plan, sizes: &Sizes) -> Option<usize> {
    let mut values = Vec::new();
    plan.sizes.values_into(sizes, &mut values);
    plan.memory.open.iter().try_fold(ArenaLayout::of(plan).open, |bytes, (size, words)| {
        let each = words.checked_mul(WORD_BYTES)?.checked_next_multiple_of(ALIGNMENT)?;
        bytes.checked_add(each.checked_mul(values[size.index()])?)
    })
}

/// Where the memory of a plan's `prepack` kernels is, in bytes from the start of the arena. It is the arena of a run whose open
/// sizes are 1, and the intermediates behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PackArena {
    pub(super) prepacking: usize,
    pub(super) bytes: usize,
}

impl PackArena {
    pub(super) fn of(plan: &Plan) -> Self {
        let sizes =
            plan.sizes.symbols().into_iter().fold(Sizes::new(), |sizes, symbol| sizes.with(symbol, 1));
        let prepacking = arena_bytes(plan, &sizes).expect("the arena of a run of one sample is small");
        PackArena { prepacking, bytes: prepacking + plan.memory.prepacking * WORD_BYTES }
    }
}

/// Places in the header of a state, in bytes: see [`StateHeader`].
pub(super) mod place {
    /// The version and the identification: one word of 8 bytes.
    pub(in super::super) const BUILD: i32 = 8;
    pub(in super::super) const CHECKSUM: i32 = 16;
    /// The seed, directly before the number of steps: together the seed of dropout.
    pub(in super::super) const SEED: i32 = 28;
    pub(in super::super) const STEPS: i32 = 32;
    pub(in super::super) const POWERS: i32 = 40;
}

/// The version of the format of weights and states.
pub(super) const VERSION: u32 = 1;

/// The first [`StateHeader::BYTES`] of the state of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StateHeader {
    /// Identifies the training step: its network, loss and optimiser.
    pub id: u32,
    /// The CRC-32 of what follows the header, or 0 after a step.
    pub checksum: u32,
    /// The seed of dropout.
    pub seed: u32,
    /// The number of steps taken.
    pub steps: u64,
    /// The powers of Adam's β₁ and β₂ to the number of steps.
    pub powers: [f64; 2],
}

impl StateHeader {
    /// The bytes of a header.
    pub const BYTES: usize = HEADER_BYTES;

    /// The header as bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put =
            |at: i32, value: &[u8]| bytes[at as usize..at as usize + value.len()].copy_from_slice(value);
        put(0, b"windlass");
        put(place::BUILD, &build(self.id).to_le_bytes());
        put(place::CHECKSUM, &self.checksum.to_le_bytes());
        put(place::SEED, &self.seed.to_le_bytes());
        put(place::STEPS, &self.steps.to_le_bytes());
        for (index, power) in self.powers.iter().enumerate() {
            put(place::POWERS + 8 * index as i32, &power.to_le_bytes());
        }
        bytes
    }

    /// Reads a header; [`None`] for bytes that are none of this version.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = |at: i32| bytes.get(at as usize..)?.first_chunk().map(|word| u32::from_le_bytes(*word));
        let long = |at: i32| bytes.get(at as usize..)?.first_chunk().map(|word| u64::from_le_bytes(*word));
        if bytes.len() < HEADER_BYTES || &bytes[..8] != b"windlass" || word(place::BUILD)? != VERSION {
            return None;
        }
        Some(StateHeader {
            id: word(place::BUILD + 4)?,
            checksum: word(place::CHECKSUM)?,
            seed: word(place::SEED)?,
            steps: long(place::STEPS)?,
            powers: [f64::from_bits(long(place::POWERS)?), f64::from_bits(long(place::POWERS + 8)?)],
        })
    }
}

/// The version and an identification, as the word that functions compare.
pub(super) fn build(id: u32) -> u64 {
    u64::from(VERSION) | u64::from(id) << 32
}

/// A tensor in the state of a training.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateTensor {
    /// The name of the parameter or state.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its start, in bytes.
    pub start: usize,
}

/// Where the parameters, running statistics and optimiser states of a training step are, in bytes from the start of its state:
/// the same for every vector width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateLayout {
    /// The tensors: parameters, followed by states.
    pub tensors: Vec<StateTensor>,
    /// The total, with the header.
    pub bytes: usize,
}

impl StateLayout {
    /// The layout for the graph of a training step.
    pub fn of(step: &Graph) -> Self {
        let parameters = step.parameters().map(|(_, parameter)| (&parameter.name, &parameter.shape));
        let states = step.states().map(|(_, state)| (&state.name, &state.shape));
        let mut bytes = HEADER_BYTES;
        let tensors = parameters.chain(states).map(|(name, shape)| {
            let tensor = StateTensor { name: name.clone(), shape: shape.item(), start: bytes };
            bytes += (tensor.shape.iter().product::<usize>() * WORD_BYTES).next_multiple_of(ALIGNMENT);
            tensor
        });
        StateLayout { tensors: tensors.collect(), bytes }
    }

    /// Where a tensor starts.
    pub(super) fn start(&self, name: &str) -> Option<usize> {
        self.tensors.iter().find(|tensor| tensor.name == name).map(|tensor| tensor.start)
    }
}

/// Where the states of a stream are, in bytes from the start of its memory: a header whose first word is 0 or 1, and two sets
/// of states, of which that one is before the next run. Zeros are the states of new sequences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamLayout {
    /// The bytes of each state, for each sample.
    pub(super) each: Vec<usize>,
}

impl StreamLayout {
    pub(super) fn of(states: &[ObjectPort]) -> Self {
        let bytes = |port: &ObjectPort| port.ty.shape.item_elements() * WORD_BYTES;
        StreamLayout { each: states.iter().map(|port| bytes(port).next_multiple_of(ALIGNMENT)).collect() }
    }

    /// The bytes of a set, for each sample.
    pub(super) fn set(&self) -> usize {
        self.each.iter().sum()
    }
}
