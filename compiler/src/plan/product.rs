//! Choosing the register block of a product.

use super::Cover;

/// Lanes of the vectors there is code for.
pub const LANES: usize = 4;

/// A register block: rows of the result, and vectors of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Rows.
    pub rows: usize,
    /// Vectors of columns.
    pub vectors: usize,
}

/// Blocks whose accumulators, operands and the multiplicand that a fused multiply-add overwrites fit 16 registers.
const BLOCKS: [Block; 7] = [
    Block { rows: 3, vectors: 3 },
    Block { rows: 4, vectors: 2 },
    Block { rows: 2, vectors: 4 },
    Block { rows: 5, vectors: 2 },
    Block { rows: 2, vectors: 3 },
    Block { rows: 1, vectors: 6 },
    Block { rows: 6, vectors: 1 },
];

impl Block {
    /// Columns of the block.
    pub fn columns(self) -> usize {
        self.vectors * LANES
    }

    /// Cycles of one step of the reduction on a core with two fused multiply-add units of latency 4 and two loads a
    /// cycle, in halves of a cycle.
    fn half_cycles(rows: usize, vectors: usize) -> usize {
        const LATENCY: usize = 8;
        (rows * vectors).max(rows + vectors).max(LATENCY)
    }

    /// The block that covers a result of so many rows and columns in the least time.
    pub fn choose(rows: usize, columns: usize) -> Block {
        let time = |block: &Block| {
            let row_cover = Cover::exact(rows, block.rows);
            let column_cover = Cover::overlapping(columns, block.columns(), LANES);
            let sizes = |cover: &Cover| {
                let tail = cover.tail.map(|(_, size)| (1, size));
                [Some((cover.full, cover.size)), tail].into_iter().flatten().collect::<Vec<_>>()
            };
            let mut total = 0;
            for (row_blocks, rows) in sizes(&row_cover) {
                for (column_blocks, columns) in sizes(&column_cover) {
                    total += row_blocks * column_blocks * Block::half_cycles(rows, columns.div_ceil(LANES));
                }
            }
            total
        };
        BLOCKS.into_iter().min_by_key(time).unwrap_or(BLOCKS[0])
    }
}

#[cfg(test)]
mod tests {
    use super::Block;

    #[test]
    fn blocks_divide_what_they_cover() {
        assert_eq!(Block::choose(6, 784), Block { rows: 2, vectors: 4 });
        assert_eq!(Block::choose(9, 36), Block { rows: 3, vectors: 3 });
        let large = Block::choose(256, 196);
        assert!(large.rows * large.vectors >= 8, "{large:?} waits for its own additions");
        assert_eq!(Block::choose(1, 4096).rows, 1);
    }
}
