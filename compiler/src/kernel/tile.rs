//! The Tile leaf: a GEMM microkernel. It keeps a block of results in registers over a whole reduction, then applies the
//! epilogue and stores them.

use super::{Address, Extent};
use crate::functions::UnaryKind;

/// How the operands of a product are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Outer product. Vectors run along columns: one element of the left operand is broadcast and multiplied with
    /// vectors of the right operand, whose columns are contiguous.
    OuterProduct,
    /// Inner product. Vectors run along the innermost reduction, contiguous in both operands; their lanes are added up
    /// at the end.
    InnerProduct,
}

/// One loop of the reduction. Strides are in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reduction {
    /// The number of steps; `None` if the call gives it.
    pub count: Option<usize>,
    /// Stride in the left operand.
    pub left: usize,
    /// Stride in the right operand.
    pub right: usize,
}

/// The initial value of the accumulators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// Zero; the store overwrites.
    Zero,
    /// The stored results; the store adds to them.
    Output,
}

/// How the elements of a window are pooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The maximum; NaN is larger than every number.
    Max,
    /// The mean, summed row by row from zero.
    Mean,
}

/// A pooling with windows that do not overlap. The rows of the tile are the pixels of one or more lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// The kind.
    pub kind: PoolKind,
    /// Lines of a window.
    pub height: usize,
    /// Pixels of a line of a window.
    pub width: usize,
}

/// An epilogue step between reduction and store. Steps that add or multiply take one operand address of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TileStep {
    /// Adds one scalar per row; the scalars are contiguous.
    AddPerRow,
    /// Adds one scalar per column; the scalars are contiguous.
    AddPerColumn,
    /// Adds an element of a value with contiguous columns and its own row stride.
    AddElement {
        /// Row stride.
        row: usize,
    },
    /// Multiplies by a scalar.
    MultiplyScalar,
    /// Applies a function to each element.
    Apply(UnaryKind),
    /// Pools rows; only as the last step. It reduces the number of stored rows.
    Pool(Pool),
}

impl TileStep {
    /// Whether it takes an operand.
    pub fn takes_operand(self) -> bool {
        matches!(
            self,
            TileStep::AddPerRow
                | TileStep::AddPerColumn
                | TileStep::AddElement { .. }
                | TileStep::MultiplyScalar
        )
    }
}

/// Where the rows of an operand start: runs of neighbouring rows. Strides are in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rows {
    /// Rows in a run.
    pub run: usize,
    /// Stride between rows of a run.
    pub stride: usize,
    /// Stride between runs.
    pub run_stride: usize,
}

impl Rows {
    /// Rows with one stride.
    pub fn evenly(distance: usize) -> Self {
        Rows { run: usize::MAX, stride: distance, run_stride: 0 }
    }

    /// The same for a number of rows: without runs if one run is enough.
    #[must_use]
    pub fn of(self, rows: usize) -> Self {
        if rows <= self.run { Rows::evenly(self.stride) } else { self }
    }

    /// Where a row starts.
    pub fn start(self, row: usize) -> usize {
        row / self.run * self.run_stride + row % self.run * self.stride
    }
}

/// `output[r][c] = finish(Σₖ left[r][k] · right[k][c])` for a fixed number of rows and columns. Strides are in elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Rows of the block.
    pub rows: usize,
    /// Columns of the block.
    pub columns: usize,
    /// How the operands are combined.
    pub form: Form,
    /// Rows of the left operand.
    pub left_rows: Rows,
    /// Column stride of the right operand; 1 for outer products.
    pub right_column: usize,
    /// The reduction loops, outermost first.
    pub reduction: Vec<Reduction>,
    /// The initial value of the accumulators.
    pub start: Start,
    /// Distance, in elements of the right operand, at which memory is prefetched to the second-level cache; 0 for no
    /// prefetching. It is a hint: nothing is read.
    pub prefetch: usize,
    /// The epilogue steps.
    pub epilogue: Vec<TileStep>,
    /// Row stride of the output; columns are contiguous.
    pub output_row: usize,
}

impl Tile {
    /// The pooling it ends with.
    pub fn pool(&self) -> Option<Pool> {
        match self.epilogue.last() {
            Some(TileStep::Pool(pool)) => Some(*pool),
            _ => None,
        }
    }

    /// The number of rows it stores.
    pub fn stored_rows(&self) -> usize {
        self.pool().map_or(self.rows, |pool| self.rows / (pool.height * pool.width))
    }

    /// The rows that a stored row is made of: the rows of its pooling window line by line, or the row itself.
    pub fn rows_of(&self, stored: usize) -> Vec<usize> {
        match self.pool() {
            None => vec![stored],
            Some(Pool { height, width, .. }) => {
                let line = self.rows / height;
                (0..height * width).map(|at| at / width * line + stored * width + at % width).collect()
            }
        }
    }
}

/// A tile with the addresses of its operands.
#[derive(Clone, Debug, PartialEq)]
pub struct TileCall {
    /// The tile.
    pub tile: Tile,
    /// First element of the left operand.
    pub left: Address,
    /// First element of the right operand.
    pub right: Address,
    /// First element of the output.
    pub output: Address,
    /// One address per epilogue step that takes an operand.
    pub operands: Vec<Address>,
    /// One count per reduction loop whose count the tile leaves open.
    pub counts: Vec<Extent>,
}

impl TileCall {
    /// Every address of the call.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        [&self.left, &self.right, &self.output].into_iter().chain(&self.operands)
    }
}
