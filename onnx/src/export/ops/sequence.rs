//! Steps of sequences, masks and positions.

use windlass_compiler::ops::mask::Mask;
use windlass_compiler::shape::Shape;

use super::movement::transpose;
use crate::export::emitter::{Emitter, Reason};
use crate::export::functions::Function;

/// The first two axes exchanged.
fn exchanged(shape: &Shape) -> (Vec<usize>, Shape) {
    let mut order: Vec<usize> = (0..shape.rank()).collect();
    let mut dims = shape.dims().to_vec();
    order.swap(0, 1);
    dims.swap(0, 1);
    (order, Shape::new(dims))
}

/// `[N, T, …]` to `[T, N, …]` to `[N*T, …]`.
pub(super) fn fold(emitter: &mut Emitter<'_>, x: &str, shape: &Shape) -> Result<String, Reason> {
    let (order, apart) = exchanged(shape);
    let steps = transpose(emitter, &order, x);
    emitter.reshaped(&steps, apart.dims(), shape.with_first_folded(2).dims())
}

/// `[N*T, …]` to `[T, N, …]` to `[N, T, …]`.
pub(super) fn unfold(
    emitter: &mut Emitter<'_>,
    shape: &Shape,
    x: &str,
    from: &Shape,
) -> Result<String, Reason> {
    let (order, apart) = exchanged(shape);
    let steps = emitter.reshaped(x, from.dims(), apart.dims())?;
    Ok(transpose(emitter, &order, &steps))
}

pub(super) fn mask(emitter: &mut Emitter<'_>, mask: Mask, operands: &[&str]) -> String {
    emitter.call(Function::of_mask(mask.masked, mask.fill), operands)
}

pub(super) fn positions(emitter: &mut Emitter<'_>, x: &str) -> String {
    emitter.call(Function::AddPositions, &[x])
}
