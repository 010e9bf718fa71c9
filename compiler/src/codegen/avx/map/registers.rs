//! Register allocation of a body. When registers run out, the value whose next use is furthest away is spilled (Belady
//! 1966).

use std::collections::VecDeque;
use std::ops::Range;

use super::super::emit::Emitter;
use super::super::operands::{Lanes, MemoryRef, Vector, Width};
use super::key::{MapKey, MapNode};
use super::schedule::Schedule;
use crate::codegen::fallback::{Failure, FallbackReason};
use crate::kernel::Reducer;

/// The first stack slot for values.
pub(super) const SLOTS: i64 = 0;
/// Stack slots for values.
const SLOT_COUNT: usize = 48;
/// Stack slots for values in maps with sums, whose totals also need stack slots.
const SLOT_COUNT_WITH_SUMS: usize = 32;
/// Mask registers for values at 512 bits. They exclude the mask of the last lanes and those of comparisons within a
/// step.
const MASKS: Range<usize> = 2..6;

/// The owner of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Free,
    /// A value of the body.
    MapNode(usize),
    /// Taken for one step.
    Temporary,
    /// Held over the whole body.
    Held,
}

/// The registers of the body being emitted.
pub(super) struct Registers {
    width: Width,
    vectors: Vec<Owner>,
    masks: Vec<Owner>,
    register: Vec<Option<u8>>,
    slot: Vec<Option<usize>>,
    slots: Vec<Option<usize>>,
    /// The steps that still use each value.
    uses: Vec<VecDeque<usize>>,
    /// Values that the current step has looked up.
    locked: Vec<usize>,
    /// Nodes that are in mask registers.
    is_mask: Vec<bool>,
    is_constant: Vec<bool>,
}

/// A value held in a register across bodies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) node: Option<usize>,
    pub(super) register: u8,
}

/// The number of stack slots for values.
pub(super) fn slot_count(key: &MapKey) -> usize {
    match key.reducers.iter().any(|reducer| matches!(reducer, Reducer::Sum(_))) {
        true => SLOT_COUNT_WITH_SUMS,
        false => SLOT_COUNT,
    }
}

impl Registers {
    pub(super) fn new(width: Width, key: &MapKey, order: &Schedule, held: &[Held]) -> Registers {
        let count = key.nodes.len();
        let mut uses = vec![VecDeque::new(); count];
        for (position, step) in order.steps.iter().enumerate() {
            for operand in step.operands(key) {
                uses[operand].push_back(position);
            }
        }
        let mut registers = Registers {
            width,
            vectors: vec![Owner::Free; width.registers()],
            masks: vec![Owner::Free; 8],
            register: vec![None; count],
            slot: vec![None; count],
            slots: vec![None; slot_count(key)],
            uses,
            locked: Vec::new(),
            is_mask: key.nodes.iter().map(|node| width == Width::Bits512 && node.is_mask()).collect(),
            is_constant: key.nodes.iter().map(|node| matches!(node, MapNode::Bits(_))).collect(),
        };
        for held in held {
            registers.vectors[usize::from(held.register)] = Owner::Held;
            if let Some(node) = held.node {
                registers.register[node] = Some(held.register);
            }
        }
        registers
    }

    /// The register that holds a value.
    pub(super) fn of(&self, node: usize) -> Option<u8> {
        self.register[node]
    }

    /// The stack slot that holds a value.
    pub(super) fn slot_of(&self, node: usize) -> Option<MemoryRef> {
        self.slot[node].map(|slot| self.slot_memory(slot))
    }

    fn slot_memory(&self, slot: usize) -> MemoryRef {
        MemoryRef::at(iced_x86::Register::RSP, SLOTS + slot as i64 * self.width.bytes())
    }

    /// Keeps a value's register until the step ends.
    pub(super) fn lock(&mut self, node: usize) {
        self.locked.push(node);
    }

    /// Whether a value is not needed after this step, so that its register may be overwritten.
    pub(super) fn dies(&self, node: usize, position: usize) -> bool {
        let is_held = self.register[node].is_some_and(|register| {
            !self.is_mask[node] && self.vectors[usize::from(register)] == Owner::Held
        });
        !is_held && self.uses[node].iter().all(|&next| next == position)
    }

    /// Frees the registers of values that this step uses last. Their stack slots stay until [`Self::end`].
    pub(super) fn release(&mut self, operands: &[usize], position: usize) {
        for &node in operands {
            if self.dies(node, position)
                && let Some(register) = self.register[node].take()
            {
                *self.owner(node, register) = Owner::Free;
            }
        }
    }

    fn owner(&mut self, node: usize, register: u8) -> &mut Owner {
        let bank = if self.is_mask[node] { &mut self.masks } else { &mut self.vectors };
        &mut bank[usize::from(register)]
    }

    /// Ends a step: frees temporaries and the registers of values used last.
    pub(super) fn end(&mut self, operands: &[usize], position: usize) {
        self.release(operands, position);
        for &node in operands {
            if self.dies(node, position)
                && let Some(slot) = self.slot[node].take()
            {
                self.slots[slot] = None;
            }
            while self.uses[node].front() == Some(&position) {
                self.uses[node].pop_front();
            }
        }
        self.locked.clear();
        for owner in self.vectors.iter_mut().chain(&mut self.masks) {
            if *owner == Owner::Temporary {
                *owner = Owner::Free;
            }
        }
        debug_assert!(self.is_consistent());
    }

    /// A vector register for one step.
    pub(super) fn temporary(&mut self, emitter: &mut Emitter) -> Result<Vector, Failure> {
        let register = self.free_vector(emitter)?;
        self.vectors[usize::from(register)] = Owner::Temporary;
        Ok(Vector(register))
    }

    /// A register for a value: a mask register for masks at 512 bits.
    pub(super) fn take(&mut self, emitter: &mut Emitter, node: usize) -> Result<u8, Failure> {
        let register = if self.is_mask[node] {
            let free = MASKS.clone().find(|&mask| self.masks[mask] == Owner::Free);
            free.ok_or(FallbackReason::Masks)? as u8
        } else {
            self.free_vector(emitter)?
        };
        *self.owner(node, register) = Owner::MapNode(node);
        self.register[node] = Some(register);
        self.lock(node);
        Ok(register)
    }

    /// Gives a value the register of another, which is no longer needed.
    pub(super) fn inherit(&mut self, node: usize, from: usize) {
        if let Some(register) = self.register[from].take() {
            self.register[node] = Some(register);
            *self.owner(node, register) = Owner::MapNode(node);
        }
    }

    /// A free vector register; if there is none, the value needed last is spilled.
    fn free_vector(&mut self, emitter: &mut Emitter) -> Result<u8, Failure> {
        if let Some(free) = self.vectors.iter().position(|owner| *owner == Owner::Free) {
            return Ok(free as u8);
        }
        let next_use = |node: usize| self.uses[node].front().copied().unwrap_or(usize::MAX);
        let candidate = |(register, owner): (usize, &Owner)| match *owner {
            Owner::MapNode(node) if !self.locked.contains(&node) => Some((next_use(node), register, node)),
            _ => None,
        };
        let last = self.vectors.iter().enumerate().filter_map(candidate).max();
        let (_, register, node) = last.ok_or(FallbackReason::Values)?;
        if self.slot[node].is_none() && !self.is_constant[node] {
            let slot = self.slots.iter().position(Option::is_none).ok_or(FallbackReason::Stack)?;
            self.slots[slot] = Some(node);
            self.slot[node] = Some(slot);
            emitter.store(Vector(register as u8), self.slot_memory(slot), Lanes::All);
        }
        self.register[node] = None;
        self.vectors[register] = Owner::Free;
        Ok(register as u8)
    }

    /// Whether registers and values refer to each other, so that no register holds two values.
    fn is_consistent(&self) -> bool {
        let of_bank = |bank: &[Owner], masks: bool| {
            bank.iter().enumerate().all(|(register, owner)| match *owner {
                Owner::MapNode(node) => {
                    self.is_mask[node] == masks && self.register[node] == Some(register as u8)
                }
                Owner::Free | Owner::Held => true,
                Owner::Temporary => false,
            })
        };
        let owned = self.register.iter().enumerate().all(|(node, register)| {
            let bank = if self.is_mask[node] { &self.masks } else { &self.vectors };
            register.is_none_or(|register| {
                matches!(bank[usize::from(register)], Owner::Held)
                    || bank[usize::from(register)] == Owner::MapNode(node)
            })
        });
        let slots = self
            .slots
            .iter()
            .enumerate()
            .all(|(slot, node)| node.is_none_or(|node| self.slot[node] == Some(slot)));
        of_bank(&self.vectors, false) && of_bank(&self.masks, true) && owned && slots
    }
}
