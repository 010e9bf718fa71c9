//! Generators of operators that move elements or reduce them along axes, whose sizes may be open.

use windlass_compiler::entity::ValueId;
use windlass_compiler::ops::reduce::{Expand, Reduce, ReduceKind};
use windlass_compiler::ops::structure::{Concat, Pad, Slice, Transpose};
use windlass_compiler::shape::{Dim, Polynomial, Shape};

use super::super::sizes::{MAX_ELEMENTS, pick};
use super::super::sketch::Sketch;

/// Floats with an axis other than the batch, and the first such axis.
fn with_axes(s: &mut Sketch<'_>) -> Option<(ValueId, Shape, usize)> {
    let x = s.any_floats();
    let shape = s.ty(x).shape;
    let first = usize::from(shape.is_batched());
    (shape.rank() > first).then_some((x, shape, first))
}

pub(super) fn pad(s: &mut Sketch<'_>) {
    let Some((x, shape, first)) = with_axes(s) else { return };
    let axis = s.numbers.usize(first..shape.rank());
    let mut zeros = || Polynomial::from(s.numbers.usize(..4));
    let (mut before, behind) = (zeros(), zeros());
    if shape.is_batched() && s.chance(4) {
        before = shape.dims()[axis].polynomial();
    }
    let elements = shape.item_elements() / shape.item()[axis - first];
    let size = shape.dims()[axis].polynomial().plus(&before).plus(&behind);
    if elements * size.at(&Default::default()) <= 2 * MAX_ELEMENTS {
        s.op(Pad { axis, before, behind }, &[x]);
    }
}

pub(super) fn transpose(s: &mut Sketch<'_>) {
    let Some((x, shape, first)) = with_axes(s) else { return };
    let mut order: Vec<usize> = (0..shape.rank()).collect();
    s.numbers.shuffle(&mut order[first..]);
    s.op(Transpose { order }, &[x]);
}

pub(super) fn reduce(s: &mut Sketch<'_>) {
    let Some((x, shape, first)) = with_axes(s) else { return };
    let axis = s.numbers.usize(first..shape.rank());
    let count = s.numbers.usize(1..=shape.rank() - axis);
    let kind = pick(s.numbers, &ReduceKind::ALL);
    s.op(Reduce { kind, axis, count }, &[x]);
}

pub(super) fn expand(s: &mut Sketch<'_>) {
    let x = s.any_floats();
    let shape = s.ty(x).shape;
    let first = usize::from(shape.is_batched());
    let axis = s.numbers.usize(first..=shape.rank());
    let mut dims = shape.dims().to_vec();
    let count = 1 + s.numbers.usize(..2);
    let open = shape.is_batched() && s.chance(3);
    for _ in 0..count {
        let size = pick(s.numbers, &[1, 2, 3, 9]);
        dims.insert(axis, Dim::Fixed(size));
    }
    if let (true, Ok(size)) = (open, "T".parse::<Polynomial>()) {
        dims[axis] = Dim::from(size.plus(&Polynomial::from(s.numbers.usize(..2))));
    }
    let shape = Shape::new(dims);
    // An open size must be the size of an input.
    let is_known = shape.symbols().iter().all(|symbol| s.knows(*symbol));
    if is_known && shape.item_elements() <= 2 * MAX_ELEMENTS {
        let divided = s.numbers.bool();
        s.op(Expand { shape, axis, count, divided }, &[x]);
    }
}

/// A value concatenated with itself, or with one of its type.
pub(super) fn concat_open(s: &mut Sketch<'_>) {
    let Some((x, shape, first)) = with_axes(s) else { return };
    let axis = s.numbers.usize(first..shape.rank());
    let other = if s.numbers.bool() { x } else { s.of_type(&s.ty(x)) };
    if shape.item_elements() <= MAX_ELEMENTS {
        s.op(Concat { axis }, &[x, other]);
    }
}

/// All of an axis except a few indices, or a few.
pub(super) fn slice_open(s: &mut Sketch<'_>) {
    let Some((x, shape, first)) = with_axes(s) else { return };
    let axis = s.numbers.usize(first..shape.rank());
    let size = shape.dims()[axis].polynomial();
    let few = Polynomial::from(s.numbers.usize(1..3));
    let length = match s.numbers.u8(..3) {
        0 => size.clone(),
        1 => size.minus(&few),
        _ => few,
    };
    let rest = size.minus(&length);
    if !length.is_positive() || !rest.is_never_negative() {
        return;
    }
    let start = if s.numbers.bool() { rest } else { Polynomial::default() };
    s.op(Slice { axis, start, length }, &[x]);
}
