//! Depthwise convolution and its gradients in NHWC layout. Every channel has its own weights, so vectors run along the
//! channels, and there is no product to tile. This schedule copies rows with their padding; `in_place` does not.

mod in_place;
mod weight_gradient;

use std::collections::BTreeMap;

use crate::kernel::{Address, Affine, BufferId, ExprId, Extent, MapBuilder, Reducer, Split, Stmt};
use crate::ops::conv::correlation::{Correlation, Destination};
use crate::ops::grid::Grid;
use crate::ops::halo::{Padded, Source};
use crate::ops::window_walk::window_extents;
use crate::plan::{BlockedRange, Lowering, in_blocks};

pub(in crate::ops::conv) use self::weight_gradient::weight_gradient;

/// Bytes of the input rows that a work unit reads.
const UNIT_BYTES: usize = 64 * 1024;
/// The maximum number of kernel positions for which windows are unrolled.
const UNROLLED_POSITIONS: usize = 128;
/// The maximum number of unrolled multiply-adds of a map.
const UNROLLED: usize = 400;

/// Whether every channel is a group, and channels are contiguous.
pub(in crate::ops::conv) fn fits(problem: &Correlation<'_>) -> bool {
    let is_alone = problem.groups > 1 && problem.inputs == 1 && problem.outputs == 1;
    is_alone && problem.x.layout.is_channels_last()
}

/// Adds the kernels of a correlation.
pub(in crate::ops::conv) fn lower(problem: &Correlation<'_>, lowering: &mut Lowering<'_>) {
    let weights = problem.pack_depthwise(lowering);
    if in_place::fits(problem, lowering.vectors.registers) {
        return in_place::lower(problem, lowering, weights);
    }
    let mut draft = problem.draft(lowering, "depthwise: vectors along the channels");
    let grid = &problem.grid;
    let (rows, columns) = (grid.rows(), grid.columns());
    let range = BlockedRange::exact(rows.outputs, unit_rows(grid, problem.groups));
    let (n, block, row) = (draft.var(), draft.var(), draft.var());
    let outer = grid.outer_units(&mut draft);
    let padded = Padded { grid: grid.clone(), x: problem.x.clone(), halo: 0.0 };
    let inputs = padded.inputs(lowering, problem.node, &mut draft, range.size);
    let most = pixels(problem, lowering.vectors.registers);
    let body = range.branch(block, |first, count| {
        let (mut stmts, source) = padded.rows(&mut draft, (n, &outer), (first, count), &inputs);
        let result_row = Affine::from(row).plus_scaled(first, 1);
        let pixels = in_blocks(&mut draft, columns.all_outputs(), most, |_, column, pixels| {
            let from = source
                .address
                .clone()
                .plus(row, rows.step * source.row())
                .at(column, columns.step * source.pixel());
            let (mut map, sums) = match is_unrolled(problem) {
                false => sum_over_window(problem, &source, from, weights),
                true => sums_of_pixels(problem, &source, &from, weights, pixels),
            };
            let mut epilogue = problem.epilogue.in_map(&Affine::default(), 1);
            for (pixel, sum) in sums.into_iter().enumerate() {
                let place = |to: &Destination| {
                    let row = to.of(n, &outer).at(&result_row, to.row());
                    row.at(column, to.pixel()).offset(pixel * to.pixel())
                };
                let value = epilogue.apply(&mut map, sum, |view| place(&problem.results.of(view)));
                map.store(place(&problem.y), 1, value);
            }
            vec![map.finish()]
        });
        stmts.push(Stmt::repeat(row, Extent::Fixed(count), pixels));
        stmts
    });
    let mut axes = vec![(n, lowering.batch().extent())];
    axes.extend(outer.extents());
    axes.push((block, Extent::Fixed(range.blocks())));
    lowering.push(draft.finish(Split::Axes(axes), body));
}

/// The rows of outputs whose inputs a work unit reads: about [`UNIT_BYTES`].
fn unit_rows(grid: &Grid, channels: usize) -> usize {
    let row_bytes = 4 * grid.planes() * grid.rows().step * grid.columns().inputs * channels;
    (UNIT_BYTES / row_bytes).clamp(1, grid.rows().outputs)
}

/// Whether windows are unrolled. It depends on the window alone, so that the order of its sums does.
fn is_unrolled(problem: &Correlation<'_>) -> bool {
    problem.grid.positions() <= UNROLLED_POSITIONS
}

/// Neighbouring results of a row that one map computes: several if windows are unrolled. They share the weights, and the
/// inputs of overlapping windows.
fn pixels(problem: &Correlation<'_>, registers: usize) -> usize {
    if !is_unrolled(problem) {
        return 1;
    }
    let most = if registers > 16 { 8 } else { 4 };
    let most = (UNROLLED / problem.grid.positions()).clamp(1, most);
    let columns = problem.grid.columns();
    match columns.open {
        Some(_) => most,
        // Blocks of similar sizes.
        None => columns.outputs.div_ceil(columns.outputs.div_ceil(most)),
    }
}

/// The sum of one result, in a loop over its window.
fn sum_over_window(
    problem: &Correlation<'_>,
    source: &Source,
    from: Address,
    weights: BufferId,
) -> (MapBuilder, Vec<ExprId>) {
    let grid = &problem.grid;
    let mut map = MapBuilder::new(Extent::Fixed(problem.groups)).window(&window_extents(grid.axes()));
    let element = map.load_window(from, 1, &source.position_strides(grid));
    let by_position: Vec<usize> =
        grid.position_strides().into_iter().map(|stride| stride * problem.groups).collect();
    let weight = map.load_window(Address::start(weights), 1, &by_position);
    let product = map.multiply(element, weight);
    let sums = map.fold_window(&[Reducer::Sum(product)]);
    (map, sums)
}

/// The sums of some neighbouring results of a row, over the same positions in the same order.
fn sums_of_pixels(
    problem: &Correlation<'_>,
    source: &Source,
    from: &Address,
    weights: BufferId,
    pixels: usize,
) -> (MapBuilder, Vec<ExprId>) {
    let mut map = MapBuilder::new(Extent::Fixed(problem.groups));
    let (grid, columns) = (&problem.grid, problem.grid.columns());
    let strides = source.position_strides(grid);
    let sizes: Vec<usize> = grid.axes().iter().map(|axis| axis.kernel_size).collect();
    let rows = grid.positions() / columns.kernel_size;
    // A sum of negative zeros is a positive zero.
    let zero = map.constant(0.0);
    let mut sums = vec![zero; pixels];
    for kernel_row in 0..rows {
        let first = kernel_row * columns.kernel_size;
        let axes = grid.position_strides().into_iter().zip(&sizes).zip(&strides);
        let offset: usize = axes.map(|((stride, size), distance)| first / stride % size * distance).sum();
        let weights: Vec<ExprId> = (first..first + columns.kernel_size)
            .map(|position| map.load(Address::start(weights).offset(position * problem.groups), 1))
            .collect();
        // Input columns, each loaded once for all windows that contain it.
        let mut inputs: BTreeMap<usize, ExprId> = BTreeMap::new();
        for (position, &weight) in weights.iter().enumerate() {
            for (pixel, sum) in sums.iter_mut().enumerate() {
                let input = pixel * columns.step + position * columns.dilation;
                let element = *inputs
                    .entry(input)
                    .or_insert_with(|| map.load(from.clone().offset(offset + input * source.pixel()), 1));
                *sum = map.multiply_add(element, weight, *sum);
            }
        }
    }
    (map, sums)
}
