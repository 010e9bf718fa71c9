//! The Tile leaf: a block of results held in registers over a whole reduction, then finished and stored.

use super::{Address, Extent};

/// How the operands of a product meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Vectors run along columns: one element of the left operand is broadcast against vectors of the right operand,
    /// whose columns are contiguous.
    Broadcast,
    /// Vectors run along the innermost reduction, contiguous in both operands; lanes are added up at the end.
    Dot,
}

/// One loop of the reduction. Strides are in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reduction {
    /// How many steps; `None` when the call says.
    pub count: Option<usize>,
    /// Distance between steps in the left operand.
    pub left: usize,
    /// Distance between steps in the right operand.
    pub right: usize,
}

/// What the accumulators start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Start {
    /// Zero; the store overwrites.
    Zero,
    /// The results already stored; the store adds to them.
    Stored,
}

/// What becomes of the elements of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The largest; a NaN beats every number.
    Max,
    /// Their mean, summed row by row from zero.
    Mean,
}

/// A pooling by windows that do not overlap. The rows of the tile are so many lines of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// What becomes of a window.
    pub kind: PoolKind,
    /// Lines of a window.
    pub height: usize,
    /// Pixels of a line of a window.
    pub width: usize,
}

/// A step between reduction and store. Those that add and multiply take one operand address of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TileStep {
    /// Adds one number per row, rows contiguous.
    AddPerRow,
    /// Adds one number per column, columns contiguous.
    AddPerColumn,
    /// Adds an element of a value whose columns are contiguous, with its own distance between rows.
    AddElement {
        /// Distance between rows.
        row: usize,
    },
    /// Multiplies by one number.
    MultiplyNumber,
    /// Changes the sign.
    Negate,
    /// Rectifies.
    Relu,
    /// Logistic function.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// Pools rows, as the last step: so many fewer are stored.
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
                | TileStep::MultiplyNumber
        )
    }
}

/// Where the rows of an operand start: runs of neighbouring rows, and the runs among themselves. Strides are in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rows {
    /// Rows in a run.
    pub run: usize,
    /// Distance between rows of a run.
    pub near: usize,
    /// Distance between runs.
    pub far: usize,
}

impl Rows {
    /// Rows all the same distance apart.
    pub fn evenly(distance: usize) -> Self {
        Rows { run: usize::MAX, near: distance, far: 0 }
    }

    /// The same for so many rows: without runs where one is enough.
    #[must_use]
    pub fn of(self, rows: usize) -> Self {
        if rows <= self.run { Rows::evenly(self.near) } else { self }
    }

    /// Where a row starts.
    pub fn start(self, row: usize) -> usize {
        row / self.run * self.far + row % self.run * self.near
    }
}

/// `output[r][c] = finish(Σₖ left[r][k] · right[k][c])` for a fixed number of rows and columns. Strides are in elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Rows of the block.
    pub rows: usize,
    /// Columns of the block.
    pub columns: usize,
    /// How the operands meet.
    pub form: Form,
    /// Rows of the left operand.
    pub left_rows: Rows,
    /// Distance between columns of the right operand; 1 in the broadcast form.
    pub right_column: usize,
    /// The reduction loops, outermost first.
    pub reduction: Vec<Reduction>,
    /// What the accumulators start from.
    pub start: Start,
    /// So far ahead of the right operand memory is fetched to the second-level cache, along with the reduction; 0 for no
    /// fetching. A hint: nothing is read.
    pub prefetch: usize,
    /// Steps before the store.
    pub epilogue: Vec<TileStep>,
    /// Distance between rows of the output; columns are contiguous.
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

    /// How many rows it stores.
    pub fn stored_rows(&self) -> usize {
        self.pool().map_or(self.rows, |pool| self.rows / (pool.height * pool.width))
    }

    /// The rows that a stored row is made of: those of its window line by line, or itself.
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

/// A tile with the places it works on.
#[derive(Clone, Debug, PartialEq)]
pub struct TileCall {
    /// The leaf.
    pub tile: Tile,
    /// First element of the left operand.
    pub left: Address,
    /// First element of the right operand.
    pub right: Address,
    /// First element of the output.
    pub output: Address,
    /// One address per epilogue step that takes one.
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
