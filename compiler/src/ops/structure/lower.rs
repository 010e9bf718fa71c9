//! Kernels that move elements. A reshape has no kernel if its result shares its operand's memory. Concatenated channels
//! have none if they were computed in place, and slices of channels have none if they can be read in place.

use super::{Concat, Pad, Reshape, Slice, Transpose};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::kernel::{Address, Element, Expr, ExprId, Extent, MapBuilder, Split};
use crate::plan::{KernelDraft, Layout, Lower, Lowering, MemoryRules, Order, RowsOf, Size, View};
use crate::shape::{DType, Polynomial};

impl Lower for Reshape {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let (from, to) = (lowering.view(node.operands[0]).clone(), lowering.view(node.results[0]).clone());
        if from.address.buffer != to.address.buffer {
            // Copies the operand's elements in the order of its shape, which is the order of the result's elements too.
            let shape = &lowering.ty(node.operands[0]).shape;
            if from.layout.is_of_shape() && shape.has_open_item() {
                return lowering.copy(node);
            }
            let layout = Layout::channels_first(shape.rank());
            let to = lowering.dense_view(to.address, shape.dims(), layout, to.element);
            let draft = lowering.draft(node, format!("{} to {}", from.layout, to.layout));
            lowering.reorder(draft, &from, &to);
        }
    }
}

/// Adds a kernel that copies a part of each row of one dense value to a part of each row of another. A row has all
/// indices of an axis; both parts have the same length.
fn copy_rows(
    lowering: &mut Lowering<'_>,
    node: &Node,
    (from, from_row, from_start): (ValueId, Size, Size),
    (to, to_row, to_start): (ValueId, Size, Size),
    (rows, length): (Size, Size),
) {
    let element = lowering.element(from);
    let mut draft = lowering.draft(node, "a copy of each row");
    let row = draft.var();
    let part = |mut address: Address, distance: Size, start: Size| {
        address.offset = address.offset.plus_size(row, distance).offset_size(start);
        address
    };
    let mut map = MapBuilder::new(length.extent());
    let value = map.load_as(element, part(lowering.address(from), from_row, from_start), 1, &[]);
    map.store_as(element, part(lowering.address(to), to_row, to_start), 1, value);
    lowering.push(draft.finish(Split::Axes(vec![(row, rows.extent())]), vec![map.finish()]));
}

/// The size of `count` indices of an axis of a value, in elements.
fn indices(lowering: &mut Lowering<'_>, value: ValueId, axis: usize, count: &Polynomial) -> Size {
    let dims = &lowering.ty(value).shape.dims()[axis + 1..];
    let inner = dims.iter().fold(count.clone(), |product, dim| product.times(&dim.polynomial()));
    lowering.size_of(&inner)
}

/// Whether an axis is the channel axis of a batch of items with fixed sizes, which may have any layout.
fn is_of_channels(lowering: &Lowering<'_>, value: ValueId, axis: usize) -> bool {
    let shape = &lowering.ty(value).shape;
    axis == 1 && shape.is_batched() && !shape.has_open_item()
}

impl Lower for Concat {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::AnyOfFixed, results: Order::AnyOfFixed, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let to = node.results[0];
        if is_of_channels(lowering, to, self.axis) {
            let mut start = 0;
            for &operand in &node.operands {
                let from = lowering.view(operand).clone();
                let to = lowering.view(to).part(start, from.channels());
                start += from.channels();
                if from.address != to.address {
                    let draft = lowering.draft(node, format!("{} to {}", from.layout, to.layout));
                    lowering.reorder(draft, &from, &to);
                }
            }
            return;
        }
        let image = lowering.view(to).clone();
        if image.layout.is_channels_last() {
            let item = lowering.item(to);
            let (outer, inner) = rows_around(&item, self.axis);
            let (row, mut first) = (item[self.axis - 1] * inner, 0);
            for &operand in &node.operands {
                let count = lowering.item(operand)[self.axis - 1] * inner;
                let from = PixelRows { image: lowering.view(operand).clone(), row: count, first: 0 };
                let to = PixelRows { image: image.clone(), row, first };
                let draft = lowering.draft(node, "pixel by pixel");
                copy_pixels(lowering, draft, (outer, count), Some(&from), &to);
                first += count;
            }
            return;
        }
        lowering.operands_in_order(node);
        let RowsOf { rows, row: to_row } = lowering.rows_of(to, self.axis);
        let mut start = Polynomial::default();
        for &operand in &node.operands {
            let length = lowering.ty(operand).shape.dims()[self.axis].polynomial();
            let from_row = lowering.rows_of(operand, self.axis).row;
            let first = indices(lowering, to, self.axis, &start);
            let from = (operand, from_row, Size::fixed(0));
            copy_rows(lowering, node, from, (to, to_row, first), (rows, from_row));
            start = start.plus(&length);
        }
    }
}

impl Lower for Slice {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::AnyOfFixed, results: Order::AnyOfFixed, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let (operand, result) = (node.operands[0], node.results[0]);
        let numbers = (self.start.as_number(), self.length.as_number());
        if let (true, (Some(start), Some(length))) = (is_of_channels(lowering, operand, self.axis), numbers) {
            let from = lowering.view(operand).part(start as usize, length as usize);
            let to = lowering.view(result).clone();
            let are_pixels = from.layout.is_channels_last() && to.layout.is_channels_last();
            if are_pixels || to.layout.axes().len() == 2 && lowering.is_alone(result) {
                return lowering.bind_view(result, from);
            }
            let draft = lowering.draft(node, format!("{} to {}", from.layout, to.layout));
            return lowering.reorder(draft, &from, &to);
        }
        let [from, to] = [operand, result].map(|value| lowering.view(value).clone());
        let is_fixed = !lowering.ty(operand).shape.has_open_item();
        let is_last = is_fixed && [&from, &to].iter().any(|view| view.layout.is_channels_last());
        if let (true, (Some(start), Some(length))) = (is_last, numbers) {
            let item = lowering.item(operand);
            let (outer, inner) = rows_around(&item, self.axis);
            let (row, first, count) =
                (item[self.axis - 1] * inner, start as usize * inner, length as usize * inner);
            let from = PixelRows { image: from, row, first };
            let to = PixelRows { image: to, row: count, first: 0 };
            let draft = lowering.draft(node, "pixel by pixel");
            return copy_pixels(lowering, draft, (outer, count), Some(&from), &to);
        }
        lowering.operands_in_order(node);
        let RowsOf { rows, row } = lowering.rows_of(operand, self.axis);
        let to_row = lowering.rows_of(result, self.axis).row;
        let start = indices(lowering, operand, self.axis, &self.start);
        copy_rows(lowering, node, (operand, row, start), (result, to_row, Size::fixed(0)), (rows, to_row));
    }
}

/// Zero in an element type.
fn zero(map: &mut MapBuilder, element: Element) -> ExprId {
    match element.dtype() {
        DType::F32 => map.constant(0.0),
        DType::I32 => map.expr(Expr::Integer(0)),
    }
}

/// An image viewed as rows of pixels, each used from pixel `first` on.
struct PixelRows {
    image: View,
    row: usize,
    first: usize,
}

/// The rows of an image around a spatial axis: their number, and the pixels per index of the axis.
fn rows_around(item: &[usize], axis: usize) -> (usize, usize) {
    (item[1..axis - 1].iter().product(), item[axis..].iter().product())
}

/// Adds a kernel that copies `count` pixels of each row of one image to another, or writes zeros if there is no source
/// image. Vectors run along the channels.
fn copy_pixels(
    lowering: &mut Lowering<'_>,
    mut draft: KernelDraft,
    (rows, count): (usize, usize),
    from: Option<&PixelRows>,
    to: &PixelRows,
) {
    let (n, row, pixel) = (draft.var(), draft.var(), draft.var());
    let place = |PixelRows { image, row: pixels, first }: &PixelRows| {
        let address = image.of_item(n).offset(first * image.pixel());
        address.plus(row, pixels * image.pixel()).plus(pixel, image.pixel())
    };
    let mut map = MapBuilder::new(Extent::Fixed(to.image.channels()));
    let value = match from {
        Some(from) => map.load_as(from.image.element, place(from), from.image.channel().known(), &[]),
        None => zero(&mut map, to.image.element),
    };
    map.store_as(to.image.element, place(to), to.image.channel().known(), value);
    let axes = [(n, lowering.batch().extent()), (row, Extent::Fixed(rows)), (pixel, Extent::Fixed(count))];
    lowering.push(draft.finish(Split::Axes(axes.to_vec()), vec![map.finish()]));
}

impl Pad {
    /// Adds kernels that pad an image stored in NHWC layout with known sizes.
    fn pixels(&self, lowering: &mut Lowering<'_>, node: &Node, [from, to]: [&View; 2]) {
        let items = [node.operands[0], node.results[0]].map(|value| lowering.item(value));
        let [length, size] = [0, 1].map(|index| items[index][self.axis - 1]);
        let before = self.before.as_number().map_or(0, |zeros| zeros as usize);
        let parts = [
            (Some("before"), 0, before),
            (Some("behind"), before + length, size - before - length),
            (None, before, length),
        ];
        for (zeros, first, count) in parts.into_iter().filter(|(.., count)| *count > 0) {
            let draft = match zeros {
                Some(part) => lowering.draft(node, "zeros pixel by pixel").part(part),
                None => lowering.draft(node, "pixel by pixel"),
            };
            // Either the channels of all pixels, or the pixels of each row.
            let rows = |image: View, row, first| PixelRows { image, row, first };
            let (from, to, counts) = if self.axis == 1 {
                (rows(from.clone(), 0, 0), rows(to.part(first, count), 0, 0), (1, to.pixels().known()))
            } else {
                let (outer, inner) = rows_around(&items[1], self.axis);
                let from = rows(from.clone(), length * inner, 0);
                (from, rows(to.clone(), size * inner, first * inner), (outer, count * inner))
            };
            copy_pixels(lowering, draft, counts, zeros.is_none().then_some(&from), &to);
        }
    }
}

impl Lower for Pad {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::AnyOfFixed, results: Order::AnyOfFixed, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let (operand, result) = (node.operands[0], node.results[0]);
        let [from, to] = [operand, result].map(|value| lowering.view(value).clone());
        if to.layout.is_channels_last() {
            return self.pixels(lowering, node, [&from, &to]);
        }
        lowering.operands_in_order(node);
        let RowsOf { rows, row } = lowering.rows_of(operand, self.axis);
        let to_row = lowering.rows_of(result, self.axis).row;
        let [before, behind] =
            [&self.before, &self.behind].map(|zeros| indices(lowering, operand, self.axis, zeros));
        let length = lowering.ty(operand).shape.dims()[self.axis].polynomial();
        let end = indices(lowering, operand, self.axis, &self.before.plus(&length));
        let element = lowering.element(operand);
        for (part, start, length) in [("before", Size::fixed(0), before), ("behind", end, behind)] {
            if length == Size::fixed(0) {
                continue;
            }
            let mut draft = lowering.draft(node, "zeros in each row").part(part);
            let row = draft.var();
            let mut address = lowering.address(result);
            address.offset = address.offset.plus_size(row, to_row).offset_size(start);
            let mut map = MapBuilder::new(length.extent());
            let zero = zero(&mut map, element);
            map.store_as(element, address, 1, zero);
            lowering.push(draft.finish(Split::Axes(vec![(row, rows.extent())]), vec![map.finish()]));
        }
        copy_rows(lowering, node, (operand, row, Size::fixed(0)), (result, to_row, before), (rows, row));
    }
}

impl Transpose {
    /// Whether the channels become the last axis: an operand in NHWC layout already has its elements in this order.
    fn moves_channels_last(&self) -> bool {
        let rank = self.order.len();
        rank > 2 && self.order[rank - 1] == 1 && self.order[1..rank - 1].iter().copied().eq(2..rank)
    }

    /// Whether the last axis becomes the channels.
    fn moves_channels_first(&self) -> bool {
        let rank = self.order.len();
        rank > 2 && self.order[1] == rank - 1 && self.order[2..].iter().copied().eq(1..rank - 1)
    }
}

impl Lower for Transpose {
    fn memory(&self) -> MemoryRules {
        let any_if = |holds| if holds { Order::Any } else { Order::OfShape };
        MemoryRules {
            operands: any_if(self.moves_channels_last()),
            results: any_if(self.moves_channels_first()),
            over: Vec::new(),
            bytes: None,
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let (operand, result) = (node.operands[0], node.results[0]);
        let from = match self.moves_channels_last() {
            true => lowering.view(operand).clone(),
            false => lowering.in_layout(node, operand, &lowering.channels_first(operand)),
        };
        let to = lowering.view(result).clone();
        // Both as images, whose pixels are one run.
        if from.layout.is_channels_last() {
            let draft = lowering.draft(node, "pixel by pixel");
            return lowering.reorder(draft, &from, &to.transposed(&inverse(&self.order)));
        }
        let from = from.transposed(&self.order);
        if to.layout.is_channels_last() {
            let draft = lowering.draft(node, "pixel by pixel");
            return lowering.reorder(draft, &from, &to);
        }
        let draft = lowering.draft(node, "element by element");
        lowering.copy_axes(draft, &from, &to);
    }
}

/// The permutation that undoes another.
fn inverse(order: &[usize]) -> Vec<usize> {
    (0..order.len()).filter_map(|axis| order.iter().position(|&own| own == axis)).collect()
}
