//! The gradient of a convolution to its weight as sums over pixels: tiles of products that are reduced over the pixels of a
//! few rows at a time, which stay in a cache. Every weight's sum is made by one thread, so that the order of its terms does
//! not depend on how many there are.

mod by_inputs;
mod by_positions;
mod chunks;

use super::winograd::weight_gradient::WinogradGradient;
use crate::kernel::{Address, BufferId, Extent, MapBuilder, Split, Stmt};
use crate::ops::conv::weight_gradient::WeightGradient;
use crate::ops::optimizer::fused;
use crate::plan::{BlockedRange, Layout, Lowering, RegisterTile, Size, Vectors, WINOGRAD_RESULTS};

/// What is the same for all tiles.
struct Sums<'s> {
    problem: &'s WeightGradient<'s>,
    /// Kernel positions.
    positions: usize,
    /// Elements between blocks of outputs of one in the sums: kernel positions times inputs.
    depth: usize,
    /// Blocks of outputs.
    columns: BlockedRange,
}

/// How the sums of a block of outputs are laid out: distances between kernel positions and between inputs, in blocks of
/// outputs.
struct Unpacked {
    sums: BufferId,
    position_step: usize,
    input_step: usize,
}

/// Adds the kernels, by Winograd's method where that is asked for or takes the least time.
pub(in crate::ops::conv) fn lower(problem: &WeightGradient<'_>, lowering: &mut Lowering<'_>) {
    let vectors = lowering.vectors;
    let winograds = WINOGRAD_RESULTS.map(|results| WinogradGradient::new(problem, vectors, results));
    let times =
        winograds.each_ref().map(|winograd| winograd.as_ref().map(|one| one.time).map_err(|&why| why));
    let taken = lowering.choose(problem.node, problem.node.operands[0], time(problem, vectors), times);
    if let Some(Ok(winograd)) = taken.map(|taken| &winograds[taken]) {
        return by_winograd(problem, lowering, winograd);
    }
    match problem.x.layout {
        Layout::ChannelsLast => by_inputs::lower(problem, lowering),
        Layout::ChannelsFirst => by_positions::lower(problem, lowering),
    }
}

/// The time that sums over pixels take, in sixteenths of a cycle of one item.
fn time(problem: &WeightGradient<'_>, vectors: Vectors) -> usize {
    let block = RegisterTile::choose(vectors, problem.inputs, problem.outputs);
    let steps = RegisterTile::time_of_all(
        vectors,
        &even(problem.inputs, block.rows),
        &BlockedRange::exact(problem.outputs, block.columns.min(problem.outputs)),
    );
    problem.grid.positions() * problem.grid.results() * steps
}

/// By Winograd's method, whose sums are laid out as those of tiles are.
fn by_winograd(problem: &WeightGradient<'_>, lowering: &mut Lowering<'_>, winograd: &WinogradGradient) {
    let block = RegisterTile::choose(lowering.vectors, problem.inputs, problem.outputs);
    let sums = Sums::new(problem, block);
    let buffer = sums.buffer(lowering);
    winograd.lower(lowering, problem.node, buffer, sums.columns, winograd.note());
    let unpacked = Unpacked { sums: buffer, position_step: 1, input_step: sums.positions };
    sums.unpack(lowering, unpacked);
}

impl<'s> Sums<'s> {
    /// In blocks of tiles.
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

    /// How often the window, along its first axis, and the blocks of inputs, of which there are so many, are divided among units of
    /// work, which blocks of outputs and groups are otherwise: as takes the least time on all threads. Units of one block of
    /// outputs each gather its gradient, which comes from far away; `tile` is the time of a tile and a pixel, of which each
    /// index of the window's first axis and block of inputs has `tiles`.
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
        // Of equals the first: undivided.
        ways.min_by_key(time).unwrap_or((1, 1))
    }

    /// Adds the kernel that brings the sums into the order of the weight, or moves the weight by them.
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
        // Where inputs lie as far apart as kernel positions do, all are one span.
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

/// Blocks of at most `largest`, as even as they can be.
fn even(total: usize, largest: usize) -> BlockedRange {
    BlockedRange::exact(total, total.div_ceil(total.div_ceil(largest)))
}
