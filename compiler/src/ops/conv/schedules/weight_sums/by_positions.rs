//! Sums over pixels if the input has few channels, in NCHW layout: tiles of kernel positions by outputs, for each
//! input.

use super::{Sums, Unpacked};
use crate::kernel::{Address, Affine, Extent, Rows, Split, Stmt, Var};
use crate::ops::conv::weight_gradient::WeightGradient;
use crate::ops::grid::Grid;
use crate::ops::halo::Source;
use crate::plan::{BlockedRange, Lowering, RegisterTile, fill};

/// The kernel positions of a tile: part of a row of the window, or whole rows.
struct Positions {
    /// The maximum number in a tile.
    most: usize,
    rows: BlockedRange,
    columns: BlockedRange,
    is_whole: bool,
    /// The window's columns.
    across: usize,
}

impl Positions {
    fn new(grid: &Grid, block: RegisterTile) -> Self {
        let (rows, columns) = (grid.rows(), grid.columns());
        let across = columns.kernel_size;
        let most = match block.rows / across {
            0 => across.div_ceil(across.div_ceil(block.rows)),
            whole => whole.min(rows.kernel_size) * across,
        };
        let whole_rows = most / across;
        Positions {
            most,
            rows: BlockedRange::exact(rows.kernel_size, whole_rows.max(1)),
            columns: BlockedRange::exact(across, most.min(across)),
            is_whole: whole_rows > 0,
            across,
        }
    }

    /// The number of positions in a tile with some rows and columns of the window.
    fn count(&self, rows: usize, columns: usize) -> usize {
        if self.is_whole { rows * self.across } else { columns }
    }
}

/// Adds the kernels.
pub(super) fn lower(problem: &WeightGradient<'_>, lowering: &mut Lowering<'_>) {
    let vectors = lowering.vectors;
    let grid = &problem.grid;
    let window = grid.rows().kernel_size * grid.columns().kernel_size;
    let block = RegisterTile::choose(vectors, window, problem.outputs);
    let sums = Sums::new(problem, block);
    let positions = Positions::new(grid, block);
    let chunk_rows = sums.chunk_rows();
    let tile = RegisterTile::time(vectors, positions.across, sums.columns.size.div_ceil(vectors.lanes));
    let (row_parts, input_parts) = sums.parts(lowering, problem.inputs, (1, tile));
    // Each block of the window's rows is a separate unit, or all of them are one.
    let unit_rows = if row_parts > 1 { positions.rows.blocks() } else { 1 };
    let input_range = BlockedRange::exact(problem.inputs, problem.inputs.div_ceil(input_parts));
    let mut draft = lowering.draft(
        problem.node,
        format!(
            "sums over pixels: tiles of {} kernel positions by {} outputs, {} rows at a time",
            positions.most, sums.columns.size, chunk_rows.size
        ),
    );
    let buffer = sums.buffer(lowering);
    let (group, block, input_part, row_part) = (draft.var(), draft.var(), draft.var(), draft.var());
    let chunks = sums.chunks(lowering, &mut draft, chunk_rows, group);
    let (input, row_block, kernel_column) = (draft.var(), draft.var(), draft.var());
    // A separate tile for each kernel position along the outer axes.
    let outer: Vec<(Var, usize)> = grid.outer().iter().map(|axis| (draft.var(), axis.kernel_size)).collect();
    let at_outer = |address: Address, strides: &[usize]| {
        outer.iter().zip(strides).fold(address, |address, (&(var, _), &stride)| address.plus(var, stride))
    };
    // A loop over this unit's blocks of the window's rows.
    let over_rows = |body: &mut dyn FnMut(&Affine, usize) -> Vec<Stmt>| match unit_rows {
        1 => positions.rows.sequence(row_block, body),
        _ => positions.rows.branch(row_part, body),
    };
    let body = sums.columns.branch(block, |first, width| {
        input_range.branch(input_part, |first_input, input_count| {
            let input_index = Affine::from(input).plus_scaled(first_input, 1);
            let row = positions.across * width;
            let to = Address::start(buffer)
                .plus(group, sums.depth * problem.outputs)
                .at(first, sums.depth)
                .at(&input_index, sums.positions * width);
            let strides: Vec<usize> =
                grid.position_strides().into_iter().map(|stride| stride * width).collect();
            let to = at_outer(to, &strides);
            let clear = over_rows(&mut |first_row, count| {
                vec![fill(to.clone().at(first_row, row), count * row, 0.0)]
            });
            let loops = |input_count: usize| {
                let mut loops = vec![(input, input_count)];
                loops.extend(&outer);
                loops
            };
            let mut stmts = Stmt::nest(&loops(input_count), clear);
            stmts.push(sums.over_chunks(&mut draft, &chunks, (first, width), |_, place, source| {
                let tiles = over_rows(&mut |first_row, row_count| {
                    positions.columns.sequence(kernel_column, |column, count| {
                        let count = positions.count(row_count, count);
                        let rows = sums.rows_of_positions(source).of(count);
                        let left = sums.input(source, (group, &input_index), [first_row, column]);
                        let left = at_outer(left, &source.position_strides(grid));
                        let to = to.clone().at(first_row, row).at(column, width);
                        vec![sums.tile(place, (rows, count), source, [left, chunks.gathered.clone(), to])]
                    })
                });
                Stmt::nest(&loops(input_count), tiles)
            }));
            stmts
        })
    });
    let axes = vec![
        (group, Extent::Fixed(problem.groups)),
        (block, Extent::Fixed(sums.columns.blocks())),
        (input_part, Extent::Fixed(input_range.blocks())),
        (row_part, Extent::Fixed(unit_rows)),
    ];
    lowering.push(draft.finish(Split::Axes(axes), body));
    let unpacked = Unpacked { sums: buffer, position_step: 1, input_step: sums.positions };
    sums.unpack(lowering, unpacked);
}

impl Sums<'_> {
    /// The layout of kernel positions in a channel of the input.
    fn rows_of_positions(&self, source: &Source) -> Rows {
        let (rows, columns) = (self.problem.grid.rows(), self.problem.grid.columns());
        Rows {
            run: columns.kernel_size,
            stride: columns.dilation * source.pixel(),
            run_stride: rows.dilation * source.row(),
        }
    }

    /// The input that a kernel position reads for the first result.
    fn input(
        &self,
        source: &Source,
        (group, input): (Var, &Affine),
        [kernel_row, kernel_column]: [&Affine; 2],
    ) -> Address {
        let (rows, columns) = (self.problem.grid.rows(), self.problem.grid.columns());
        source
            .address
            .clone()
            .plus(group, self.problem.inputs * source.channel)
            .at(input, source.channel)
            .at(kernel_row, rows.dilation * source.row())
            .at(kernel_column, columns.dilation * source.pixel())
    }
}
