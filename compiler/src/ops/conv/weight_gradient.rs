//! The gradient of a convolution with respect to its weight: for every input, output and kernel position a sum over all
//! pixels of all items. The schedules decide how to compute it.

use super::ConvGradWeight;
use crate::graph::Node;
use crate::ops::grid::Grid;
use crate::ops::window_walk::Axis;
use crate::plan::{Layout, Lowering, View};

/// A gradient with respect to a weight and the locations of its operands.
pub(super) struct WeightGradient<'a> {
    pub(super) node: &'a Node,
    /// All spatial axes.
    pub(super) axes: Vec<Axis>,
    /// The same axes, in the form that schedules for NHWC use.
    pub(super) grid: Grid,
    pub(super) groups: usize,
    /// Input and output channels of a group.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// The gradient of the convolution's output.
    pub(super) g: View,
    pub(super) x: View,
}

impl<'a> WeightGradient<'a> {
    /// The problem of a node, with its operands in these layouts.
    pub(super) fn of(
        op: &ConvGradWeight,
        lowering: &mut Lowering<'_>,
        node: &'a Node,
        layouts: [Layout; 2],
    ) -> Self {
        let [g, x] = [0, 1].map(|index| lowering.in_layout(node, node.operands[index], &layouts[index]));
        let axes = lowering.axes(&op.window, &lowering.ty(node.operands[1]).shape.dims()[2..]);
        WeightGradient {
            node,
            grid: Grid::new(&axes),
            axes,
            groups: op.groups,
            inputs: x.channels() / op.groups,
            outputs: g.channels() / op.groups,
            g,
            x,
        }
    }
}
