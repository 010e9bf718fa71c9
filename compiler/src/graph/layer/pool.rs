//! Pooling layers, from windows of known sizes, reductions, and numbers per pixel.

use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::graph::Builder;
use crate::graph::initializer::Initializer;
use crate::ops::elementwise::{Bias, Binary, BinaryKind, Scale, Unary, UnaryKind};
use crate::ops::pool::{AvgPool, MaxPool};
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::ops::source::Constant;
use crate::ops::window::{Sides, Window, image_words};
use crate::shape::Shape;

pub(super) fn at(label: &str, error: ShapeError) -> GraphError {
    GraphError::Shape { at: label.to_owned(), error }
}

/// The sizes of an image with as many spatial axes as expected.
pub(super) fn image(
    builder: &Builder,
    label: &str,
    x: ValueId,
    axes: usize,
) -> Result<Vec<usize>, GraphError> {
    let shape = &builder.graph().ty(x).shape;
    if shape.is_batched() && shape.rank() == axes + 2 && axes > 0 {
        Ok(shape.item())
    } else {
        Err(at(label, ShapeError::Rank { expected: image_words(axes), got: shape.clone() }))
    }
}

/// A scalar constant.
pub(super) fn scalar(builder: &mut Builder, label: &str, value: f64) -> Result<ValueId, GraphError> {
    builder.op(Constant { shape: Shape::scalar(), values: vec![value as f32] }, &[], label)
}

/// Combines a value with a scalar constant.
pub(super) fn with_scalar(
    builder: &mut Builder,
    label: &str,
    kind: BinaryKind,
    x: ValueId,
    value: f64,
) -> Result<ValueId, GraphError> {
    let value = scalar(builder, label, value)?;
    builder.op(Binary { kind }, &[x, value], label)
}

/// The window for a batch of images that passed its check.
fn rounded(
    builder: &Builder,
    label: &str,
    x: ValueId,
    window: &Window,
    ceil_mode: bool,
) -> Result<Window, GraphError> {
    if !ceil_mode {
        return Ok(window.clone());
    }
    let shape = &builder.graph().ty(x).shape;
    window.check(shape).map_err(|error| at(label, error))?;
    Ok(window.rounded_up(&shape.item()[1..]))
}

pub(super) fn max(
    builder: &mut Builder,
    label: &str,
    x: ValueId,
    window: &Window,
    ceil_mode: bool,
) -> Result<ValueId, GraphError> {
    let window = rounded(builder, label, x, window, ceil_mode)?;
    builder.op(MaxPool { window }, &[x], label)
}

pub(super) fn average(
    builder: &mut Builder,
    label: &str,
    x: ValueId,
    window: &Window,
    (ceil_mode, count_include_pad): (bool, bool),
) -> Result<ValueId, GraphError> {
    let whole = rounded(builder, label, x, window, ceil_mode)?;
    let counted = match count_include_pad {
        true => window.padding.clone(),
        false => vec![Sides::default(); window.axes()],
    };
    let y = builder.op(AvgPool { window: whole.clone() }, &[x], label)?;
    if counted == whole.padding {
        return Ok(y);
    }
    let shape = &builder.graph().ty(x).shape;
    if shape.has_open_item() {
        return Err(at(label, ShapeError::OpenSize { shape: shape.clone() }));
    }
    // All windows were divided by their number of elements.
    let sizes = builder.item(x)[1..].to_vec();
    let counts = counts(&whole, &counted, &sizes);
    if counts.iter().all(|&count| count == whole.elements()) {
        return Ok(y);
    }
    let values = counts.into_iter().map(|count| (whole.elements() as f64 / count.max(1) as f64) as f32);
    let constant = Constant { shape: Shape::fixed(&whole.output_sizes(&sizes)), values: values.collect() };
    let factors = builder.op(constant, &[], label)?;
    builder.op(Scale { axis: 2, count: whole.axes() }, &[y, factors], label)
}

/// The number of elements of each window that lie in the input or in the padding that is counted, row-major.
fn counts(window: &Window, counted: &[Sides], sizes: &[usize]) -> Vec<usize> {
    let outputs = window.output_sizes(sizes);
    let mut counts = vec![1];
    for axis in 0..window.axes() {
        let along = (0..outputs[axis]).map(|output| {
            let elements = 0..window.kernel_size[axis];
            let first = window.padding[axis].before - counted[axis].before;
            let end = window.padding[axis].before + sizes[axis] + counted[axis].after;
            let inside = |element: &usize| {
                (first..end).contains(&(output * window.stride[axis] + element * window.dilation[axis]))
            };
            elements.filter(inside).count()
        });
        let along: Vec<usize> = along.collect();
        counts = counts.iter().flat_map(|count| along.iter().map(move |own| count * own)).collect();
    }
    counts
}

/// A window without padding and dilation.
fn plain(kernel_size: &[usize], stride: &[usize]) -> Window {
    let axes = kernel_size.len();
    Window { kernel_size: kernel_size.to_vec(), stride: stride.to_vec(), ..Window::cube(axes, 1, 1, 0) }
}

pub(super) fn norm(
    builder: &mut Builder,
    label: &str,
    x: ValueId,
    (kernel_size, stride): (&[usize], &[usize]),
    power: f64,
) -> Result<ValueId, GraphError> {
    if !(power >= 1.0 && power.is_finite()) {
        let error = ShapeError::NumberOutOfRange { argument: "power", value: power, range: "at least 1" };
        return Err(at(label, error));
    }
    let window = plain(kernel_size, stride);
    let unary = |builder: &mut Builder, kind, x| builder.op(Unary { kind }, &[x], label);
    let square = unary(builder, UnaryKind::Square, x)?;
    let is_square = power == 2.0;
    let powers = if is_square {
        square
    } else {
        // |x|ᵖ = exp(p/2 · log x²)
        let log = unary(builder, UnaryKind::Log, square)?;
        let log = with_scalar(builder, label, BinaryKind::Multiply, log, power / 2.0)?;
        unary(builder, UnaryKind::Exp, log)?
    };
    // The operator checks the window, whose product of sizes may overflow before.
    let mean = builder.op(AvgPool { window: window.clone() }, &[powers], label)?;
    let elements = window.elements() as f64;
    let sum = with_scalar(builder, label, BinaryKind::Multiply, mean, elements)?;
    if is_square {
        return unary(builder, UnaryKind::Sqrt, sum);
    }
    let log = unary(builder, UnaryKind::Log, sum)?;
    let log = with_scalar(builder, label, BinaryKind::Divide, log, power)?;
    unary(builder, UnaryKind::Exp, log)
}

pub(super) fn subsample(
    builder: &mut Builder,
    label: &str,
    x: ValueId,
    kernel_size: &[usize],
) -> Result<ValueId, GraphError> {
    let window = plain(kernel_size, kernel_size);
    let channels = image(builder, label, x, window.axes())?[0];
    let mean = builder.op(AvgPool { window: window.clone() }, &[x], label)?;
    let elements = window.elements() as f64;
    let sum = with_scalar(builder, label, BinaryKind::Multiply, mean, elements)?;
    let weight =
        builder.parameter(label, "weight", &[channels], Initializer::Constant(1.0 / elements.max(1.0)))?;
    let scaled = builder.op(Scale::along(1), &[sum, weight], label)?;
    let bias = builder.parameter(label, "bias", &[channels], Initializer::ZEROS)?;
    builder.op(Bias {}, &[scaled, bias], label)
}

/// The maximum number of windows along an axis that are not all of the same size.
const MAX_WINDOWS: usize = 1024;

pub(super) fn adaptive(
    builder: &mut Builder,
    label: &str,
    x: ValueId,
    output_size: &[usize],
    kind: ReduceKind,
) -> Result<ValueId, GraphError> {
    let item = image(builder, label, x, output_size.len())?;
    for (&size, &outputs) in item[1..].iter().zip(output_size) {
        let range = if outputs > size { "at most the size of the input" } else { "at most 1024" };
        if outputs == 0 {
            return Err(at(label, ShapeError::ZeroArgument { argument: "output_size" }));
        }
        if outputs > size || (outputs > MAX_WINDOWS && !size.is_multiple_of(outputs)) {
            let value = outputs as f64;
            return Err(at(label, ShapeError::NumberOutOfRange { argument: "output_size", value, range }));
        }
    }
    if item[1..].iter().zip(output_size).all(|(size, outputs)| size.is_multiple_of(*outputs)) {
        let kernel: Vec<usize> =
            item[1..].iter().zip(output_size).map(|(size, outputs)| size / outputs).collect();
        let window = plain(&kernel, &kernel);
        return match kind {
            ReduceKind::Max => builder.op(MaxPool { window }, &[x], label),
            ReduceKind::Sum | ReduceKind::Mean => builder.op(AvgPool { window }, &[x], label),
        };
    }
    // Windows of an axis differ in size: each is a slice, reduced to one index.
    let mut y = x;
    for (axis, &outputs) in output_size.iter().enumerate() {
        let size = item[axis + 1];
        let axis = axis + 2;
        let mut parts = Vec::new();
        for window in 0..outputs {
            let (start, end) = (window * size / outputs, ((window + 1) * size).div_ceil(outputs));
            let part = builder.slice(label, y, axis, start, end - start)?;
            let reduced = builder.op(Reduce { kind, axis, count: 1 }, &[part], label)?;
            let mut sizes = builder.item(reduced);
            sizes.insert(axis - 1, 1);
            let shape = builder.graph().ty(reduced).shape.with_item(&sizes);
            parts.push(builder.reshape(label, reduced, shape)?);
        }
        y = match parts[..] {
            [single] => single,
            _ => builder.concat_along(label, axis, &parts)?,
        };
    }
    Ok(y)
}

pub(super) fn global(
    builder: &mut Builder,
    label: &str,
    x: ValueId,
    axes: usize,
    kind: ReduceKind,
) -> Result<ValueId, GraphError> {
    let sizes = image(builder, label, x, axes)?[1..].to_vec();
    let window = Window { kernel_size: sizes, ..Window::cube(axes, 1, 1, 0) };
    match kind {
        ReduceKind::Max => builder.op(MaxPool { window }, &[x], label),
        ReduceKind::Sum | ReduceKind::Mean => builder.op(AvgPool { window }, &[x], label),
    }
}
