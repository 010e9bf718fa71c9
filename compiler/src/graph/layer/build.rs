//! Adds layers to a graph: as operators and parameters, on each step of a sequence.

use super::conv::{ConvLayer, ConvTransposeLayer};
use super::{Layer, RecurrentOperands, activation, distance, norm, pool, recurrent, spatial};
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::graph::initializer::Initializer;
use crate::graph::{AttentionMask, Builder, Heads};
use crate::ops::batch_norm::BatchNorm;
use crate::ops::dropout::{Dropout, MaskUnit};
use crate::ops::elementwise::{Bias, Unary, UnaryKind};
use crate::ops::gather::Gather;
use crate::ops::linear::Linear;
use crate::ops::reduce::ReduceKind;
use crate::ops::softmax::{LogSoftmax, Softmax};
use crate::ops::structure::Reshape;
use crate::shape::{DType, Shape, Type};

impl Layer {
    /// The number of leading axes that are steps: the layer applies to each index of these.
    fn steps(&self, shape: &Shape) -> Option<usize> {
        let open = shape.has_open_item();
        match self {
            // Element by element.
            Layer::Relu | Layer::Sigmoid | Layer::Tanh | Layer::Activation(_) => None,
            Layer::Exp | Layer::Log | Layer::Sqrt | Layer::Square | Layer::Negate => None,
            // Index by index.
            Layer::Embedding { .. } => None,
            // One scalar for each index of a fixed axis, which cannot be a step.
            Layer::BatchNorm { .. } => None,
            // Along the steps, which are the second last axis.
            Layer::MultiHeadAttention { .. } | Layer::PositionalEncoding => None,
            // Along any axis.
            Layer::Permute { .. } | Layer::Slice { .. } | Layer::Mean { .. } => None,
            Layer::Recurrent(_) | Layer::LastStep => None,
            Layer::Linear { .. }
            | Layer::Rbf { .. }
            | Layer::LayerNorm { .. }
            | Layer::Softmax
            | Layer::LogSoftmax => (open || shape.is_sequence()).then(|| shape.rank() - 1),
            // Along the steps.
            Layer::Conv { window, .. } | Layer::MaxPool { window, .. } | Layer::AvgPool { window, .. }
                if window.axes() == 1 && shape.is_open_sequence() =>
            {
                None
            }
            Layer::Conv { .. }
            | Layer::ConvTranspose { .. }
            | Layer::MaxPool { .. }
            | Layer::AvgPool { .. }
            | Layer::LpPool { .. }
            | Layer::Subsample { .. }
            | Layer::AdaptiveAvgPool { .. }
            | Layer::AdaptiveMaxPool { .. }
            | Layer::GlobalAvgPool { .. }
            | Layer::GlobalMaxPool { .. }
            | Layer::Pad { .. }
            | Layer::Upsample { .. }
            | Layer::PixelShuffle { .. }
            | Layer::ChannelShuffle { .. }
            | Layer::GroupNorm { .. }
            | Layer::InstanceNorm { .. }
            | Layer::LocalResponseNorm { .. }
            | Layer::Reshape { .. }
            | Layer::Flatten
            | Layer::Prelu { .. }
            | Layer::Maxout { .. }
            | Layer::Dropout { .. }
            | Layer::ChannelDropout { .. }
            | Layer::StochasticDepth { .. } => {
                let last = shape.dims().iter().rposition(|dim| dim.fixed().is_none());
                last.filter(|_| open).map(|axis| axis + 1)
            }
        }
    }

    /// Checks that the layer takes the elements of its input: numbers, indices, or either.
    fn check_elements(&self, dtype: DType, shape: &Shape) -> Result<(), ShapeError> {
        match (self, dtype) {
            (Layer::Embedding { .. }, DType::F32) => Err(ShapeError::NeedsIndices { got: shape.clone() }),
            // They only move elements.
            (
                Layer::Embedding { .. }
                | Layer::Reshape { .. }
                | Layer::Permute { .. }
                | Layer::Slice { .. }
                | Layer::Flatten,
                DType::I32,
            ) => Ok(()),
            (_, DType::I32) => Err(ShapeError::NeedsNumbers { got: shape.clone() }),
            (_, DType::F32) => Ok(()),
        }
    }

    /// Adds the layer after `x`. If `x` has steps, they are folded into the batch before the layer and unfolded after
    /// it.
    pub(in crate::graph) fn build_on_steps(
        &self,
        builder: &mut Builder,
        label: &str,
        x: ValueId,
    ) -> Result<ValueId, GraphError> {
        let Type { dtype, shape } = builder.graph().ty(x).clone();
        self.check_elements(dtype, &shape)
            .map_err(|error| GraphError::Shape { at: self.name().to_owned(), error })?;
        let Some(axes) = self.steps(&shape) else { return self.build(builder, label, x) };
        let item_is_open = shape.dims()[axes..].iter().any(|dim| dim.fixed().is_none());
        let has_no_item = axes == shape.rank() && !matches!(self, Layer::Dropout { .. });
        if item_is_open || has_no_item {
            let error = ShapeError::OpenSize { shape };
            return Err(GraphError::Shape { at: self.name().to_owned(), error });
        }
        let folded = builder.op(Reshape { shape: shape.with_first_folded(axes) }, &[x], label)?;
        let y = self.build(builder, label, folded)?;
        let item = builder.graph().ty(y).shape.item_dims().to_vec();
        let shape = Shape::new([&shape.dims()[..axes], &item].concat());
        builder.op(Reshape { shape }, &[y], label)
    }

    /// Adds the layer's operators and parameters after `x`; parameters are named `label.weight` and so on.
    fn build(&self, builder: &mut Builder, label: &str, x: ValueId) -> Result<ValueId, GraphError> {
        let shape = builder.graph().ty(x).shape.clone();
        let item = shape.item();
        let at = |error| GraphError::Shape { at: self.name().to_owned(), error };
        match self {
            Layer::Conv { out_channels, window, groups, bias, init, rotated, connections } => {
                let (name, out_channels, groups) = (self.name(), *out_channels, *groups);
                let (bias, init, rotated) = (*bias, *init, *rotated);
                let conv = ConvLayer { name, out_channels, window, groups, bias, init, rotated, connections };
                conv.build(builder, label, x)
            }
            Layer::ConvTranspose { out_channels, window, output_padding, groups, bias, init } => {
                let conv = ConvTransposeLayer {
                    out_channels: *out_channels,
                    window,
                    output_padding,
                    groups: *groups,
                    bias: *bias,
                    init: *init,
                };
                conv.build(builder, label, x)
            }
            Layer::MaxPool { window, ceil_mode } => pool::max(builder, label, x, window, *ceil_mode),
            Layer::AvgPool { window, ceil_mode, count_include_pad } => {
                pool::average(builder, label, x, window, (*ceil_mode, *count_include_pad))
            }
            Layer::LpPool { kernel_size, stride, power } => {
                pool::norm(builder, label, x, (kernel_size, stride), *power)
            }
            Layer::Subsample { kernel_size } => pool::subsample(builder, label, x, kernel_size),
            Layer::AdaptiveAvgPool { output_size } => {
                pool::adaptive(builder, label, x, output_size, ReduceKind::Mean)
            }
            Layer::AdaptiveMaxPool { output_size } => {
                pool::adaptive(builder, label, x, output_size, ReduceKind::Max)
            }
            Layer::GlobalAvgPool { axes } => pool::global(builder, label, x, *axes, ReduceKind::Mean),
            Layer::GlobalMaxPool { axes } => pool::global(builder, label, x, *axes, ReduceKind::Max),
            Layer::Pad { padding, mode } => spatial::pad(builder, label, x, padding, *mode),
            Layer::Upsample { factor, mode } => spatial::upsample(builder, label, x, factor, *mode),
            Layer::PixelShuffle { factor } => spatial::pixel_shuffle(builder, label, x, *factor),
            Layer::ChannelShuffle { groups } => spatial::channel_shuffle(builder, label, x, *groups),
            Layer::Reshape { sizes } => builder.reshape(label, x, shape.with_item(sizes)),
            Layer::Permute { order } => {
                let mut sorted = order.clone();
                sorted.sort_unstable();
                if !shape.is_batched() || !sorted.into_iter().eq(0..shape.rank() - 1) {
                    return Err(at(ShapeError::Permutation { order: order.clone(), shape }));
                }
                let order: Vec<usize> = [0].into_iter().chain(order.iter().map(|axis| axis + 1)).collect();
                builder.transpose(label, x, &order)
            }
            Layer::Slice { start, length, axis } => {
                builder.slice(label, x, axis.saturating_add(1), *start, *length).map_err(in_sample)
            }
            Layer::Mean { axes } => {
                let axes: Vec<usize> = axes.iter().map(|axis| axis.saturating_add(1)).collect();
                builder.reduce(label, x, ReduceKind::Mean, &axes).map_err(in_sample)
            }
            Layer::LayerNorm { epsilon, affine } => norm::layer(builder, label, x, *epsilon, *affine),
            Layer::GroupNorm { groups, epsilon, affine } => {
                norm::group(builder, label, x, *groups, (*epsilon, *affine))
            }
            Layer::InstanceNorm { epsilon, affine } => {
                norm::group(builder, label, x, item.first().copied().unwrap_or(1), (*epsilon, *affine))
            }
            Layer::LocalResponseNorm { size, alpha, beta, k } => {
                norm::local_response(builder, label, x, *size, [*alpha, *beta, *k])
            }
            Layer::Linear { out_features, bias, init } => {
                let [length] = item[..] else {
                    return Err(at(ShapeError::Rank { expected: "a vector".to_owned(), got: shape }));
                };
                if *out_features == 0 {
                    return Err(at(ShapeError::ZeroArgument { argument: "out_features" }));
                }
                let weight = builder.parameter(label, "weight", &[*out_features, length], *init)?;
                let y = builder.op(Linear { epilogue: Vec::new() }, &[x, weight], label)?;
                add_bias(builder, label, y, *bias, *out_features)
            }
            Layer::Recurrent(recurrent) => {
                Ok(builder.recurrent(label, recurrent, x, &RecurrentOperands::default())?.sequence)
            }
            Layer::LastStep => recurrent::last_step(builder, label, x),
            Layer::Embedding { vocabulary, features, init } => {
                for (argument, size) in [("vocabulary", *vocabulary), ("features", *features)] {
                    if size == 0 {
                        return Err(at(ShapeError::ZeroArgument { argument }));
                    }
                }
                let table = builder.parameter(label, "weight", &[*vocabulary, *features], *init)?;
                builder.op(Gather { rows: *vocabulary }, &[table, x], label)
            }
            Layer::MultiHeadAttention { heads, bias, causal, init } => {
                let heads = Heads { heads: *heads, bias: *bias, init: *init };
                let mask = AttentionMask { causal: *causal, lengths: None };
                builder.multi_head_attention(label, [x; 3], &heads, &mask)
            }
            Layer::PositionalEncoding => builder.add_positions(label, x),
            Layer::Rbf { out_features, trainable, init } => {
                distance::rbf(builder, label, x, *out_features, (*trainable, *init))
            }
            Layer::Flatten => {
                let shape = shape.with_item(&[shape.item_elements()]);
                builder.op(Reshape { shape }, &[x], label)
            }
            Layer::Dropout { rate } => builder.op(Dropout::new(*rate), &[x], label),
            Layer::ChannelDropout { rate } => {
                builder.op(Dropout { rate: *rate, unit: MaskUnit::Channel }, &[x], label)
            }
            Layer::StochasticDepth { rate } => {
                builder.op(Dropout { rate: *rate, unit: MaskUnit::Sample }, &[x], label)
            }
            Layer::BatchNorm { epsilon, momentum } => {
                let Some(&channels) = item.first() else {
                    let expected = "a vector or an image".to_owned();
                    return Err(at(ShapeError::Rank { expected, got: shape }));
                };
                let gamma = builder.parameter(label, "weight", &[channels], Initializer::ONES)?;
                let beta = builder.parameter(label, "bias", &[channels], Initializer::ZEROS)?;
                let mean = builder.state(label, "running_mean", &[channels], Initializer::ZEROS)?;
                let variance = builder.state(label, "running_var", &[channels], Initializer::ONES)?;
                let op = BatchNorm { epsilon: *epsilon, momentum: *momentum, epilogue: Vec::new() };
                builder.op(op, &[x, gamma, beta, mean, variance], label)
            }
            Layer::Relu => builder.op(Unary { kind: UnaryKind::Relu }, &[x], label),
            Layer::Sigmoid => builder.op(Unary { kind: UnaryKind::Sigmoid }, &[x], label),
            Layer::Tanh => builder.op(Unary { kind: UnaryKind::Tanh }, &[x], label),
            Layer::Activation(activation) => {
                let kind = UnaryKind::Activation(*activation);
                builder.op(Unary { kind }, &[x], label)
            }
            Layer::Prelu { shared, init } => activation::prelu(builder, label, x, *shared, *init),
            Layer::Maxout { pieces } => activation::maxout(builder, label, x, *pieces),
            Layer::Exp => builder.op(Unary { kind: UnaryKind::Exp }, &[x], label),
            Layer::Log => builder.op(Unary { kind: UnaryKind::Log }, &[x], label),
            Layer::Sqrt => builder.op(Unary { kind: UnaryKind::Sqrt }, &[x], label),
            Layer::Square => builder.op(Unary { kind: UnaryKind::Square }, &[x], label),
            Layer::Negate => builder.op(Unary { kind: UnaryKind::Negate }, &[x], label),
            Layer::Softmax => builder.op(Softmax {}, &[x], label),
            Layer::LogSoftmax => builder.op(LogSoftmax {}, &[x], label),
        }
    }
}

/// The error with axes numbered without the batch.
fn in_sample(error: GraphError) -> GraphError {
    match error {
        GraphError::Shape { at, mut error } => {
            if let ShapeError::Axis { axis, .. } | ShapeError::SliceOutOfRange { axis, .. } = &mut error {
                *axis = axis.saturating_sub(1);
            }
            GraphError::Shape { at, error }
        }
        other => other,
    }
}

pub(super) fn add_bias(
    builder: &mut Builder,
    label: &str,
    y: ValueId,
    bias: bool,
    channels: usize,
) -> Result<ValueId, GraphError> {
    if !bias {
        return Ok(y);
    }
    let bias = builder.parameter(label, "bias", &[channels], Initializer::ZEROS)?;
    builder.op(Bias {}, &[y, bias], label)
}
