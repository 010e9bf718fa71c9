//! Kernels of masks: a comparison of each position with the number of positions that are kept.

use super::{Mask, Masked};
use crate::graph::Node;
use crate::kernel::{Affine, Expr, MapBuilder, Split};
use crate::plan::{Lower, Lowering, MemoryRules, Order};
use crate::shape::DType;

impl Lower for Mask {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: vec![(0, 0)], bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let x = node.operands[0];
        let dims = lowering.ty(x).shape.dims().to_vec();
        let last = dims.len() - 1;
        let positions = lowering.product(&dims[last..]);
        // Rows with the same number of positions are neighbours: `rows` rows for each index of `outer`.
        let (outer, rows) = match self.masked {
            Masked::Causal => (lowering.product(&dims[..last - 1]), lowering.product(&dims[last - 1..last])),
            Masked::Lengths => (lowering.product(&dims[..1]), lowering.product(&dims[1..last])),
        };
        let of_outer = lowering.product_of(rows, positions);
        let mut draft = lowering.draft(node, "row by row");
        let (o, row) = (draft.var(), draft.var());
        let at = |address: crate::kernel::Address| address.plus_size(o, of_outer).plus_size(row, positions);
        let mut map = MapBuilder::new(positions.extent());
        let value = map.load(at(lowering.address(x)), 1);
        let position = map.expr(Expr::Index { base: Affine::default(), lane: 1 });
        let kept = match self.masked {
            // The last position that is kept, plus one.
            Masked::Causal => map.expr(Expr::Position(Affine::from(row).offset(1))),
            Masked::Lengths => map.load_as(DType::I32, lowering.address(node.operands[1]).plus(o, 1), 0, &[]),
        };
        // The comparison is unsigned: both numbers are shifted, so that a negative length is below every position.
        let lowest = map.expr(Expr::Integer(i32::MIN));
        let [position, kept] = [position, kept].map(|number| map.expr(Expr::AddInteger(number, lowest)));
        let is_kept = map.expr(Expr::BelowUnsigned(position, kept));
        let fill = map.constant(f64::from(self.fill.value()));
        let value = map.expr(Expr::Select(is_kept, value, fill));
        map.store(at(lowering.address(node.results[0])), 1, value);
        let split = Split::Axes(vec![(o, outer.extent()), (row, rows.extent())]);
        lowering.push(draft.finish(split, vec![map.finish()]));
    }
}
