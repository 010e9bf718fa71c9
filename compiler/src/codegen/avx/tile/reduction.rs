//! The reduction of an assembled tile: its loops and the movement of the operands.

use super::super::operands::{Fused, Lanes, MemoryRef, Vector, Width};
use super::{COUNTERS, ELEMENT_MASK, LEFT, RIGHT, STARTS, TileEmitter};
use crate::kernel::{Form, Reduction};
use crate::target::TileRegisters;

/// Multiply-adds in one iteration of the unrolled innermost loop.
const MULTIPLY_ADDS: usize = 128;
/// A reduction of at most this many multiply-adds is unrolled completely.
const UNROLLED: usize = 448;
/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Byte offsets of the operands from the start of the reduction, or of a step from there.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Distance {
    left: i64,
    right: i64,
}

impl Distance {
    fn of(reduction: &Reduction, steps: usize) -> Self {
        let bytes = |stride: usize| 4 * (stride * steps) as i64;
        Distance { left: bytes(reduction.left), right: bytes(reduction.right) }
    }

    fn plus(self, other: Distance) -> Self {
        Distance { left: self.left + other.left, right: self.right + other.right }
    }

    fn minus(self, other: Distance) -> Self {
        Distance { left: self.left - other.left, right: self.right - other.right }
    }
}
impl TileEmitter<'_> {
    pub(super) fn reduction(&mut self) {
        self.reduce(0, Distance::default());
    }

    /// The loops from a level on, `at` from the operands' pointers; returns how far the pointers have moved.
    fn reduce(&mut self, level: usize, at: Distance) -> Distance {
        let reduction = self.tile.reduction[level];
        if level + 1 == self.tile.reduction.len() {
            return match (self.tile.form, reduction.count) {
                (Form::OuterProduct, Some(count)) => self.counted(level, count, 1, at),
                (Form::OuterProduct, None) => self.open(level, at),
                (Form::InnerProduct, count) => self.inner_product(level, count.unwrap_or(1), at),
            };
        }
        let Some(count) = reduction.count else { return self.open(level, at) };
        if self.multiply_adds(level) <= UNROLLED || count == 1 {
            let mut moved = Distance::default();
            for step in 0..count {
                let here = at.plus(Distance::of(&reduction, step)).minus(moved);
                moved = moved.plus(self.reduce(level + 1, here));
            }
            return moved;
        }
        // Within a loop, the distance from the operands' pointers must be the same in every iteration.
        self.advance(at);
        let counter = COUNTERS[level];
        self.emit.move_number(counter, count as i64);
        let mut turn = self.emit.label();
        self.emit.here(&mut turn);
        let moved = self.reduce(level + 1, Distance::default());
        self.advance(Distance::of(&reduction, 1).minus(moved));
        self.emit.count_down(counter, turn);
        at.plus(Distance::of(&reduction, count))
    }

    /// Multiply-adds of all steps from a level on.
    fn multiply_adds(&self, level: usize) -> usize {
        let mut steps = 1;
        for (index, reduction) in self.tile.reduction.iter().enumerate().skip(level) {
            let innermost = index + 1 == self.tile.reduction.len();
            let count = reduction.count.unwrap_or(usize::MAX / 2);
            let count = if innermost && self.tile.form == Form::InnerProduct {
                count.div_ceil(self.lanes())
            } else {
                count
            };
            steps = count.saturating_mul(steps);
        }
        steps.saturating_mul(self.registers.sums)
    }

    fn advance(&mut self, distance: Distance) {
        self.emit.add_number(LEFT, distance.left);
        self.emit.add_number(RIGHT, distance.right);
    }

    /// The innermost loop with a constant count, in steps of a number of elements.
    fn counted(&mut self, level: usize, count: usize, elements: usize, at: Distance) -> Distance {
        let reduction = self.tile.reduction[level];
        if count * self.registers.sums <= UNROLLED {
            for step in 0..count {
                self.step(at.plus(Distance::of(&reduction, step * elements)));
            }
            return Distance::default();
        }
        let unroll = (MULTIPLY_ADDS / self.registers.sums).clamp(1, 8).min(count);
        let counter = COUNTERS[level];
        self.emit.move_number(counter, (count / unroll) as i64);
        let mut turn = self.emit.label();
        self.emit.here(&mut turn);
        for step in 0..unroll {
            self.step(at.plus(Distance::of(&reduction, step * elements)));
        }
        self.advance(Distance::of(&reduction, unroll * elements));
        self.emit.count_down(counter, turn);
        for step in 0..count % unroll {
            self.step(at.plus(Distance::of(&reduction, step * elements)));
        }
        Distance::of(&reduction, count / unroll * unroll * elements)
    }

    /// A loop whose count the call gives.
    fn open(&mut self, level: usize, at: Distance) -> Distance {
        self.advance(at);
        self.emit.move_register(STARTS[0], LEFT);
        self.emit.move_register(STARTS[1], RIGHT);
        let operands = self.tile.epilogue.iter().filter(|step| step.takes_operand()).count();
        let argument = self.argument(3 + operands);
        let counter = COUNTERS[level];
        self.emit.move_register(counter, argument);
        let (mut turn, mut after) = (self.emit.label(), self.emit.label());
        self.emit.jump_if_zero(counter, after);
        self.emit.here(&mut turn);
        let moved = if level + 1 == self.tile.reduction.len() {
            self.step(Distance::default());
            Distance::default()
        } else {
            self.reduce(level + 1, Distance::default())
        };
        self.advance(Distance::of(&self.tile.reduction[level], 1).minus(moved));
        self.emit.count_down(counter, turn);
        self.emit.here(&mut after);
        self.emit.move_register(LEFT, STARTS[0]);
        self.emit.move_register(RIGHT, STARTS[1]);
        at
    }

    /// One step of the reduction: one element of each row times vectors of columns.
    fn step(&mut self, at: Distance) {
        if self.tile.form == Form::InnerProduct {
            return self.dot_step(at, Lanes::All);
        }
        let TileRegisters { vectors, sums, left, .. } = self.registers;
        for vector in 0..vectors {
            let from = MemoryRef::at(RIGHT, at.right + vector as i64 * self.emit.width.bytes());
            let lanes = self.columns_of(vector);
            self.emit.load(Vector((sums + vector) as u8), from, lanes);
        }
        if self.tile.prefetch > 0 {
            let ahead = at.right + 4 * self.tile.prefetch as i64;
            for line in 0..(4 * self.tile.columns).div_ceil(LINE_BYTES) {
                self.emit.prefetch(MemoryRef::at(RIGHT, ahead + (line * LINE_BYTES) as i64));
            }
        }
        for row in 0..self.tile.rows {
            let from = MemoryRef::at(LEFT, at.left + 4 * (self.tile.left_rows.start(row)) as i64);
            if vectors == 1 && self.emit.width == Width::Bits512 {
                self.emit.accumulate_broadcast(Vector(row as u8), Vector(sums as u8), from);
                continue;
            }
            self.emit.broadcast(Vector(left as u8), from);
            for vector in 0..vectors {
                let sum = Vector((row * vectors + vector) as u8);
                let right = Vector((sums + vector) as u8);
                self.emit.fused(Fused::Accumulate, sum, Vector(left as u8), right);
            }
        }
    }

    /// The innermost loop of inner products: whole vectors, then a masked one.
    fn inner_product(&mut self, level: usize, count: usize, at: Distance) -> Distance {
        let lanes = self.lanes();
        let moved = self.counted(level, count / lanes, lanes, at);
        let rest = count % lanes;
        if rest > 0 {
            let wide = self.emit.width == Width::Bits512;
            let mask = if wide { ELEMENT_MASK } else { self.mask };
            self.emit.mask_of_first(mask, rest, COUNTERS[level]);
            let here = at.plus(Distance::of(&self.tile.reduction[level], count - rest)).minus(moved);
            self.dot_step(here, Lanes::Masked(mask));
        }
        moved
    }

    fn dot_step(&mut self, at: Distance, lanes: Lanes) {
        let TileRegisters { sums, left, .. } = self.registers;
        let columns = self.tile.columns;
        for column in 0..columns {
            let from = MemoryRef::at(RIGHT, at.right + 4 * (column * self.tile.right_column) as i64);
            self.emit.load(Vector((sums + column) as u8), from, lanes);
            if self.tile.prefetch > 0 {
                let displacement = from.displacement + 4 * self.tile.prefetch as i64;
                self.emit.prefetch(MemoryRef { displacement, ..from });
            }
        }
        for row in 0..self.tile.rows {
            let from = MemoryRef::at(LEFT, at.left + 4 * (self.tile.left_rows.start(row)) as i64);
            self.emit.load(Vector(left as u8), from, lanes);
            for column in 0..columns {
                let sum = Vector((row * columns + column) as u8);
                let right = Vector((sums + column) as u8);
                self.emit.fused(Fused::Accumulate, sum, Vector(left as u8), right);
            }
        }
    }
}
