//! Depthwise convolution that reads its input in place. Windows at the border have fewer positions, so that no padding is
//! copied; channels are divided so that the rows of a window stay in the L1 cache.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{is_unrolled, pixels};
use crate::kernel::{Address, Affine, BufferId, ExprId, Extent, MapBuilder, Split, Stmt};
use crate::ops::conv::correlation::{Correlation, Destination};
use crate::ops::window_walk::Axis;
use crate::plan::{BlockedRange, Lowering};

/// Bytes of the input rows that the windows of a row of results read, of some channels: half of an L1 cache.
const WINDOW_BYTES: usize = 24 * 1024;
/// The least number of channels of a block, if there are as many: four lines of a cache, which are fetched together.
const LEAST_CHANNELS: usize = 64;
/// The maximum number of multiply-adds of all maps.
const CODE: usize = 4096;

/// Neighbouring results that read the same kernel positions along an axis.
struct Span {
    results: Range<usize>,
    positions: Range<usize>,
}

/// Blocks of neighbouring results of a row, as many as `count`, and the kernel positions that each result of one reads.
struct Block {
    first: usize,
    count: usize,
    positions: Vec<Range<usize>>,
}

/// The kernel positions along an axis at which the window of a result is inside the input.
fn positions(axis: &Axis, result: usize) -> Range<usize> {
    let input = |position: usize| (result * axis.step + position * axis.dilation) as i64 + axis.shift;
    let first = (0..axis.kernel_size).find(|&position| input(position) >= 0).unwrap_or(axis.kernel_size);
    let inside = |position: &usize| input(*position) < axis.inputs as i64;
    first..first + (first..axis.kernel_size).take_while(inside).count()
}

/// All results of an axis.
fn spans(axis: &Axis) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for result in 0..axis.outputs {
        let positions = positions(axis, result);
        match spans.last_mut() {
            Some(span) if span.positions == positions => span.results.end += 1,
            _ => spans.push(Span { results: result..result + 1, positions }),
        }
    }
    spans
}

/// All results of a row, in blocks of `size`.
fn blocks(axis: &Axis, size: usize) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for first in (0..axis.outputs).step_by(size) {
        let results = first..(first + size).min(axis.outputs);
        let positions: Vec<Range<usize>> = results.map(|result| positions(axis, result)).collect();
        match blocks.last_mut() {
            Some(block) if block.positions == positions => block.count += 1,
            _ => blocks.push(Block { first, count: 1, positions }),
        }
    }
    blocks
}

/// Whether the code for all kinds of windows is not too long. It depends on the shapes alone.
pub(super) fn fits(problem: &Correlation<'_>, registers: usize) -> bool {
    let grid = &problem.grid;
    let (rows, columns) = (grid.rows(), grid.columns());
    if !grid.outer().is_empty() || columns.open.is_some() || !is_unrolled(problem) {
        return false;
    }
    let of_columns: usize = blocks(&columns, pixels(problem, registers))
        .iter()
        .flat_map(|block| block.positions.iter().map(Range::len))
        .sum();
    let of_rows: usize = spans(&rows).iter().map(|span| span.positions.len()).sum();
    of_columns * of_rows <= CODE
}

/// The channels in blocks of whole vectors, of the same size where possible.
fn channel_blocks(problem: &Correlation<'_>, lanes: usize) -> BlockedRange {
    let grid = &problem.grid;
    let row_bytes = 4 * grid.rows().reach(1) * grid.columns().inputs;
    let most = (WINDOW_BYTES / row_bytes).max(LEAST_CHANNELS);
    let least = problem.groups.div_ceil(most);
    let is_even = |blocks: &usize| problem.groups.is_multiple_of(blocks * lanes);
    let blocks = (least..=2 * least).find(is_even).unwrap_or(least);
    BlockedRange::exact(problem.groups, problem.groups.div_ceil(blocks).next_multiple_of(lanes))
}

/// Adds the kernel of a correlation.
pub(super) fn lower(problem: &Correlation<'_>, lowering: &mut Lowering<'_>, weights: BufferId) {
    let mut draft = problem.draft(lowering, "depthwise: vectors along the channels");
    let (rows, columns) = (problem.grid.rows(), problem.grid.columns());
    let channels = channel_blocks(problem, lowering.vectors.lanes);
    let blocks = blocks(&columns, pixels(problem, lowering.vectors.registers));
    let outer = problem.grid.outer_units(&mut draft);
    let (n, block, row, column) = (draft.var(), draft.var(), draft.var(), draft.var());
    let x = &problem.x;
    let body = channels.branch(block, |channel, count| {
        let of_row = |span: &Span| {
            let mut stmts = Vec::new();
            for block in &blocks {
                let first = match block.count {
                    1 => Affine::constant(block.first),
                    _ => Affine::constant(block.first).plus(column, block.positions.len()),
                };
                let from = x.of_item(n).at(channel, 1);
                let from = from.plus(row, rows.step * columns.inputs * x.pixel());
                let windows = Windows {
                    problem,
                    weights: Address::start(weights).at(channel, 1),
                    from: from.at(&first, columns.step * x.pixel()),
                    rows: span.positions.clone(),
                    columns: &block.positions,
                };
                let mut map = MapBuilder::new(Extent::Fixed(count));
                let mut epilogue = problem.epilogue.in_map(channel, 1);
                for (pixel, sum) in windows.sums(&mut map).into_iter().enumerate() {
                    let place = |to: &Destination| {
                        let row = to.of(n, &outer).plus(row, to.row());
                        row.at(&first, to.pixel()).offset(pixel * to.pixel()).at(channel, 1)
                    };
                    let value = epilogue.apply(&mut map, sum, |view| place(&problem.results.of(view)));
                    map.store(place(&problem.y), 1, value);
                }
                let map = map.finish();
                stmts.push(match block.count {
                    1 => map,
                    count => Stmt::repeat(column, Extent::Fixed(count), vec![map]),
                });
            }
            stmts
        };
        let mut spans = spans(&rows).into_iter().rev();
        let last = spans.next().map(|span| of_row(&span)).unwrap_or_default();
        spans.fold(last, |rest, span| {
            let bound = span.results.end as i64;
            vec![Stmt::Branch { value: row.into(), bound, below: of_row(&span), rest }]
        })
    });
    let axes = vec![
        (n, lowering.batch().extent()),
        (block, Extent::Fixed(channels.blocks())),
        (row, Extent::Fixed(rows.outputs)),
    ];
    lowering.push(draft.finish(Split::Axes(axes), body));
}

/// The windows of neighbouring results of a row.
struct Windows<'a> {
    problem: &'a Correlation<'a>,
    weights: Address,
    /// The input pixel that the first kernel position of the first result would read if there were no padding.
    from: Address,
    /// The kernel rows that are inside the input.
    rows: Range<usize>,
    /// For each result, the kernel columns that are inside the input.
    columns: &'a [Range<usize>],
}

impl Windows<'_> {
    /// The sum of each result, over the same positions in the same order.
    fn sums(&self, map: &mut MapBuilder) -> Vec<ExprId> {
        let Correlation { grid, x, groups, .. } = self.problem;
        let (rows, columns) = (grid.rows(), grid.columns());
        // A sum of negative zeros is a positive zero.
        let zero = map.constant(0.0);
        let mut sums = vec![zero; self.columns.len()];
        for kernel_row in self.rows.clone() {
            let input_row = (kernel_row * rows.dilation) as i64 + rows.shift;
            // Input columns, each loaded once for all windows that contain it.
            let mut inputs: BTreeMap<i64, ExprId> = BTreeMap::new();
            for kernel_column in 0..columns.kernel_size {
                let mut weight = None;
                for (result, sum) in sums.iter_mut().enumerate() {
                    if !self.columns[result].contains(&kernel_column) {
                        continue;
                    }
                    let position = kernel_row * columns.kernel_size + kernel_column;
                    let weight = *weight
                        .get_or_insert_with(|| map.load(self.weights.clone().offset(position * groups), 1));
                    let column =
                        (result * columns.step + kernel_column * columns.dilation) as i64 + columns.shift;
                    let element = *inputs.entry(column).or_insert_with(|| {
                        let distance = (input_row * columns.inputs as i64 + column) * x.pixel() as i64;
                        let Address { buffer, offset } = self.from.clone();
                        map.load(Address { buffer, offset: offset.shifted(distance) }, 1)
                    });
                    *sum = map.multiply_add(element, weight, *sum);
                }
            }
        }
        sums
    }
}
