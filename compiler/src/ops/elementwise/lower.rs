//! Kernels of elementwise operators and of channel sums.

use super::{Bias, Binary, BinaryKind, Scale, SumChannels, Unary};
use crate::faults::{Fault, armed};
use crate::graph::Node;
use crate::kernel::{Expr, ExprId, Extent, MapBuilder, Split};
use crate::plan::{AxisView, Epilogue, Lower, Lowering, MemoryRules, Order, SharedNumbers, Size, View};
use crate::shape::Shape;

impl BinaryKind {
    /// The expression of this function of `a` and `b`.
    pub(crate) fn expression(self, map: &mut MapBuilder, a: ExprId, b: ExprId) -> ExprId {
        match self {
            BinaryKind::Add => map.add(a, b),
            BinaryKind::Subtract => map.subtract(a, b),
            BinaryKind::Multiply => map.multiply(a, b),
            BinaryKind::Divide => map.divide(a, b),
            BinaryKind::Maximum => extreme(map, a, b, Expr::AtMost(b, a), Expr::AtMost(a, b)),
            BinaryKind::Minimum => extreme(map, a, b, Expr::AtMost(a, b), Expr::AtMost(b, a)),
            BinaryKind::AtMost => {
                let (zero, one) = (map.constant(0.0), map.constant(1.0));
                let holds = map.expr(Expr::AtMost(a, b));
                map.expr(Expr::Select(holds, one, zero))
            }
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

/// `a` where one comparison holds, `b` where only the other does, and NaN where none does.
fn extreme(map: &mut MapBuilder, a: ExprId, b: ExprId, is_a: Expr, is_b: Expr) -> ExprId {
    let (is_a, is_b) = (map.expr(is_a), map.expr(is_b));
    let nan = map.add(a, b);
    let other = map.expr(Expr::Select(is_b, b, nan));
    map.expr(Expr::Select(is_a, a, other))
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
        lowering.per_channel(node, x, &[bias.into()], Epilogue::default(), y, |map, x, bias| {
            map.add(x[0], bias[0])
        });
    }
}

impl Scale {
    /// Whether an index of its axes is neither a channel nor a pixel.
    fn mixes_channels(&self) -> bool {
        self.axis < 2 && self.axis + self.count > 2
    }

    /// Adds a kernel for some of the spatial axes of an image in NHWC layout.
    fn some_pixels(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let to = lowering.view(node.results[0]).clone();
        let from = lowering.in_layout(node, node.operands[0], &to.layout);
        let item = lowering.item(node.operands[0]);
        let axes = self.axis - 1..self.axis - 1 + self.count;
        let product = |sizes: &[usize]| sizes.iter().product::<usize>();
        let [outer, size, inner] =
            [product(&item[1..axes.start]), product(&item[axes.clone()]), product(&item[axes.end..])];
        let mut draft = lowering.draft(node, "pixel by pixel");
        let (n, o, index, i) = (draft.var(), draft.var(), draft.var(), draft.var());
        let at = |view: &View| {
            let rows = view.of_item(n).plus(o, size * inner * view.pixel());
            rows.plus(index, inner * view.pixel()).plus(i, view.pixel())
        };
        let mut map = MapBuilder::new(Extent::Fixed(to.channels()));
        let x = map.load(at(&from), 1);
        let scale = map.load(lowering.address(node.operands[1]).plus(index, 1), 0);
        let y = map.multiply(x, scale);
        map.store(at(&to), 1, y);
        let axes = [(o, outer), (index, size), (i, inner)].map(|(var, size)| (var, Extent::Fixed(size)));
        let split = [vec![(n, lowering.batch().extent())], axes.to_vec()].concat();
        lowering.push(draft.finish(Split::Axes(split), vec![map.finish()]));
    }
}

impl Lower for Scale {
    fn memory(&self) -> MemoryRules {
        let order = if self.mixes_channels() { Order::OfShape } else { Order::Any };
        MemoryRules { operands: order, results: order, over: vec![(0, 0)], bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let (x, scale) = (node.operands[0], node.operands[1]);
        let shape = &lowering.ty(x).shape;
        let is_of_pixels = self.axis == 2 && self.count + 2 == shape.rank();
        if shape.is_batched() && (self.axis + self.count <= 2 || is_of_pixels) {
            let layout = lowering.channels_first(scale);
            let numbers = lowering.in_layout(node, scale, &layout);
            let scale = SharedNumbers {
                item: if self.axis == 0 { numbers.item() } else { Size::fixed(0) },
                address: numbers.address,
                channel: usize::from(self.axis + self.count == 2),
                pixel: usize::from(is_of_pixels),
            };
            let y = node.results[0];
            return lowering.per_channel(node, &[x], &[scale], Epilogue::default(), y, |map, x, scale| {
                map.multiply(x[0], scale[0])
            });
        }
        if shape.is_batched() && lowering.view(node.results[0]).layout.is_channels_last() {
            return self.some_pixels(lowering, node);
        }
        let view = AxisView::new(lowering, x, self.axis, self.count);
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
