//! Sums over pixels if the input has NHWC layout: tiles of inputs by outputs, for each kernel position.

use super::{Sums, Unpacked, even};
use crate::kernel::{Address, Affine, Extent, Rows, Split, Stmt, Var};
use crate::ops::conv::weight_gradient::WeightGradient;
use crate::ops::grid::Grid;
use crate::ops::halo::Source;
use crate::ops::window_walk::strides;
use crate::plan::{BlockedRange, KernelDraft, Lowering, RegisterTile, copy_span, fill};

/// Adds the kernels.
pub(super) fn lower(problem: &WeightGradient<'_>, lowering: &mut Lowering<'_>) {
    let vectors = lowering.vectors;
    let block = RegisterTile::choose(vectors, problem.inputs, problem.outputs);
    let sums = Sums::new(problem, block);
    let grid = &problem.grid;
    let inputs = even(problem.inputs, block.rows);
    let chunk_rows = sums.chunk_rows();
    let tile = RegisterTile::time(vectors, inputs.size, sums.columns.size.div_ceil(vectors.lanes));
    let (row_parts, input_parts) =
        sums.parts(lowering, inputs.blocks(), (sums.positions / grid.axes()[0].kernel_size, tile));
    let parts = BlockedRange::exact(problem.inputs, inputs.blocks().div_ceil(input_parts) * inputs.size);
    let mut draft = lowering.draft(
        problem.node,
        format!(
            "sums over pixels: tiles of {} inputs by {} outputs, {} rows at a time",
            inputs.size, sums.columns.size, chunk_rows.size
        ),
    );
    let buffer = sums.buffer(lowering);
    let (group, block, row_part, part) = (draft.var(), draft.var(), draft.var(), draft.var());
    let chunks = sums.chunks(lowering, &mut draft, chunk_rows, group);
    let mut positions = grid.position_loops(&mut draft);
    let tile_var = draft.var();
    let pixels: usize = sizes(grid, chunk_rows.size).into_iter().product();
    // Each kernel position reads the inputs once. If there are several positions, packing a block of inputs is faster.
    let packed =
        (sums.positions > 1).then(|| Address::start(lowering.scratch("inputs", pixels * inputs.size)));
    // Each part has some indices of the window's first axis.
    positions[0].1 /= row_parts;
    let own_rows = positions[0].1;
    let index = |axis: usize| {
        let own = Affine::from(positions[axis].0);
        if axis == 0 { own.plus(row_part, own_rows) } else { own }
    };
    let at_position = |address: Address, strides: &[usize]| {
        strides.iter().enumerate().fold(address, |address, (axis, &stride)| address.at(&index(axis), stride))
    };
    let body = sums.columns.branch(block, |first, width| {
        parts.branch(part, |first_input, count| {
            let to = Address::start(buffer)
                .plus(group, sums.depth * problem.outputs)
                .at(first, sums.depth)
                .at(first_input, width);
            let strides: Vec<usize> =
                grid.position_strides().into_iter().map(|stride| stride * problem.inputs * width).collect();
            let to = at_position(to, &strides);
            let mut stmts = Stmt::nest(&positions, vec![fill(to.clone(), count * width, 0.0)]);
            stmts.push(sums.over_chunks(&mut draft, &chunks, (first, width), |draft, place, source| {
                let from = source.address.clone().plus(group, problem.inputs).at(first_input, 1);
                BlockedRange::exact(count, inputs.size).sequence(tile_var, |input, count| {
                    let from = from.clone().at(input, 1);
                    let (mut stmts, own) = match &packed {
                        Some(packed) => pack(draft, source, from, packed, &sizes(grid, place.rows), count),
                        None => (Vec::new(), Source { address: from, ..source.clone() }),
                    };
                    let left = at_position(own.address.clone(), &own.position_strides(grid));
                    let operands = [left, chunks.gathered.clone(), to.clone().at(input, width)];
                    let tile = sums.tile(place, (Rows::evenly(1), count), &own, operands);
                    stmts.extend(Stmt::nest(&positions, vec![tile]));
                    stmts
                })
            }));
            stmts
        })
    });
    let axes = vec![
        (group, Extent::Fixed(problem.groups)),
        (block, Extent::Fixed(sums.columns.blocks())),
        (row_part, Extent::Fixed(row_parts)),
        (part, Extent::Fixed(parts.blocks())),
    ];
    lowering.push(draft.finish(Split::Axes(axes), body));
    let unpacked = Unpacked { sums: buffer, position_step: problem.inputs, input_step: 1 };
    sums.unpack(lowering, unpacked);
}

/// The number of input pixels along each axis that `rows` rows of results read.
fn sizes(grid: &Grid, rows: usize) -> Vec<usize> {
    let columns = grid.columns();
    let mut sizes: Vec<usize> = grid.outer().iter().map(|axis| axis.reach(1)).collect();
    sizes.extend([grid.rows().reach(rows), columns.reach(columns.outputs)]);
    sizes
}

/// Statements that copy some channels of the pixels that a chunk reads, with the given sizes, to contiguous memory, and
/// the location of the copy.
fn pack(
    draft: &mut KernelDraft,
    source: &Source,
    mut from: Address,
    to: &Address,
    sizes: &[usize],
    channels: usize,
) -> (Vec<Stmt>, Source) {
    let loops: Vec<(Var, usize)> = sizes.iter().map(|&size| (draft.var(), size)).collect();
    let own: Vec<usize> = strides(sizes).into_iter().map(|pixels| pixels * channels).collect();
    let mut into = to.clone();
    for (axis, &(var, _)) in loops.iter().enumerate() {
        from = from.plus(var, source.strides[axis]);
        into = into.plus(var, own[axis]);
    }
    let copy = copy_span(from, 1, into, channels);
    (Stmt::nest(&loops, vec![copy]), Source { address: to.clone(), strides: own, channel: 1 })
}
