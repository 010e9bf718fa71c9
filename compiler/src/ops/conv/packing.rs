//! Weight prepacking: kernels that run when parameters change copy weights to the order in which tiles, or maps, read
//! them.

use super::correlation::Correlation;
use crate::kernel::{Address, Affine, BufferId, Extent, MapBuilder, Split, Stmt};
use crate::plan::{BlockedRange, Lowering, Size, copy_span};

const NAME: &str = "packed weight";

/// The location of packed weights: for each group and each block of outputs, the kernel positions and inputs in the
/// order in which a tile reads them, each with the weights of the block's outputs contiguous.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    pub(super) buffer: BufferId,
    /// Weights of a group.
    pub(super) group: usize,
    /// Reduction steps of a block.
    pub(super) depth: usize,
    /// Bytes of the L1 cache.
    first_cache: usize,
}

impl Packed {
    /// The prefetch distance while multiplying by a block of `width` outputs: the next block, if blocks do not stay in
    /// the L1 cache.
    pub(super) fn prefetch(&self, width: usize) -> usize {
        if 4 * self.depth * width > self.first_cache { self.depth * width } else { 0 }
    }
}

impl Correlation<'_> {
    /// Adds the kernel that packs the weights for tiles of `block_outputs` outputs, and returns their location. Inputs
    /// are innermost if the input has NHWC layout.
    pub(super) fn pack(&self, lowering: &mut Lowering<'_>, block_outputs: usize) -> Packed {
        let positions = self.grid.positions();
        let depth = positions * self.inputs;
        let group = depth * self.outputs;
        let size = Size::fixed(self.groups * group);
        let buffer = lowering.temporary(NAME, size);
        let note = "weights in the order in which tiles read them";
        let mut draft = lowering.draft(self.node, note).part("pack");
        let blocks = BlockedRange::exact(self.outputs, block_outputs);
        let (g, block, c) = (draft.var(), draft.var(), draft.var());
        let loops = self.grid.position_loops(&mut draft);
        let from = lowering.address(self.weight.value);
        let body = blocks.branch(block, |first, width| {
            let offset = Affine::default()
                .plus(g, self.weight.group)
                .plus_scaled(first, self.weight.output)
                .plus(c, self.weight.input);
            let offset = self.weight.at_position(offset, &loops);
            let [position_step, input_step] = match self.x.layout.is_channels_last() {
                true => [self.inputs, 1],
                false => [1, positions],
            };
            let mut to = Affine::default().plus(g, group).plus_scaled(first, depth);
            for (&(var, _), stride) in loops.iter().zip(self.grid.position_strides()) {
                to = to.plus(var, stride * position_step * width);
            }
            let to = to.plus(c, input_step * width);
            let mut map = MapBuilder::new(Extent::Fixed(width));
            let value = map.load(from.clone().at(&offset, 1), self.weight.output);
            map.store(Address::start(buffer).at(&to, 1), 1, value);
            let mut nest = vec![(c, self.inputs)];
            nest.extend(&loops);
            Stmt::nest(&nest, vec![map.finish()])
        });
        let axes = vec![(g, Extent::Fixed(self.groups)), (block, Extent::Fixed(blocks.blocks()))];
        lowering.push_derived(self.weight.value, draft.finish(Split::Axes(axes), body));
        Packed { buffer, group, depth, first_cache: lowering.vectors.costs.first_cache }
    }

    /// Adds the kernel that packs weights with one input and one output per group: `[kernel position][group]`.
    pub(super) fn pack_depthwise(&self, lowering: &mut Lowering<'_>) -> BufferId {
        let size = Size::fixed(self.grid.positions() * self.groups);
        let buffer = lowering.temporary(NAME, size);
        let mut draft = lowering.draft(self.node, "channels of a kernel position side by side").part("pack");
        let loops = self.grid.position_loops(&mut draft);
        let mut from = lowering.address(self.weight.value);
        from.offset = self.weight.at_position(from.offset, &loops);
        let mut to = Address::start(buffer);
        for (&(var, _), stride) in loops.iter().zip(self.grid.position_strides()) {
            to = to.plus(var, stride * self.groups);
        }
        let body = copy_span(from, self.weight.group, to, self.groups);
        let axes = loops.into_iter().map(|(var, count)| (var, Extent::Fixed(count))).collect();
        lowering.push_derived(self.weight.value, draft.finish(Split::Axes(axes), vec![body]));
        buffer
    }
}
