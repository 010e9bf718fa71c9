//! The end of an assembled tile: sums of lanes, the epilogue and the store.

use iced_x86::Register;

use super::super::math;
use super::super::operands::{Binary, Lanes, MemoryRef, Vector, Width};
use super::{OUTPUT, TileEmitter, activation, is_masked};
use crate::kernel::{Pool, PoolKind, Start, TileStep};

impl TileEmitter<'_> {
    /// Adds up the lanes of the accumulators of inner products and collects the sums in vectors along the columns.
    pub(super) fn add_lanes(&mut self) {
        let (rows, columns) = (self.tile.rows, self.tile.columns);
        let row_bytes = self.registers.vectors as i64 * self.emit.width.bytes();
        self.room = row_bytes * rows as i64;
        self.emit.add_number(Register::RSP, -self.room);
        for row in 0..rows {
            for first in (0..columns).step_by(4) {
                // Missing columns repeat an existing one.
                let sums = [0, 1, 2, 3].map(|next| {
                    let column = (first + next).min(columns - 1);
                    Vector((row * columns + column) as u8)
                });
                let to = MemoryRef::at(Register::RSP, row as i64 * row_bytes + 4 * first as i64);
                // The registers that the reduction loaded are free.
                let free = [0, 1, 2].map(|index| Vector((self.registers.sums + index) as u8));
                self.emit.store_sums_of_lanes(sums, to, free);
            }
        }
        if self.emit.width == Width::Bits256 {
            // The mask of elements may have overwritten the column mask.
            self.column_mask();
        }
        for row in 0..rows {
            for vector in 0..self.registers.vectors {
                let from = MemoryRef::at(
                    Register::RSP,
                    row as i64 * row_bytes + vector as i64 * self.emit.width.bytes(),
                );
                let lanes = self.columns_of(vector);
                self.emit.load(self.result(row, vector), from, lanes);
            }
        }
    }

    /// The register of a result.
    fn result(&self, row: usize, vector: usize) -> Vector {
        Vector((row * self.registers.vectors + vector) as u8)
    }

    pub(super) fn finish(&mut self) {
        let results = self.tile.rows * self.registers.vectors;
        let width = self.emit.width;
        let masks = usize::from(width == Width::Bits256 && is_masked(self.tile, width));
        let last = width.registers() - masks;
        let temporaries: Vec<Vector> = (results..last).map(|register| Vector(register as u8)).collect();
        // Arguments on the stack are loaded once for all results of a step.
        let mut operand = 3;
        for step in &self.tile.epilogue.clone() {
            let base = step.takes_operand().then(|| {
                operand += 1;
                self.argument(operand - 1)
            });
            if let Some(kind) = activation(step) {
                let results: Vec<Vector> = (0..results).map(|register| Vector(register as u8)).collect();
                self.apply(kind, &results, &temporaries);
                continue;
            }
            for row in 0..self.tile.rows {
                for vector in 0..self.registers.vectors {
                    self.add_operand(*step, base, row, vector, temporaries[0]);
                }
            }
        }
        if let Some(pool) = self.tile.pool() {
            self.pool(pool, temporaries[0]);
        }
        for row in 0..self.tile.stored_rows() {
            let first = self.tile.rows_of(row)[0];
            for vector in 0..self.registers.vectors {
                let (value, lanes) = (self.result(first, vector), self.columns_of(vector));
                let to = MemoryRef::at(OUTPUT, self.element(row, self.tile.output_row, vector));
                if self.tile.start == Start::Output {
                    self.emit.load(temporaries[0], to, lanes);
                    self.emit.binary(Binary::Add, value, temporaries[0], value);
                }
                self.emit.store(value, to, lanes);
            }
        }
    }

    /// Pools the rows of each window into its first row.
    fn pool(&mut self, pool: Pool, temporary: Vector) {
        for stored in 0..self.tile.stored_rows() {
            let rows = self.tile.rows_of(stored);
            for vector in 0..self.registers.vectors {
                let sum = self.result(rows[0], vector);
                match pool.kind {
                    PoolKind::Max => {
                        for &row in &rows[1..] {
                            let value = self.result(row, vector);
                            math::largest(&mut self.emit, sum, [sum, value], temporary);
                        }
                    }
                    PoolKind::Mean => {
                        // Starts from zero, so that a negative zero becomes positive.
                        self.emit.zero(temporary);
                        self.emit.binary(Binary::Add, sum, temporary, sum);
                        for &row in &rows[1..] {
                            let value = self.result(row, vector);
                            self.emit.binary(Binary::Add, sum, sum, value);
                        }
                        let count = self.emit.number(rows.len() as f32);
                        self.emit.binary(Binary::Divide, sum, sum, count);
                    }
                }
            }
        }
    }

    /// Distance in bytes of a vector from the first element of a block with this row stride.
    fn element(&self, row: usize, row_stride: usize, vector: usize) -> i64 {
        4 * (row * row_stride) as i64 + vector as i64 * self.emit.width.bytes()
    }

    /// Combines a result with the operand of a step of the epilogue.
    fn add_operand(
        &mut self,
        step: TileStep,
        base: Option<Register>,
        row: usize,
        vector: usize,
        temporary: Vector,
    ) {
        let value = self.result(row, vector);
        let lanes = self.columns_of(vector);
        match (step, base) {
            (TileStep::AddPerRow, Some(base)) => {
                self.emit.broadcast(temporary, MemoryRef::at(base, 4 * row as i64));
                self.emit.binary(Binary::Add, value, value, temporary);
            }
            (TileStep::MultiplyScalar, Some(base)) => {
                self.emit.broadcast(temporary, MemoryRef::at(base, 0));
                self.emit.binary(Binary::Multiply, value, value, temporary);
            }
            (TileStep::AddPerColumn, Some(base)) => {
                let from = MemoryRef::at(base, self.element(0, 0, vector));
                self.add(value, from, lanes, temporary);
            }
            (TileStep::AddElement { row: stride }, Some(base)) => {
                let from = MemoryRef::at(base, self.element(row, stride, vector));
                self.add(value, from, lanes, temporary);
            }
            // Activations have no operand, and pools come last.
            _ => {}
        }
    }

    fn add(&mut self, value: Vector, from: MemoryRef, lanes: Lanes, temporary: Vector) {
        match lanes {
            Lanes::All => self.emit.binary(Binary::Add, value, value, from),
            Lanes::Masked(_) => {
                self.emit.load(temporary, from, lanes);
                self.emit.binary(Binary::Add, value, value, temporary);
            }
        }
    }
}
