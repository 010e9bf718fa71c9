//! Kernels of products of matrices: tiles of outer products. Tiles address both factors with fixed strides; a factor that
//! has others is first packed into panels, each of the rows or columns of one tile.

use super::Matmul;
use crate::entity::ValueId;
use crate::graph::Node;
use crate::kernel::{
    Address, Affine, Extent, Form, MapBuilder, Reduction, Rows, Split, Start, Stmt, Tile, TileCall, Var,
};
use crate::plan::{
    BlockedRange, KernelDraft, Lower, Lowering, MemoryRules, Order, RegisterTile, Size, in_blocks_of,
};

/// The number of rows or columns for which tiles are chosen if their number is open.
const TYPICAL: usize = 64;

/// Rows or columns, in blocks: of the first size as far as they fit, then of the next one. A fixed rest is one block.
struct Blocks {
    total: Size,
    sizes: Vec<usize>,
}

impl Blocks {
    fn each(
        &self,
        draft: &mut KernelDraft,
        body: impl FnMut(&mut KernelDraft, &Affine, usize) -> Vec<Stmt>,
    ) -> Vec<Stmt> {
        in_blocks_of(draft, self.total, &self.sizes, body)
    }
}

/// The blocks of rows and columns that tiles compute.
fn blocks(lowering: &Lowering<'_>, rows: Size, columns: Size) -> [Blocks; 2] {
    let vectors = lowering.vectors;
    let [count, width] = [rows, columns].map(|size| size.as_number().unwrap_or(TYPICAL));
    let time = |tile: &RegisterTile| {
        let rows = BlockedRange::exact(count, tile.rows);
        let columns = BlockedRange::exact(width, tile.columns);
        // If times are equal, the one with fewer tiles.
        (RegisterTile::time_of_all(vectors, &rows, &columns), rows.blocks() * columns.blocks())
    };
    // The blocks of an open rest must divide the larger ones.
    let fits = |tile: &RegisterTile| rows.as_number().is_some() || tile.rows.is_power_of_two();
    let least = RegisterTile { rows: 1, columns: vectors.lanes };
    let tile = RegisterTile::all(vectors).filter(fits).min_by_key(time).unwrap_or(least);
    let of = |total: Size, largest: usize, smaller: &[usize]| match total.as_number() {
        Some(number) => Blocks { total, sizes: vec![largest.min(number)] },
        None => {
            let smaller = smaller.iter().copied().filter(|&size| size < largest);
            Blocks { total, sizes: [largest].into_iter().chain(smaller).collect() }
        }
    };
    [of(rows, tile.rows, &[4, 1]), of(columns, tile.columns, &[vectors.lanes, 4, 1])]
}

/// A factor: a matrix for each item. Its lines are the rows of the left factor or the columns of the right one.
struct Factor {
    name: &'static str,
    value: ValueId,
    address: Address,
    /// The stride of items.
    item: Size,
    lines: Size,
    /// Elements of a line: the steps of the reduction.
    steps: Size,
    /// Whether the elements of a line are contiguous; else the elements of a step.
    by_lines: bool,
}

/// Where tiles find a factor.
enum Source {
    /// In place: the strides of lines and steps.
    InPlace(Factor, [usize; 2]),
    /// In panels, in the order of the blocks: for each step of a block its lines.
    Panels { address: Address, item: Size, steps: Size },
}

impl Source {
    /// The first element of a block of lines, and the strides of lines and steps.
    fn of_block(&self, n: Var, start: &Affine, count: usize) -> (Address, [usize; 2]) {
        match self {
            Source::InPlace(factor, strides) => {
                let address = factor.address.clone().plus_size(n, factor.item);
                (address.at(start, strides[0]), *strides)
            }
            Source::Panels { address, item, steps } => {
                (address.clone().plus_size(n, *item).at_size(start, *steps), [1, count])
            }
        }
    }
}

impl Factor {
    fn new(
        lowering: &Lowering<'_>,
        (name, value): (&'static str, ValueId),
        [lines, steps]: [Size; 2],
        by_lines: bool,
    ) -> Self {
        let view = lowering.plain(value);
        let item = view.item();
        Factor { name, value, address: view.address, item, lines, steps, by_lines }
    }

    /// The strides of lines and steps, if both are fixed.
    fn strides(&self) -> Option<[usize; 2]> {
        match self.by_lines {
            true => self.steps.as_number().map(|steps| [steps, 1]),
            false => self.lines.as_number().map(|lines| [1, lines]),
        }
    }

    /// Adds the kernel that packs the factor for some blocks of its lines.
    fn pack(&self, lowering: &mut Lowering<'_>, node: &Node, blocks: &Blocks) -> Source {
        let shape = &lowering.ty(self.value).shape;
        let size = lowering.size(self.value);
        let item = lowering.product(shape.item_dims());
        let panels = Address::start(lowering.temporary(&format!("packed {}", self.name), size));
        let note = format!("the {} in panels of {}", self.name, blocks.sizes[0]);
        let mut draft = lowering.draft(node, note).part("pack");
        let n = draft.var();
        let from = self.address.clone().plus_size(n, self.item);
        let to = panels.clone().plus_size(n, item);
        let body = blocks.each(&mut draft, |draft, start, count| {
            let at = draft.var();
            let to = to.clone().at_size(start, self.steps);
            let (end, lanes, read, write, lane) = match self.by_lines {
                true => {
                    let read = from.clone().at_size(start, self.steps).plus_size(at, self.steps);
                    (Extent::Fixed(count), self.steps.extent(), read, to.plus(at, 1), count)
                }
                false => {
                    let read = from.clone().at(start, 1).plus_size(at, self.lines);
                    (self.steps.extent(), Extent::Fixed(count), read, to.plus(at, count), 1)
                }
            };
            let mut map = MapBuilder::new(lanes);
            let value = map.load(read, 1);
            map.store(write, lane, value);
            vec![Stmt::repeat(at, end, vec![map.finish()])]
        });
        let split = Split::Axes(vec![(n, draft.batch().extent())]);
        lowering.push(draft.finish(split, body));
        Source::Panels { address: panels, item, steps: self.steps }
    }
}

impl Lower for Matmul {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let result = lowering.plain(node.results[0]);
        let (rows, columns) = (result.extents[1], result.extents[2]);
        let steps = lowering.plain(node.operands[0]).extents[if self.transpose_left { 1 } else { 2 }];
        let [row_blocks, column_blocks] = blocks(lowering, rows, columns);
        let left = ("left factor", node.operands[0]);
        let left = Factor::new(lowering, left, [rows, steps], !self.transpose_left);
        let left = match left.strides() {
            Some(strides) => Source::InPlace(left, strides),
            None => left.pack(lowering, node, &row_blocks),
        };
        let right = ("right factor", node.operands[1]);
        let right = Factor::new(lowering, right, [columns, steps], self.transpose_right);
        let right = match right.strides() {
            // Tiles read neighbouring columns at once.
            Some(strides @ [1, _]) => Source::InPlace(right, strides),
            _ => right.pack(lowering, node, &column_blocks),
        };
        // Rows of open size have no fixed stride: tiles write to scratch, and rows are copied one by one.
        let scratch = columns.open.is_some().then(|| {
            let elements = row_blocks.sizes[0] * column_blocks.sizes[0];
            Address::start(lowering.scratch("tile", elements))
        });
        let note =
            format!("outer products, {} rows by {} columns", row_blocks.sizes[0], column_blocks.sizes[0]);
        let mut draft = lowering.draft(node, note);
        let n = draft.var();
        let tile =
            |draft: &mut KernelDraft, (row, rows): (&Affine, usize), (column, width): (&Affine, usize)| {
                let (left, [left_row, left_step]) = left.of_block(n, row, rows);
                let (right, [_, right_step]) = right.of_block(n, column, width);
                let to = result.of_item(n).at_size(row, columns).at(column, 1);
                let (output, output_row) = match (&scratch, columns.as_number()) {
                    (None, Some(columns)) => (to.clone(), columns),
                    (Some(scratch), _) => (scratch.clone(), width),
                    (None, None) => unreachable!("scratch exists if the columns are open"),
                };
                let mut stmts = vec![Stmt::Tile(Box::new(TileCall {
                    tile: Tile {
                        rows,
                        columns: width,
                        form: Form::OuterProduct,
                        left_rows: Rows::evenly(left_row),
                        right_column: 1,
                        reduction: vec![Reduction {
                            count: steps.as_number(),
                            left: left_step,
                            right: right_step,
                        }],
                        start: Start::Zero,
                        prefetch: 0,
                        epilogue: Vec::new(),
                        output_row,
                    },
                    left,
                    right,
                    output,
                    operands: Vec::new(),
                    counts: steps.open.map(|_| steps.extent()).into_iter().collect(),
                }))];
                if let Some(scratch) = &scratch {
                    let at = draft.var();
                    let mut map = MapBuilder::new(Extent::Fixed(width));
                    let value = map.load(scratch.clone().plus(at, width), 1);
                    map.store(to.plus_size(at, columns), 1, value);
                    stmts.push(Stmt::repeat(at, Extent::Fixed(rows), vec![map.finish()]));
                }
                stmts
            };
        let mut axes = vec![(n, draft.batch().extent())];
        // Threads divide items and blocks of rows among themselves, or blocks of columns if the number of rows is open.
        let by_blocks = |blocks: &Blocks, has_fixed_strides: bool| {
            let range = BlockedRange::exact(blocks.total.as_number()?, blocks.sizes[0]);
            // The place of a smaller last block is only provably within its memory if the strides of blocks are fixed.
            let is_even = range.tail.is_none() || range.full == 0;
            (is_even || has_fixed_strides).then_some(range)
        };
        let is_fixed = |factor: &Source| steps.open.is_none() || matches!(factor, Source::InPlace(..));
        let by_rows = by_blocks(&row_blocks, is_fixed(&left) && columns.open.is_none());
        let body = match (by_rows, by_blocks(&column_blocks, is_fixed(&right))) {
            (Some(range), _) => {
                let block = draft.var();
                axes.push((block, Extent::Fixed(range.blocks())));
                range.branch(block, |row, rows| {
                    column_blocks
                        .each(&mut draft, |draft, column, width| tile(draft, (row, rows), (column, width)))
                })
            }
            (None, Some(range)) => {
                let block = draft.var();
                axes.push((block, Extent::Fixed(range.blocks())));
                range.branch(block, |column, width| {
                    row_blocks.each(&mut draft, |draft, row, rows| tile(draft, (row, rows), (column, width)))
                })
            }
            (None, None) => column_blocks.each(&mut draft, |draft, column, width| {
                row_blocks.each(draft, |draft, row, rows| tile(draft, (row, rows), (column, width)))
            }),
        };
        lowering.push(draft.finish(Split::Axes(axes), body));
    }
}
