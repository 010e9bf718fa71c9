//! Integers of a scale and a zero point. They are computed as floats that hold integers: sums of products below 2²⁴ are exact.

use windlass_compiler::ops::elementwise::{Activation, BinaryKind, UnaryKind};
use windlass_compiler::shape::Dim;

use super::cast::whole;
use super::elementwise::clipped;
use super::{Rule, conv, one};
use crate::decode::ElementType;
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::known::Known;
use crate::node::{Node, resolve};
use crate::value::Value;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("QuantizeLinear", quantize),
    ("DequantizeLinear", dequantize),
    ("DynamicQuantizeLinear", quantize_by_range),
    ("MatMulInteger", matmul_of_integers),
    ("QLinearMatMul", quantized_matmul),
    ("ConvInteger", conv_of_integers),
    ("QLinearConv", quantized_conv),
];

/// The attributes of a convolution, which its rule reads.
const OF_CONV: [&str; 6] = ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];

/// The smallest and the largest integer of a type.
fn range(element: ElementType) -> Result<[f32; 2], Reason> {
    match element {
        ElementType::Uint8 => Ok([0.0, 255.0]),
        ElementType::Int8 => Ok([-128.0, 127.0]),
        ElementType::Uint16 => Ok([0.0, 65_535.0]),
        ElementType::Int16 => Ok([-32_768.0, 32_767.0]),
        other => unsupported(format!("integers of the type {other:?} are not quantised to")),
    }
}

/// The range of results: that of the zero point's type, which is otherwise an attribute.
fn range_of(node: &Node<'_>, zero: usize) -> Result<[f32; 2], Reason> {
    if let Some(known) = node.optional_known(zero)? {
        return match known.element {
            Some(element) => range(element),
            None => unsupported("its zero point is computed, so that the type of its result is not known"),
        };
    }
    match node.int("output_dtype", 0) {
        0 => range(ElementType::Uint8),
        number => match i32::try_from(number).ok().and_then(ElementType::of) {
            Some(element) => range(element),
            None => unsupported(format!("results of type {number} are not supported")),
        },
    }
}

/// Scales or zero points in the axes of `dims`: one number, one for each index of an axis, or one for each block along it.
fn spread(
    importer: &mut Importer<'_>,
    value: &Value,
    dims: &[Dim],
    axis: i64,
    block: usize,
) -> Result<Value, Reason> {
    let own = value.dims();
    if block > 0 {
        let axis = resolve(axis, dims.len())?;
        if own.len() != dims.len() {
            return unsupported("its scale does not have the axes of its operand");
        }
        let mut apart = own.clone();
        apart.insert(axis + 1, Dim::Fixed(1));
        let mut repeated = own.clone();
        repeated.insert(axis + 1, Dim::Fixed(block));
        let value = importer.reshape(value, &apart)?;
        let value = importer.expand(&value, &repeated)?;
        return importer.reshape(&value, dims);
    }
    if own.iter().all(|dim| dim.fixed() == Some(1)) {
        return importer.reshape(value, &[]);
    }
    let axis = resolve(axis, dims.len())?;
    let [own] = &own[..] else { return unsupported("its scale has several axes, and no blocks") };
    if dims[axis] != *own {
        return unsupported("its scale does not fit the axis");
    }
    let mut target = vec![Dim::Fixed(1); dims.len()];
    target[axis] = own.clone();
    importer.reshape(value, &target)
}

/// A value less its zero point.
fn without_zero(importer: &mut Importer<'_>, value: &Value, zero: Option<&Value>) -> Result<Value, Reason> {
    let is_zero = |zero: &&Value| {
        let floats = zero.known().ok().and_then(Known::to_floats);
        floats.is_some_and(|floats| floats.iter().all(|&it| it == 0.0))
    };
    let Some(zero) = zero.filter(|zero| !is_zero(zero)) else { return Ok(value.clone()) };
    if let (Value::Known(known), Value::Known(zero)) = (value, zero)
        && let (Some(values), Some(zeros)) = (known.to_floats(), zero.to_floats())
    {
        // Of a parameter, it would be computed in every run.
        let one = |zero: f32| values.iter().map(|value| value - zero).collect();
        if let [zero] = zeros[..] {
            return Ok(Known::floats(known.dims.clone(), one(zero)).into());
        }
    }
    importer.binary(BinaryKind::Subtract, value, zero)
}

/// `clamp(round(x / scale) + zero)`.
fn quantized(
    importer: &mut Importer<'_>,
    value: &Value,
    scale: &Value,
    zero: Option<&Value>,
    [low, high]: [f32; 2],
) -> Result<Value, Reason> {
    let scaled = importer.binary(BinaryKind::Divide, value, scale)?;
    let mut result = importer.unary(UnaryKind::Activation(Activation::Round), &scaled)?;
    if let Some(zero) = zero {
        result = importer.binary(BinaryKind::Add, &result, zero)?;
    }
    Ok(whole(clipped(importer, &result, low, high)?))
}

fn block(node: &Node<'_>) -> Result<usize, Reason> {
    let size = node.int("block_size", 0);
    usize::try_from(size).map_err(|_| Reason::AttributeValue {
        name: "block_size",
        value: size.to_string(),
        needed: "it is at least 0".to_owned(),
    })
}

fn quantize<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    // Saturation is for floats of 8 bits.
    node.ignore(&["saturate"]);
    if !matches!(node.int("precision", 0), 0 | 1) {
        return unsupported("a precision other than that of f32 is not supported");
    }
    let range = range_of(node, 2)?;
    node.ignore(&["output_dtype"]);
    let value = node.operand(0)?;
    let (dims, axis, block) = (value.dims(), node.int("axis", 1), block(node)?);
    let scale = spread(importer, node.operand(1)?, &dims, axis, block)?;
    let zero = node.optional(2).map(|zero| spread(importer, zero, &dims, axis, block)).transpose()?;
    one(quantized(importer, value, &scale, zero.as_ref(), range)?)
}

fn dequantize<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    node.ignore(&["output_dtype"]);
    let value = node.operand(0)?;
    let (dims, axis, block) = (value.dims(), node.int("axis", 1), block(node)?);
    let scale = spread(importer, node.operand(1)?, &dims, axis, block)?;
    let zero = node.optional(2).map(|zero| spread(importer, zero, &dims, axis, block)).transpose()?;
    if let (Value::Known(values), Value::Known(scale)) = (value, &scale)
        && let zero = zero.as_ref().map(Value::known).transpose()?
        && let sizes = values.dims.clone()
        && let Some(scales) = scale.broadcast(&sizes).to_floats()
        && let Some(numbers) = values.to_floats()
    {
        let zeros = zero.and_then(|zero| zero.broadcast(&sizes).to_floats());
        let zeros = zeros.unwrap_or_else(|| vec![0.0; numbers.len()]);
        let floats =
            numbers.iter().zip(&scales).zip(&zeros).map(|((value, scale), zero)| (value - zero) * scale);
        return one(Known::floats(sizes, floats.collect()));
    }
    let value = without_zero(importer, value, zero.as_ref())?;
    one(importer.binary(BinaryKind::Multiply, &value, &scale)?)
}

/// Integers from 0 to 255 of a scale that follows from the smallest and the largest element, 0 included.
fn quantize_by_range<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let range = [0.0, 255.0];
    let value = node.operand(0)?.clone();
    let axes: Vec<usize> = (0..value.rank()).collect();
    let largest = importer.max(&value, &axes)?;
    let largest = importer.unary(UnaryKind::Relu, &largest)?;
    let negative = importer.unary(UnaryKind::Negate, &value)?;
    let negative = importer.max(&negative, &axes)?;
    // −min(x, 0).
    let depth = importer.unary(UnaryKind::Relu, &negative)?;
    let span = importer.binary(BinaryKind::Add, &largest, &depth)?;
    let scale = importer.with_number(BinaryKind::Divide, &span, 255.0)?;
    // Zeros alone have no span.
    let scale = importer.with_number(BinaryKind::Maximum, &scale, f32::MIN_POSITIVE)?;
    let scale = importer.reshape(&scale, &[])?;
    let depth = importer.reshape(&depth, &[])?;
    let zero = importer.binary(BinaryKind::Divide, &depth, &scale)?;
    let zero = clipped(importer, &zero, range[0], range[1])?;
    let zero = whole(importer.unary(UnaryKind::Activation(Activation::Round), &zero)?);
    let result = quantized(importer, &value, &scale, Some(&zero), range)?;
    Ok(vec![result, scale, zero])
}

/// A zero point for each row of a matrix.
fn of_rows(importer: &mut Importer<'_>, zero: Option<&Value>) -> Result<Option<Value>, Reason> {
    let Some(zero) = zero else { return Ok(None) };
    match &zero.dims()[..] {
        [size] => {
            let dims = [size.clone(), Dim::Fixed(1)];
            Ok(Some(importer.reshape(zero, &dims)?))
        }
        _ => Ok(Some(zero.clone())),
    }
}

/// The product of two matrices of integers less their zero points.
fn product(
    importer: &mut Importer<'_>,
    node: &Node<'_>,
    [left, right]: [usize; 2],
    [left_zero, right_zero]: [usize; 2],
) -> Result<Value, Reason> {
    let zero = of_rows(importer, node.optional(left_zero))?;
    let left = without_zero(importer, node.operand(left)?, zero.as_ref())?;
    let right = without_zero(importer, node.operand(right)?, node.optional(right_zero))?;
    Ok(whole(importer.matmul(&left, &right)?))
}

fn matmul_of_integers<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    one(product(importer, node, [0, 1], [2, 3])?)
}

fn quantized_matmul<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let range = range_of(node, 7)?;
    let product = product(importer, node, [0, 3], [2, 5])?;
    let rows = of_rows(importer, node.optional(1))?;
    let rows = rows.ok_or(Reason::Missing { index: 1 })?;
    let scaled = importer.binary(BinaryKind::Multiply, &product, &rows)?;
    let scaled = importer.binary(BinaryKind::Multiply, &scaled, node.operand(4)?)?;
    one(quantized(importer, &scaled, node.operand(6)?, node.optional(7), range)?)
}

/// A convolution of integers less their zero points, `[x, weight]` and `[x_zero, weight_zero]`.
fn convolved<'m>(
    importer: &mut Importer<'m>,
    node: &Node<'m>,
    [x, weight]: [usize; 2],
    [x_zero, weight_zero]: [usize; 2],
    bias: usize,
) -> Result<Value, Reason> {
    let x = without_zero(importer, node.operand(x)?, node.optional(x_zero))?;
    let weight = node.operand(weight)?;
    let zero = match node.optional(weight_zero) {
        Some(zero) => Some(spread(importer, zero, &weight.dims(), 0, 0)?),
        None => None,
    };
    let weight = without_zero(importer, weight, zero.as_ref())?;
    let bias = node.optional(bias).cloned().unwrap_or(Value::Absent);
    let inner = Node::new(node.proto, vec![x, weight, bias], node.opset);
    node.ignore(&OF_CONV);
    let results = conv::conv(importer, &inner)?;
    results.into_iter().next().map(whole).ok_or(Reason::Missing { index: 0 })
}

fn conv_of_integers<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    one(convolved(importer, node, [0, 1], [2, 3], usize::MAX)?)
}

fn quantized_conv<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let range = range_of(node, 7)?;
    let sum = convolved(importer, node, [0, 3], [2, 5], 8)?;
    let scaled = importer.binary(BinaryKind::Multiply, &sum, node.operand(1)?)?;
    let scale = spread(importer, node.operand(4)?, &sum.dims(), 1, 0)?;
    let scaled = importer.binary(BinaryKind::Multiply, &scaled, &scale)?;
    one(quantized(importer, &scaled, node.operand(6)?, node.optional(7), range)?)
}
