//! The whole function of an assembled map: its registers, its stack and the order of its parts.

use iced_x86::{Code, Instruction, Register};

use super::super::emit::Emitter;
use super::super::operands::{MemoryRef, Width};
use super::body::{ADDRESS, Accumulator, TABLE, Whole};
use super::key::{MapKey, Over};
use super::registers::{Held, slot_count};
use crate::codegen::fallback::{Failure, FallbackReason};
use crate::kernel::SumBlocks;

/// The general register of the constants.
const CONSTANTS: Register = Register::R11;
/// The general register that counts lanes.
pub(super) const LANES_LEFT: Register = Register::RCX;
/// Counters of window loops, outermost first.
pub(super) const COUNTERS: [Register; 4] = [Register::RBX, Register::RBP, Register::R15, Register::R14];
/// Pointers, in the order of use. The last one is a counter in windows of four axes.
const POINTERS: [Register; 8] = [
    Register::RSI,
    Register::RDX,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R12,
    Register::R13,
    Register::R14,
];
/// Callee-saved general registers.
const SAVED: [Register; 6] =
    [Register::RBX, Register::RBP, Register::R12, Register::R13, Register::R14, Register::R15];
pub(super) type Written = Result<(), Failure>;

pub(super) fn build(key: &MapKey, width: Width) -> Result<Vec<u8>, Failure> {
    let mut walk = Walk::new(key, width)?;
    walk.enter();
    walk.hoist()?;
    match key.over {
        Over::Nothing | Over::Window => {
            let copies = walk.copies();
            walk.lanes(copies, &mut |walk, sites| walk.elements(sites))?;
        }
        Over::Lanes => walk.fold_lanes()?,
    }
    walk.leave();
    walk.emitter.finish()
}

/// Emits the function of a map.
pub(super) struct Walk<'s> {
    pub(super) key: &'s MapKey,
    pub(super) width: Width,
    pub(super) emitter: Emitter,
    /// General registers of entries.
    pub(super) pointers: Vec<Option<Register>>,
    /// Loop-invariant values in registers.
    pub(super) held: Vec<Held>,
    /// Accumulators in use.
    pub(super) accumulators: Vec<Accumulator>,
    /// Where the blocks of sums end.
    pub(super) blocks: Option<SumBlocks>,
    /// The maximum number of totals at once.
    wholes: usize,
}

impl<'s> Walk<'s> {
    fn new(key: &'s MapKey, width: Width) -> Result<Self, Failure> {
        let mut uses = vec![0; key.entries.len()];
        for place in key.loads.iter().chain(key.stores.iter().map(|store| &store.place)) {
            uses[place.entry] += 1;
        }
        let mut used: Vec<usize> = (0..uses.len()).filter(|&entry| uses[entry] > 0).collect();
        used.sort_by_key(|&entry| std::cmp::Reverse(uses[entry]));
        let mut pointers = vec![None; key.entries.len()];
        let counters = &COUNTERS[..key.window.len().min(COUNTERS.len())];
        let free = POINTERS.into_iter().filter(|register| !counters.contains(register));
        for (&entry, register) in used.iter().zip(free) {
            pointers[entry] = Some(register);
        }
        let emitter = Emitter::new(width)?;
        let (held, accumulators) = (Vec::new(), Vec::new());
        let mut walk = Walk { key, width, emitter, pointers, held, accumulators, blocks: None, wholes: 0 };
        walk.blocks = walk.sum_blocks();
        walk.wholes = if walk.blocks.is_some() { walk.copies() * walk.sums() } else { 0 };
        if walk.frame() > 4096 {
            return Err(FallbackReason::Operands.into());
        }
        Ok(walk)
    }

    // The stack: slots of values, totals with their rounding errors, pointers saved before each loop, the number of the
    // window step, the caller's stack pointer.

    fn slots(&self) -> i64 {
        slot_count(self.key) as i64 * self.width.bytes()
    }

    /// The total with this index.
    pub(super) fn whole(&self, index: usize) -> Whole {
        let at = |half| {
            MemoryRef::at(Register::RSP, self.slots() + (2 * index as i64 + half) * self.width.bytes())
        };
        Whole { sum: at(0), lost: at(1) }
    }

    pub(super) fn kept(&self, depth: usize, entry: usize) -> MemoryRef {
        let first = self.whole(self.wholes).sum.displacement;
        MemoryRef::at(Register::RSP, first + 8 * (depth * self.key.entries.len() + entry) as i64)
    }

    pub(super) fn window_index(&self) -> MemoryRef {
        self.kept(self.key.window.len() + 1, 0)
    }

    fn frame(&self) -> i64 {
        self.window_index().displacement + 16
    }

    fn saved(&self) -> impl Iterator<Item = Register> + use<> {
        let counters = self.key.window.len();
        let pointers: Vec<Register> = self.pointers.iter().flatten().copied().collect();
        SAVED.into_iter().filter(move |register| {
            pointers.contains(register) || COUNTERS[..counters.min(COUNTERS.len())].contains(register)
        })
    }

    fn enter(&mut self) {
        for register in self.saved() {
            self.emitter.push(register);
        }
        let (frame, old) = (self.frame(), MemoryRef::at(Register::RSP, self.frame() - 8));
        self.emitter.move_register(ADDRESS, Register::RSP);
        self.emitter.add_number(Register::RSP, -frame);
        self.emitter.put(Instruction::with2(Code::And_rm64_imm8, Register::RSP, -64));
        self.emitter.store_register(ADDRESS, old);
        self.emitter.use_constants(CONSTANTS);
        for entry in 0..self.pointers.len() {
            if let Some(register) = self.pointers[entry] {
                self.emitter.load_register(register, MemoryRef::at(TABLE, 8 * entry as i64));
            }
        }
    }

    fn leave(&mut self) {
        let old = MemoryRef::at(Register::RSP, self.frame() - 8);
        self.emitter.load_register(Register::RSP, old);
        let saved: Vec<Register> = self.saved().collect();
        for &register in saved.iter().rev() {
            self.emitter.pop(register);
        }
        self.emitter.leave();
    }
}
