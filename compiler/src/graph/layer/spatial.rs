//! Layers that move, repeat or interpolate pixels and channels.

use super::pool::{at, image};
use super::words::words;
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::graph::Builder;
use crate::ops::conv::ConvGradInput;
use crate::ops::source::Constant;
use crate::ops::window::{Sides, Window, fixed_sizes};
use crate::shape::Shape;

words! {
    /// The values of padding.
    PaddingMode {
        /// Zeros.
        #[default]
        Zeros = "zeros",
        /// The elements next to the first and last, mirrored: `c b | a b c | b a`.
        Reflect = "reflect",
        /// The first and last element: `a a | a b c | c c`.
        Replicate = "replicate"
    }
}

words! {
    /// How the elements between those of a smaller image are computed.
    Interpolation {
        /// The nearest element.
        #[default]
        Nearest = "nearest",
        /// Linear along each axis: bilinear for images. Elements are at the centres of their intervals
        /// (`align_corners = False` in other libraries).
        Linear = "linear"
    }
}

pub(super) fn pad(
    builder: &mut Builder,
    label: &str,
    x: ValueId,
    padding: &[Sides],
    mode: PaddingMode,
) -> Result<ValueId, GraphError> {
    let item = image(builder, label, x, padding.len())?;
    let mut y = x;
    for (index, (sides, &size)) in padding.iter().zip(&item[1..]).enumerate() {
        let axis = index + 2;
        let &Sides { before, after } = sides;
        if before == 0 && after == 0 {
            continue;
        }
        let limit = match mode {
            PaddingMode::Zeros => crate::shape::MAX_ELEMENTS,
            PaddingMode::Reflect => size - 1,
            PaddingMode::Replicate => MAX_REPEATED,
        };
        if before.max(after) > limit {
            let range = match mode {
                PaddingMode::Zeros => "small enough for sizes below 2^31",
                PaddingMode::Reflect => "smaller than the axis that it mirrors",
                PaddingMode::Replicate => "at most 1024",
            };
            let value = before.max(after) as f64;
            return Err(at(label, ShapeError::NumberOutOfRange { argument: "padding", value, range }));
        }
        let index_at = |position: usize| match (mode, position < before) {
            (PaddingMode::Reflect, true) => before - position,
            (PaddingMode::Reflect, false) => size - 2 - (position - before),
            (_, true) => 0,
            (_, false) => size - 1,
        };
        if mode == PaddingMode::Zeros {
            y = builder.pad(label, y, axis, before, after)?;
            continue;
        }
        let mut parts = Vec::new();
        for position in 0..before {
            parts.push(builder.slice(label, y, axis, index_at(position), 1usize)?);
        }
        parts.push(y);
        for position in before..before + after {
            parts.push(builder.slice(label, y, axis, index_at(position), 1usize)?);
        }
        y = builder.concat_along(label, axis, &parts)?;
    }
    Ok(y)
}

/// The maximum number of repeated elements on a side.
const MAX_REPEATED: usize = 1024;

/// The maximum number of constant weights of an upsampling layer.
const MAX_WEIGHTS: usize = 1 << 24;

/// The maximum factor of linear interpolation, whose weights grow with it.
const MAX_FACTOR: usize = 64;

pub(super) fn upsample(
    builder: &mut Builder,
    label: &str,
    x: ValueId,
    factor: &[usize],
    mode: Interpolation,
) -> Result<ValueId, GraphError> {
    let item = image(builder, label, x, factor.len())?;
    if factor.contains(&0) {
        return Err(at(label, ShapeError::ZeroArgument { argument: "factor" }));
    }
    if let Some(&large) = factor.iter().find(|&&factor| factor > MAX_FACTOR) {
        let (value, range) = (large as f64, "at most 64");
        return Err(at(label, ShapeError::NumberOutOfRange { argument: "factor", value, range }));
    }
    let sizes: Vec<usize> =
        item[1..].iter().zip(factor).map(|(size, factor)| size.saturating_mul(*factor)).collect();
    // Each channel is enlarged by a transposed convolution: of ones for the nearest element, else of the triangle that
    // interpolates. There the first and last elements are repeated, and the results beyond them are cut off.
    let (mut y, mut kernels, mut window) = (x, Vec::new(), Window::cube(factor.len(), 1, 1, 0));
    if mode == Interpolation::Linear {
        let around: Vec<Sides> = factor.iter().map(|&factor| usize::from(factor > 1).into()).collect();
        y = pad(builder, label, x, &around, PaddingMode::Replicate)?;
    }
    for (axis, &factor) in factor.iter().enumerate() {
        window.stride[axis] = factor;
        let kernel: Vec<f64> = match mode {
            Interpolation::Linear if factor > 1 => {
                let size = 2 * factor - factor % 2;
                let centre = (size - 1) as f64 / 2.0;
                window.padding[axis] = Sides::from(factor / 2 + factor);
                (0..size).map(|index| 1.0 - (index as f64 - centre).abs() / factor as f64).collect()
            }
            Interpolation::Nearest | Interpolation::Linear => vec![1.0; factor],
        };
        window.kernel_size[axis] = kernel.len();
        kernels.push(kernel);
    }
    let kernel = kernels.iter().fold(vec![1.0], |product: Vec<f64>, kernel| {
        product.iter().flat_map(|value| kernel.iter().map(move |own| value * own)).collect()
    });
    let channels = item[0];
    if channels.saturating_mul(kernel.len()) > MAX_WEIGHTS {
        let value = factor.iter().copied().max().unwrap_or_default() as f64;
        let range = "small enough for 2^24 weights of all channels";
        return Err(at(label, ShapeError::NumberOutOfRange { argument: "factor", value, range }));
    }
    let shape = Shape::fixed(&[&[channels, 1], &window.kernel_size[..]].concat());
    let values = (0..channels).flat_map(|_| kernel.iter().map(|&value| value as f32)).collect();
    let weight = builder.op(Constant { shape, values }, &[], label)?;
    let op =
        ConvGradInput { window, groups: channels, input_sizes: fixed_sizes(&sizes), epilogue: Vec::new() };
    builder.op(op, &[y, weight], label)
}

pub(super) fn pixel_shuffle(
    builder: &mut Builder,
    label: &str,
    x: ValueId,
    factor: usize,
) -> Result<ValueId, GraphError> {
    let [channels, height, width] = image(builder, label, x, 2)?[..] else { return Ok(x) };
    if factor == 0 {
        return Err(at(label, ShapeError::ZeroArgument { argument: "factor" }));
    }
    let square = factor.saturating_mul(factor);
    if !channels.is_multiple_of(square) {
        let error = ShapeError::ChannelsNotMultiple { argument: "factor", channels, of: square };
        return Err(at(label, error));
    }
    let outputs = channels / square;
    let shape = builder.graph().ty(x).shape.clone();
    let split = builder.reshape(label, x, shape.with_item(&[outputs, factor, factor, height, width]))?;
    let moved = builder.transpose(label, split, &[0, 1, 4, 2, 5, 3])?;
    builder.reshape(label, moved, shape.with_item(&[outputs, height * factor, width * factor]))
}

pub(super) fn channel_shuffle(
    builder: &mut Builder,
    label: &str,
    x: ValueId,
    groups: usize,
) -> Result<ValueId, GraphError> {
    let shape = builder.graph().ty(x).shape.clone();
    let item = shape.item();
    let Some(&channels) = item.first() else {
        let expected = "a vector or an image".to_owned();
        return Err(at(label, ShapeError::Rank { expected, got: shape }));
    };
    if groups == 0 {
        return Err(at(label, ShapeError::ZeroArgument { argument: "groups" }));
    }
    if !channels.is_multiple_of(groups) {
        let error = ShapeError::ChannelsNotMultiple { argument: "groups", channels, of: groups };
        return Err(at(label, error));
    }
    let split = [&[groups, channels / groups], &item[1..]].concat();
    let split = builder.reshape(label, x, shape.with_item(&split))?;
    let order: Vec<usize> = [0, 2, 1].into_iter().chain(3..item.len() + 2).collect();
    let moved = builder.transpose(label, split, &order)?;
    builder.reshape(label, moved, shape)
}
