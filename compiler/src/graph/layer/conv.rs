//! Convolution layers: a convolution operator for images of known sizes, products of patches along an axis of open
//! size.

use super::add_bias;
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::graph::Builder;
use crate::graph::initializer::Initializer;
use crate::ops::conv::{Conv, ConvGradInput};
use crate::ops::linear::Linear;
use crate::ops::window::{Window, image_words};
use crate::shape::{Dim, MAX_ELEMENTS, Polynomial, Shape};

/// The maximum number of slices that a convolution along an axis of open size is built from: one for each kernel position
/// and group.
const MAX_SLICES: usize = 4096;

/// The arguments of a convolution layer.
pub(super) struct ConvLayer<'a> {
    pub(super) name: &'static str,
    pub(super) out_channels: usize,
    pub(super) window: &'a Window,
    pub(super) groups: usize,
    pub(super) bias: bool,
    pub(super) init: Initializer,
}

impl ConvLayer<'_> {
    fn at(&self, error: ShapeError) -> GraphError {
        GraphError::Shape { at: self.name.to_owned(), error }
    }

    /// Whether the convolution runs along the last axis of a shape, which has an open size.
    pub(super) fn is_along_open_axis(window: &Window, shape: &Shape) -> bool {
        let is_open = shape.item_dims().last().is_some_and(|dim| dim.fixed().is_none());
        window.axes() == 1 && is_open && shape.rank() == 3
    }

    /// Adds the layer after images of known sizes.
    pub(super) fn build(
        &self,
        builder: &mut Builder,
        label: &str,
        x: ValueId,
    ) -> Result<ValueId, GraphError> {
        let conv = Conv { window: self.window.clone(), groups: self.groups, epilogue: Vec::new() };
        let shape = builder.graph().ty(x).shape.clone();
        let weight = self.weight(builder, label, &conv, &shape)?;
        let y = builder.op(conv, &[x, weight], label)?;
        add_bias(builder, label, y, self.bias, self.out_channels)
    }

    /// Adds the weight parameter, if it fits images of a shape.
    fn weight(
        &self,
        builder: &mut Builder,
        label: &str,
        conv: &Conv,
        shape: &Shape,
    ) -> Result<ValueId, GraphError> {
        if self.out_channels == 0 {
            return Err(self.at(ShapeError::ZeroArgument { argument: "out_channels" }));
        }
        let weight = conv.weight_type(shape, self.out_channels).map_err(|error| self.at(error))?;
        builder.parameter(label, "weight", &weight.shape.item(), self.init)
    }

    /// Adds the layer after sequences `[N, C, T]` of any length, as a dense layer on the patch of each output: the
    /// concatenated elements of its window. Gradients, fusion and plans are those of the operators that it consists of.
    pub(super) fn build_along_open_axis(
        &self,
        builder: &mut Builder,
        label: &str,
        x: ValueId,
    ) -> Result<ValueId, GraphError> {
        let shape = builder.graph().ty(x).shape.clone();
        let [batch, Dim::Fixed(channels), length] = shape.dims() else {
            return Err(self.at(ShapeError::Rank { expected: image_words(1), got: shape }));
        };
        let conv = Conv { window: self.window.clone(), groups: self.groups, epilogue: Vec::new() };
        // Checks everything except the length, with a sequence of the window's length.
        let one = |sizes: &[usize]| sizes.first().copied().unwrap_or(0);
        let reach = one(&self.window.kernel_size).saturating_mul(one(&self.window.dilation)).max(1);
        let weight = self.weight(builder, label, &conv, &Shape::batched(&[*channels, reach]))?;
        let [kernel_size, stride, dilation] =
            [&self.window.kernel_size, &self.window.stride, &self.window.dilation].map(|sizes| one(sizes));
        let padding = self.window.padding.first().copied().unwrap_or_default();
        if stride != 1 {
            let (value, range) = (stride as f64, "1 along an axis of open size");
            return Err(self.at(ShapeError::NumberOutOfRange { argument: "stride", value, range }));
        }
        if kernel_size.saturating_mul(self.groups) > MAX_SLICES {
            let range = "at most 4096 divided by the groups along an axis of open size";
            let value = kernel_size as f64;
            return Err(self.at(ShapeError::NumberOutOfRange { argument: "kernel_size", value, range }));
        }
        let padded = length.polynomial().plus(&Polynomial::from(padding.total()));
        let results = padded.minus(&Polynomial::from(self.window.extent(0) - 1));
        if !results.is_positive() {
            let dims = [batch.clone(), Dim::from(self.out_channels), Dim::from(results)];
            return Err(self.at(ShapeError::MayBeEmpty { shape: Shape::new(dims) }));
        }
        let steps = builder.transpose(label, x, &[0, 2, 1])?;
        let steps = match padding.total() {
            0 => steps,
            _ => builder.pad(label, steps, 1, padding.before, padding.after)?,
        };
        let group_inputs = channels / self.groups;
        let group_outputs = self.out_channels / self.groups;
        let folded = batch.polynomial().times(&results);
        let weight = builder.transpose(label, weight, &[0, 2, 1])?;
        let patch = kernel_size * group_inputs;
        let weight = builder.reshape(label, weight, Shape::fixed(&[self.out_channels, patch]))?;
        let positions = (0..kernel_size)
            .map(|position| builder.slice(label, steps, 1, position * dilation, results.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut groups = Vec::new();
        for group in 0..self.groups {
            let (mut own, mut own_weight) = (positions.clone(), weight);
            if self.groups > 1 {
                for position in &mut own {
                    *position = builder.slice(label, *position, 2, group * group_inputs, group_inputs)?;
                }
                own_weight = builder.slice(label, weight, 0, group * group_outputs, group_outputs)?;
            }
            let patches = match own[..] {
                [single] => single,
                _ => builder.concat_along(label, 2, &own)?,
            };
            let dims = [Dim::from(folded.clone()), Dim::from(patch)];
            let patches = builder.reshape(label, patches, Shape::new(dims))?;
            groups.push(builder.op(Linear { epilogue: Vec::new() }, &[patches, own_weight], label)?);
        }
        let y = match groups[..] {
            [single] => single,
            _ => builder.concat(label, &groups)?,
        };
        let y = add_bias(builder, label, y, self.bias, self.out_channels)?;
        let dims = [batch.clone(), Dim::from(results), Dim::from(self.out_channels)];
        let y = builder.reshape(label, y, Shape::new(dims))?;
        builder.transpose(label, y, &[0, 2, 1])
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
            input_sizes: sizes,
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
