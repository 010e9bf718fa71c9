//! The Tile leaf for wide vectors: a function `(left, right, output, operands…, counts…)`.
//!
//! Registers are given out once for the whole function. Accumulators come first, then what a step of the reduction loads,
//! and at 256 bits the mask of the last columns. What the reduction loaded is free for the epilogue. General registers:
//! arguments stay where the convention puts them, but for the two operands, which move with the reduction.

use iced_x86::Register;

use super::emit::{Binary, Emitter, Fused, Lanes, Memory, Vector, Width};
use super::math;
use crate::kernel::{Form, Pool, PoolKind, Reduction, Start, Tile, TileStep};
use crate::ops::elementwise::UnaryKind;

/// Multiply-adds written out in one turn of the innermost loop.
const MULTIPLY_ADDS: usize = 128;
/// A reduction of so many multiply-adds or fewer is written out without a loop.
const WRITTEN_OUT: usize = 448;
/// Bytes of a cache line.
const LINE_BYTES: usize = 64;
/// Where the convention puts the first arguments.
const ARGUMENTS: [Register; 6] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];
const LEFT: Register = Register::RDI;
const RIGHT: Register = Register::RSI;
const OUTPUT: Register = Register::RDX;
/// Counters of the reduction's loops, by depth; the callee keeps those from the third on.
const COUNTERS: [Register; 4] = [Register::RAX, Register::R10, Register::RBX, Register::R12];
/// Where the operands were before a loop whose count the call gives; the callee keeps them.
const STARTS: [Register; 2] = [Register::R13, Register::R14];
/// Holds the place of the constants.
const CONSTANTS: Register = Register::R11;
/// Holds an argument that is on the stack; free once the reduction is done.
const ARGUMENT: Register = Register::RAX;
/// Mask registers of the last columns and of the last elements of a dot product, at 512 bits.
const COLUMN_MASK: u8 = 1;
const ELEMENT_MASK: u8 = 2;

/// Vector registers of a tile at a width.
struct Registers {
    /// Vectors of columns in a row of results.
    vectors: usize,
    /// Accumulators.
    sums: usize,
    /// The register for an element or vector of the left operand.
    left: usize,
    /// The first register behind these.
    free: usize,
}

impl Registers {
    fn of(tile: &Tile, width: Width) -> Self {
        let vectors = tile.columns.div_ceil(width.lanes());
        let (sums, shared) = match tile.form {
            Form::Broadcast => (tile.rows * vectors, vectors),
            Form::Dot => (tile.rows * tile.columns, tile.columns),
        };
        Registers { vectors, sums, left: sums + shared, free: sums + shared + 1 }
    }

    fn masks(tile: &Tile, width: Width) -> usize {
        match width {
            Width::Bits512 => 0,
            Width::Bits256 => {
                let partial = |count: usize| usize::from(!count.is_multiple_of(width.lanes()));
                let elements = match tile.form {
                    Form::Dot => tile.reduction.last().map_or(0, |last| partial(last.count.unwrap_or(1))),
                    Form::Broadcast => 0,
                };
                partial(tile.columns).max(elements)
            }
        }
    }
}

/// Whether a tile fits the registers of a width.
pub(in crate::codegen) fn fits(tile: &Tile, width: Width) -> bool {
    let registers = Registers::of(tile, width);
    let masks = Registers::masks(tile, width);
    let temporaries = tile.epilogue.iter().filter_map(activation).map(math::temporaries).max().unwrap_or(1);
    let results = tile.rows * registers.vectors;
    let summing = match tile.form {
        Form::Dot => registers.sums + 3,
        Form::Broadcast => 0,
    };
    registers.free.max(results + temporaries).max(summing) + masks <= width.registers()
        && tile.reduction.len() <= COUNTERS.len()
}

fn activation(step: &TileStep) -> Option<UnaryKind> {
    match step {
        TileStep::Relu => Some(UnaryKind::Relu),
        TileStep::Sigmoid => Some(UnaryKind::Sigmoid),
        TileStep::Tanh => Some(UnaryKind::Tanh),
        TileStep::AddPerRow | TileStep::AddPerColumn | TileStep::AddElement { .. } | TileStep::Pool(_) => {
            None
        }
    }
}

/// The machine code of a tile.
pub(in crate::codegen) fn build(tile: &Tile, width: Width) -> Result<Vec<u8>, String> {
    if !fits(tile, width) {
        return Err(format!("a tile of {}x{} needs more registers than there are", tile.rows, tile.columns));
    }
    let mut emitter = TileEmitter {
        tile,
        emit: Emitter::new(width)?,
        registers: Registers::of(tile, width),
        mask: width.registers() as u8 - 1,
        saved: Vec::new(),
        room: 0,
    };
    emitter.enter();
    emitter.reduction();
    if tile.form == Form::Dot {
        emitter.add_lanes();
    }
    emitter.finish();
    emitter.leave();
    emitter.emit.finish()
}

struct TileEmitter<'t> {
    tile: &'t Tile,
    emit: Emitter,
    registers: Registers,
    /// The vector register of masks at 256 bits.
    mask: u8,
    /// General registers kept for the caller, in the order they were saved.
    saved: Vec<Register>,
    /// Bytes of the stack in use beside them.
    room: i64,
}

/// Bytes the operands are beyond where the reduction started, or a step is from there.
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
    fn lanes(&self) -> usize {
        self.emit.width.lanes()
    }

    fn enter(&mut self) {
        let depth = self.tile.reduction.len();
        let mut saved: Vec<Register> = COUNTERS[..depth].iter().copied().skip(2).collect();
        if self.tile.reduction.iter().any(|reduction| reduction.count.is_none()) {
            saved.extend(STARTS);
        }
        for &register in &saved {
            self.emit.push(register);
        }
        self.saved = saved;
        self.emit.use_constants(CONSTANTS);
        self.column_mask();
        for sum in 0..self.registers.sums {
            self.emit.zero(Vector(sum as u8));
        }
    }

    fn leave(&mut self) {
        if self.room > 0 {
            self.emit.add_number(Register::RSP, self.room);
        }
        for register in std::mem::take(&mut self.saved).into_iter().rev() {
            self.emit.pop(register);
        }
        self.emit.leave();
    }

    /// Columns of the last vector that exist, if not all.
    fn last_columns(&self) -> Option<usize> {
        let rest = self.tile.columns % self.lanes();
        (rest > 0).then_some(rest)
    }

    fn column_mask(&mut self) {
        if let Some(count) = self.last_columns() {
            let mask = if self.emit.width == Width::Bits512 { COLUMN_MASK } else { self.mask };
            self.emit.mask_of_first(mask, count, Register::RAX);
        }
    }

    /// The lanes of a vector of columns.
    fn columns_of(&self, vector: usize) -> Lanes {
        if vector + 1 == self.registers.vectors && self.last_columns().is_some() {
            Lanes::Masked(if self.emit.width == Width::Bits512 { COLUMN_MASK } else { self.mask })
        } else {
            Lanes::All
        }
    }

    /// An argument as a general register: where the convention puts it, or loaded from the stack.
    fn argument(&mut self, index: usize) -> Register {
        match ARGUMENTS.get(index) {
            Some(&register) => register,
            None => {
                let above = 8 * (1 + self.saved.len() + index - ARGUMENTS.len()) as i64 + self.room;
                self.emit.load_register(ARGUMENT, Memory::at(Register::RSP, above));
                ARGUMENT
            }
        }
    }

    fn reduction(&mut self) {
        self.reduce(0, Distance::default());
    }

    /// The loops from a level on, `at` from where the operands point; gives how far they point beyond where they did.
    fn reduce(&mut self, level: usize, at: Distance) -> Distance {
        let reduction = self.tile.reduction[level];
        if level + 1 == self.tile.reduction.len() {
            return match (self.tile.form, reduction.count) {
                (Form::Broadcast, Some(count)) => self.counted(level, count, 1, at),
                (Form::Broadcast, None) => self.open(level, at),
                (Form::Dot, count) => self.dot(level, count.unwrap_or(1), at),
            };
        }
        let Some(count) = reduction.count else { return self.open(level, at) };
        if self.multiply_adds(level) <= WRITTEN_OUT || count == 1 {
            let mut moved = Distance::default();
            for step in 0..count {
                let here = at.plus(Distance::of(&reduction, step)).minus(moved);
                moved = moved.plus(self.reduce(level + 1, here));
            }
            return moved;
        }
        // Within a loop the distance from the operands' pointers must be the same in every turn.
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
            let count =
                if innermost && self.tile.form == Form::Dot { count.div_ceil(self.lanes()) } else { count };
            steps = count.saturating_mul(steps);
        }
        steps.saturating_mul(self.registers.sums)
    }

    fn advance(&mut self, distance: Distance) {
        self.emit.add_number(LEFT, distance.left);
        self.emit.add_number(RIGHT, distance.right);
    }

    /// The innermost loop with a count known now, in steps of so many elements.
    fn counted(&mut self, level: usize, count: usize, elements: usize, at: Distance) -> Distance {
        let reduction = self.tile.reduction[level];
        if count * self.registers.sums <= WRITTEN_OUT {
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

    /// One step of the reduction: one element of each row against vectors of columns.
    fn step(&mut self, at: Distance) {
        if self.tile.form == Form::Dot {
            return self.dot_step(at, Lanes::All);
        }
        let Registers { vectors, sums, left, .. } = self.registers;
        for vector in 0..vectors {
            let from = Memory::at(RIGHT, at.right + vector as i64 * self.emit.width.bytes());
            let lanes = self.columns_of(vector);
            self.emit.load(Vector((sums + vector) as u8), from, lanes);
        }
        if self.tile.prefetch > 0 {
            let ahead = at.right + 4 * self.tile.prefetch as i64;
            for line in 0..(4 * self.tile.columns).div_ceil(LINE_BYTES) {
                self.emit.prefetch(Memory::at(RIGHT, ahead + (line * LINE_BYTES) as i64));
            }
        }
        for row in 0..self.tile.rows {
            let from = Memory::at(LEFT, at.left + 4 * (self.tile.left_rows.start(row)) as i64);
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

    /// The innermost loop of dot products: whole vectors, then a masked one.
    fn dot(&mut self, level: usize, count: usize, at: Distance) -> Distance {
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
        let Registers { sums, left, .. } = self.registers;
        let columns = self.tile.columns;
        for column in 0..columns {
            let from = Memory::at(RIGHT, at.right + 4 * (column * self.tile.right_column) as i64);
            self.emit.load(Vector((sums + column) as u8), from, lanes);
            if self.tile.prefetch > 0 {
                let displacement = from.displacement + 4 * self.tile.prefetch as i64;
                self.emit.prefetch(Memory { displacement, ..from });
            }
        }
        for row in 0..self.tile.rows {
            let from = Memory::at(LEFT, at.left + 4 * (self.tile.left_rows.start(row)) as i64);
            self.emit.load(Vector(left as u8), from, lanes);
            for column in 0..columns {
                let sum = Vector((row * columns + column) as u8);
                let right = Vector((sums + column) as u8);
                self.emit.fused(Fused::Accumulate, sum, Vector(left as u8), right);
            }
        }
    }

    /// Adds up the lanes of the accumulators of dot products, and brings the sums into vectors along the columns.
    fn add_lanes(&mut self) {
        let (rows, columns) = (self.tile.rows, self.tile.columns);
        let row_bytes = self.registers.vectors as i64 * self.emit.width.bytes();
        self.room = row_bytes * rows as i64;
        self.emit.add_number(Register::RSP, -self.room);
        for row in 0..rows {
            for first in (0..columns).step_by(4) {
                // Columns that do not exist repeat one that does.
                let sums = [0, 1, 2, 3].map(|next| {
                    let column = (first + next).min(columns - 1);
                    Vector((row * columns + column) as u8)
                });
                let to = Memory::at(Register::RSP, row as i64 * row_bytes + 4 * first as i64);
                // What the reduction loaded is free.
                let free = [0, 1, 2].map(|index| Vector((self.registers.sums + index) as u8));
                self.emit.store_sums_of_lanes(sums, to, free);
            }
        }
        if self.emit.width == Width::Bits256 {
            // The mask of elements may have taken its register.
            self.column_mask();
        }
        for row in 0..rows {
            for vector in 0..self.registers.vectors {
                let from = Memory::at(
                    Register::RSP,
                    row as i64 * row_bytes + vector as i64 * self.emit.width.bytes(),
                );
                let lanes = self.columns_of(vector);
                self.emit.load(self.result(row, vector), from, lanes);
            }
        }
    }

    /// The register of finished sums.
    fn result(&self, row: usize, vector: usize) -> Vector {
        Vector((row * self.registers.vectors + vector) as u8)
    }

    fn finish(&mut self) {
        let results = self.tile.rows * self.registers.vectors;
        let last = self.emit.width.registers() - Registers::masks(self.tile, self.emit.width);
        let temporaries: Vec<Vector> = (results..last).map(|register| Vector(register as u8)).collect();
        // Arguments on the stack are loaded once for all results of a step.
        let mut operand = 3;
        for step in &self.tile.epilogue.clone() {
            let base = step.takes_operand().then(|| {
                operand += 1;
                self.argument(operand - 1)
            });
            for row in 0..self.tile.rows {
                for vector in 0..self.registers.vectors {
                    self.finish_step(*step, base, row, vector, &temporaries);
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
                let to = Memory::at(OUTPUT, self.element(row, self.tile.output_row, vector));
                if self.tile.start == Start::Stored {
                    self.emit.load(temporaries[0], to, lanes);
                    self.emit.binary(Binary::Add, value, temporaries[0], value);
                }
                self.emit.store(value, to, lanes);
            }
        }
    }

    /// Pools the rows of each window into the first of them.
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
                        // From zero, so that a negative zero becomes a positive one.
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

    /// Distance in bytes of a vector from the first element of a block with rows so far apart.
    fn element(&self, row: usize, row_stride: usize, vector: usize) -> i64 {
        4 * (row * row_stride) as i64 + vector as i64 * self.emit.width.bytes()
    }

    fn finish_step(
        &mut self,
        step: TileStep,
        base: Option<Register>,
        row: usize,
        vector: usize,
        temporaries: &[Vector],
    ) {
        let value = self.result(row, vector);
        let lanes = self.columns_of(vector);
        match (step, base) {
            (TileStep::AddPerRow, Some(base)) => {
                self.emit.broadcast(temporaries[0], Memory::at(base, 4 * row as i64));
                self.emit.binary(Binary::Add, value, value, temporaries[0]);
            }
            (TileStep::AddPerColumn, Some(base)) => {
                let from = Memory::at(base, self.element(0, 0, vector));
                self.add(value, from, lanes, temporaries[0]);
            }
            (TileStep::AddElement { row: stride }, Some(base)) => {
                let from = Memory::at(base, self.element(row, stride, vector));
                self.add(value, from, lanes, temporaries[0]);
            }
            _ => {
                if let Some(kind) = activation(&step) {
                    math::unary(&mut self.emit, kind, value, temporaries);
                }
            }
        }
    }

    fn add(&mut self, value: Vector, from: Memory, lanes: Lanes, temporary: Vector) {
        match lanes {
            Lanes::All => self.emit.binary(Binary::Add, value, value, from),
            Lanes::Masked(_) => {
                self.emit.load(temporary, from, lanes);
                self.emit.binary(Binary::Add, value, value, temporary);
            }
        }
    }
}
