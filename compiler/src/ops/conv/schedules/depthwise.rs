//! Depthwise convolution and its gradients in NHWC layout. Every channel has its own weights, so vectors run along the
//! channels, and there is no product to tile.

use std::collections::BTreeMap;

use crate::kernel::{Address, Affine, BufferId, ExprId, Extent, MapBuilder, Reducer, Split, Stmt, Var};
use crate::ops::conv::correlation::{Correlation, Destination};
use crate::ops::conv::weight_gradient::WeightGradient;
use crate::ops::halo::{Padded, Source};
use crate::ops::window_walk::window_extents;
use crate::plan::{BlockedRange, Lowering, Size, copy_span, in_blocks};

/// Bytes of the input rows that a work unit reads.
const UNIT_BYTES: usize = 64 * 1024;
/// The maximum number of unrolled multiply-adds of a map.
const UNROLLED: usize = 128;
/// The maximum number of sums of the gradient to the weight that one map computes.
const MOST_SUMS: usize = 8;
/// Channels of a work unit of the gradient with respect to the weight.
const UNIT_CHANNELS: usize = 64;

/// Whether every channel is a group, and channels are contiguous.
pub(in crate::ops::conv) fn fits(problem: &Correlation<'_>) -> bool {
    let is_alone = problem.groups > 1 && problem.inputs == 1 && problem.outputs == 1;
    is_alone && problem.x.layout.is_channels_last()
}

/// Adds the kernels of a correlation.
pub(in crate::ops::conv) fn lower(problem: &Correlation<'_>, lowering: &mut Lowering<'_>) {
    let weights = problem.pack_depthwise(lowering);
    let mut draft = problem.draft(lowering, "depthwise: vectors along the channels");
    let grid = &problem.grid;
    let (rows, columns) = (grid.rows(), grid.columns());
    let row_bytes = 4 * grid.planes() * rows.step * columns.inputs * problem.groups;
    let range = BlockedRange::exact(rows.outputs, (UNIT_BYTES / row_bytes).clamp(1, rows.outputs));
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

/// Whether windows are unrolled. It depends on the window alone, so that the order of its sums does.
fn is_unrolled(problem: &Correlation<'_>) -> bool {
    2 * problem.grid.positions() <= UNROLLED
}

/// Neighbouring results of a row that one map computes, whose windows are unrolled. They share the weights, and the inputs of
/// overlapping windows.
fn pixels(problem: &Correlation<'_>, registers: usize) -> usize {
    let most = if registers > 16 { 8 } else { 4 };
    (UNROLLED / problem.grid.positions()).clamp(1, most).min(problem.grid.columns().outputs)
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
                let product = map.multiply(element, weight);
                *sum = map.add(*sum, product);
            }
        }
    }
    (map, sums)
}

/// Adds the kernels of a gradient with respect to the weight.
pub(in crate::ops::conv) fn weight_gradient(problem: &WeightGradient<'_>, lowering: &mut Lowering<'_>) {
    let WeightGradient { node, groups, g, .. } = problem;
    let (node, groups) = (*node, *groups);
    let grid = &problem.grid;
    let padded = Padded { grid: grid.clone(), x: problem.x.clone(), halo: 0.0 };
    // The sums of each sequence are separate, so that they do not depend on whether its length is open; the sums of all
    // items of images are computed at once.
    let (source, item) = match grid.columns().open {
        Some(_) => padded.sequence(lowering, node),
        None => padded.whole(lowering, node),
    };
    let is_sequence = problem.axes.len() == 1;
    let positions = grid.positions();
    let mut draft = lowering.draft(node, "sums over pixels, vectors along the channels");
    let mut loops = grid.position_loops(&mut draft);
    // The sums of a row of the window are computed together, so that they share the gradient.
    let columns = grid.columns();
    let together = if columns.kernel_size <= MOST_SUMS { columns.kernel_size } else { 1 };
    if let Some((_, count)) = loops.last_mut() {
        *count /= together;
    }
    let (n, block) = (draft.var(), draft.var());
    let weight = lowering.address(node.results[0]);
    let range = BlockedRange::exact(groups, UNIT_CHANNELS);
    let (items, of_item) = (lowering.batch(), positions * groups);
    let size = if is_sequence { items.size(of_item) } else { Size::fixed(of_item) };
    let sums = lowering.temporary("sums", size);
    let at_position = |address: Address, strides: &[usize]| {
        loops.iter().zip(strides).fold(address, |address, (&(var, _), &stride)| address.plus(var, stride))
    };
    let body = range.branch(block, |first, channels| {
        // The window: all pixels, of all items or of one.
        let mut extents: Vec<Extent> = grid.axes().iter().map(|axis| axis.all_outputs().extent()).collect();
        let mut strides: Vec<usize> =
            grid.axes().iter().zip(&source.strides).map(|(axis, stride)| axis.step * stride).collect();
        let mut own: Vec<usize> =
            grid.result_strides().into_iter().map(|stride| stride * g.pixel()).collect();
        let mut to = Address::start(sums).at(first, 1);
        let (mut from, mut of_g) = (source.address.clone(), g.address.clone());
        if is_sequence {
            from = from.plus_size(n, item);
            of_g = g.of_item(n);
            to = to.plus(n, of_item);
        } else {
            extents.insert(0, items.extent());
            strides.insert(0, item.known());
            own.insert(0, g.item().known());
        }
        let mut map = MapBuilder::new(Extent::Fixed(channels)).window(&extents);
        let from = at_position(from.at(first, 1), &source.position_strides(grid));
        let gradient = map.load_window(of_g.at(first, 1), 1, &own);
        let reducers: Vec<Reducer> = (0..together)
            .map(|position| {
                let offset = position * columns.dilation * source.pixel();
                let element = map.load_window(from.clone().offset(offset), 1, &strides);
                Reducer::Sum(map.multiply(element, gradient))
            })
            .collect();
        let strides: Vec<usize> = grid.position_strides().into_iter().map(|stride| stride * groups).collect();
        let to = at_position(to, &strides);
        for (position, sum) in map.fold_window(&reducers).into_iter().enumerate() {
            map.store(to.clone().offset(position * groups), 1, sum);
        }
        vec![map.finish()]
    });
    let mut axes: Vec<(Var, Extent)> =
        loops.iter().map(|&(var, count)| (var, Extent::Fixed(count))).collect();
    axes.push((block, Extent::Fixed(range.blocks())));
    if is_sequence {
        axes.insert(0, (n, items.extent()));
    }
    lowering.push(draft.finish(Split::Axes(axes), body));
    let mut unpack = lowering.draft(node, "sums in the order of the weight").part("unpack");
    let channel = unpack.var();
    let from = Address::start(sums).plus(channel, 1);
    let to = weight.plus(channel, positions);
    let copy = match is_sequence {
        false => copy_span(from, groups, to, positions),
        true => {
            let mut map = MapBuilder::new(Extent::Fixed(positions)).window(&[items.extent()]);
            let term = map.load_window(from, groups, &[of_item]);
            let sum = map.fold_window(&[Reducer::Sum(term)])[0];
            map.store(to, 1, sum);
            map.finish()
        }
    };
    lowering.push(unpack.finish(Split::Axes(vec![(channel, Extent::Fixed(groups))]), vec![copy]));
}
