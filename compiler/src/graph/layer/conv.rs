//! Convolution layers.

use super::build::add_bias;
use super::connections;
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::graph::Builder;
use crate::graph::initializer::Initializer;
use crate::ops::conv::{Conv, ConvGradInput};
use crate::ops::window::{Window, fixed_sizes, image_words};
use crate::shape::{Dim, MAX_ELEMENTS, Shape};

/// The arguments of a convolution layer.
pub(super) struct ConvLayer<'a> {
    pub(super) name: &'static str,
    pub(super) out_channels: usize,
    pub(super) window: &'a Window,
    pub(super) groups: usize,
    pub(super) bias: bool,
    pub(super) init: Initializer,
    pub(super) rotated: bool,
    pub(super) connections: &'a [Vec<usize>],
}

/// The maximum size of a rotated kernel along an axis, whose elements are moved one by one.
const MAX_ROTATED: usize = 256;

impl ConvLayer<'_> {
    /// Adds the layer.
    pub(super) fn build(
        &self,
        builder: &mut Builder,
        label: &str,
        x: ValueId,
    ) -> Result<ValueId, GraphError> {
        let at = |error| GraphError::Shape { at: self.name.to_owned(), error };
        let conv = Conv { window: self.window.clone(), groups: self.groups, epilogue: Vec::new() };
        let shape = builder.graph().ty(x).shape.clone();
        if self.out_channels == 0 {
            return Err(at(ShapeError::ZeroArgument { argument: "out_channels" }));
        }
        if !self.connections.is_empty() {
            let inputs = shape.item_dims().first().and_then(Dim::fixed).unwrap_or(0);
            connections::check(self.connections, inputs, self.out_channels, self.groups).map_err(at)?;
        }
        let sizes = conv.weight_type(&shape, self.out_channels).map_err(at)?.shape.item();
        let kernel = &self.window.kernel_size;
        if let Some(&size) = kernel.iter().find(|&&size| self.rotated && size > MAX_ROTATED) {
            let (value, range) = (size as f64, "at most 256 if it is rotated");
            return Err(at(ShapeError::NumberOutOfRange { argument: "kernel_size", value, range }));
        }
        let mut weight = match self.connections {
            [] => builder.parameter(label, "weight", &sizes, self.init)?,
            lists => connections::weight(builder, label, lists, &sizes, self.init)?,
        };
        if self.rotated {
            for axis in 2..sizes.len() {
                weight = builder.reverse(label, weight, axis)?;
            }
        }
        let y = builder.op(conv, &[x, weight], label)?;
        add_bias(builder, label, y, self.bias, self.out_channels)
    }
}

/// The arguments of a transposed convolution layer.
pub(super) struct ConvTransposeLayer<'a> {
    pub(super) out_channels: usize,
    pub(super) window: &'a Window,
    pub(super) output_padding: &'a [usize],
    pub(super) groups: usize,
    pub(super) bias: bool,
    pub(super) init: Initializer,
}

impl ConvTransposeLayer<'_> {
    /// Adds the layer: the gradient to the input of a convolution, whose input has the sizes of the result.
    pub(super) fn build(
        &self,
        builder: &mut Builder,
        label: &str,
        x: ValueId,
    ) -> Result<ValueId, GraphError> {
        let shape = builder.graph().ty(x).shape.clone();
        let sizes = self.sizes(&shape).map_err(|error| GraphError::Shape { at: label.to_owned(), error })?;
        let kernel = &self.window.kernel_size;
        let weight = [&[shape.item()[0], self.out_channels / self.groups], &kernel[..]].concat();
        let weight = builder.parameter(label, "weight", &weight, self.init)?;
        let op = ConvGradInput {
            window: self.window.clone(),
            groups: self.groups,
            input_sizes: fixed_sizes(&sizes),
            epilogue: Vec::new(),
        };
        let y = builder.op(op, &[x, weight], label)?;
        add_bias(builder, label, y, self.bias, self.out_channels)
    }

    /// The sizes of the result.
    fn sizes(&self, shape: &Shape) -> Result<Vec<usize>, ShapeError> {
        let window = self.window;
        window.check_arguments()?;
        let axes = window.axes();
        if !shape.is_batched() || shape.rank() != axes + 2 {
            return Err(ShapeError::Rank { expected: image_words(axes), got: shape.clone() });
        }
        if self.out_channels == 0 {
            return Err(ShapeError::ZeroArgument { argument: "out_channels" });
        }
        let item = shape.item();
        let (groups, inputs, outputs) = (self.groups, item[0], self.out_channels);
        if groups == 0 {
            return Err(ShapeError::ZeroArgument { argument: "groups" });
        }
        if !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            return Err(ShapeError::GroupsDoNotDivide { groups, inputs, outputs });
        }
        if self.output_padding.len() != axes {
            return Err(ShapeError::Arity {
                expected: format!("{axes} sizes"),
                got: self.output_padding.len(),
            });
        }
        (0..axes)
            .map(|axis| {
                let (stride, added) = (window.stride[axis], self.output_padding[axis]);
                if added >= stride {
                    let (value, range) = (added as f64, "below the stride");
                    return Err(ShapeError::NumberOutOfRange { argument: "output_padding", value, range });
                }
                let padding = window.padding[axis];
                let size = [window.kernel_size[axis] - 1, window.dilation[axis]]
                    .into_iter()
                    .try_fold(1usize, usize::checked_mul)
                    .and_then(|extent| extent.checked_add((item[axis + 1] - 1).checked_mul(stride)?))
                    .and_then(|size| size.checked_add(1 + added))
                    .filter(|&size| size <= MAX_ELEMENTS);
                let Some(size) = size else {
                    let (value, range) = (stride as f64, "small enough for sizes below 2^31");
                    return Err(ShapeError::NumberOutOfRange { argument: "stride", value, range });
                };
                let cut = padding.before.saturating_add(padding.after);
                size.checked_sub(cut).filter(|&size| size > 0).ok_or_else(|| {
                    let value = padding.before.max(padding.after) as f64;
                    let range = "small enough that the result is not empty";
                    ShapeError::NumberOutOfRange { argument: "padding", value, range }
                })
            })
            .collect()
    }
}
