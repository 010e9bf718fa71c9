//! Kernels of elementwise operators and of channel sums.

use super::{Bias, Binary, BinaryKind, Scale, SumChannels, Unary};
use crate::faults::{Fault, armed};
use crate::graph::Node;
use crate::kernel::{ExprId, Extent, MapBuilder, Reducer, Split};
use crate::plan::{AxisView, Layout, Lower, Lowering};
use crate::shape::Shape;

impl BinaryKind {
    /// The expression of this function.
    pub(crate) fn expression(self, map: &mut MapBuilder, a: ExprId, b: ExprId) -> ExprId {
        match self {
            BinaryKind::Add => map.add(a, b),
            BinaryKind::Subtract => map.subtract(a, b),
            BinaryKind::Multiply => map.multiply(a, b),
            BinaryKind::Divide => map.divide(a, b),
            BinaryKind::ReluGrad => {
                let zero = map.constant(0.0);
                let positive = map.expr(crate::kernel::Expr::Less(zero, b));
                map.expr(crate::kernel::Expr::Select(positive, a, zero))
            }
            BinaryKind::SigmoidGrad => {
                let one = map.constant(1.0);
                let rest = map.subtract(one, b);
                let scaled = map.multiply(a, b);
                map.multiply(scaled, rest)
            }
            BinaryKind::TanhGrad => {
                let one = map.constant(1.0);
                let square = map.multiply(b, b);
                let rest = map.subtract(one, square);
                map.multiply(a, rest)
            }
        }
    }
}

impl Lower for Unary {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        lowering.pointwise(node, &node.operands, &[], |map, x, _| map.unary(self.kind, x[0]));
    }
}

impl Lower for Binary {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let (a, b) = (node.operands[0], node.operands[1]);
        if lowering.ty(b).shape == Shape::scalar() && lowering.ty(a).shape != Shape::scalar() {
            lowering.pointwise(node, &[a], &[b], |map, x, number| self.kind.expression(map, x[0], number[0]));
        } else {
            let operands = if armed(Fault::SwappedOperand) { [b, a] } else { [a, b] };
            lowering.pointwise(node, &operands, &[], |map, x, _| self.kind.expression(map, x[0], x[1]));
        }
    }
}

impl Lower for Bias {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let to = lowering.view(node.results[0]).clone();
        let (x, bias) = (node.operands[0], node.operands[1]);
        let from = lowering.in_layout(node, x, to.layout);
        if to.layout == Layout::ChannelsFirst {
            let view = AxisView::new(&lowering.ty(node.results[0]).shape, 1);
            return view.elementwise(lowering, node, &[x], &[bias], node.results[0], |map, x, bias| {
                map.add(x[0], bias[0])
            });
        }
        let mut draft = lowering.draft(node, "pixel by pixel");
        let (n, pixel) = (draft.var(), draft.var());
        let mut map = MapBuilder::new(Extent::Fixed(to.channels));
        let x = map.load(from.of_item(n).plus(pixel, from.pixel), 1);
        let bias = map.load(lowering.address(bias), 1);
        let y = map.add(x, bias);
        map.store(to.of_item(n).plus(pixel, to.pixel), 1, y);
        let split = Split::Axes(vec![(n, Extent::Batch(1)), (pixel, Extent::Fixed(to.pixels))]);
        lowering.push(draft.finish(split, vec![map.finish()]));
    }
}

impl Lower for Scale {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let view = AxisView::new(&lowering.ty(node.results[0]).shape, self.axis);
        let (x, scale) = (node.operands[0], node.operands[1]);
        view.elementwise(lowering, node, &[x], &[scale], node.results[0], |map, x, scale| {
            map.multiply(x[0], scale[0])
        });
    }
}

impl Lower for SumChannels {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let x = node.operands[0];
        let mut draft = lowering.draft(node, "each channel on one thread");
        let view = lowering.view(x).clone();
        if view.layout == Layout::ChannelsLast {
            let first = draft.var();
            let mut map =
                MapBuilder::new(Extent::Share).window(&[Extent::Batch(1), Extent::Fixed(view.pixels)]);
            let element = map.load_window(view.address.plus(first, 1), 1, &[view.item, view.pixel]);
            let sum = map.fold_window(&[Reducer::Sum(element)])[0];
            map.store(lowering.address(node.results[0]).plus(first, 1), 1, sum);
            let split = Split::Lanes(first, Extent::Fixed(view.channels));
            return lowering.push(draft.finish(split, vec![map.finish()]));
        }
        let channels = AxisView::new(&lowering.ty(x).shape, 1).reduction(&mut draft);
        let mut map = channels.map();
        let x = channels.element(&mut map, lowering.address(x));
        let sums = channels.sums(&mut map, &[x]);
        channels.store(&mut map, lowering.address(node.results[0]), sums[0]);
        lowering.push(channels.finish(draft, vec![map.finish()]));
    }
}
