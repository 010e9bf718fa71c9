//! Pooling.

use windlass_compiler::graph::Layer;
use windlass_compiler::ops::elementwise::{Activation, BinaryKind, UnaryKind};
use windlass_compiler::ops::pool::MaxPool;
use windlass_compiler::ops::window::{Sides, Window};
use windlass_compiler::shape::Dim;

use super::conv::{AutoPad, auto_pad, spatial, window};
use super::{Rule, one};
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::movement::fixed;
use crate::node::Node;
use crate::value::{Data, Value};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("MaxPool", max_pool),
    ("AveragePool", average_pool),
    ("LpPool", lp_pool),
    ("GlobalMaxPool", global_max_pool),
    ("GlobalAveragePool", global_average_pool),
    ("GlobalLpPool", global_lp_pool),
];

/// The window of a pooling, before its sizes are rounded up, and whether they are.
fn pooling(node: &Node<'_>, x: &Data) -> Result<(Window, bool), Reason> {
    node.ignore(&["storage_order"]);
    let Some(kernel) = node.sizes("kernel_shape", 1)? else {
        return unsupported("it has no `kernel_shape`");
    };
    let window = window(node, &kernel, spatial(x)?)?;
    window.check(&x.shape())?;
    let rounds_up = node.flag("ceil_mode", false) && auto_pad(node)? == AutoPad::Given;
    Ok((window, rounds_up))
}

/// The results' sizes.
fn pooled(x: &Data, window: &Window) -> Vec<Dim> {
    let mut dims = x.dims[..2].to_vec();
    dims.extend(window.output_dims(&x.dims[2..]));
    dims
}

fn rounded(x: &Data, window: Window, rounds_up: bool) -> Result<Window, Reason> {
    match (rounds_up, fixed(&x.dims[2..])) {
        (false, _) => Ok(window),
        (true, Some(sizes)) => Ok(window.rounded_up(&sizes)),
        (true, None) => unsupported("`ceil_mode` depends on an open size"),
    }
}

fn max_pool<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    if node.has_result(1) {
        return unsupported("its second result, the indices, is not supported");
    }
    let x = importer.images(node.operand(0)?)?;
    let (window, rounds_up) = pooling(node, &x)?;
    let window = rounded(&x, window, rounds_up)?;
    let value = importer.op(MaxPool { window: window.clone() }, &[x.value])?;
    one(x.with(value, pooled(&x, &window)))
}

fn layer(
    importer: &mut Importer<'_>,
    layer: &Layer,
    x: &Data,
) -> Result<windlass_compiler::entity::ValueId, Reason> {
    let label = importer.label.clone();
    Ok(importer.builder.layer(&label, layer, x.value)?)
}

fn average_pool<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let x = importer.images(node.operand(0)?)?;
    let (window, ceil_mode) = pooling(node, &x)?;
    let count_include_pad = node.flag("count_include_pad", false);
    let whole = rounded(&x, window.clone(), ceil_mode)?;
    let dims = pooled(&x, &whole);
    let value = layer(importer, &Layer::AvgPool { window, ceil_mode, count_include_pad }, &x)?;
    one(x.with(value, dims))
}

/// The p-norm of windows: the root of the sum of powers, which is a mean times the number of elements.
fn norm(importer: &mut Importer<'_>, x: &Data, window: Window, power: i64) -> Result<Vec<Value>, Reason> {
    let dims = pooled(x, &window);
    let count = window.elements() as f32;
    let powers = match power {
        1 => importer.unary_op(UnaryKind::Activation(Activation::Abs), x.value)?,
        2 => importer.unary_op(UnaryKind::Square, x.value)?,
        3..=64 => {
            let magnitude = importer.unary_op(UnaryKind::Activation(Activation::Abs), x.value)?;
            let value = super::elementwise::power(importer, &x.replaced(magnitude).into(), power as f32)?;
            importer.data(&value)?.value
        }
        _ => return unsupported(format!("a norm of power {power} is not supported")),
    };
    let means = Layer::AvgPool { window, ceil_mode: false, count_include_pad: true };
    let means = layer(importer, &means, &x.replaced(powers))?;
    let number = importer.scalar(count)?;
    let sums = importer.binary_op(BinaryKind::Multiply, means, number)?;
    let sums = Value::from(x.with(sums, dims));
    match power {
        1 => one(sums),
        2 => one(importer.unary(UnaryKind::Sqrt, &sums)?),
        _ => one(super::elementwise::power(importer, &sums, 1.0 / power as f32)?),
    }
}

fn lp_pool<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let x = importer.images(node.operand(0)?)?;
    let (window, rounds_up) = pooling(node, &x)?;
    let window = rounded(&x, window, rounds_up)?;
    norm(importer, &x, window, node.int("p", 2))
}

/// The window of the whole image.
fn whole(x: &Data) -> Result<Window, Reason> {
    match fixed(spatial(x)?) {
        Some(kernel_size) => Ok(Window {
            stride: vec![1; kernel_size.len()],
            padding: vec![Sides::default(); kernel_size.len()],
            dilation: vec![1; kernel_size.len()],
            kernel_size,
        }),
        None => unsupported("it pools an axis of open size"),
    }
}

fn global_lp_pool<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let x = importer.images(node.operand(0)?)?;
    let window = whole(&x)?;
    norm(importer, &x, window, node.int("p", 2))
}

fn global_max_pool<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let x = importer.images(node.operand(0)?)?;
    let window = whole(&x)?;
    let value = importer.op(MaxPool { window: window.clone() }, &[x.value])?;
    one(x.with(value, pooled(&x, &window)))
}

fn global_average_pool<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let x = importer.images(node.operand(0)?)?;
    let window = whole(&x)?;
    let dims = pooled(&x, &window);
    let value = layer(importer, &Layer::AvgPool { window, ceil_mode: false, count_include_pad: true }, &x)?;
    one(x.with(value, dims))
}
