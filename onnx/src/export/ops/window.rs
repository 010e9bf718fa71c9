//! Convolution and pooling.

use windlass_compiler::graph::Node;
use windlass_compiler::ops::conv::{Conv, ConvGradInput};
use windlass_compiler::ops::pool::{AvgPool, AvgPoolGrad, MaxPool};
use windlass_compiler::ops::window::Window;
use windlass_compiler::shape::{Dim, Polynomial};

use crate::export::attribute::{floats, int, size, sizes, tensor};
use crate::export::emitter::{Emitter, Reason, unsupported};
use crate::proto;

fn attributes(window: &Window) -> Vec<proto::Attribute> {
    let before = window.padding.iter().map(|sides| sides.before);
    let mut attributes = vec![
        sizes("kernel_shape", window.kernel_size.iter().copied()),
        sizes("strides", window.stride.iter().copied()),
        sizes("pads", before.chain(window.padding.iter().map(|sides| sides.after))),
    ];
    if window.dilation.iter().any(|&dilation| dilation != 1) {
        attributes.push(sizes("dilations", window.dilation.iter().copied()));
    }
    attributes
}

/// A convolution of an input, a weight and perhaps a bias.
pub(super) fn conv(emitter: &mut Emitter<'_>, conv: &Conv, operands: &[&str]) -> String {
    let mut attributes = attributes(&conv.window);
    attributes.push(size("group", conv.groups));
    emitter.node("Conv", operands, attributes)
}

/// The attributes of a transposed convolution from images of some sizes to images of others.
fn transposed_attributes(
    window: &Window,
    groups: usize,
    given: &[Dim],
    own: &[Polynomial],
) -> Result<Vec<proto::Attribute>, Reason> {
    let mut more = Vec::with_capacity(window.axes());
    for (axis, (given, own)) in given.iter().zip(own).enumerate() {
        // The elements of the result that no window contains, because the last window ends before.
        let starts = given.polynomial().minus(&Polynomial::from(1usize)).scaled(window.stride[axis] as i64);
        let ends = starts.plus(&Polynomial::from(window.extent(axis)));
        let rest = own.plus(&Polynomial::from(window.padding[axis].total())).minus(&ends);
        match rest.as_number().and_then(|rest| usize::try_from(rest).ok()) {
            Some(rest) => more.push(rest),
            None => {
                return unsupported(format!(
                    "its result of size {own} has {rest} elements that no window contains, a number that depends on open sizes"
                ));
            }
        }
    }
    let mut attributes = attributes(window);
    attributes.push(size("group", groups));
    if more.iter().any(|&rest| rest > 0) {
        attributes.push(sizes("output_padding", more));
    }
    Ok(attributes)
}

/// A transposed convolution of an input, a weight and perhaps a bias.
pub(super) fn transposed(
    emitter: &mut Emitter<'_>,
    conv: &ConvGradInput,
    operands: &[&str],
    given: &[Dim],
) -> Result<String, Reason> {
    let attributes = transposed_attributes(&conv.window, conv.groups, &given[2..], &conv.input_sizes)?;
    Ok(emitter.node("ConvTranspose", operands, attributes))
}

pub(super) fn max_pool<'g>(
    emitter: &mut Emitter<'g>,
    pool: &MaxPool,
    node: &'g Node,
    x: &str,
) -> Result<String, Reason> {
    if emitter.is_used(node.results[1]) {
        return unsupported("its indices are used, which ONNX counts in the image and not in the window");
    }
    Ok(emitter.node("MaxPool", &[x], attributes(&pool.window)))
}

pub(super) fn avg_pool(emitter: &mut Emitter<'_>, pool: &AvgPool, x: &str) -> String {
    let mut attributes = attributes(&pool.window);
    attributes.push(int("count_include_pad", 1));
    emitter.node("AveragePool", &[x], attributes)
}

/// The gradient of average pooling, which enlarges images: a transposed convolution of each channel with ones, divided by
/// the size of the window.
pub(super) fn spread(
    emitter: &mut Emitter<'_>,
    pool: &AvgPoolGrad,
    x: &str,
    given: &[Dim],
    own: &[Dim],
) -> Result<String, Reason> {
    let Some(Dim::Fixed(channels)) = own.get(1) else { return unsupported("its channels are open") };
    let sizes: Vec<Polynomial> = own[2..].iter().map(Dim::polynomial).collect();
    let attributes = transposed_attributes(&pool.window, *channels, &given[2..], &sizes)?;
    let elements = pool.window.elements();
    let dims = [&[*channels, 1], &pool.window.kernel_size[..]].concat();
    let ones = floats(&dims, &vec![1.0; channels * elements]);
    let ones = emitter.node("Constant", &[], vec![tensor("value", ones)]);
    let sum = emitter.node("ConvTranspose", &[x, &ones], attributes);
    let count = emitter.number(elements as f64);
    Ok(emitter.node("Div", &[&sum, &count], Vec::new()))
}
