//! Normalisation layers that are independent of the batch.

use super::pool::{at, with_scalar};
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::graph::Builder;
use crate::graph::initializer::Initializer;
use crate::ops::elementwise::{Bias, Binary, BinaryKind, Scale, Unary, UnaryKind};
use crate::ops::pool::AvgPool;
use crate::ops::window::{Sides, Window};

/// The axes of a batch of items with at least one axis.
fn item(builder: &Builder, label: &str, x: ValueId) -> Result<Vec<usize>, GraphError> {
    let shape = &builder.graph().ty(x).shape;
    match shape.is_batched() && !shape.has_open_item() && shape.rank() > 1 {
        true => Ok(shape.item()),
        false => {
            let expected = "a vector or an image".to_owned();
            Err(at(label, ShapeError::Rank { expected, got: shape.clone() }))
        }
    }
}

pub(super) fn layer(
    builder: &mut Builder,
    label: &str,
    x: ValueId,
    epsilon: f64,
    affine: bool,
) -> Result<ValueId, GraphError> {
    let item = item(builder, label, x)?;
    let shape = builder.graph().ty(x).shape.clone();
    let elements = shape.item_elements();
    let flat = builder.reshape(label, x, shape.with_item(&[elements]))?;
    let mut y = builder.normalize_along(label, flat, 1, epsilon)?;
    if affine {
        let fixed = || crate::shape::Shape::fixed(&[elements]);
        let weight = builder.parameter(label, "weight", &item, Initializer::ONES)?;
        let weight = builder.reshape(label, weight, fixed())?;
        let bias = builder.parameter(label, "bias", &item, Initializer::ZEROS)?;
        let bias = builder.reshape(label, bias, fixed())?;
        y = builder.op(Scale::along(1), &[y, weight], label)?;
        y = builder.op(Bias {}, &[y, bias], label)?;
    }
    builder.reshape(label, y, shape)
}

pub(super) fn group(
    builder: &mut Builder,
    label: &str,
    x: ValueId,
    groups: usize,
    (epsilon, affine): (f64, bool),
) -> Result<ValueId, GraphError> {
    let item = item(builder, label, x)?;
    let shape = builder.graph().ty(x).shape.clone();
    let channels = item[0];
    if groups == 0 {
        return Err(at(label, ShapeError::ZeroArgument { argument: "groups" }));
    }
    if !channels.is_multiple_of(groups) {
        let error = ShapeError::ChannelsNotMultiple { argument: "groups", channels, of: groups };
        return Err(at(label, error));
    }
    let grouped = builder.reshape(label, x, shape.with_item(&[groups, shape.item_elements() / groups]))?;
    let normal = builder.normalize_along(label, grouped, 2, epsilon)?;
    let mut y = builder.reshape(label, normal, shape)?;
    if affine {
        let weight = builder.parameter(label, "weight", &[channels], Initializer::ONES)?;
        let bias = builder.parameter(label, "bias", &[channels], Initializer::ZEROS)?;
        y = builder.op(Scale::along(1), &[y, weight], label)?;
        y = builder.op(Bias {}, &[y, bias], label)?;
    }
    Ok(y)
}

pub(super) fn local_response(
    builder: &mut Builder,
    label: &str,
    x: ValueId,
    size: usize,
    [alpha, beta, k]: [f64; 3],
) -> Result<ValueId, GraphError> {
    let item = item(builder, label, x)?;
    if size == 0 {
        return Err(at(label, ShapeError::ZeroArgument { argument: "size" }));
    }
    for (argument, value) in [("alpha", alpha), ("beta", beta), ("k", k)] {
        if !value.is_finite() {
            return Err(at(label, ShapeError::NumberOutOfRange { argument, value, range: "finite" }));
        }
    }
    let shape = builder.graph().ty(x).shape.clone();
    let square = builder.op(Unary { kind: UnaryKind::Square }, &[x], label)?;
    // The mean over neighbouring channels is a pooling along their axis.
    let pixels = item[1..].iter().product();
    let image = builder.reshape(label, square, shape.with_item(&[1, item[0], pixels]))?;
    let around = Sides { before: size / 2, after: (size - 1) / 2 };
    let window = Window {
        kernel_size: vec![size, 1],
        padding: vec![around, Sides::default()],
        ..Window::square(1, 1, 0)
    };
    let means = builder.op(AvgPool { window }, &[image], label)?;
    let means = builder.reshape(label, means, shape)?;
    let scaled = with_scalar(builder, label, BinaryKind::Multiply, means, alpha)?;
    let shifted = with_scalar(builder, label, BinaryKind::Add, scaled, k)?;
    // The power −β of a positive number.
    let log = builder.op(Unary { kind: UnaryKind::Log }, &[shifted], label)?;
    let log = with_scalar(builder, label, BinaryKind::Multiply, log, -beta)?;
    let factor = builder.op(Unary { kind: UnaryKind::Exp }, &[log], label)?;
    builder.op(Binary { kind: BinaryKind::Multiply }, &[x, factor], label)
}
