//! Kernels of sign masks. They number elements in storage order if no other kernels read the bits, so that no value is
//! copied to the order of its shape.

use super::{MaskedSelect, SignMask};
use crate::entity::ValueId;
use crate::faults::{Fault, armed};
use crate::graph::Node;
use crate::kernel::{Element, Expr, Extent, MapBuilder, Split};
use crate::ops::Op;
use crate::plan::{Bytes, Layout, Lower, Lowering, MemoryRules, Order, Size};

/// The note of the kernels.
const NOTE: &str = "eight runs of elements, a bit of each in a byte";
/// Most bytes are in runs of a multiple of this length: 256-bit vectors have no byte masks, so they cannot process
/// partial vectors.
const WHOLE_VECTORS: usize = 8;

/// The order in which [`SignMask`] numbers the elements of a value for its bits: storage order if only [`MaskedSelect`]
/// reads the bits, for values of the same shape; else the order of the shape.
fn order_of_bits(lowering: &Lowering<'_>, value: ValueId, bits: ValueId) -> Layout {
    let in_storage_order = match lowering.producer(bits) {
        node @ Node { op: Op::SignMask(_), .. } => {
            let x = lowering.ty(node.operands[0]);
            // Values stored in bytes have no other readers.
            let is_hidden = lowering.element(bits) == Element::U8;
            is_hidden && lowering.readers(bits).all(|node| lowering.ty(node.operands[0]) == x)
        }
        _ => false,
    };
    if in_storage_order { lowering.preferred_layout(value) } else { lowering.channels_first(value) }
}

/// Neighbouring numbers whose bits stand for the same runs of elements.
struct Run {
    /// The index of the first number.
    number: usize,
    /// How many numbers there are.
    count: usize,
    /// The element of bit 0 of the first number.
    element: usize,
    /// The number of bits of each number that stand for elements.
    bits: usize,
}

/// The runs of an item of `elements` elements, and the distance between the elements of a number's bits.
fn runs(elements: usize) -> (Vec<Run>, usize) {
    let numbers = elements / 8;
    let whole = numbers / WHOLE_VECTORS * WHOLE_VECTORS;
    let runs = [
        Run { number: 0, count: whole, element: 0, bits: 8 },
        Run { number: whole, count: numbers - whole, element: whole, bits: 8 },
        Run { number: numbers, count: elements % 8, element: 8 * numbers, bits: 1 },
    ];
    (runs.into_iter().filter(|run| run.count > 0).collect(), numbers)
}

impl Lower for SignMask {
    fn memory(&self) -> MemoryRules {
        MemoryRules {
            operands: Order::Dense,
            results: Order::Any,
            over: Vec::new(),
            bytes: Some(Bytes::Result(0)),
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let order = order_of_bits(lowering, node.operands[0], node.results[0]);
        let x = lowering.dense(node, node.operands[0], &order);
        let to = lowering.view(node.results[0]).clone();
        let mut draft = lowering.draft(node, NOTE);
        let n = draft.var();
        let (runs, distance) = runs(lowering.ty(node.operands[0]).shape.item_elements());
        let body = runs.iter().map(|run| {
            let mut map = MapBuilder::new(Extent::Fixed(run.count));
            let (zero, mut number) = (map.constant(0.0), map.expr(Expr::Integer(0)));
            let none = number;
            for bit in 0..run.bits {
                let x = map.load(x.of_item(n).offset(run.element + bit * distance), 1);
                let is_cut = map.expr(Expr::AtMost(x, zero));
                let value = map.expr(Expr::Integer(1 << bit));
                let value = map.expr(Expr::Select(is_cut, none, value));
                number = if bit == 0 { value } else { map.expr(Expr::AddInteger(number, value)) };
            }
            map.store_as(to.element, to.of_item(n).offset(run.number), 1, number);
            map.finish()
        });
        let body = body.collect();
        lowering.push(draft.finish(Split::Axes(vec![(n, lowering.batch().extent())]), body));
    }
}

impl Lower for MaskedSelect {
    fn memory(&self) -> MemoryRules {
        MemoryRules {
            operands: Order::Dense,
            results: Order::Dense,
            over: vec![(0, 0)],
            bytes: Some(Bytes::Operand(1)),
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let order = order_of_bits(lowering, node.operands[0], node.operands[1]);
        let g = lowering.dense(node, node.operands[0], &order);
        let mut bits = lowering.view(node.operands[1]).clone();
        if armed(Fault::StaleMask) {
            bits.strides[0] = Size::fixed(0);
        }
        let result = lowering.view(node.results[0]).clone();
        let is_own = result.is_dense() && result.in_layout(&order).is_some();
        let to = if is_own { result.clone() } else { lowering.dense_temporary(node.results[0], &order) };
        let mut draft = lowering.draft(node, NOTE);
        let n = draft.var();
        let (runs, distance) = runs(lowering.ty(node.operands[0]).shape.item_elements());
        let body = runs.iter().map(|run| {
            let mut map = MapBuilder::new(Extent::Fixed(run.count));
            let (zero, none) = (map.constant(0.0), map.expr(Expr::Integer(0)));
            let number = map.load_as(bits.element, bits.of_item(n).offset(run.number), 1, &[]);
            for bit in 0..run.bits {
                let element = run.element + bit * distance;
                let g = map.load(g.of_item(n).offset(element), 1);
                let value = map.expr(Expr::Integer(1 << bit));
                let value = map.expr(Expr::And(number, value));
                let is_clear = map.expr(Expr::SameInteger(value, none));
                let kept = map.expr(Expr::Select(is_clear, zero, g));
                map.store(to.of_item(n).offset(element), 1, kept);
            }
            map.finish()
        });
        let body = body.collect();
        lowering.push(draft.finish(Split::Axes(vec![(n, lowering.batch().extent())]), body));
        if !is_own {
            let draft = lowering.draft(node, format!("{} to {}", to.layout, result.layout)).part("reorder");
            lowering.reorder(draft, &to, &result);
        }
    }
}
