//! Distances to prototypes.

use super::pool::at;
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::graph::Builder;
use crate::graph::initializer::Initializer;
use crate::ops::elementwise::{Bias, Unary, UnaryKind};
use crate::ops::reduce::{Expand, Reduce, ReduceKind};
use crate::shape::Shape;

/// Squared distances of a vector to prototypes: each difference is squared before the sum, so that nothing cancels.
pub(super) fn rbf(
    builder: &mut Builder,
    label: &str,
    x: ValueId,
    out_features: usize,
    (trainable, init): (bool, Initializer),
) -> Result<ValueId, GraphError> {
    let shape = builder.graph().ty(x).shape.clone();
    let [length] = shape.item()[..] else {
        return Err(at(label, ShapeError::Rank { expected: "a vector".to_owned(), got: shape }));
    };
    if out_features == 0 {
        return Err(at(label, ShapeError::ZeroArgument { argument: "out_features" }));
    }
    let sizes = [out_features, length];
    let weight = match trainable {
        true => builder.parameter(label, "weight", &sizes, init)?,
        false => builder.state(label, "weight", &sizes, init)?,
    };
    let flat = [out_features.saturating_mul(length)];
    let weight = builder.reshape(label, weight, Shape::fixed(&flat))?;
    let weight = builder.op(Unary { kind: UnaryKind::Negate }, &[weight], label)?;
    let copies = Expand { shape: shape.with_item(&sizes), axis: 1, count: 1, divided: false };
    let copies = builder.op(copies, &[x], label)?;
    let copies = builder.reshape(label, copies, shape.with_item(&flat))?;
    let differences = builder.op(Bias {}, &[copies, weight], label)?;
    let squares = builder.op(Unary { kind: UnaryKind::Square }, &[differences], label)?;
    let squares = builder.reshape(label, squares, shape.with_item(&sizes))?;
    builder.op(Reduce { kind: ReduceKind::Sum, axis: 2, count: 1 }, &[squares], label)
}
