//! Activations with arguments, with parameters, or over groups of channels.

use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::graph::Builder;
use crate::graph::initializer::Initializer;
use crate::ops::elementwise::{Binary, BinaryKind, Scale, Unary, UnaryKind};
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::ops::structure::Reshape;
use crate::shape::Shape;

/// The initial slope of `prelu` below zero (He et al. 2015).
pub(super) const PRELU_INIT: Initializer = Initializer::Constant(0.25);

/// `max(x, 0) − a·max(−x, 0)`, with a parameter `a` for each channel or one for all.
pub(super) fn prelu(
    builder: &mut Builder,
    label: &str,
    x: ValueId,
    shared: bool,
    init: Initializer,
) -> Result<ValueId, GraphError> {
    let shape = builder.graph().ty(x).shape.clone();
    let Some(&channels) = shape.item().first() else {
        let error = ShapeError::Rank { expected: "a vector or an image".to_owned(), got: shape };
        return Err(GraphError::Shape { at: "prelu".to_owned(), error });
    };
    let weight = builder.parameter(label, "weight", &[if shared { 1 } else { channels }], init)?;
    let above = builder.op(Unary { kind: UnaryKind::Relu }, &[x], label)?;
    let negative = builder.op(Unary { kind: UnaryKind::Negate }, &[x], label)?;
    let below = builder.op(Unary { kind: UnaryKind::Relu }, &[negative], label)?;
    let below = if shared {
        let number = builder.op(Reshape { shape: Shape::scalar() }, &[weight], label)?;
        builder.op(Binary { kind: BinaryKind::Multiply }, &[below, number], label)?
    } else {
        builder.op(Scale::along(1), &[below, weight], label)?
    };
    builder.op(Binary { kind: BinaryKind::Subtract }, &[above, below], label)
}

/// The maximum of each group of neighbouring channels (Goodfellow et al. 2013): channel `c` of the result is the maximum of
/// the channels from `c·pieces` up to `(c + 1)·pieces`.
pub(super) fn maxout(
    builder: &mut Builder,
    label: &str,
    x: ValueId,
    pieces: usize,
) -> Result<ValueId, GraphError> {
    let shape = builder.graph().ty(x).shape.clone();
    let at = |error| GraphError::Shape { at: "maxout".to_owned(), error };
    let item = shape.item();
    let [channels, rest @ ..] = &item[..] else {
        let expected = "a vector or an image".to_owned();
        return Err(at(ShapeError::Rank { expected, got: shape }));
    };
    if pieces == 0 {
        return Err(at(ShapeError::ZeroArgument { argument: "pieces" }));
    }
    if !channels.is_multiple_of(pieces) {
        let (value, range) = (pieces as f64, "a divisor of the number of its channels");
        return Err(at(ShapeError::NumberOutOfRange { argument: "pieces", value, range }));
    }
    let groups = shape.with_item(&[&[channels / pieces, pieces], rest].concat());
    let groups = builder.op(Reshape { shape: groups }, &[x], label)?;
    builder.op(Reduce { kind: ReduceKind::Max, axis: 2, count: 1 }, &[groups], label)
}
