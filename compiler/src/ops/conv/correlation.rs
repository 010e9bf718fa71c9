//! Convolution and its gradient to the input as one thing: every result is a sum over taps of input pixels times weights.
//! Which pixel a result and a tap meet is affine along each axis. Images of up to two axes; a sequence has one row.

use crate::entity::ValueId;
use crate::graph::Node;
use crate::kernel::{Address, Affine, BufferId, Extent, MapBuilder, Split, Stmt, Var};
use crate::ops::bordered::Axis;
use crate::ops::window::Window;
use crate::plan::{Cover, Layout, Lowering, Size};

/// The results of a gradient to the input that meet the same taps, along one axis: every so many as the stride is. They
/// meet the convolution's taps `last_tap − j·every_tap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phase {
    pub(super) axis: Axis,
    pub(super) last_tap: usize,
    pub(super) every_tap: usize,
}

impl Phase {
    /// The one phase of an axis with one place.
    pub(super) const SINGLE: Phase = Phase { axis: Axis::SINGLE, last_tap: 0, every_tap: 1 };
}

/// The phases of an axis of a gradient to the input, by the place of their first result: one for each remainder by the
/// stride. Taps may be missing altogether.
pub(super) fn backward_phases(window: &Window, sizes: &[usize], axis: usize) -> Vec<Option<Phase>> {
    let (stride, dilation) = (window.stride[axis], window.dilation[axis]);
    let (taps, padding) = (window.kernel_size[axis], window.padding[axis]);
    let outputs = window.output_sizes(sizes)[axis];
    // With i the input, o the output and k the tap: i + padding = o·stride + k·dilation.
    (0..stride.min(sizes[axis]))
        .map(|first| {
            let remainder = (first + padding) % stride;
            let matching: Vec<usize> =
                (0..taps).filter(|tap| (tap * dilation) % stride == remainder).collect();
            let (&first_tap, &last_tap) = (matching.first()?, matching.last()?);
            let every_tap = matching.get(1).map_or(1, |second| second - first_tap);
            // The output that the last tap leads to from the first input; it grows by one per phase step.
            let reach = (first + padding) as i64 - (last_tap * dilation) as i64;
            let axis = Axis {
                inputs: outputs,
                outputs: (sizes[axis] - first).div_ceil(stride),
                step: 1,
                taps: matching.len(),
                dilation: if matching.len() > 1 { every_tap * dilation / stride } else { 1 },
                shift: reach / stride as i64,
            };
            Some(Phase { axis, last_tap, every_tap })
        })
        .collect()
}

/// Where weights are packed: for each group and each block of outputs, taps and inputs in the order in which a tile meets
/// them, each with the weights of the block's outputs side by side.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    pub(super) buffer: BufferId,
    /// Weights of a group.
    pub(super) group: usize,
    /// Reduction steps of a block.
    pub(super) depth: usize,
    /// Bytes of the first-level cache.
    pub(super) first_cache: usize,
    pub(super) layout: Layout,
}

/// What to pack, from a weight `[O, C, taps…]`.
pub(super) struct Packing<'a> {
    pub(super) name: &'a str,
    pub(super) weight: ValueId,
    pub(super) groups: usize,
    /// Results and inputs of a group, as the correlation sees them.
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    /// Distance of a result's and an input's weights in the weight; a group is all of its results' or inputs'.
    pub(super) output_stride: usize,
    pub(super) input_stride: usize,
    pub(super) group_stride: usize,
    /// For each axis the first tap met, how many, and the distance to the next (backwards where `reversed`).
    pub(super) taps: [(usize, usize, usize); 2],
    pub(super) reversed: bool,
    /// Taps of the weight along the last axis.
    pub(super) row: usize,
    /// The order in which tiles meet taps and inputs: inputs innermost where the input has its channels last.
    pub(super) layout: Layout,
}

impl Packed {
    /// How far ahead of a block of so many outputs weights are fetched while it is multiplied: the next block, where blocks
    /// do not stay in the first-level cache.
    pub(super) fn prefetch(&self, width: usize) -> usize {
        if 4 * self.depth * width > self.first_cache { self.depth * width } else { 0 }
    }
}

impl Packing<'_> {
    /// The place of the tap that a variable counts along an axis whose taps are `scale` apart.
    pub(super) fn tap(
        &self,
        offset: Affine,
        var: Var,
        (first, _, every): (usize, usize, usize),
        scale: usize,
    ) -> Affine {
        let offset = offset.offset(first * scale);
        if self.reversed { offset.minus_var(var, every * scale) } else { offset.plus(var, every * scale) }
    }

    /// The place of one of the taps met.
    pub(super) fn place(&self, row: usize, column: usize) -> usize {
        let at = |(first, _, every): (usize, usize, usize), index: usize| match self.reversed {
            true => first - index * every,
            false => first + index * every,
        };
        at(self.taps[0], row) * self.row + at(self.taps[1], column)
    }

    /// Adds the kernel that packs the weights, and says where they are.
    /// So many outputs lie side by side.
    pub(super) fn lower(&self, lowering: &mut Lowering<'_>, node: &Node, block_outputs: usize) -> Packed {
        let [rows, columns] = self.taps;
        let depth = rows.1 * columns.1 * self.inputs;
        let group = depth * self.outputs;
        let buffer = lowering.temporary(self.name, Size::fixed(self.groups * group));
        let mut draft = lowering.draft(node, "weights in the order in which tiles meet them").part("pack");
        let blocks = Cover::exact(self.outputs, block_outputs);
        let (g, block, c) = (draft.var(), draft.var(), draft.var());
        let (row, column) = (draft.var(), draft.var());
        let from = Address::start(lowering.address(self.weight).buffer);
        let body = blocks.branch(block, |first, width| {
            let mut offset = Affine::default()
                .plus(g, self.group_stride)
                .plus_scaled(first, self.output_stride)
                .plus(c, self.input_stride);
            offset = self.tap(self.tap(offset, row, rows, self.row), column, columns, 1);
            let [row_step, column_step, input_step] = match self.layout {
                Layout::ChannelsLast => [columns.1 * self.inputs, self.inputs, 1],
                Layout::ChannelsFirst => [columns.1, 1, rows.1 * columns.1],
            };
            let to = Affine::default()
                .plus(g, group)
                .plus_scaled(first, depth)
                .plus(row, row_step * width)
                .plus(column, column_step * width)
                .plus(c, input_step * width);
            let mut map = MapBuilder::new(Extent::Fixed(width));
            let value = map.load(from.clone().at(&offset, 1), self.output_stride);
            map.store(Address::start(buffer).at(&to, 1), 1, value);
            Stmt::nest(&[(c, self.inputs), (row, rows.1), (column, columns.1)], vec![map.finish()])
        });
        let axes = vec![(g, Extent::Fixed(self.groups)), (block, Extent::Fixed(blocks.blocks()))];
        lowering.push_derived(self.weight, draft.finish(Split::Axes(axes), body));
        let first_cache = lowering.vectors.costs.first_cache;
        Packed { buffer, group, depth, first_cache, layout: self.layout }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of input and tap that the convolution joins is met exactly once.
    #[test]
    fn phases_meet_every_pair_once() {
        for (size, taps, stride, padding, dilation) in [
            (7, 3, 1, 1, 1),
            (8, 3, 2, 1, 1),
            (9, 5, 3, 2, 2),
            (11, 1, 2, 0, 1),
            (6, 4, 4, 3, 3),
            (10, 3, 2, 0, 2),
        ] {
            let window = Window {
                kernel_size: vec![taps],
                stride: vec![stride],
                padding: vec![padding],
                dilation: vec![dilation],
            };
            let outputs = window.output_sizes(&[size])[0];
            let mut expected = Vec::new();
            for output in 0..outputs {
                for tap in 0..taps {
                    let place = (output * stride + tap * dilation).checked_sub(padding);
                    expected.extend(place.filter(|&place| place < size).map(|place| (place, tap, output)));
                }
            }
            let mut met = Vec::new();
            for (first, phase) in backward_phases(&window, &[size], 0).into_iter().enumerate() {
                let Some(phase) = phase else { continue };
                for q in 0..phase.axis.outputs {
                    for tap in 0..phase.axis.taps {
                        let output = (q + tap * phase.axis.dilation) as i64 + phase.axis.shift;
                        if (0..outputs as i64).contains(&output) {
                            met.push((
                                first + q * stride,
                                phase.last_tap - tap * phase.every_tap,
                                output as usize,
                            ));
                        }
                    }
                }
            }
            expected.sort_unstable();
            met.sort_unstable();
            assert_eq!(met, expected, "{window:?}");
        }
    }
}
