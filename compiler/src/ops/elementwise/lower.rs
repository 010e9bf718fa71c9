//! Kernels of elementwise operators and of channel sums.

use super::{Bias, Binary, BinaryKind, Scale, SumChannels, Unary};
use crate::faults::{Fault, armed};
use crate::graph::Node;
use crate::kernel::{Expr, ExprId, MapBuilder};
use crate::plan::{AxisView, Epilogue, Lower, Lowering, MemoryRules, Order};
use crate::shape::Shape;

impl BinaryKind {
    /// The expression of this function of `a` and `b`.
    pub(crate) fn expression(self, map: &mut MapBuilder, a: ExprId, b: ExprId) -> ExprId {
        match self {
            BinaryKind::Add => map.add(a, b),
            BinaryKind::Subtract => map.subtract(a, b),
            BinaryKind::Multiply => map.multiply(a, b),
            BinaryKind::Divide => map.divide(a, b),
            BinaryKind::ReluGrad => {
                let zero = map.constant(0.0);
                let is_cut = map.expr(Expr::AtMost(b, zero));
                map.expr(Expr::Select(is_cut, zero, a))
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
            BinaryKind::ActivationGrad(activation) => {
                let slope = map.slope(activation, b);
                map.multiply(a, slope)
            }
        }
    }
}

impl Lower for Unary {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: vec![(0, 0)], bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        lowering.pointwise(node, &node.operands, &[], |map, x, _| map.unary(self.kind, x[0]));
    }
}

impl Lower for Binary {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: vec![(0, 0), (1, 0)], bytes: None }
    }

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
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: vec![(0, 0)], bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let bias = lowering.address(node.operands[1]);
        let (x, y) = (&node.operands[..1], node.results[0]);
        lowering.per_channel(node, x, &[bias], Epilogue::default(), y, |map, x, bias| map.add(x[0], bias[0]));
    }
}

impl Lower for Scale {
    fn memory(&self) -> MemoryRules {
        let order = if self.axis == 1 { Order::Any } else { Order::OfShape };
        MemoryRules { operands: order, results: order, over: vec![(0, 0)], bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let (x, scale) = (node.operands[0], node.operands[1]);
        let shape = &lowering.ty(x).shape;
        if self.axis == 1 && shape.is_batched() {
            let scale = lowering.address(scale);
            let y = node.results[0];
            return lowering.per_channel(node, &[x], &[scale], Epilogue::default(), y, |map, x, scale| {
                map.multiply(x[0], scale[0])
            });
        }
        let view = AxisView::new(lowering, x, self.axis);
        view.elementwise(lowering, node, &[x], &[scale], node.results[0], |map, x, scale| {
            map.multiply(x[0], scale[0])
        });
    }
}

impl Lower for SumChannels {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        lowering.channel_sums(node, &node.operands, &[], [node.results[0]], |_, x, _| [x[0]]);
    }
}
