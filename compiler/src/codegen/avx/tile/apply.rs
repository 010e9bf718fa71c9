//! Activations of a tile's results, several at once: a function is a chain of dependent instructions, and a core does not look
//! ahead as far as to the next chain.

use iced_x86::Register;

use super::super::interleave::side_by_side;
use super::super::math;
use super::super::operands::{Lanes, MemoryRef, Vector};
use super::TileEmitter;
use crate::functions::UnaryKind;

/// The number of results whose functions are computed side by side. Each uses a mask register of its own.
const TOGETHER: usize = 4;

/// Functions of fewer instructions are computed one after the other.
const LONG: usize = 12;

impl TileEmitter<'_> {
    /// Applies a function to all results. It may overwrite the temporaries.
    pub(super) fn apply(&mut self, kind: UnaryKind, results: &[Vector], temporaries: &[Vector]) {
        let needed = math::temporaries(kind);
        let is_long = self.instructions(kind, results[0], temporaries) >= LONG;
        let missing = if is_long { (TOGETHER * needed).saturating_sub(temporaries.len()) } else { 0 };
        // Results that wait on the stack leave their registers to the others.
        let waiting = missing.min(results.len() / 2);
        let (first, rest) = results.split_at(waiting);
        let together = if is_long { TOGETHER } else { 1 };
        if waiting == 0 {
            return self.apply_together(kind, results, temporaries, together);
        }
        let lent = &rest[..waiting];
        let bytes = self.emit.width.bytes();
        let room = 2 * waiting as i64 * bytes;
        self.emit.add_number(Register::RSP, -room);
        self.store_waiting(first, 0);
        self.apply_together(kind, rest, &[temporaries, first].concat(), together);
        self.store_waiting(lent, waiting);
        self.load_waiting(first, 0);
        self.apply_together(kind, first, &[temporaries, lent].concat(), together);
        self.load_waiting(lent, waiting);
        self.emit.add_number(Register::RSP, room);
    }

    /// The number of instructions of a function.
    fn instructions(&mut self, kind: UnaryKind, result: Vector, temporaries: &[Vector]) -> usize {
        self.emit.record();
        math::unary(&mut self.emit, kind, result, temporaries);
        self.emit.recorded().len()
    }

    fn apply_together(&mut self, kind: UnaryKind, results: &[Vector], temporaries: &[Vector], most: usize) {
        let needed = math::temporaries(kind);
        let fitting = temporaries.len().checked_div(needed).unwrap_or(most);
        for results in results.chunks(fitting.clamp(1, most)) {
            let mut functions = Vec::with_capacity(results.len());
            for (index, &result) in results.iter().enumerate() {
                self.emit.record();
                self.emit.mask = math::MASK - index as u8;
                math::unary(&mut self.emit, kind, result, &temporaries[index * needed..]);
                functions.push(self.emit.recorded());
            }
            self.emit.mask = math::MASK;
            for instruction in side_by_side(&functions) {
                self.emit.put(Ok(instruction));
            }
        }
    }

    fn waiting(&self, place: usize) -> MemoryRef {
        MemoryRef::at(Register::RSP, place as i64 * self.emit.width.bytes())
    }

    fn store_waiting(&mut self, results: &[Vector], place: usize) {
        for (index, &result) in results.iter().enumerate() {
            let to = self.waiting(place + index);
            self.emit.store(result, to, Lanes::All);
        }
    }

    fn load_waiting(&mut self, results: &[Vector], place: usize) {
        for (index, &result) in results.iter().enumerate() {
            let from = self.waiting(place + index);
            self.emit.load(result, from, Lanes::All);
        }
    }
}
