//! Generators of operators on the matrices of a batch, whose sizes may be open.

use windlass_compiler::entity::ValueId;
use windlass_compiler::ops::mask::{Fill, Mask, Masked};
use windlass_compiler::ops::matmul::Matmul;
use windlass_compiler::ops::positions::AddPositions;
use windlass_compiler::shape::{Dim, Shape, Symbol, Type};

use super::super::sizes::{self, pick};
use super::super::sketch::{Meaning, Sketch};

/// The size of an axis: fixed, or `T`.
fn size(s: &mut Sketch<'_>) -> Dim {
    match s.chance(3) {
        true => Dim::from("T".parse::<Symbol>().expect("a symbol")),
        false => Dim::from(sizes::channels(s.numbers)),
    }
}

/// A batch of items of some sizes.
fn batch(s: &mut Sketch<'_>, item: &[Dim]) -> ValueId {
    let first = s.batch_of(&[]).dims().to_vec();
    s.of_type(&Type::f32(Shape::new([&first, item].concat())))
}

pub(super) fn matmul(s: &mut Sketch<'_>) {
    let [rows, steps, columns] = [(); 3].map(|()| size(s));
    let (transpose_left, transpose_right) = (s.numbers.bool(), s.numbers.bool());
    let ordered = |transposed: bool, first: &Dim, second: &Dim| match transposed {
        false => [first.clone(), second.clone()],
        true => [second.clone(), first.clone()],
    };
    let left = batch(s, &ordered(transpose_left, &rows, &steps));
    let right = batch(s, &ordered(transpose_right, &steps, &columns));
    s.op(Matmul { transpose_left, transpose_right }, &[left, right]);
}

pub(super) fn mask(s: &mut Sketch<'_>) {
    let item = [size(s), size(s)];
    let x = batch(s, &item);
    let masked = pick(s.numbers, &Masked::ALL);
    // Other operators are not made for infinities.
    let mask = Mask { masked, fill: Fill::Zero };
    match masked {
        Masked::Causal => s.op(mask, &[x]),
        Masked::Lengths => {
            let lengths = s.integers(&s.batch_of(&[]), Meaning::Lengths);
            s.op(mask, &[x, lengths])
        }
    };
}

pub(super) fn positions(s: &mut Sketch<'_>) {
    let item = [size(s), Dim::from(sizes::channels(s.numbers))];
    let x = batch(s, &item);
    s.op(AddPositions {}, &[x]);
}
