//! Operators that move elements, and constants of open sizes.

use windlass_compiler::ops::fill::Fill;
use windlass_compiler::ops::structure::{Concat, Pad, Slice};
use windlass_compiler::shape::{Dim, Shape};

use crate::export::attribute::{floats, int, size, sizes, tensor};
use crate::export::emitter::{Emitter, Reason};

pub(super) fn fill(emitter: &mut Emitter<'_>, fill: &Fill) -> Result<String, Reason> {
    let dims: Vec<_> = fill.shape.dims().iter().map(Dim::polynomial).collect();
    let shape = emitter.sizes(&dims)?;
    let value = tensor("value", floats(&[1], &[fill.value]));
    Ok(emitter.node("ConstantOfShape", &[&shape], vec![value]))
}

pub(super) fn concat(emitter: &mut Emitter<'_>, concat: Concat, parts: &[&str]) -> String {
    emitter.node("Concat", parts, vec![size("axis", concat.axis)])
}

pub(super) fn slice(
    emitter: &mut Emitter<'_>,
    slice: &Slice,
    x: &str,
    shape: &Shape,
) -> Result<String, Reason> {
    let end = slice.start.plus(&slice.length);
    let start = emitter.size(&slice.start)?;
    // An end beyond the last index is the end, whatever the size is.
    let end = match shape.dims()[slice.axis].polynomial() == end && end.as_number().is_none() {
        true => emitter.integers(&[i64::MAX]),
        false => emitter.size(&end)?,
    };
    let axis = emitter.axes([slice.axis]);
    Ok(emitter.node("Slice", &[x, &start, &end, &axis], Vec::new()))
}

pub(super) fn pad(emitter: &mut Emitter<'_>, pad: &Pad, x: &str) -> Result<String, Reason> {
    let around = emitter.sizes(&[pad.before.clone(), pad.behind.clone()])?;
    let axis = emitter.axes([pad.axis]);
    Ok(emitter.node("Pad", &[x, &around, "", &axis], Vec::new()))
}

pub(super) fn transpose(emitter: &mut Emitter<'_>, order: &[usize], x: &str) -> String {
    emitter.node("Transpose", &[x], vec![sizes("perm", order.iter().copied())])
}

pub(super) fn gather(emitter: &mut Emitter<'_>, operands: &[&str]) -> String {
    emitter.node("Gather", operands, vec![int("axis", 0)])
}

pub(super) fn one_hot(emitter: &mut Emitter<'_>, classes: usize, labels: &str) -> String {
    let depth = emitter.axes([classes]);
    let values = emitter.node("Constant", &[], vec![tensor("value", floats(&[2], &[0.0, 1.0]))]);
    emitter.node("OneHot", &[labels, &depth, &values], vec![int("axis", -1)])
}
