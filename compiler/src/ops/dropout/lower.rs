//! Kernels of dropout: the generator runs in vector registers, one counter per lane.

use super::{Dropout, DropoutTraining};
use crate::graph::Node;
use crate::kernel::{Affine, Expr, ExprId, MapBuilder};
use crate::plan::{Lower, Lowering, Size};
use crate::shape::DType;

impl Lower for Dropout {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let to = lowering.address(node.results[0]);
        let size = Size::of(lowering.ty(node.results[0]));
        lowering.elementwise(
            node,
            &[(node.operands[0], 1)],
            |map, x, first| map.store(to.plus(first, 1), 1, x[0]),
            size,
        );
    }
}

/// Rotation distances of Threefry-2x32 (Salmon et al. 2011, table 2).
const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];
/// Mixed into the third key word.
const PARITY: i32 = 0x1BD1_1BDA;

/// Word 0 of Threefry-2x32-20.
fn threefry(map: &mut MapBuilder, key: [ExprId; 2], counter: [ExprId; 2]) -> ExprId {
    let parity = map.expr(Expr::Integer(PARITY));
    let mixed = map.expr(Expr::Xor(key[0], key[1]));
    let keys = [key[0], key[1], map.expr(Expr::Xor(mixed, parity))];
    let mut x0 = map.expr(Expr::AddInteger(counter[0], keys[0]));
    let mut x1 = map.expr(Expr::AddInteger(counter[1], keys[1]));
    for round in 0..20 {
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

impl Lower for DropoutTraining {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let to = lowering.address(node.results[0]);
        let seed = lowering.address(node.operands[1]);
        let size = Size::of(lowering.ty(node.results[0]));
        lowering.elementwise(
            node,
            &[(node.operands[0], 1)],
            |map, x, first| {
                let key = map.load_as(DType::I32, seed.clone(), 0, &[]);
                let step = map.load_as(DType::I32, seed.offset(1), 0, &[]);
                let stream = map.expr(Expr::Integer(self.stream.cast_signed()));
                let index = map.expr(Expr::Index(Affine::from(first)));
                let word = threefry(map, [key, stream], [index, step]);
                let threshold = map.expr(Expr::Integer(self.threshold().cast_signed()));
                let dropped = map.expr(Expr::BelowUnsigned(word, threshold));
                let scale = map.constant(1.0 / (1.0 - self.rate));
                let kept = map.multiply(x[0], scale);
                let zero = map.constant(0.0);
                let y = map.expr(Expr::Select(dropped, zero, kept));
                map.store(to.plus(first, 1), 1, y);
            },
            size,
        );
    }
}
