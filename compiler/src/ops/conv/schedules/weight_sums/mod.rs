//! The gradient of a convolution with respect to its weight, as sums over pixels: tiles of products are reduced over
//! the pixels of a few rows, which stay in a cache. One thread computes the whole sum of a weight, so the order of its
//! terms does not depend on the number of threads.

mod by_inputs;
mod by_positions;
mod chunks;
mod sequences;

use super::winograd::weight_gradient::WinogradGradient;
use crate::kernel::{Address, BufferId, Extent, MapBuilder, Split, Stmt};
use crate::ops::conv::weight_gradient::WeightGradient;
use crate::ops::optimizer::fused;
use crate::plan::{BlockedRange, Lowering, RegisterTile, Size, Vectors, WINOGRAD_RESULTS, has_few_channels};

/// The data that all tiles share.
struct Sums<'s> {
    problem: &'s WeightGradient<'s>,
    /// Kernel positions.
    positions: usize,
    /// The stride of blocks of outputs in the sums, in elements per output: kernel positions times inputs.
    depth: usize,
    /// Blocks of outputs.
    columns: BlockedRange,
}

/// The layout of the sums of a block of outputs: strides of kernel positions and of inputs, in blocks of outputs.
struct Unpacked {
    sums: BufferId,
    position_step: usize,
    input_step: usize,
}

/// Adds the kernels, with Winograd's algorithm if the options ask for it or it is the fastest.
pub(in crate::ops::conv) fn lower(problem: &WeightGradient<'_>, lowering: &mut Lowering<'_>) {
    let vectors = lowering.vectors;
    let winograds = WINOGRAD_RESULTS.map(|results| WinogradGradient::new(problem, vectors, results));
    let times =
        winograds.each_ref().map(|winograd| winograd.as_ref().map(|one| one.time).map_err(|&why| why));
    let taken = lowering.choose(problem.node, problem.node.operands[0], time(problem, vectors), times);
    if let Some(Ok(winograd)) = taken.map(|taken| &winograds[taken]) {
        return by_winograd(problem, lowering, winograd);
    }
    if problem.grid.columns().open.is_some() {
        return sequences::lower(problem, lowering);
    }
    match problem.x.layout.is_channels_last() && !has_few_channels(problem.x.channels()) {
        true => by_inputs::lower(problem, lowering),
        false => by_positions::lower(problem, lowering),
    }
}

/// The time of sums over pixels for one item, in sixteenths of a cycle.
fn time(problem: &WeightGradient<'_>, vectors: Vectors) -> usize {
    let block = RegisterTile::choose(vectors, problem.inputs, problem.outputs);
    let steps = RegisterTile::time_of_all(
        vectors,
        &even(problem.inputs, block.rows),
        &BlockedRange::exact(problem.outputs, block.columns.min(problem.outputs)),
    );
    problem.grid.positions() * problem.grid.results() * steps
}

/// Winograd's algorithm; its sums have the same layout as those of tiles.
fn by_winograd(problem: &WeightGradient<'_>, lowering: &mut Lowering<'_>, winograd: &WinogradGradient) {
    let block = RegisterTile::choose(lowering.vectors, problem.inputs, problem.outputs);
    let sums = Sums::new(problem, block);
    let buffer = sums.buffer(lowering);
    winograd.lower(lowering, problem.node, buffer, sums.columns, winograd.note());
    let unpacked = Unpacked { sums: buffer, position_step: 1, input_step: sums.positions };
    sums.unpack(lowering, unpacked);
}

impl<'s> Sums<'s> {
    /// The sums, with this register tile.
    fn new(problem: &'s WeightGradient<'s>, block: RegisterTile) -> Self {
        let positions = problem.grid.positions();
        let columns = BlockedRange::exact(problem.outputs, block.columns.min(problem.outputs));
        Sums { problem, positions, depth: problem.inputs * positions, columns }
    }

    /// Memory for all sums.
    fn buffer(&self, lowering: &mut Lowering<'_>) -> BufferId {
        let elements = self.problem.groups * self.depth * self.problem.outputs;
        lowering.temporary("sums", Size::fixed(elements))
    }

    /// The numbers of parts into which the window's first axis and the `input_blocks` are divided, so that
    /// the slowest thread takes the least time. Units are otherwise divided by blocks of outputs and groups. Every unit
    /// of a block of outputs gathers its gradient, which is an L2 miss. `tile` is the time of a tile and a pixel; each
    /// index of the window's first axis and block of inputs has `tiles` tiles.
    fn parts(
        &self,
        lowering: &Lowering<'_>,
        input_blocks: usize,
        (tiles, tile): (usize, usize),
    ) -> (usize, usize) {
        let (costs, threads) = (lowering.vectors.costs, lowering.options.threads);
        let kernel_rows = self.problem.grid.axes()[0].kernel_size;
        let units = self.problem.groups * self.columns.blocks();
        let time = |&(row_parts, input_parts): &(usize, usize)| {
            let own_blocks = input_blocks.div_ceil(input_parts);
            let units = units * row_parts * input_blocks.div_ceil(own_blocks);
            let products = kernel_rows / row_parts * own_blocks * tiles * tile;
            units.div_ceil(threads) * (products + costs.l2_miss(4 * self.columns.size))
        };
        let ways = [1, kernel_rows]
            .into_iter()
            .flat_map(|rows| (1..=input_blocks).map(move |inputs| (rows, inputs)));
        // If times are equal, the first is chosen: undivided.
        ways.min_by_key(time).unwrap_or((1, 1))
    }

    /// Adds the kernel that copies the sums to the order of the weight, or updates the weight with them.
    fn unpack(&self, lowering: &mut Lowering<'_>, unpacked: Unpacked) {
        let Unpacked { sums, position_step, input_step } = unpacked;
        let WeightGradient { node, groups, inputs, outputs, .. } = *self.problem;
        let sgd = fused::of(lowering, node.results[0]);
        let note = match sgd {
            Some(_) => "sums in the order of the weight, SGD update fused",
            None => "sums in the order of the weight",
        };
        let mut draft = lowering.draft(node, note).part("unpack");
        let to_weight = match &sgd {
            Some(sgd) => {
                lowering.fuse(sgd.node, &mut draft);
                sgd.weight.clone()
            }
            None => lowering.address(node.results[0]),
        };
        let (group, block, output, input) = (draft.var(), draft.var(), draft.var(), draft.var());
        // If the stride of inputs continues that of kernel positions, all sums are one span.
        let is_even = input_step == self.positions && (position_step == 1 || self.positions == 1);
        let (inputs, span) = if is_even { (1, self.depth) } else { (inputs, self.positions) };
        let distance = if is_even { 1 } else { position_step };
        let body = self.columns.branch(block, |first, width| {
            let from =
                Address::start(sums).plus(group, self.depth * outputs).at(first, self.depth).plus(output, 1);
            let to = to_weight
                .clone()
                .plus(group, outputs * self.depth)
                .at(first, self.depth)
                .plus(output, self.depth);
            let to = to.plus(input, self.positions);
            let mut map = MapBuilder::new(Extent::Fixed(span));
            let mut value = map.load(from.plus(input, input_step * width), distance * width);
            if let Some(sgd) = &sgd {
                value = sgd.moved(&mut map, to.clone(), 1, value);
            }
            map.store(to, 1, value);
            Stmt::nest(&[(output, width), (input, inputs)], vec![map.finish()])
        });
        let axes = vec![(group, Extent::Fixed(groups)), (block, Extent::Fixed(self.columns.blocks()))];
        lowering.push(draft.finish(Split::Axes(axes), body));
    }
}

/// Blocks of at most `largest`, as even as possible.
fn even(total: usize, largest: usize) -> BlockedRange {
    BlockedRange::exact(total, total.div_ceil(total.div_ceil(largest)))
}
