//! Chunks of result rows that are processed together: the copies of their inputs and gradients, and the tiles that read
//! them.

use super::Sums;
use crate::kernel::{Address, Affine, Extent, Form, Reduction, Rows, Start, Stmt, Tile, TileCall, Var};
use crate::ops::grid::Outer;
use crate::ops::halo::{Inputs, Padded, Source};
use crate::plan::{BlockedRange, KernelDraft, Lowering, copy_span};

/// Pixels of a chunk: their gradients and inputs for one tile stay in the L1 cache.
const CHUNK_PIXELS: usize = 144;

/// The chunks of result rows: their loop variables, and the locations of the copied inputs and gradients.
pub(super) struct Chunks {
    range: BlockedRange,
    n: Var,
    chunk: Var,
    group: Var,
    outer: Outer,
    padded: Padded,
    inputs: Inputs,
    /// The gradient of a block of outputs, contiguous.
    pub(super) gathered: Address,
}

/// The position of a chunk's tiles: a block of outputs, and some rows of results.
pub(super) struct ChunkPosition<'a> {
    first: &'a Affine,
    width: usize,
    first_row: &'a Affine,
    pub(super) rows: usize,
}

impl Sums<'_> {
    /// The number of result rows in each chunk.
    pub(super) fn chunk_rows(&self) -> BlockedRange {
        let (rows, columns) = (self.problem.grid.rows(), self.problem.grid.columns());
        let fitting = (CHUNK_PIXELS / columns.outputs).clamp(1, rows.outputs);
        BlockedRange::exact(rows.outputs, rows.outputs.div_ceil(rows.outputs.div_ceil(fitting)))
    }

    /// The chunks for a block of outputs, with their scratch.
    pub(super) fn chunks(
        &self,
        lowering: &mut Lowering<'_>,
        draft: &mut KernelDraft,
        range: BlockedRange,
        group: Var,
    ) -> Chunks {
        let (n, chunk) = (draft.var(), draft.var());
        let outer = self.problem.grid.outer_units(draft);
        let padded = Padded { grid: self.problem.grid.clone(), x: self.problem.x.clone(), halo: 0.0 };
        let inputs = padded.inputs(lowering, self.problem.node, draft, range.size);
        let elements = range.size * self.problem.grid.columns().outputs * self.columns.size;
        let gathered = Address::start(lowering.scratch("gradient", elements));
        Chunks { range, n, chunk, group, outer, padded, inputs, gathered }
    }

    /// A loop over the chunks of all items. `tiles` gets the position of a chunk's tiles and the location of its
    /// inputs.
    pub(super) fn over_chunks(
        &self,
        draft: &mut KernelDraft,
        chunks: &Chunks,
        (first, width): (&Affine, usize),
        mut tiles: impl FnMut(&mut KernelDraft, &ChunkPosition<'_>, &Source) -> Vec<Stmt>,
    ) -> Stmt {
        let Chunks { range, n, chunk, .. } = *chunks;
        let body = range.branch(chunk, |first_row, rows| {
            let place = ChunkPosition { first, width, first_row, rows };
            let at = (n, &chunks.outer);
            let (mut stmts, source) = chunks.padded.rows(draft, at, (first_row, rows), &chunks.inputs);
            stmts.push(self.gather(draft, chunks, &place));
            stmts.extend(tiles(draft, &place, &source));
            stmts
        });
        let mut loops = chunks.outer.loops();
        loops.push((chunk, range.blocks()));
        Stmt::repeat(n, draft.batch().extent(), Stmt::nest(&loops, body))
    }

    /// Copies the gradient of a block of outputs on some rows to contiguous memory, because pixels far apart compete
    /// for the same cache sets.
    fn gather(&self, draft: &mut KernelDraft, chunks: &Chunks, place: &ChunkPosition<'_>) -> Stmt {
        let pixel = draft.var();
        let (g, grid) = (&self.problem.g, &self.problem.grid);
        let line = grid.columns().outputs;
        let strides: Vec<usize> =
            grid.result_strides().into_iter().map(|stride| stride * g.pixel()).collect();
        let from = chunks
            .outer
            .at(g.of_item(chunks.n), &strides)
            .plus(chunks.group, self.problem.outputs)
            .at(place.first, 1)
            .at(place.first_row, line * g.pixel())
            .plus(pixel, g.pixel());
        let copy = copy_span(from, 1, chunks.gathered.clone().plus(pixel, place.width), place.width);
        Stmt::repeat(pixel, Extent::Fixed(place.rows * line), vec![copy])
    }

    /// A tile of `rows` rows by a block of outputs, reduced over the pixels of a chunk.
    pub(super) fn tile(
        &self,
        place: &ChunkPosition<'_>,
        (left_rows, count): (Rows, usize),
        source: &Source,
        [left, right, output]: [Address; 3],
    ) -> Stmt {
        let (rows, columns) = (self.problem.grid.rows(), self.problem.grid.columns());
        let pixels = Reduction {
            count: Some(columns.outputs),
            left: columns.step * source.pixel(),
            right: place.width,
        };
        let lines = Reduction {
            count: Some(place.rows),
            left: rows.step * source.row(),
            right: columns.outputs * place.width,
        };
        Stmt::Tile(Box::new(TileCall {
            tile: Tile {
                rows: count,
                columns: place.width,
                form: Form::OuterProduct,
                left_rows,
                right_column: 1,
                reduction: vec![lines, pixels],
                start: Start::Output,
                prefetch: 0,
                epilogue: Vec::new(),
                output_row: place.width,
            },
            left,
            right,
            output,
            operands: Vec::new(),
            counts: Vec::new(),
        }))
    }
}
