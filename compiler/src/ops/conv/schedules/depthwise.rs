//! Depthwise convolution and its gradients in NHWC layout. Every channel has its own weights, so vectors run along the
//! channels, and there is no product to tile.

use crate::kernel::{Address, Affine, Extent, MapBuilder, Reducer, Split, Stmt, Var};
use crate::ops::conv::correlation::{Correlation, Destination};
use crate::ops::conv::weight_gradient::WeightGradient;
use crate::ops::halo::Padded;
use crate::ops::window_walk::window_extents;
use crate::plan::{BlockedRange, Layout, Lowering, Size, copy_span};

/// Bytes of the input rows that a work unit reads.
const UNIT_BYTES: usize = 64 * 1024;
/// Channels of a work unit of the gradient with respect to the weight.
const UNIT_CHANNELS: usize = 64;

/// Whether every channel is a group, and channels are contiguous.
pub(in crate::ops::conv) fn fits(problem: &Correlation<'_>) -> bool {
    let is_alone = problem.groups > 1 && problem.inputs == 1 && problem.outputs == 1;
    is_alone && problem.x.layout == Layout::ChannelsLast
}

/// Adds the kernels of a correlation.
pub(in crate::ops::conv) fn lower(problem: &Correlation<'_>, lowering: &mut Lowering<'_>) {
    let weights = problem.pack_depthwise(lowering);
    let mut draft = problem.draft(lowering, "depthwise: vectors along the channels");
    let grid = &problem.grid;
    let (rows, columns) = (grid.rows(), grid.columns());
    let row_bytes = 4 * grid.planes() * rows.step * columns.inputs * problem.groups;
    let range = BlockedRange::exact(rows.outputs, (UNIT_BYTES / row_bytes).clamp(1, rows.outputs));
    let (n, block, row, column) = (draft.var(), draft.var(), draft.var(), draft.var());
    let outer = grid.outer_units(&mut draft);
    let padded = Padded { grid: grid.clone(), x: problem.x.clone(), halo: 0.0 };
    let scratch = padded.scratch(lowering, &mut draft, range.size);
    let body = range.branch(block, |first, count| {
        let (mut stmts, source) = padded.rows(&mut draft, (n, &outer), (first, count), scratch.clone());
        let mut map = MapBuilder::new(Extent::Fixed(problem.groups)).window(&window_extents(grid.axes()));
        let from = source
            .address
            .clone()
            .plus(row, rows.step * source.row())
            .plus(column, columns.step * source.pixel());
        let element = map.load_window(from, 1, &source.position_strides(grid));
        let by_position: Vec<usize> =
            grid.position_strides().into_iter().map(|stride| stride * problem.groups).collect();
        let weight = map.load_window(Address::start(weights), 1, &by_position);
        let product = map.multiply(element, weight);
        let sum = map.fold_window(&[Reducer::Sum(product)])[0];
        let result_row = Affine::from(row).plus_scaled(first, 1);
        let place = |to: &Destination| to.of(n, &outer).at(&result_row, to.row()).plus(column, to.pixel());
        let mut epilogue = problem.epilogue.in_map(&Affine::default(), 1);
        let value = epilogue.apply(&mut map, sum, |view| place(&problem.results.of(view)));
        map.store(place(&problem.y), 1, value);
        stmts.extend(Stmt::nest(&[(row, count), (column, columns.outputs)], vec![map.finish()]));
        stmts
    });
    let mut axes = vec![(n, lowering.batch().extent())];
    axes.extend(outer.extents());
    axes.push((block, Extent::Fixed(range.blocks())));
    lowering.push(draft.finish(Split::Axes(axes), body));
}

/// Adds the kernels of a gradient with respect to the weight.
pub(in crate::ops::conv) fn weight_gradient(problem: &WeightGradient<'_>, lowering: &mut Lowering<'_>) {
    let WeightGradient { node, groups, g, .. } = problem;
    let (node, groups) = (*node, *groups);
    let grid = &problem.grid;
    let padded = Padded { grid: grid.clone(), x: problem.x.clone(), halo: 0.0 };
    let (source, item) = padded.whole(lowering, node);
    let positions = grid.positions();
    let mut draft = lowering.draft(node, "sums over pixels, vectors along the channels");
    let loops = grid.position_loops(&mut draft);
    let block = draft.var();
    let weight = lowering.address(node.results[0]);
    let range = BlockedRange::exact(groups, UNIT_CHANNELS);
    let sums = lowering.temporary("sums", Size::fixed(positions * groups));
    let at_position = |address: Address, strides: &[usize]| {
        loops.iter().zip(strides).fold(address, |address, (&(var, _), &stride)| address.plus(var, stride))
    };
    let body = range.branch(block, |first, channels| {
        let mut extents = vec![lowering.batch().extent()];
        extents.extend(grid.axes().iter().map(|axis| Extent::Fixed(axis.outputs)));
        let mut map = MapBuilder::new(Extent::Fixed(channels)).window(&extents);
        let from = at_position(source.address.clone().at(first, 1), &source.position_strides(grid));
        let mut strides = vec![item];
        strides.extend(grid.axes().iter().zip(&source.strides).map(|(axis, stride)| axis.step * stride));
        let element = map.load_window(from, 1, &strides);
        let mut strides = vec![g.item];
        strides.extend(grid.result_strides().into_iter().map(|stride| stride * g.pixel));
        let gradient = map.load_window(g.address.clone().at(first, 1), 1, &strides);
        let product = map.multiply(element, gradient);
        let sum = map.fold_window(&[Reducer::Sum(product)])[0];
        let strides: Vec<usize> = grid.position_strides().into_iter().map(|stride| stride * groups).collect();
        map.store(at_position(Address::start(sums).at(first, 1), &strides), 1, sum);
        vec![map.finish()]
    });
    let mut axes: Vec<(Var, Extent)> =
        loops.iter().map(|&(var, count)| (var, Extent::Fixed(count))).collect();
    axes.push((block, Extent::Fixed(range.blocks())));
    lowering.push(draft.finish(Split::Axes(axes), body));
    let mut unpack = lowering.draft(node, "sums in the order of the weight").part("unpack");
    let channel = unpack.var();
    let from = Address::start(sums).plus(channel, 1);
    let copy = copy_span(from, groups, weight.plus(channel, positions), positions);
    lowering.push(unpack.finish(Split::Axes(vec![(channel, Extent::Fixed(groups))]), vec![copy]));
}
