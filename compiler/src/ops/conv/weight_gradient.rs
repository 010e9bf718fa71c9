//! The gradient of a convolution to its weight as a problem: for every input, output and kernel position a sum over all
//! pixels of all items. Nothing here says how it is computed.

use super::ConvGradWeight;
use crate::graph::Node;
use crate::ops::grid::Grid;
use crate::ops::window_walk::{Axis, forward_axes};
use crate::plan::{Layout, Lowering, View};

/// A gradient to a weight and where its operands are.
pub(super) struct WeightGradient<'a> {
    pub(super) node: &'a Node,
    /// The spatial axes of the convolution, as many as there are.
    pub(super) axes: Vec<Axis>,
    /// The same axes, as schedules for channels last walk them.
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
    /// A node's problem, with its operands in these orders.
    pub(super) fn of(
        op: &ConvGradWeight,
        lowering: &mut Lowering<'_>,
        node: &'a Node,
        layouts: [Layout; 2],
    ) -> Self {
        let [g, x] = [0, 1].map(|index| lowering.in_layout(node, node.operands[index], layouts[index]));
        let axes = forward_axes(&op.window, &lowering.item(node.operands[1])[1..]);
        WeightGradient {
            node,
            grid: Grid::new(&axes),
            axes,
            groups: op.groups,
            inputs: x.channels / op.groups,
            outputs: g.channels / op.groups,
            g,
            x,
        }
    }
}
