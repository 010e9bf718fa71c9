//! The vector registers of a target, and how many a tile needs. The planner chooses register tiles within this budget,
//! and the assembler checks tiles against it.

use crate::kernel::Form;

/// The maximum number of registers that an activation overwrites, besides its operand's.
pub(crate) const ACTIVATION: usize = 4;

/// The vector unit of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VectorUnit {
    /// Width of a vector in bits.
    pub bits: usize,
    /// Number of vector registers.
    pub registers: usize,
    /// Number of mask registers. If there are none, a mask takes a vector register.
    pub masks: usize,
}

impl VectorUnit {
    /// Vectors of x86-64: 128 bits on every CPU, 256 with AVX2, 512 with AVX-512.
    pub const fn x86_64(bits: usize) -> Self {
        match bits {
            0..=256 => VectorUnit { bits, registers: 16, masks: 0 },
            _ => VectorUnit { bits, registers: 32, masks: 8 },
        }
    }

    /// Vectors of 64-bit ARM.
    pub const fn aarch64() -> Self {
        VectorUnit { bits: 128, registers: 32, masks: 0 }
    }

    /// Lanes of 32 bits in a vector.
    pub const fn lanes(self) -> usize {
        self.bits / 32
    }

    /// Whether kernels use assembled AVX microkernels, because Cranelift has no vectors of this width.
    pub const fn uses_avx(self) -> bool {
        self.bits > 128
    }

    /// The registers that a tile needs. `activation` is the number its epilogue overwrites besides an operand's;
    /// `masked` says whether some of its vectors are partial.
    ///
    /// Besides accumulators and vectors, Cranelift's tiles need an element of the row and the copy that a fused
    /// multiply-add overwrites. Assembled tiles need no copy. The epilogue may use the registers that the reduction
    /// loaded.
    pub fn needed(self, tile: &TileRegisters, activation: usize, masked: bool) -> usize {
        if !self.uses_avx() {
            return tile.free + 1;
        }
        let masks = usize::from(masked && self.masks == 0);
        tile.free.max(tile.results + activation).max(tile.adding_up) + masks
    }

    /// Whether a tile fits the registers with any epilogue and any number of partial columns.
    pub fn holds(self, tile: &TileRegisters) -> bool {
        self.needed(tile, ACTIVATION, true) <= self.registers
    }
}

/// How a tile assigns vector registers: first the accumulators, then what a reduction step loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileRegisters {
    /// Vectors of columns in a row of results.
    pub vectors: usize,
    /// Accumulators.
    pub sums: usize,
    /// The register for an element or vector of the left operand.
    pub left: usize,
    /// The first free register.
    pub free: usize,
    /// Vectors of results, after the lanes of the sums are added up.
    pub results: usize,
    /// Registers needed while adding up lanes.
    pub adding_up: usize,
}

impl TileRegisters {
    /// The registers of a tile with this number of rows and columns.
    pub fn of(form: Form, rows: usize, columns: usize, vectors: VectorUnit) -> Self {
        let vectors = columns.div_ceil(vectors.lanes());
        let results = rows * vectors;
        let (sums, shared, adding_up) = match form {
            Form::OuterProduct => (results, vectors, 0),
            Form::InnerProduct => (rows * columns, columns, rows * columns + 3),
        };
        TileRegisters { vectors, sums, left: sums + shared, free: sums + shared + 1, results, adding_up }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_blocks_that_fit() {
        let holds =
            |unit: VectorUnit, form, rows, columns| unit.holds(&TileRegisters::of(form, rows, columns, unit));
        let (narrow, ymm, zmm) = (VectorUnit::x86_64(128), VectorUnit::x86_64(256), VectorUnit::x86_64(512));
        // 12 sums, 2 vectors, an element and a copy.
        assert!(holds(narrow, Form::OuterProduct, 6, 8) && !holds(narrow, Form::OuterProduct, 7, 8));
        // 10 sums beside 4 registers of an activation and a mask: 11 fit, but no 12.
        assert!(holds(ymm, Form::OuterProduct, 5, 16) && !holds(ymm, Form::OuterProduct, 6, 16));
        assert!(holds(zmm, Form::OuterProduct, 14, 32) && !holds(zmm, Form::OuterProduct, 15, 32));
        assert!(holds(zmm, Form::InnerProduct, 4, 6) && !holds(zmm, Form::InnerProduct, 4, 7));
        assert!(holds(ymm, Form::InnerProduct, 2, 4) && !holds(ymm, Form::InnerProduct, 4, 6));
        // 64-bit ARM has twice the registers of narrow vectors.
        let arm = VectorUnit::aarch64();
        assert!(holds(arm, Form::OuterProduct, 14, 8) && !holds(arm, Form::OuterProduct, 15, 8));
        assert!(holds(arm, Form::InnerProduct, 4, 6));
    }
}
