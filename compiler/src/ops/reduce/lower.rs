//! Kernels of reductions and of expansion.

use super::{Expand, Reduce, ReduceKind};
use crate::graph::Node;
use crate::kernel::{Address, Expr, ExprId, Extent, MapBuilder, Reducer, Split};
use crate::plan::{Lower, Lowering, MemoryRules, Order, Size};
use crate::shape::Dim;

/// A size as a float.
fn number(map: &mut MapBuilder, size: Size) -> ExprId {
    match size.open {
        Some(open) => map.expr(Expr::Size(open, size.elements)),
        None => map.constant(size.elements as f64),
    }
}

impl Reduce {
    fn reducer(&self, value: ExprId) -> Reducer {
        match self.kind {
            ReduceKind::Sum | ReduceKind::Mean => Reducer::Sum(value),
            ReduceKind::Max => Reducer::Max(value),
        }
    }

    fn finish(&self, map: &mut MapBuilder, value: ExprId, size: Size) -> ExprId {
        match self.kind {
            ReduceKind::Sum | ReduceKind::Max => value,
            ReduceKind::Mean => {
                let size = number(map, size);
                map.divide(value, size)
            }
        }
    }

    /// Adds a kernel that reduces rows of a size to an element each.
    fn rows(&self, lowering: &mut Lowering<'_>, node: &Node, from: &Address, rows: Size, size: Size) {
        let mut draft = lowering.draft(node, "each row on one thread");
        let row = draft.var();
        let mut from = from.clone();
        from.offset = from.offset.plus_size(row, size);
        let mut map = MapBuilder::new(size.extent());
        let x = map.load(from, 1);
        let reduced = map.fold_lanes(&[self.reducer(x)])[0];
        let value = self.finish(&mut map, reduced, size);
        map.store(lowering.address(node.results[0]).plus(row, 1), 0, value);
        lowering.push(draft.finish(Split::Axes(vec![(row, rows.extent())]), vec![map.finish()]));
    }
}

impl Lower for Reduce {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let x = node.operands[0];
        let dims = lowering.ty(x).shape.dims().to_vec();
        let end = self.axis + self.count;
        let from = lowering.address(x);
        let (outer, size) = (lowering.product(&dims[..self.axis]), lowering.product(&dims[self.axis..end]));
        if end == dims.len() {
            return self.rows(lowering, node, &from, outer, size);
        }
        let Some(inner) = lowering.product(&dims[end..]).as_number() else {
            // Vectors run along the axes behind, whose sizes are open: the reduced axes become the last ones.
            let order: Vec<usize> = (0..self.axis).chain(end..dims.len()).chain(self.axis..end).collect();
            let sorted: Vec<Dim> = order.iter().map(|&axis| dims[axis].clone()).collect();
            let element = lowering.element(x);
            let copy = lowering.dense_buffer("transposed", &sorted, element);
            let draft = lowering.draft(node, "the reduced axes last").part("transpose");
            lowering.transpose(draft, (&from, &dims), &order, &copy, element);
            let rows = lowering.product(&sorted[..sorted.len() - self.count]);
            return self.rows(lowering, node, &copy, rows, size);
        };
        let row = lowering.product(&dims[self.axis..]);
        let mut draft = lowering.draft(node, "side by side");
        let o = draft.var();
        let mut from = from;
        from.offset = from.offset.plus_size(o, row);
        let mut map = MapBuilder::new(Extent::Fixed(inner)).window(&[size.extent()]);
        let value = map.load_window(from, 1, &[inner]);
        let reduced = map.fold_window(&[self.reducer(value)])[0];
        let value = self.finish(&mut map, reduced, size);
        map.store(lowering.address(node.results[0]).plus(o, inner), 1, value);
        lowering.push(draft.finish(Split::Axes(vec![(o, outer.extent())]), vec![map.finish()]));
    }
}

impl Lower for Expand {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let dims = self.shape.dims();
        let end = self.axis + self.count;
        let (outer, size) = (lowering.product(&dims[..self.axis]), lowering.product(&dims[self.axis..end]));
        let inner = lowering.product(&dims[end..]);
        let row = lowering.product(&dims[self.axis..]);
        let (mut from, mut to) = (lowering.address(node.operands[0]), lowering.address(node.results[0]));
        let mut draft = lowering.draft(node, "each row on one thread");
        let o = draft.var();
        from.offset = from.offset.plus_size(o, inner);
        to.offset = to.offset.plus_size(o, row);
        let mut axes = vec![(o, outer.extent())];
        // One element for a span, or a span for each index of the new axes.
        let (lanes, lane) = match inner.as_number() {
            Some(1) => (size, 0),
            _ => {
                let index = draft.var();
                to.offset = to.offset.plus_size(index, inner);
                axes.push((index, size.extent()));
                (inner, 1)
            }
        };
        let mut map = MapBuilder::new(lanes.extent());
        let mut value = map.load(from, lane);
        if self.divided {
            let size = number(&mut map, size);
            value = map.divide(value, size);
        }
        map.store(to, 1, value);
        lowering.push(draft.finish(Split::Axes(axes), vec![map.finish()]));
    }
}
