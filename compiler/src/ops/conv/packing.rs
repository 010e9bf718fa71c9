//! Weights in the order in which tiles, or maps, meet them: packed by kernels that run when parameters change.

use super::correlation::Correlation;
use crate::kernel::{Address, Affine, BufferId, Extent, MapBuilder, Split, Stmt};
use crate::plan::{Cover, Layout, Lowering, Size, copy_span};

const NAME: &str = "packed weight";

/// Where weights are packed: for each group and each block of outputs, kernel positions and inputs in the order in which a
/// tile meets them, each with the weights of the block's outputs side by side.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    pub(super) buffer: BufferId,
    /// Weights of a group.
    pub(super) group: usize,
    /// Reduction steps of a block.
    pub(super) depth: usize,
    /// Bytes of the first-level cache.
    first_cache: usize,
}

impl Packed {
    /// How far ahead of a block of so many outputs weights are fetched while it is multiplied: the next block, where blocks
    /// do not stay in the first-level cache.
    pub(super) fn prefetch(&self, width: usize) -> usize {
        if 4 * self.depth * width > self.first_cache { self.depth * width } else { 0 }
    }
}

impl Correlation<'_> {
    /// Adds the kernel that packs the weights for tiles of so many outputs, and says where they are. Inputs are innermost
    /// where the input has its channels last.
    pub(super) fn pack(&self, lowering: &mut Lowering<'_>, block_outputs: usize) -> Packed {
        let [rows, columns] = self.rows_and_columns().map(|axis| axis.kernel_size);
        let depth = rows * columns * self.inputs;
        let group = depth * self.outputs;
        let size = Size::fixed(self.groups * group);
        let buffer = lowering.temporary(NAME, size);
        let note = "weights in the order in which tiles meet them";
        let mut draft = lowering.draft(self.node, note).part("pack");
        let blocks = Cover::exact(self.outputs, block_outputs);
        let (g, block, c) = (draft.var(), draft.var(), draft.var());
        let (row, column) = (draft.var(), draft.var());
        let from = lowering.address(self.weight.value);
        let [met_rows, met_columns] = self.weight.met;
        let body = blocks.branch(block, |first, width| {
            let offset = Affine::default()
                .plus(g, self.weight.group)
                .plus_scaled(first, self.weight.output)
                .plus(c, self.weight.input);
            let offset = met_columns.at(met_rows.at(offset, row), column);
            let [row_step, column_step, input_step] = match self.x.layout {
                Layout::ChannelsLast => [columns * self.inputs, self.inputs, 1],
                Layout::ChannelsFirst => [columns, 1, rows * columns],
            };
            let to = Affine::default()
                .plus(g, group)
                .plus_scaled(first, depth)
                .plus(row, row_step * width)
                .plus(column, column_step * width)
                .plus(c, input_step * width);
            let mut map = MapBuilder::new(Extent::Fixed(width));
            let value = map.load(from.clone().at(&offset, 1), self.weight.output);
            map.store(Address::start(buffer).at(&to, 1), 1, value);
            Stmt::nest(&[(c, self.inputs), (row, rows), (column, columns)], vec![map.finish()])
        });
        let axes = vec![(g, Extent::Fixed(self.groups)), (block, Extent::Fixed(blocks.blocks()))];
        lowering.push_derived(self.weight.value, draft.finish(Split::Axes(axes), body));
        Packed { buffer, group, depth, first_cache: lowering.vectors.costs.first_cache }
    }

    /// Adds the kernel that packs weights of one input and output a group: `[kernel position][group]`.
    pub(super) fn pack_depthwise(&self, lowering: &mut Lowering<'_>) -> BufferId {
        let [rows, columns] = self.rows_and_columns().map(|axis| axis.kernel_size);
        let size = Size::fixed(rows * columns * self.groups);
        let buffer = lowering.temporary(NAME, size);
        let mut draft = lowering.draft(self.node, "channels of a kernel position side by side").part("pack");
        let (row, column) = (draft.var(), draft.var());
        let mut from = lowering.address(self.weight.value);
        let [met_rows, met_columns] = self.weight.met;
        from.offset = met_columns.at(met_rows.at(from.offset, row), column);
        let to = Address::start(buffer).plus(row, columns * self.groups).plus(column, self.groups);
        let body = copy_span(from, self.weight.group, to, self.groups);
        let axes = vec![(row, Extent::Fixed(rows)), (column, Extent::Fixed(columns))];
        lowering.push_derived(self.weight.value, draft.finish(Split::Axes(axes), vec![body]));
        buffer
    }
}
