//! The gradient of a depthwise convolution with respect to its weight: sums over the pixels of a few rows at a time, which
//! are then added.

use super::unit_rows;
use crate::kernel::{Address, Affine, Extent, MapBuilder, Reducer, Split, Stmt};
use crate::ops::conv::correlation::Results;
use crate::ops::conv::weight_gradient::WeightGradient;
use crate::ops::grid::Grid;
use crate::ops::halo::{Inputs, Padded};
use crate::plan::{BlockedRange, Lowering, Size, copy_span};

/// The maximum number of sums that one map computes: they share the gradient.
const MOST_SUMS: usize = 9;
/// The least number of pixels of a block, whose sums are written and read once.
const BLOCK_PIXELS: usize = 64;

/// Adds the kernels.
///
/// The sums of a sequence are one block, so that they do not depend on whether its length is open.
pub(in crate::ops::conv) fn weight_gradient(problem: &WeightGradient<'_>, lowering: &mut Lowering<'_>) {
    let WeightGradient { node, groups, grid, .. } = problem;
    let (node, groups) = (*node, *groups);
    let (rows, columns) = (grid.rows(), grid.columns());
    let padded = Padded { grid: grid.clone(), x: problem.x.clone(), halo: 0.0 };
    let is_sequence = problem.axes.len() == 1;
    let sequence = is_sequence.then(|| match columns.open {
        Some(_) => padded.sequence(lowering, node),
        None => padded.whole(lowering, node),
    });
    let range = match is_sequence {
        true => BlockedRange::exact(rows.outputs, rows.outputs),
        false => {
            let enough = BLOCK_PIXELS.div_ceil(columns.outputs).min(rows.outputs);
            BlockedRange::exact(rows.outputs, unit_rows(grid, groups).max(enough))
        }
    };
    let mut draft = lowering.draft(node, format!("depthwise: sums over {} rows at a time", range.size));
    let inputs = match sequence {
        Some((source, item)) => Inputs::Sequence(source, item),
        None => padded.inputs(lowering, node, &mut draft, range.size),
    };
    let (n, block) = (draft.var(), draft.var());
    let outer = grid.outer_units(&mut draft);
    let positions = grid.positions();
    // An item has a block of sums for each index along the outer axes and each block of rows.
    let of_block = positions * groups;
    let outer_blocks: Vec<usize> = grid.outer().iter().map(|axis| axis.outputs).collect();
    let blocks = outer_blocks.iter().product::<usize>() * range.blocks();
    let sums = lowering.temporary("sums", lowering.batch().size(blocks * of_block));
    let g = Results::all(grid.result_strides()).of(&problem.g);
    let (together, apart) = Together::of(grid);
    let loops: Vec<_> = grid.position_loops(&mut draft).into_iter().take(apart).collect();
    let at_position = |address: Address, strides: &[usize]| {
        loops.iter().zip(strides).fold(address, |address, (&(var, _), &stride)| address.plus(var, stride))
    };
    let of_position: Vec<usize> = grid.position_strides().iter().map(|stride| stride * groups).collect();
    let mut outer_strides = vec![range.blocks() * of_block; outer_blocks.len()];
    for axis in (1..outer_blocks.len()).rev() {
        outer_strides[axis - 1] = outer_strides[axis] * outer_blocks[axis];
    }
    let body = range.branch(block, |first, count| {
        let (mut stmts, source) = padded.rows(&mut draft, (n, &outer), (first, count), &inputs);
        let strides = source.position_strides(grid);
        let mut map = MapBuilder::new(Extent::Fixed(groups))
            .window(&[Extent::Fixed(count), columns.all_outputs().extent()]);
        let row = Affine::default().plus_scaled(first, 1);
        let gradient = map.load_window(g.of(n, &outer).at(&row, g.row()), 1, &[g.row(), g.pixel()]);
        let steps = [rows.step * source.row(), columns.step * source.pixel()];
        let from = at_position(source.address.clone(), &strides);
        let products: Vec<Reducer> = together
            .offsets(&strides)
            .map(|offset| {
                let element = map.load_window(from.clone().offset(offset), 1, &steps);
                Reducer::Sum(map.multiply(element, gradient))
            })
            .collect();
        let to = outer.at(Address::start(sums).plus(n, blocks * of_block), &outer_strides);
        let to = at_position(to.plus(block, of_block), &of_position);
        for (position, sum) in map.fold_window(&products).into_iter().enumerate() {
            map.store(to.clone().offset(position * groups), 1, sum);
        }
        stmts.extend(Stmt::nest(&loops, vec![map.finish()]));
        stmts
    });
    let mut axes = vec![(n, lowering.batch().extent())];
    axes.extend(outer.extents());
    axes.push((block, Extent::Fixed(range.blocks())));
    lowering.push(draft.finish(Split::Axes(axes), body));
    add_blocks(problem, lowering, Address::start(sums), blocks);
}

/// Adds the kernels that add the sums of all blocks and write them in the order of the weight.
fn add_blocks(problem: &WeightGradient<'_>, lowering: &mut Lowering<'_>, sums: Address, blocks: usize) {
    let positions = problem.grid.positions();
    let of_block = positions * problem.groups;
    let total = Address::start(lowering.temporary("total", Size::fixed(of_block)));
    let mut draft = lowering.draft(problem.node, "sums of all blocks").part("blocks");
    let first = draft.var();
    let window = [lowering.batch().extent(), Extent::Fixed(blocks)];
    let mut map = MapBuilder::new(Extent::Chunk).window(&window);
    let term = map.load_window(sums.plus(first, 1), 1, &[blocks * of_block, of_block]);
    let sum = map.fold_window(&[Reducer::Sum(term)])[0];
    map.store(total.clone().plus(first, 1), 1, sum);
    lowering.push(draft.finish(Split::Lanes(first, Extent::Fixed(of_block)), vec![map.finish()]));

    let weight = lowering.address(problem.node.results[0]);
    let mut unpack = lowering.draft(problem.node, "sums in the order of the weight").part("unpack");
    let channel = unpack.var();
    let copy = copy_span(total.plus(channel, 1), problem.groups, weight.plus(channel, positions), positions);
    lowering.push(unpack.finish(Split::Axes(vec![(channel, Extent::Fixed(problem.groups))]), vec![copy]));
}

/// The kernel positions whose sums one map computes: those along the innermost axes.
struct Together {
    sizes: Vec<usize>,
}

impl Together {
    /// The positions along as many axes as [`MOST_SUMS`] allows, and the number of axes that remain.
    fn of(grid: &Grid) -> (Self, usize) {
        let sizes: Vec<usize> = grid.axes().iter().map(|axis| axis.kernel_size).collect();
        let fits = |&apart: &usize| sizes[apart..].iter().product::<usize>() <= MOST_SUMS;
        let apart = (0..=sizes.len()).find(fits).unwrap_or(sizes.len());
        (Together { sizes: sizes[apart..].to_vec() }, apart)
    }

    /// The offset of each position, for the strides of all axes.
    fn offsets(&self, strides: &[usize]) -> impl Iterator<Item = usize> {
        let strides = &strides[strides.len() - self.sizes.len()..];
        let along = self.sizes.iter().zip(strides);
        along
            .fold(vec![0], |offsets: Vec<usize>, (&size, &stride)| {
                offsets
                    .iter()
                    .flat_map(|offset| (0..size).map(move |index| offset + index * stride))
                    .collect()
            })
            .into_iter()
    }
}
