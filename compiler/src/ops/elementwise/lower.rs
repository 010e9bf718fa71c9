//! Kernels of elementwise operators and of channel sums.

use super::{Bias, Binary, BinaryKind, Scale, SumChannels, Unary};
use crate::graph::Node;
use crate::kernel::{ExprId, MapBuilder};
use crate::plan::{AxisView, Lower, Lowering, Size};
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
        let result = node.results[0];
        let to = lowering.address(result);
        let size = Size::of(lowering.ty(result));
        lowering.elementwise(
            node,
            &[(node.operands[0], 1)],
            |map, x, first| {
                let y = map.unary(self.kind, x[0]);
                map.store(to.plus(first, 1), 1, y);
            },
            size,
        );
    }
}

impl Lower for Binary {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let result = node.results[0];
        let to = lowering.address(result);
        let size = Size::of(lowering.ty(result));
        let lane = usize::from(
            lowering.ty(node.operands[1]).shape != Shape::scalar() || size.elements == 1 && !size.batched,
        );
        lowering.elementwise(
            node,
            &[(node.operands[0], 1), (node.operands[1], lane)],
            |map, x, first| {
                let y = self.kind.expression(map, x[0], x[1]);
                map.store(to.plus(first, 1), 1, y);
            },
            size,
        );
    }
}

impl Lower for Bias {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let view = AxisView::new(&lowering.ty(node.results[0]).shape, 1);
        let (x, bias) = (node.operands[0], node.operands[1]);
        view.elementwise(lowering, node, &[x], &[bias], node.results[0], |map, x, bias| {
            map.add(x[0], bias[0])
        });
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
        let mut draft = lowering.draft(node, "each channel on one thread");
        let channels = AxisView::new(&lowering.ty(node.operands[0]).shape, 1).reduction(&mut draft);
        let mut map = channels.map();
        let x = channels.element(&mut map, lowering.address(node.operands[0]));
        let sums = channels.sums(&mut map, &[x]);
        channels.store(&mut map, lowering.address(node.results[0]), sums[0]);
        lowering.push(channels.finish(draft, vec![map.finish()]));
    }
}
