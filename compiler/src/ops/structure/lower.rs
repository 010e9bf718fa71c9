//! Kernels that move elements. A reshape has none where its result shares its operand's memory; joined channels have none
//! where they were computed in place, and parts of channels where they can be read in place.

use super::{Concat, Pad, Reshape, Slice, Transpose};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::kernel::{Address, Expr, MapBuilder, Split};
use crate::plan::{Layout, Lower, Lowering, MemoryRules, Order, RowsOf, Size};
use crate::shape::{DType, Polynomial};

impl Lower for Reshape {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let (from, to) = (lowering.view(node.operands[0]).clone(), lowering.view(node.results[0]).clone());
        if from.address.buffer != to.address.buffer {
            // The elements of the operand in the order of its shape, which are those of the result.
            if lowering.ty(node.operands[0]).shape.has_open_item() {
                return lowering.copy(node);
            }
            let to = to.split(from.channels, from.pixels);
            let draft = lowering.draft(node, format!("{} to {}", from.layout, to.layout));
            lowering.reorder(draft, &from, &to);
        }
    }
}

/// Adds a kernel that copies a part of each row of one dense value to a part of each row of another. A row holds all indices
/// of an axis; both parts are as long.
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

/// Whether an axis is that of the channels of a batch of items of fixed sizes, which may be stored in any layout.
fn is_of_channels(lowering: &Lowering<'_>, value: ValueId, axis: usize) -> bool {
    let shape = &lowering.ty(value).shape;
    axis == 1 && shape.is_batched() && !shape.has_open_item()
}

impl Lower for Concat {
    fn memory(&self) -> MemoryRules {
        let order = if self.axis == 1 { Order::Any } else { Order::OfShape };
        MemoryRules { operands: order, results: order, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let to = node.results[0];
        if is_of_channels(lowering, to, self.axis) {
            let mut start = 0;
            for &operand in &node.operands {
                let from = lowering.view(operand).clone();
                let to = lowering.view(to).part(start, from.channels);
                start += from.channels;
                if from.address != to.address {
                    let draft = lowering.draft(node, format!("{} to {}", from.layout, to.layout));
                    lowering.reorder(draft, &from, &to);
                }
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
        let order = if self.axis == 1 { Order::Any } else { Order::OfShape };
        MemoryRules { operands: order, results: order, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let (operand, result) = (node.operands[0], node.results[0]);
        let numbers = (self.start.as_number(), self.length.as_number());
        if let (true, (Some(start), Some(length))) = (is_of_channels(lowering, operand, self.axis), numbers) {
            let from = lowering.view(operand).part(start as usize, length as usize);
            let to = lowering.view(result).clone();
            if from.layout == Layout::ChannelsLast && to.layout == Layout::ChannelsLast {
                return lowering.bind_view(result, from);
            }
            let draft = lowering.draft(node, format!("{} to {}", from.layout, to.layout));
            return lowering.reorder(draft, &from, &to);
        }
        lowering.operands_in_order(node);
        let RowsOf { rows, row } = lowering.rows_of(operand, self.axis);
        let to_row = lowering.rows_of(result, self.axis).row;
        let start = indices(lowering, operand, self.axis, &self.start);
        copy_rows(lowering, node, (operand, row, start), (result, to_row, Size::fixed(0)), (rows, to_row));
    }
}

impl Lower for Pad {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let (operand, result) = (node.operands[0], node.results[0]);
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
            let zero = match element.dtype() {
                DType::F32 => map.constant(0.0),
                DType::I32 => map.expr(Expr::Integer(0)),
            };
            map.store_as(element, address, 1, zero);
            lowering.push(draft.finish(Split::Axes(vec![(row, rows.extent())]), vec![map.finish()]));
        }
        copy_rows(lowering, node, (operand, row, Size::fixed(0)), (result, to_row, before), (rows, row));
    }
}

impl Lower for Transpose {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let (operand, result) = (node.operands[0], node.results[0]);
        let dims = lowering.ty(operand).shape.dims().to_vec();
        let (from, to) = (lowering.address(operand), lowering.address(result));
        let draft = lowering.draft(node, "element by element");
        lowering.transpose(draft, (&from, &dims), &self.order, &to, lowering.element(operand));
    }
}
