//! Kernels that move elements. A reshape has none where its result shares its operand's memory; joined channels have none
//! where they were computed in place, and parts of channels where they can be read in place.

use super::{Concat, Reshape, Slice};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::kernel::{Affine, Extent, Split};
use crate::plan::{AxisView, Layout, Lower, Lowering, copy_span};

impl Lower for Reshape {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let (from, to) = (lowering.view(node.operands[0]).clone(), lowering.view(node.results[0]).clone());
        if from.address.buffer != to.address.buffer {
            // The elements of the operand in the order of its shape, which are those of the result.
            if lowering.ty(node.operands[0]).shape.has_open_item() {
                return lowering.copy(node);
            }
            let to = to.split(from.channels, from.pixels);
            let draft = lowering.draft(node, format!("{} to {}", from.layout, to.layout));
            lowering.reorder(draft, &from, &to);
        }
    }
}

/// Copies `length` indices of an axis from one value to another.
fn copy_indices(
    lowering: &mut Lowering<'_>,
    node: &Node,
    axis: usize,
    (from, from_start): (ValueId, usize),
    (to, to_start): (ValueId, usize),
    length: usize,
) {
    let from_view = AxisView::new(lowering, from, axis);
    let to_view = AxisView::new(lowering, to, axis);
    let mut draft = lowering.draft(node, "a copy of each row");
    let (n, o) = (draft.var(), draft.var());
    let at = |view: &AxisView, start: usize| {
        let row = view.size * view.inner;
        Affine::constant(start * view.inner).plus(n, view.outer * row).plus(o, row)
    };
    let body = copy_span(
        lowering.address(from).at(&at(&from_view, from_start), 1),
        1,
        lowering.address(to).at(&at(&to_view, to_start), 1),
        length * from_view.inner,
    );
    let split = Split::Axes(vec![(n, from_view.items()), (o, Extent::Fixed(from_view.outer))]);
    lowering.push(draft.finish(split, vec![body]));
}

impl Lower for Concat {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let batched = lowering.ty(node.results[0]).shape.is_batched();
        let mut start = 0;
        for &operand in &node.operands {
            let length = AxisView::new(lowering, operand, self.axis).size;
            if self.axis == 1 && batched {
                let from = lowering.view(operand).clone();
                let to = lowering.view(node.results[0]).part(start, length);
                if from.address != to.address {
                    let draft = lowering.draft(node, format!("{} to {}", from.layout, to.layout));
                    lowering.reorder(draft, &from, &to);
                }
            } else {
                copy_indices(lowering, node, self.axis, (operand, 0), (node.results[0], start), length);
            }
            start += length;
        }
    }
}

impl Lower for Slice {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let (operand, result) = (node.operands[0], node.results[0]);
        if self.axis != 1 || !lowering.ty(operand).shape.is_batched() {
            return copy_indices(lowering, node, self.axis, (operand, self.start), (result, 0), self.length);
        }
        let from = lowering.view(operand).part(self.start, self.length);
        let to = lowering.view(result).clone();
        if from.layout == Layout::ChannelsLast && to.layout == Layout::ChannelsLast {
            return lowering.bind_view(result, from);
        }
        let draft = lowering.draft(node, format!("{} to {}", from.layout, to.layout));
        lowering.reorder(draft, &from, &to);
    }
}
