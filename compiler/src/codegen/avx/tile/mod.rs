//! The assembled Tile leaf: a function `(left, right, output, operands…, counts…)`.
//!
//! Registers are assigned once for the whole function: first the accumulators, then what a reduction step loads, and at
//! 256 bits the mask of the last columns. The epilogue may use what the reduction loaded. Arguments stay in the
//! registers of the calling convention, except for the two operands, which move with the reduction.
//!
//! This file checks what a tile needs and emits the function around `reduction` and `finish`.

mod apply;
mod finish;
mod reduction;

use iced_x86::Register;

use super::emit::Emitter;
use super::math;
use super::operands::{Lanes, MemoryRef, Vector, Width};
use crate::codegen::fallback::{Failure, FallbackReason};
use crate::functions::UnaryKind;
use crate::kernel::{Form, Reduction, Tile, TileStep};
use crate::target::TileRegisters;

/// The registers of the first arguments.
const ARGUMENTS: [Register; 6] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];
const LEFT: Register = Register::RDI;
const RIGHT: Register = Register::RSI;
const OUTPUT: Register = Register::RDX;
/// Counters of the reduction's loops, by depth; from the third on they are callee-saved.
const COUNTERS: [Register; 4] = [Register::RAX, Register::R10, Register::RBX, Register::R12];
/// The operands' pointers before a loop whose count the call gives; callee-saved.
const STARTS: [Register; 2] = [Register::R13, Register::R14];
/// Holds the address of the constants.
const CONSTANTS: Register = Register::R11;
/// Holds an argument from the stack; free once the reduction is done.
const ARGUMENT: Register = Register::RAX;
/// Mask registers of the last columns and of the last elements of an inner product, at 512 bits.
const COLUMN_MASK: u8 = 1;
const ELEMENT_MASK: u8 = 2;

/// The vector registers of a tile at a width.
fn registers(tile: &Tile, width: Width) -> TileRegisters {
    TileRegisters::of(tile.form, tile.rows, tile.columns, width.vectors())
}

/// Whether the last vectors of its columns, or of its inner products, are partial.
fn is_masked(tile: &Tile, width: Width) -> bool {
    let partial = |count: usize| !count.is_multiple_of(width.lanes());
    let elements = match tile.form {
        Form::InnerProduct => tile.reduction.last().is_some_and(|last| partial(last.count.unwrap_or(1))),
        Form::OuterProduct => false,
    };
    partial(tile.columns) || elements
}

/// The maximum distance in bytes from a register: a 32-bit displacement, less a vector.
const FARTHEST: usize = i32::MAX as usize - 64;

/// The maximum distance in bytes between two elements of an operand or of the results. A loop whose count the call
/// gives moves step by step.
fn reach(tile: &Tile) -> usize {
    let far = |stride: usize, count: usize| stride.saturating_mul(count);
    let reduced = |stride: fn(&Reduction) -> usize| {
        let steps = tile.reduction.iter();
        steps
            .map(|reduction| far(stride(reduction), reduction.count.unwrap_or(1)))
            .fold(0, usize::saturating_add)
    };
    let last_row = (0..tile.rows).map(|row| tile.left_rows.start(row)).max().unwrap_or(0);
    let left = reduced(|reduction| reduction.left).saturating_add(last_row);
    let right = reduced(|reduction| reduction.right)
        .saturating_add(far(tile.right_column, tile.columns))
        .saturating_add(tile.prefetch);
    let rows =
        tile.epilogue.iter().map(|step| if let TileStep::AddElement { row } = step { *row } else { 0 });
    let results = far(rows.fold(tile.output_row, usize::max), tile.rows).saturating_add(tile.columns);
    far(4, left.max(right).max(results))
}

/// Checks that a tile fits the registers of a width, and its distances the instructions.
fn check(tile: &Tile, width: Width) -> Result<(), FallbackReason> {
    let temporaries = tile.epilogue.iter().filter_map(activation).map(math::temporaries).max().unwrap_or(1);
    let needed = width.vectors().needed(&registers(tile, width), temporaries, is_masked(tile, width));
    let (depth, reach) = (tile.reduction.len(), reach(tile));
    if needed > width.registers() {
        Err(FallbackReason::Registers { needed, there: width.registers() })
    } else if depth > COUNTERS.len() {
        Err(FallbackReason::Loops { depth, most: COUNTERS.len() })
    } else if reach > FARTHEST {
        Err(FallbackReason::Distance { bytes: reach as u64 })
    } else {
        Ok(())
    }
}

fn activation(step: &TileStep) -> Option<UnaryKind> {
    match step {
        TileStep::Apply(kind) => Some(*kind),
        TileStep::AddPerRow
        | TileStep::AddPerColumn
        | TileStep::AddElement { .. }
        | TileStep::MultiplyScalar
        | TileStep::Pool(_) => None,
    }
}

/// The machine code of a tile.
///
/// # Errors
/// Why the tile cannot be assembled.
pub(in crate::codegen) fn build(tile: &Tile, width: Width) -> Result<Vec<u8>, Failure> {
    check(tile, width)?;
    let mut emitter = TileEmitter {
        tile,
        emit: Emitter::new(width)?,
        registers: registers(tile, width),
        mask: width.registers() as u8 - 1,
        saved: Vec::new(),
        room: 0,
    };
    emitter.enter();
    emitter.reduction();
    if tile.form == Form::InnerProduct {
        emitter.add_lanes();
    }
    emitter.finish();
    emitter.leave();
    emitter.emit.finish()
}

struct TileEmitter<'t> {
    tile: &'t Tile,
    emit: Emitter,
    registers: TileRegisters,
    /// The vector register of masks at 256 bits.
    mask: u8,
    /// Callee-saved registers, in the order they were saved.
    saved: Vec<Register>,
    /// Other bytes of the stack in use.
    room: i64,
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

    /// Columns of the last vector, if it is partial.
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

    /// An argument in a general register: the one of the calling convention, or loaded from the stack.
    fn argument(&mut self, index: usize) -> Register {
        match ARGUMENTS.get(index) {
            Some(&register) => register,
            None => {
                let above = 8 * (1 + self.saved.len() + index - ARGUMENTS.len()) as i64 + self.room;
                self.emit.load_register(ARGUMENT, MemoryRef::at(Register::RSP, above));
                ARGUMENT
            }
        }
    }
}
