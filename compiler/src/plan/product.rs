//! The vectors that a plan uses, and the choice of a product's register tile.

use super::{BlockedRange, Costs};
use crate::kernel::Form;
use crate::target::{TileRegisters, VectorUnit};

/// The vectors that code uses, and their costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vectors {
    /// Lanes of a vector.
    pub lanes: usize,
    /// The number of vector registers.
    pub registers: usize,
    /// The vector unit of the target, which determines the registers of a tile.
    pub unit: VectorUnit,
    /// The costs of operations on a core.
    pub costs: Costs,
}

impl Vectors {
    /// The vectors of a target.
    pub fn of(unit: VectorUnit, costs: Costs) -> Self {
        Vectors { lanes: unit.lanes(), registers: unit.registers, unit, costs }
    }

    /// Whether a tile's accumulators and the operands of a step fit the registers.
    fn hold(self, form: Form, rows: usize, columns: usize) -> bool {
        self.unit.holds(&TileRegisters::of(form, rows, columns, self.unit))
    }
}

/// A register tile: rows of the result, and columns in vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterTile {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
}

impl RegisterTile {
    /// The tile of inner products: items or outputs by columns, each with vectors along the reduction. Each load
    /// contributes to several sums, and the operands of a step fit the registers beside the sums.
    pub fn of_inner_products(vectors: Vectors) -> RegisterTile {
        let blocks = [RegisterTile { rows: 4, columns: 6 }, RegisterTile { rows: 2, columns: 4 }];
        let fits = |block: &RegisterTile| vectors.hold(Form::InnerProduct, block.rows, block.columns);
        blocks.into_iter().find(fits).unwrap_or(RegisterTile { rows: 1, columns: 1 })
    }

    /// The time of one step of the reduction, in sixteenths of a cycle: the maximum of the multiplications, the loads,
    /// and the latency of the previous step. Loads cost a little even if multiplications take longer.
    pub fn time(vectors: Vectors, rows: usize, count: usize) -> usize {
        let Vectors { lanes, costs, .. } = vectors;
        let multiply_add = usize::from(costs.multiply_add.of_lanes(lanes)) * rows * count;
        let load = usize::from(costs.load) * (rows + count);
        multiply_add.max(load).max(usize::from(costs.latency))
            + usize::from(costs.broadcast) * rows
            + usize::from(costs.vector) * count
    }

    /// The time of all results of inner products over `length` elements, in sixteenths of a cycle: steps of whole vectors,
    /// and a sum across the lanes for each result.
    pub fn time_of_inner_products(vectors: Vectors, rows: usize, columns: usize, length: usize) -> usize {
        const ACROSS_LANES: usize = 16 * 16;
        let block = RegisterTile::of_inner_products(vectors);
        let of_row_blocks = |count: usize, rows: usize| {
            let blocks = BlockedRange::exact(columns, block.columns);
            let step: usize =
                blocks.parts().map(|(count, size)| count * RegisterTile::time(vectors, rows, size)).sum();
            count * (length.div_ceil(vectors.lanes) * step + rows * columns * ACROSS_LANES)
        };
        of_row_blocks(rows / block.rows, block.rows) + of_row_blocks(rows % block.rows, 1)
    }

    /// Every tile that fits the registers.
    pub fn all(vectors: Vectors) -> impl Iterator<Item = RegisterTile> {
        (1..=vectors.registers).flat_map(move |rows| {
            (1..=vectors.registers)
                .filter(move |&count| vectors.hold(Form::OuterProduct, rows, count * vectors.lanes))
                .map(move |count| RegisterTile { rows, columns: count * vectors.lanes })
        })
    }

    /// The time of one reduction step of all tiles that cover a result.
    pub fn time_of_all(vectors: Vectors, rows: &BlockedRange, columns: &BlockedRange) -> usize {
        let mut time = 0;
        for (row_blocks, rows) in rows.parts() {
            for (column_blocks, columns) in columns.parts() {
                let count = columns.div_ceil(vectors.lanes);
                time += row_blocks * column_blocks * RegisterTile::time(vectors, rows, count);
            }
        }
        time
    }

    /// The tile that covers a result of `rows` rows and `columns` columns in the least time.
    pub fn choose(vectors: Vectors, rows: usize, columns: usize) -> RegisterTile {
        let time = |block: &RegisterTile| {
            let rows = BlockedRange::exact(rows, block.rows);
            let columns = BlockedRange::overlapping(columns, block.columns, vectors.lanes);
            // If times are equal, the one with fewer tiles.
            (RegisterTile::time_of_all(vectors, &rows, &columns), rows.blocks() * columns.blocks())
        };
        RegisterTile::all(vectors)
            .min_by_key(time)
            .unwrap_or(RegisterTile { rows: 1, columns: vectors.lanes })
    }
}

#[cfg(test)]
mod tests {
    use super::{Costs, RegisterTile, Vectors};
    use crate::target::VectorUnit;

    fn of_bits(bits: usize) -> Vectors {
        Vectors::of(VectorUnit::x86_64(bits), Costs::default())
    }

    #[test]
    fn blocks_divide_what_they_cover() {
        let narrow = of_bits(128);
        assert_eq!(RegisterTile::choose(narrow, 9, 36), RegisterTile { rows: 3, columns: 12 });
        assert_eq!(RegisterTile::choose(narrow, 1, 4096).rows, 1);
        let large = RegisterTile::choose(narrow, 256, 196);
        assert!(large.rows * large.columns >= 32, "{large:?} waits for its own additions");
        let wide = of_bits(512);
        assert_eq!(RegisterTile::choose(wide, 196, 32), RegisterTile { rows: 14, columns: 32 });
        let square = RegisterTile::choose(wide, 49, 64);
        assert!(square.rows >= 7 && square.columns >= 32, "{square:?} loads too much");
    }

    #[test]
    fn a_step_takes_as_long_as_its_slowest_part() {
        let mut slow = Costs::default();
        slow.multiply_add.bits_512 = 160;
        let vectors = Vectors::of(VectorUnit::x86_64(512), slow);
        assert_eq!(RegisterTile::time(vectors, 2, 3), 160 * 6 + 2 + 3 * 3);
        slow.load = 1600;
        assert_eq!(
            RegisterTile::time(Vectors::of(VectorUnit::x86_64(512), slow), 2, 3),
            1600 * 5 + 2 + 3 * 3
        );
        slow.latency = 60_000;
        assert_eq!(RegisterTile::time(Vectors::of(VectorUnit::x86_64(512), slow), 2, 3), 60_000 + 2 + 3 * 3);
        assert_eq!(RegisterTile::time(of_bits(256), 1, 1), 64 + 1 + 3);
    }

    #[test]
    fn more_registers_hold_larger_blocks_of_narrow_vectors() {
        let arm = Vectors::of(VectorUnit::aarch64(), Costs::default());
        assert_eq!(RegisterTile::of_inner_products(arm), RegisterTile { rows: 4, columns: 6 });
        let (few, many) = (RegisterTile::all(of_bits(128)).count(), RegisterTile::all(arm).count());
        assert!(many > 2 * few, "{many} blocks in 32 registers, {few} in 16");
    }

    #[test]
    fn every_block_fits() {
        for bits in [128, 256, 512] {
            let vectors = of_bits(bits);
            assert!(
                RegisterTile::all(vectors)
                    .all(|block| { block.rows * (block.columns / vectors.lanes) + 2 < vectors.registers })
            );
        }
    }
}
