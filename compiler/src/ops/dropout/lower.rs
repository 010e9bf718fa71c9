//! Kernels of dropout: the generator runs in vector registers, with one counter per lane.

use super::threefry::{KEY_PARITY, ROTATIONS, ROUNDS};
use super::{Dropout, DropoutTraining, MaskUnit};
use crate::graph::Node;
use crate::kernel::{Address, Affine, Expr, ExprId, Extent, MapBuilder, Split};
use crate::plan::{Lower, Lowering, MemoryRules, Order, View};
use crate::shape::DType;

impl Lower for Dropout {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        lowering.pointwise(node, &node.operands, &[], |_, x, _| x[0]);
    }
}

/// Word 0 of Threefry-2x32-20.
fn threefry(map: &mut MapBuilder, key: [ExprId; 2], counter: [ExprId; 2]) -> ExprId {
    let parity = map.expr(Expr::Integer(KEY_PARITY.cast_signed()));
    let mixed = map.expr(Expr::Xor(key[0], key[1]));
    let keys = [key[0], key[1], map.expr(Expr::Xor(mixed, parity))];
    let mut x0 = map.expr(Expr::AddInteger(counter[0], keys[0]));
    let mut x1 = map.expr(Expr::AddInteger(counter[1], keys[1]));
    for round in 0..ROUNDS as usize {
        x0 = map.expr(Expr::AddInteger(x0, x1));
        x1 = map.expr(Expr::RotateLeft(x1, ROTATIONS[round % 8]));
        x1 = map.expr(Expr::Xor(x1, x0));
        if round % 4 == 3 {
            let injection = round / 4 + 1;
            let number = map.expr(Expr::Integer(injection as i32));
            x0 = map.expr(Expr::AddInteger(x0, keys[injection % 3]));
            x1 = map.expr(Expr::AddInteger(x1, keys[(injection + 1) % 3]));
            x1 = map.expr(Expr::AddInteger(x1, number));
        }
    }
    x0
}

impl DropoutTraining {
    /// Computes an element of the result from the operand's element and its index in the batch.
    fn element(&self, map: &mut MapBuilder, x: ExprId, index: ExprId, seed: &Address) -> ExprId {
        let key = map.load_as(DType::I32, seed.clone(), 0, &[]);
        let step = map.load_as(DType::I32, seed.clone().offset(1), 0, &[]);
        let stream = map.expr(Expr::Integer(self.stream.cast_signed()));
        let word = threefry(map, [key, stream], [index, step]);
        let threshold = map.expr(Expr::Integer(self.threshold().cast_signed()));
        let dropped = map.expr(Expr::BelowUnsigned(word, threshold));
        let scale = map.constant(self.scale());
        let kept = map.multiply(x, scale);
        let zero = map.constant(0.0);
        map.expr(Expr::Select(dropped, zero, kept))
    }
}

impl Lower for DropoutTraining {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: vec![(0, 0)], bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let seed = lowering.address(node.operands[1]);
        let to = lowering.view(node.results[0]).clone();
        let from = lowering.in_layout(node, node.operands[0], &to.layout);
        if to.layout.is_channels_last() || self.unit != MaskUnit::Element {
            // Indices count units in NCHW order.
            let (channels, pixels) = (to.channels(), to.pixels().known());
            let [item, channel, pixel] = match self.unit {
                MaskUnit::Element => [channels * pixels, pixels, 1],
                MaskUnit::Channel => [channels, 1, 0],
                MaskUnit::Sample => [1, 0, 0],
            };
            let is_last = to.layout.is_channels_last();
            // Vectors run along the contiguous axis.
            let (count, lanes) = if is_last { (pixels, channels) } else { (channels, pixels) };
            let (stride, lane) = if is_last { (pixel, channel) } else { (channel, pixel) };
            let mut draft =
                lowering.draft(node, if is_last { "pixel by pixel" } else { "channel by channel" });
            let (n, outer) = (draft.var(), draft.var());
            let at = |view: &View| match is_last {
                true => view.of_item(n).plus(outer, view.pixel()),
                false => view.of_item(n).plus_size(outer, view.channel()),
            };
            let mut map = MapBuilder::new(Extent::Fixed(lanes));
            let x = map.load(at(&from), 1);
            let base = Affine::default().plus(outer, stride).plus(n, item);
            let index = map.expr(Expr::Index { base, lane });
            let y = self.element(&mut map, x, index, &seed);
            map.store(at(&to), 1, y);
            let split = Split::Axes(vec![(n, lowering.batch().extent()), (outer, Extent::Fixed(count))]);
            return lowering.push(draft.finish(split, vec![map.finish()]));
        }
        let size = lowering.size(node.results[0]);
        lowering.elementwise(
            node,
            &[(node.operands[0], 1)],
            |map, x, first| {
                let index = map.expr(Expr::Index { base: Affine::from(first), lane: 1 });
                let y = self.element(map, x[0], index, &seed);
                map.store(to.address.plus(first, 1), 1, y);
            },
            size,
        );
    }
}
