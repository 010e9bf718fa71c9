//! Kernels of reductions and of expansion.

use super::{Expand, Reduce, ReduceKind};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::kernel::{Address, ExprId, Extent, MapBuilder, Reducer, Split};
use crate::plan::{Lower, Lowering, MemoryRules, Order, Size, View};
use crate::shape::Dim;

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
                let size = size.number(map);
                map.divide(value, size)
            }
        }
    }

    /// Adds a kernel that reduces each row of `size` elements to one element.
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

/// The order for operators that reduce or add axes: any order, if the channels are not among these axes.
fn order(axis: usize) -> Order {
    if axis > 1 { Order::AnyOfFixed } else { Order::OfShape }
}

/// The pixels of an image around some of its axes. Only the length of a sequence, which has no others, may be open.
struct Pixels {
    outer: usize,
    size: Size,
    inner: usize,
}

impl Pixels {
    /// Around `count` axes of an image starting with `axis`; the batch axis is axis 0.
    fn around(lowering: &Lowering<'_>, image: ValueId, axis: usize, count: usize) -> Self {
        let length = lowering.view(image).pixels();
        if length.open.is_some() {
            return Pixels { outer: 1, size: length, inner: 1 };
        }
        let item = lowering.item(image);
        let product = |sizes: &[usize]| sizes.iter().product();
        let (first, end) = (axis - 1, axis - 1 + count);
        Pixels {
            outer: product(&item[1..first]),
            size: Size::fixed(product(&item[first..end])),
            inner: product(&item[end..]),
        }
    }
}

impl Reduce {
    /// Adds a kernel that reduces pixels of an image, if the image or the result is stored in NHWC layout.
    fn pixels(&self, lowering: &mut Lowering<'_>, node: &Node, [from, to]: [&View; 2]) {
        let Pixels { outer, size, inner } = Pixels::around(lowering, node.operands[0], self.axis, self.count);
        let is_last = from.layout.is_channels_last();
        let note = if is_last { "pixel by pixel" } else { "channel by channel" };
        let mut draft = lowering.draft(node, note);
        let (n, o, other) = (draft.var(), draft.var(), draft.var());
        // Vectors run along the contiguous axis: the channels; or the pixels within an index, or the indices.
        let (count, lanes) = if is_last { (inner, from.channels()) } else { (from.channels(), inner) };
        let lane = |view: &View| if is_last { view.channel().known() } else { view.pixel() };
        let at = |view: &View, row: Size| {
            let distance = if is_last { view.pixel() } else { view.channel().known() };
            view.of_item(n).plus_size(o, row.times(view.pixel())).plus(other, distance)
        };
        let read = at(from, size.times(inner));
        let is_row = !is_last && inner == 1;
        let mut map;
        let reduced = if is_row {
            map = MapBuilder::new(size.extent());
            let x = map.load(read, lane(from));
            map.fold_lanes(&[self.reducer(x)])[0]
        } else {
            map = MapBuilder::new(Extent::Fixed(lanes)).window(&[size.extent()]);
            let x = map.load_window(read, lane(from), &[inner * from.pixel()]);
            map.fold_window(&[self.reducer(x)])[0]
        };
        let value = self.finish(&mut map, reduced, size);
        map.store(at(to, Size::fixed(inner)), if is_row { 0 } else { lane(to) }, value);
        let axes = [(n, lowering.batch().extent()), (o, Extent::Fixed(outer)), (other, Extent::Fixed(count))];
        lowering.push(draft.finish(Split::Axes(axes.to_vec()), vec![map.finish()]));
    }
}

impl Lower for Reduce {
    fn memory(&self) -> MemoryRules {
        let results = order(self.axis);
        // The length of a sequence may be open.
        let operands = if (self.axis, self.count) == (2, 1) { Order::Any } else { results };
        MemoryRules { operands, results, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let x = node.operands[0];
        let [from, to] = [x, node.results[0]].map(|value| lowering.view(value).clone());
        let is_last = [&from, &to].iter().any(|view| view.layout.is_channels_last());
        let shape = &lowering.ty(x).shape;
        let takes_any = !shape.has_open_item() || shape.is_open_sequence() && self.count == 1;
        if self.axis > 1 && is_last && takes_any {
            return self.pixels(lowering, node, [&from, &to]);
        }
        let dims = lowering.ty(x).shape.dims().to_vec();
        let end = self.axis + self.count;
        let from = lowering.address(x);
        let (outer, size) = (lowering.product(&dims[..self.axis]), lowering.product(&dims[self.axis..end]));
        if end == dims.len() {
            return self.rows(lowering, node, &from, outer, size);
        }
        let Some(inner) = lowering.product(&dims[end..]).as_number() else {
            // Vectors run along the axes behind the reduced ones, whose sizes are open: the reduced axes become the
            // last ones.
            let order: Vec<usize> = (0..self.axis).chain(end..dims.len()).chain(self.axis..end).collect();
            let sorted: Vec<Dim> = order.iter().map(|&axis| dims[axis].clone()).collect();
            let copy = lowering.dense_buffer("transposed", &sorted, lowering.element(x));
            let draft = lowering.draft(node, "the reduced axes last").part("transpose");
            lowering.copy_axes(draft, &lowering.plain(x).transposed(&order), &copy);
            let rows = lowering.product(&sorted[..sorted.len() - self.count]);
            return self.rows(lowering, node, &copy.address, rows, size);
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

impl Expand {
    /// Adds a kernel that expands pixels to an image stored in NHWC layout.
    fn pixels(&self, lowering: &mut Lowering<'_>, node: &Node, [from, to]: [&View; 2]) {
        let Pixels { outer, size, inner } = Pixels::around(lowering, node.results[0], self.axis, self.count);
        let mut draft = lowering.draft(node, "pixel by pixel");
        let (n, o) = (draft.var(), draft.var());
        let (index, i) = (draft.var(), draft.var());
        let mut map = MapBuilder::new(Extent::Fixed(to.channels()));
        let read = from.of_item(n).plus(o, inner * from.pixel()).plus(i, from.pixel());
        let mut value = map.load(read, from.channel().known());
        if self.divided {
            let size = size.number(&mut map);
            value = map.divide(value, size);
        }
        let write = to.of_item(n).plus(o, size.known() * inner * to.pixel()).plus(index, inner * to.pixel());
        map.store(write.plus(i, to.pixel()), to.channel().known(), value);
        let mut axes = vec![(n, lowering.batch().extent())];
        axes.extend(
            [(o, outer), (index, size.known()), (i, inner)].map(|(var, count)| (var, Extent::Fixed(count))),
        );
        lowering.push(draft.finish(Split::Axes(axes), vec![map.finish()]));
    }
}

impl Lower for Expand {
    fn memory(&self) -> MemoryRules {
        let order = order(self.axis);
        MemoryRules { operands: order, results: order, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let to = lowering.view(node.results[0]).clone();
        if to.layout.is_channels_last() {
            let from = lowering.view(node.operands[0]).clone();
            return self.pixels(lowering, node, [&from, &to]);
        }
        lowering.operands_in_order(node);
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
        // One element repeated over a span, or a span for each index of the new axes.
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
            let size = size.number(&mut map);
            value = map.divide(value, size);
        }
        map.store(to, 1, value);
        lowering.push(draft.finish(Split::Axes(axes), vec![map.finish()]));
    }
}
