//! Kernels that move elements. A reshape has none: its result shares its operand's memory.

use super::{Concat, Reshape, Slice};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::kernel::{Affine, Extent, Split};
use crate::plan::{AxisView, Lower, Lowering, copy_span};

impl Lower for Reshape {
    fn lower(&self, _: &mut Lowering<'_>, _: &Node) {}
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
    let from_view = AxisView::new(&lowering.ty(from).shape, axis);
    let to_view = AxisView::new(&lowering.ty(to).shape, axis);
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
    let batch = if from_view.batched { Extent::Batch(1) } else { Extent::Fixed(1) };
    let split = Split::Axes(vec![(n, batch), (o, Extent::Fixed(from_view.outer))]);
    lowering.push(draft.finish(split, vec![body]));
}

impl Lower for Concat {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let mut start = 0;
        for &operand in &node.operands {
            let length = AxisView::new(&lowering.ty(operand).shape, self.axis).size;
            copy_indices(lowering, node, self.axis, (operand, 0), (node.results[0], start), length);
            start += length;
        }
    }
}

impl Lower for Slice {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let from = (node.operands[0], self.start);
        copy_indices(lowering, node, self.axis, from, (node.results[0], 0), self.length);
    }
}
