//! Convolution and transposed convolution.

use windlass_compiler::ops::conv::{Conv, ConvGradInput};
use windlass_compiler::ops::elementwise::Bias;
use windlass_compiler::ops::window::{Sides, Window};
use windlass_compiler::shape::{Dim, Polynomial};

use super::{Rule, one};
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::node::Node;
use crate::value::{Data, Meaning, Value, Weight};

pub(super) const RULES: &[(&str, Rule)] = &[("Conv", conv), ("ConvTranspose", conv_transpose)];

/// How an attribute pads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AutoPad {
    /// By the attribute `pads`.
    Given,
    /// Not at all.
    Valid,
    /// So that sizes are divided by the stride and rounded up; an odd element is after the input, or before it.
    Same { odd_is_before: bool },
}

pub(super) fn auto_pad(node: &Node<'_>) -> Result<AutoPad, Reason> {
    match node.text("auto_pad").unwrap_or("NOTSET") {
        "NOTSET" | "" => Ok(AutoPad::Given),
        "VALID" => Ok(AutoPad::Valid),
        "SAME_UPPER" => Ok(AutoPad::Same { odd_is_before: false }),
        "SAME_LOWER" => Ok(AutoPad::Same { odd_is_before: true }),
        other => {
            let needed = "`NOTSET`, `VALID`, `SAME_UPPER` or `SAME_LOWER`".to_owned();
            Err(Reason::AttributeValue { name: "auto_pad", value: other.to_owned(), needed })
        }
    }
}

/// The window of a node on images with the given spatial sizes.
pub(super) fn window(node: &Node<'_>, kernel_size: &[usize], spatial: &[Dim]) -> Result<Window, Reason> {
    let axes = kernel_size.len();
    if axes != spatial.len() {
        return unsupported(format!("its kernel has {axes} axes, but the input has {}", spatial.len()));
    }
    let list = |name: &'static str| -> Result<Vec<usize>, Reason> {
        let sizes = node.sizes(name, 1)?.unwrap_or_else(|| vec![1; axes]);
        if sizes.len() == axes {
            return Ok(sizes);
        }
        let needed = format!("it needs {axes} sizes");
        Err(Reason::AttributeValue { name, value: format!("{sizes:?}"), needed })
    };
    let (stride, dilation) = (list("strides")?, list("dilations")?);
    let pads = node.sizes("pads", 0)?.unwrap_or_else(|| vec![0; 2 * axes]);
    if pads.len() != 2 * axes {
        let needed = format!("it needs {} sizes", 2 * axes);
        return Err(Reason::AttributeValue { name: "pads", value: format!("{pads:?}"), needed });
    }
    let given = (0..axes).map(|axis| Sides { before: pads[axis], after: pads[axis + axes] });
    let mut window = Window { kernel_size: kernel_size.to_vec(), stride, padding: given.collect(), dilation };
    match auto_pad(node)? {
        AutoPad::Given => {}
        AutoPad::Valid => window.padding = vec![Sides::default(); axes],
        AutoPad::Same { odd_is_before } => {
            for axis in 0..axes {
                let Dim::Fixed(size) = spatial[axis] else {
                    return unsupported("its padding depends on an open size");
                };
                let outputs = size.div_ceil(window.stride[axis]);
                let extent = (kernel_size[axis].saturating_sub(1)).saturating_mul(window.dilation[axis]) + 1;
                let needed = ((outputs.max(1) - 1) * window.stride[axis] + extent).saturating_sub(size);
                let (less, more) = (needed / 2, needed - needed / 2);
                window.padding[axis] = match odd_is_before {
                    true => Sides { before: more, after: less },
                    false => Sides { before: less, after: more },
                };
            }
        }
    }
    Ok(window)
}

/// A batch of images whose batch and channels are no windows.
pub(super) fn spatial(data: &Data) -> Result<&[Dim], Reason> {
    match data.dims.len() {
        0..=2 => unsupported(format!("it needs images, but receives {} axes", data.dims.len())),
        _ => Ok(&data.dims[2..]),
    }
}

/// The weight of a layer, an operand that must be a parameter.
pub(super) fn weight<'m>(
    importer: &mut Importer<'m>,
    node: &Node<'m>,
    index: usize,
) -> Result<Weight, Reason> {
    importer.weight(node.operand(index)?).map_err(|reason| reason.of_operand(index))
}

/// Adds one number for each channel.
fn with_bias<'m>(importer: &mut Importer<'m>, node: &Node<'m>, y: Data) -> Result<Vec<Value>, Reason> {
    if node.optional(2).is_none() {
        return one(y);
    }
    let bias = weight(importer, node, 2)?;
    let value = importer.op(Bias {}, &[y.value, bias.value])?;
    one(y.replaced(value))
}

fn groups(node: &Node<'_>) -> Result<usize, Reason> {
    let groups = node.int("group", 1);
    usize::try_from(groups).ok().filter(|&groups| groups > 0).ok_or_else(|| {
        let needed = "it is at least 1".to_owned();
        Reason::AttributeValue { name: "group", value: groups.to_string(), needed }
    })
}

fn check_kernel(node: &Node<'_>, kernel: &[usize]) -> Result<(), Reason> {
    match node.sizes("kernel_shape", 1)? {
        Some(given) if given != kernel => {
            let needed = format!("the weight has the kernel {kernel:?}");
            Err(Reason::AttributeValue { name: "kernel_shape", value: format!("{given:?}"), needed })
        }
        _ => Ok(()),
    }
}

pub(super) fn conv<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let x = importer.images(node.operand(0)?)?;
    let weight = weight(importer, node, 1)?;
    if weight.dims.len() < 3 {
        return unsupported(format!("its weight has {} axes", weight.dims.len()));
    }
    let kernel = weight.dims[2..].to_vec();
    check_kernel(node, &kernel)?;
    let window = window(node, &kernel, spatial(&x)?)?;
    let op = Conv { window: window.clone(), groups: groups(node)?, epilogue: Vec::new() };
    let value = importer.op(op, &[x.value, weight.value])?;
    let mut dims = vec![x.dims[0].clone(), Dim::Fixed(weight.dims[0])];
    dims.extend(window.output_dims(&x.dims[2..]));
    with_bias(importer, node, x.with(value, dims).meaning(Meaning::Float))
}

fn conv_transpose<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let x = importer.images(node.operand(0)?)?;
    let weight = weight(importer, node, 1)?;
    if weight.dims.len() < 3 {
        return unsupported(format!("its weight has {} axes", weight.dims.len()));
    }
    let kernel = weight.dims[2..].to_vec();
    check_kernel(node, &kernel)?;
    let spatial = spatial(&x)?;
    let axes = kernel.len();
    let groups = groups(node)?;
    // The padding of the convolution whose gradient it is, without the automatic one.
    let auto = auto_pad(node)?;
    let plain = spatial.iter().map(|_| Dim::Fixed(1)).collect::<Vec<_>>();
    let mut window = window(node, &kernel, if auto == AutoPad::Given { spatial } else { &plain })?;
    let output_padding = node.sizes("output_padding", 0)?.unwrap_or_else(|| vec![0; axes]);
    let output_shape = node.sizes("output_shape", 1)?;
    if output_padding.len() != axes || output_shape.as_ref().is_some_and(|sizes| sizes.len() != axes) {
        return unsupported(format!("its output padding or shape does not have {axes} sizes"));
    }
    let mut sizes = Vec::with_capacity(axes);
    for axis in 0..axes {
        let input = spatial[axis].polynomial();
        let extent = (kernel[axis] - 1) * window.dilation[axis] + 1;
        let stride = i64::try_from(window.stride[axis]).unwrap_or(i64::MAX);
        let one = Polynomial::from(1usize);
        let whole = input.minus(&one).scaled(stride).plus(&Polynomial::from(extent + output_padding[axis]));
        let target = match (&output_shape, auto) {
            (Some(sizes), _) => Some(Polynomial::from(sizes[axis])),
            (None, AutoPad::Same { .. }) => Some(input.scaled(stride)),
            _ => None,
        };
        if let Some(target) = target {
            let Some(total) = whole.minus(&target).as_number() else {
                return unsupported("its output shape depends on an open size");
            };
            // A larger output has zeros behind the result, fewer than the stride.
            let Ok(total) = usize::try_from(total) else {
                window.padding[axis] = Sides::default();
                sizes.push(target);
                continue;
            };
            let (less, more) = (total / 2, total - total / 2);
            window.padding[axis] = match auto {
                AutoPad::Same { odd_is_before: false } => Sides { before: less, after: more },
                _ => Sides { before: more, after: less },
            };
        } else if auto == AutoPad::Valid {
            window.padding[axis] = Sides::default();
        }
        sizes.push(whole.minus(&Polynomial::from(window.padding[axis].total())));
    }
    let op = ConvGradInput { window, groups, input_sizes: sizes.clone(), epilogue: Vec::new() };
    let value = importer.op(op, &[x.value, weight.value])?;
    let mut dims = vec![x.dims[0].clone(), Dim::Fixed(weight.dims[1].saturating_mul(groups))];
    dims.extend(sizes.into_iter().map(Dim::from));
    with_bias(importer, node, x.with(value, dims).meaning(Meaning::Float))
}
