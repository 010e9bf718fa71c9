//! Normalisations.

use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::Layer;
use windlass_compiler::ops::batch_norm::BatchNorm;
use windlass_compiler::ops::elementwise::{Bias, BinaryKind, Scale, UnaryKind};
use windlass_compiler::shape::{Dim, Shape};

use super::{Rule, one};
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::known::Known;
use crate::movement::count;
use crate::node::Node;
use crate::value::{Data, Meaning, Value};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("BatchNormalization", batch),
    ("InstanceNormalization", instance),
    ("GroupNormalization", group),
    ("LayerNormalization", layer),
    ("RMSNormalization", root_mean_square),
    ("LRN", local_response),
    ("LpNormalization", by_norm),
    ("MeanVarianceNormalization", mean_variance),
];

fn batch<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    node.ignore(&["consumed_inputs", "is_test"]);
    if node.flag("training_mode", false) {
        return unsupported("it normalises by the statistics of a batch; clear its `training_mode`");
    }
    if !node.flag("spatial", true) {
        return unsupported("it has statistics for each pixel");
    }
    let x = importer.images(node.operand(0)?)?;
    let mut operands = vec![x.value];
    for index in 1..5 {
        let value = node.operand(index)?;
        // The running statistics are states: training changes them by no gradient.
        let weight = match (value, index) {
            (Value::Known(known), 3 | 4) if known.name.is_some() => importer.stored(known, true)?,
            _ => super::conv::weight(importer, node, index)?,
        };
        operands.push(weight.value);
    }
    let epsilon = f64::from(node.float("epsilon", 1e-5));
    // ONNX counts the old statistics, PyTorch the new ones.
    let momentum = f64::from(1.0 - node.float("momentum", 0.9));
    let value = importer.op(BatchNorm { epsilon, momentum, epilogue: Vec::new() }, &operands)?;
    one(x.replaced(value).meaning(Meaning::Float))
}

/// Normalises along the last axis: `(x − mean) / √(variance + ε)`.
fn normalized(importer: &mut Importer<'_>, x: ValueId, epsilon: f32) -> Result<ValueId, Reason> {
    let label = importer.label.clone();
    let last = importer.builder.graph().ty(x).shape.rank() - 1;
    Ok(importer.builder.normalize_along(&label, x, last, f64::from(epsilon))?)
}

/// Normalises groups of channels of images.
fn groups(importer: &mut Importer<'_>, x: &Data, groups: usize, epsilon: f32) -> Result<Data, Reason> {
    let Dim::Fixed(channels) = x.dims[1] else { return unsupported("its channels have an open size") };
    if groups == 0 || channels % groups != 0 {
        return unsupported(format!("{channels} channels cannot be divided into {groups} groups"));
    }
    let pixels = count(&x.dims[1..]).scaled(1);
    let Some(pixels) = pixels.as_number() else {
        return unsupported("it normalises along an axis of open size");
    };
    let each = usize::try_from(pixels).unwrap_or(usize::MAX) / groups;
    let grouped =
        importer.shaped(x.value, x.shape_of(&[x.dims[0].clone(), Dim::Fixed(groups), Dim::Fixed(each)]))?;
    let normal = normalized(importer, grouped, epsilon)?;
    let value = importer.shaped(normal, x.shape())?;
    Ok(x.replaced(value))
}

/// Times a weight and plus a bias for each channel.
fn affine<'m>(
    importer: &mut Importer<'m>,
    node: &Node<'m>,
    y: Data,
    [weight, bias]: [usize; 2],
) -> Result<Vec<Value>, Reason> {
    let weight = super::conv::weight(importer, node, weight)?;
    let bias = super::conv::weight(importer, node, bias)?;
    let scaled = importer.op(Scale::along(1), &[y.value, weight.value])?;
    let value = importer.op(Bias {}, &[scaled, bias.value])?;
    one(y.replaced(value))
}

fn instance<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    node.ignore(&["consumed_inputs"]);
    let x = importer.images(node.operand(0)?)?;
    let channels = x.dims[1].fixed().unwrap_or(0);
    let y = groups(importer, &x, channels, node.float("epsilon", 1e-5))?;
    affine(importer, node, y, [1, 2])
}

fn group<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    node.ignore(&["stash_type"]);
    let x = importer.images(node.operand(0)?)?;
    let count = usize::try_from(node.int("num_groups", 0)).unwrap_or(0);
    let y = groups(importer, &x, count, node.float("epsilon", 1e-5))?;
    if node.opset >= 21 {
        return affine(importer, node, y, [1, 2]);
    }
    // One weight for each group.
    let channels = x.dims[1].fixed().unwrap_or(0);
    let mut y = Value::from(y);
    for (index, kind) in [(1, BinaryKind::Multiply), (2, BinaryKind::Add)] {
        let own = node.operand(index)?.clone();
        let column = importer.reshape(&own, &[Dim::Fixed(count), Dim::Fixed(1)])?;
        let repeated = importer.expand(&column, &[Dim::Fixed(count), Dim::Fixed(channels / count.max(1))])?;
        let ones = vec![Dim::Fixed(1); x.dims.len() - 2];
        let each = importer.reshape(&repeated, &[vec![Dim::Fixed(channels)], ones].concat())?;
        y = importer.binary(kind, &y, &each)?;
    }
    one(y)
}

/// A value with its last axes from `axis` on folded into one, none of which is the batch.
fn last_axes(importer: &mut Importer<'_>, node: &Node<'_>) -> Result<(Data, usize), Reason> {
    let data = importer.data(node.operand(0)?)?;
    let rank = data.dims.len();
    let axis = node.axis(-1, rank)?;
    let data = importer.with_axes(&data, &(axis..rank).collect::<Vec<_>>())?;
    Ok((data, axis))
}

/// Vectors of the axes from `axis` on: all axes before them are their batch.
fn folded(data: &Data, axis: usize) -> Shape {
    let shape = data.shape();
    let first = data.axis(axis);
    let length = Dim::from(Shape::new(shape.dims()[first..].to_vec()).count());
    let batch = shape.with_first_folded(first).dims()[0].clone();
    Shape::new([batch, length])
}

fn layer<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    node.ignore(&["stash_type"]);
    if node.has_result(1) || node.has_result(2) {
        return with_statistics(importer, node);
    }
    let (data, axis) = last_axes(importer, node)?;
    let flat = importer.shaped(data.value, folded(&data, axis))?;
    let normal = normalized(importer, flat, node.float("epsilon", 1e-5))?;
    let value = importer.shaped(normal, data.shape())?;
    let mut y = Value::from(data.replaced(value));
    y = importer.binary(BinaryKind::Multiply, &y, node.operand(1)?)?;
    if let Some(bias) = node.optional(2) {
        y = importer.binary(BinaryKind::Add, &y, bias)?;
    }
    one(y)
}

/// Layer normalisation with its mean and inverse deviation as further results.
fn with_statistics<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let (data, axis) = last_axes(importer, node)?;
    let axes: Vec<usize> = (axis..data.dims.len()).collect();
    let x = Value::from(data);
    let mean = importer.mean(&x, &axes)?;
    let centred = importer.binary(BinaryKind::Subtract, &x, &mean)?;
    let square = importer.unary(UnaryKind::Square, &centred)?;
    let variance = importer.mean(&square, &axes)?;
    let shifted = importer.with_number(BinaryKind::Add, &variance, node.float("epsilon", 1e-5))?;
    let inverse = importer.unary(UnaryKind::Rsqrt, &shifted)?;
    let mut y = importer.binary(BinaryKind::Multiply, &centred, &inverse)?;
    y = importer.binary(BinaryKind::Multiply, &y, node.operand(1)?)?;
    if let Some(bias) = node.optional(2) {
        y = importer.binary(BinaryKind::Add, &y, bias)?;
    }
    Ok(vec![y, mean, inverse])
}

fn root_mean_square<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    node.ignore(&["stash_type"]);
    let (data, axis) = last_axes(importer, node)?;
    let axes: Vec<usize> = (axis..data.dims.len()).collect();
    let x = Value::from(data);
    let square = importer.unary(UnaryKind::Square, &x)?;
    let mean = importer.mean(&square, &axes)?;
    let shifted = importer.with_number(BinaryKind::Add, &mean, node.float("epsilon", 1e-5))?;
    let inverse = importer.unary(UnaryKind::Rsqrt, &shifted)?;
    let y = importer.binary(BinaryKind::Multiply, &x, &inverse)?;
    one(importer.binary(BinaryKind::Multiply, &y, node.operand(1)?)?)
}

fn local_response<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let x = importer.images(node.operand(0)?)?;
    let size = usize::try_from(node.int("size", 1)).unwrap_or(0);
    let [alpha, beta, k] = [("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)]
        .map(|(name, default)| f64::from(node.float(name, default)));
    // For an even size, ONNX has the extra channel behind, this layer before.
    if size % 2 == 0 {
        return unsupported(format!("an even size {size} is not supported"));
    }
    let label = importer.label.clone();
    let value =
        importer.builder.layer(&label, &Layer::LocalResponseNorm { size, alpha, beta, k }, x.value)?;
    one(x.replaced(value))
}

fn by_norm<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let x = node.operand(0)?.clone();
    let axis = node.axis(-1, x.rank())?;
    let norm = match node.int("p", 2) {
        1 => {
            let kind = UnaryKind::Activation(windlass_compiler::ops::elementwise::Activation::Abs);
            let magnitude = importer.unary(kind, &x)?;
            importer.sum(&magnitude, &[axis])?
        }
        2 => {
            let square = importer.unary(UnaryKind::Square, &x)?;
            let sum = importer.sum(&square, &[axis])?;
            importer.unary(UnaryKind::Sqrt, &sum)?
        }
        other => return unsupported(format!("a norm of power {other} is not supported")),
    };
    one(importer.binary(BinaryKind::Divide, &x, &norm)?)
}

fn mean_variance<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let x = node.operand(0)?.clone();
    let axes = match node.axes(usize::MAX, x.rank())? {
        Some(axes) => axes,
        None if x.rank() == 4 => vec![0, 2, 3],
        None => return unsupported("its axes are those of images, but its operand is none"),
    };
    let mean = importer.mean(&x, &axes)?;
    let centred = importer.binary(BinaryKind::Subtract, &x, &mean)?;
    let square = importer.unary(UnaryKind::Square, &centred)?;
    let variance = importer.mean(&square, &axes)?;
    let deviation = importer.unary(UnaryKind::Sqrt, &variance)?;
    let epsilon = Known::floats(Vec::new(), vec![1e-9]);
    let shifted = importer.binary(BinaryKind::Add, &deviation, &epsilon.into())?;
    one(importer.binary(BinaryKind::Divide, &centred, &shifted)?)
}
