//! Reductions, expansions and softmax.

use windlass_compiler::ops::reduce::{Expand, Reduce, ReduceKind};
use windlass_compiler::shape::{Dim, Polynomial, Shape};

use crate::export::attribute::int;
use crate::export::emitter::{Emitter, Reason, unsupported};

pub(super) fn reduce(emitter: &mut Emitter<'_>, reduce: Reduce, x: &str) -> String {
    let operator = match reduce.kind {
        ReduceKind::Sum => "ReduceSum",
        ReduceKind::Mean => "ReduceMean",
        ReduceKind::Max => "ReduceMax",
    };
    let axes = emitter.axes(reduce.axis..reduce.axis + reduce.count);
    emitter.node(operator, &[x, &axes], vec![int("keepdims", 0)])
}

pub(super) fn expand(emitter: &mut Emitter<'_>, expand: &Expand, x: &str) -> Result<String, Reason> {
    let dims = expand.shape.dims();
    let new = expand.axis..expand.axis + expand.count;
    let mut value = x.to_owned();
    if expand.divided {
        let Some(copies) = Shape::new(&dims[new.clone()]).count().as_number() else {
            return unsupported("it divides by a number of copies that is open");
        };
        let copies = emitter.number(copies as f64);
        value = emitter.node("Div", &[&value, &copies], Vec::new());
    }
    let value = emitter.unsqueezed(&value, new.clone());
    // Sizes of 1 are those of the operand.
    let sizes = dims.iter().enumerate().map(|(axis, dim): (usize, &Dim)| match new.contains(&axis) {
        true => dim.polynomial(),
        false => Polynomial::from(1usize),
    });
    let sizes = emitter.sizes(&sizes.collect::<Vec<_>>())?;
    Ok(emitter.node("Expand", &[&value, &sizes], Vec::new()))
}

pub(super) fn softmax(emitter: &mut Emitter<'_>, operator: &str, x: &str) -> String {
    emitter.node(operator, &[x], vec![int("axis", 1)])
}
