//! Layers as users declare them, and the operators and parameters that each becomes.

mod activation;
mod conv;
mod norm;
mod pool;
pub mod rules;
mod serialized;
mod spatial;
mod table;

use self::conv::{ConvLayer, ConvTransposeLayer};
pub use self::spatial::{Interpolation, PaddingMode};
use super::Builder;
use super::initializer::Initializer;
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::ops::batch_norm::BatchNorm;
use crate::ops::dropout::{Dropout, MaskUnit};
use crate::ops::elementwise::{Activation, Bias, Unary, UnaryKind};
use crate::ops::linear::Linear;
use crate::ops::reduce::ReduceKind;
use crate::ops::softmax::{LogSoftmax, Softmax};
use crate::ops::structure::Reshape;
use crate::ops::window::{Sides, Window};
use crate::shape::Shape;

/// A layer with one input and one output.
///
/// `serde` reads and writes it with the names of `network!`, in self-describing formats such as JSON. Omitted arguments
/// have the defaults of `network!`:
///
/// ```
/// use windlass_compiler::graph::Layer;
/// use windlass_compiler::ops::window::Window;
///
/// let text = r#"{"layer": "conv2d", "out_channels": 6, "kernel_size": 5, "padding": 2}"#;
/// let layer: Layer = serde_json::from_str(text)?;
/// assert_eq!(layer, Layer::conv(6, Window::square(5, 1, 2)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// Convolution (cross-correlation) over as many spatial axes as the window has: `conv1d`, `conv2d` or `conv3d`.
    Conv {
        /// Channels of the result.
        out_channels: usize,
        /// The window.
        window: Window,
        /// Number of channel groups; channels of different groups are independent.
        groups: usize,
        /// Whether to add a bias per output channel.
        bias: bool,
        /// Initial values of the weight.
        init: Initializer,
    },
    /// Transposed convolution: the gradient of a convolution to its input, so that strides enlarge images (Zeiler et
    /// al. 2010; Dumoulin and Visin 2016, arXiv:1603.07285). Sizes of the result are (input − 1) · stride − padding +
    /// dilation · (kernel size − 1) + 1 + output padding, with the padding of both sides. The weight has the shape
    /// `[C, out_channels / groups, kernel…]`.
    ConvTranspose {
        /// Channels of the result.
        out_channels: usize,
        /// The window of the convolution whose gradient it is.
        window: Window,
        /// Elements added after the result, for each axis; below the stride.
        output_padding: Vec<usize>,
        /// Number of channel groups; channels of different groups are independent.
        groups: usize,
        /// Whether to add a bias per output channel.
        bias: bool,
        /// Initial values of the weight.
        init: Initializer,
    },
    /// Maximum of each window.
    MaxPool {
        /// The window.
        window: Window,
        /// Whether sizes are rounded up ([`Window::rounded_up`]).
        ceil_mode: bool,
    },
    /// Mean of each window.
    AvgPool {
        /// The window.
        window: Window,
        /// Whether sizes are rounded up ([`Window::rounded_up`]). Elements beyond the padding are never counted.
        ceil_mode: bool,
        /// Whether padding counts as zeros; otherwise each window is divided by the number of its elements in the input.
        count_include_pad: bool,
    },
    /// The p-norm of each window: (Σ |x|ᵖ)^(1/p).
    LpPool {
        /// Sizes of the window.
        kernel_size: Vec<usize>,
        /// Distances between neighbouring windows.
        stride: Vec<usize>,
        /// The power p, at least 1.
        power: f64,
    },
    /// Trainable subsampling (LeCun et al. 1998, section II.B): the sum of each window times a weight per channel, plus
    /// a bias per channel.
    Subsample {
        /// Sizes of the window, and distances between windows.
        kernel_size: Vec<usize>,
    },
    /// Means of as many windows as the result has elements: window `i` of `n` of an axis of size `s` has the elements
    /// from ⌊i·s/n⌋ to ⌈(i+1)·s/n⌉.
    AdaptiveAvgPool {
        /// Spatial sizes of the result.
        output_size: Vec<usize>,
    },
    /// Maxima of the same windows.
    AdaptiveMaxPool {
        /// Spatial sizes of the result.
        output_size: Vec<usize>,
    },
    /// Mean of each channel: `[C, H, W]` to `[C, 1, 1]`.
    GlobalAvgPool {
        /// The number of spatial axes.
        axes: usize,
    },
    /// Maximum of each channel: `[C, H, W]` to `[C, 1, 1]`.
    GlobalMaxPool {
        /// The number of spatial axes.
        axes: usize,
    },
    /// Elements before and after the spatial axes.
    Pad {
        /// The number of elements for each axis.
        padding: Vec<Sides>,
        /// Their values.
        mode: PaddingMode,
    },
    /// Larger images.
    Upsample {
        /// The factor by which each axis grows.
        factor: Vec<usize>,
        /// How elements between the input's are computed.
        mode: Interpolation,
    },
    /// Rearranges `[C·f², H, W]` to `[C, H·f, W·f]` (Shi et al. 2016, arXiv:1609.05158).
    PixelShuffle {
        /// The factor f by which height and width grow.
        factor: usize,
    },
    /// Interleaves groups of channels: channel `c` of group `g` becomes channel `c·groups + g` (Zhang et al. 2017,
    /// arXiv:1707.01083).
    ChannelShuffle {
        /// The number of groups.
        groups: usize,
    },
    /// The same elements with other sizes.
    Reshape {
        /// Sizes of a sample.
        sizes: Vec<usize>,
    },
    /// Permutes the axes of a sample: axis `i` of the result is axis `order[i]`, counted from 0 without the batch.
    Permute {
        /// The order.
        order: Vec<usize>,
    },
    /// Some indices of an axis.
    Slice {
        /// The first index.
        start: usize,
        /// The number of indices.
        length: usize,
        /// The axis, counted from 0 without the batch: 0 for channels.
        axis: usize,
    },
    /// The mean over some axes, which the result does not have.
    Mean {
        /// The axes, counted from 0 without the batch.
        axes: Vec<usize>,
    },
    /// Dense layer on a vector.
    Linear {
        /// Length of the result.
        out_features: usize,
        /// Whether to add a bias per output.
        bias: bool,
        /// Initial values of the weight.
        init: Initializer,
    },
    /// Flattens any shape to a vector.
    Flatten,
    /// Sets random elements to zero in training.
    Dropout {
        /// The probability that an element becomes zero.
        rate: f64,
    },
    /// Sets random channels to zero in training (Tompson et al. 2015, arXiv:1411.4280).
    ChannelDropout {
        /// The probability that a channel of a sample becomes zero.
        rate: f64,
    },
    /// Sets random samples to zero in training, so that residual connections skip their block (Huang et al. 2016,
    /// arXiv:1603.09382).
    StochasticDepth {
        /// The probability that a sample becomes zero.
        rate: f64,
    },
    /// Normalises each vector, or each step of a sequence, or each image, with a weight and a bias per element (Ba,
    /// Kiros and Hinton 2016, arXiv:1607.06450).
    LayerNorm {
        /// Added to the variance.
        epsilon: f64,
        /// Whether there is a weight and a bias.
        affine: bool,
    },
    /// Normalises groups of channels of each sample, with a weight and a bias per channel (Wu and He 2018,
    /// arXiv:1803.08494).
    GroupNorm {
        /// The number of groups.
        groups: usize,
        /// Added to the variance.
        epsilon: f64,
        /// Whether there is a weight and a bias.
        affine: bool,
    },
    /// Normalises each channel of each sample (Ulyanov, Vedaldi and Lempitsky 2016, arXiv:1607.08022).
    InstanceNorm {
        /// Added to the variance.
        epsilon: f64,
        /// Whether there is a weight and a bias per channel.
        affine: bool,
    },
    /// Local response normalisation (Krizhevsky, Sutskever and Hinton 2012, section 3.3): each element divided by
    /// `(k + alpha · m)^beta`, where `m` is the mean of the squares in `size` neighbouring channels.
    LocalResponseNorm {
        /// The number of neighbouring channels.
        size: usize,
        /// The factor of the mean of squares.
        alpha: f64,
        /// The exponent.
        beta: f64,
        /// The number added to the mean.
        k: f64,
    },
    /// Batch normalisation over the channels.
    BatchNorm {
        /// Added to the variance.
        epsilon: f64,
        /// Weight of the latest batch in the running statistics.
        momentum: f64,
    },
    /// Rectified linear unit.
    Relu,
    /// Logistic function.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// Another activation, such as `gelu`.
    Activation(Activation),
    /// `x`, or `x` times a parameter below zero (He et al. 2015).
    Prelu {
        /// Whether all channels share one parameter.
        shared: bool,
        /// Initial values of the parameters.
        init: Initializer,
    },
    /// Maximum of each group of neighbouring channels (Goodfellow et al. 2013).
    Maxout {
        /// The number of channels in a group.
        pieces: usize,
    },
    /// `eˣ`.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// `x²`.
    Square,
    /// `−x`.
    Negate,
    /// Softmax over the channels.
    Softmax,
    /// Logarithm of softmax over the channels.
    LogSoftmax,
}

impl Layer {
    /// A convolution with a bias, one group and the default initialisation.
    pub fn conv(out_channels: usize, window: Window) -> Self {
        Layer::Conv { out_channels, window, groups: 1, bias: true, init: Initializer::XavierUniform }
    }

    /// A dense layer with a bias and the default initialisation.
    pub fn linear(out_features: usize) -> Self {
        Layer::Linear { out_features, bias: true, init: Initializer::XavierUniform }
    }

    /// `prelu` with a parameter for each channel, initially 0.25.
    pub fn prelu() -> Self {
        Layer::Prelu { shared: false, init: activation::PRELU_INIT }
    }

    /// Maximum of each window, with sizes rounded down.
    pub fn max_pool(window: Window) -> Self {
        Layer::MaxPool { window, ceil_mode: false }
    }

    /// Mean of each window, with padding counted as zeros and sizes rounded down.
    pub fn avg_pool(window: Window) -> Self {
        Layer::AvgPool { window, ceil_mode: false, count_include_pad: true }
    }

    /// The name in `network!`.
    pub fn name(&self) -> &'static str {
        // Every layer that a rule can make has that rule; others have more axes than any.
        self.rule().map_or("layer", |(rule, _)| rule.name)
    }

    /// The number of leading axes that are steps: the layer applies to each index of these.
    fn steps(&self, shape: &Shape) -> Option<usize> {
        let open = shape.has_open_item();
        match self {
            // Element by element.
            Layer::Relu | Layer::Sigmoid | Layer::Tanh | Layer::Activation(_) => None,
            Layer::Exp | Layer::Log | Layer::Sqrt | Layer::Square | Layer::Negate => None,
            // One scalar for each index of a fixed axis, which cannot be a step.
            Layer::BatchNorm { .. } => None,
            // Along any axis.
            Layer::Permute { .. } | Layer::Slice { .. } | Layer::Mean { .. } => None,
            Layer::Linear { .. } | Layer::LayerNorm { .. } | Layer::Softmax | Layer::LogSoftmax => {
                (open || shape.is_sequence()).then(|| shape.rank() - 1)
            }
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

    /// Adds the layer after `x`. If `x` has steps, they are folded into the batch before the layer and unfolded after
    /// it.
    pub(super) fn build_on_steps(
        &self,
        builder: &mut Builder,
        label: &str,
        x: ValueId,
    ) -> Result<ValueId, GraphError> {
        let shape = builder.graph().ty(x).shape.clone();
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
            Layer::Conv { out_channels, window, groups, bias, init } => {
                let (name, out_channels, groups) = (self.name(), *out_channels, *groups);
                let conv = ConvLayer { name, out_channels, window, groups, bias: *bias, init: *init };
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

fn add_bias(
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
