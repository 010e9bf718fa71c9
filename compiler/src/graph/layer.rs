//! Layers as users declare them, and the operators and parameters that each becomes.

mod conv;
mod serialized;

use serde::{Deserialize, Serialize};

use self::conv::ConvLayer;
use super::Builder;
use super::initializer::Initializer;
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::ops::batch_norm::BatchNorm;
use crate::ops::dropout::Dropout;
use crate::ops::elementwise::{Bias, Unary, UnaryKind};
use crate::ops::linear::Linear;
use crate::ops::pool::{AvgPool, MaxPool};
use crate::ops::softmax::{LogSoftmax, Softmax};
use crate::ops::structure::Reshape;
use crate::ops::window::{Window, image_words};
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "serialized::SerializedLayer", into = "serialized::SerializedLayer")]
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
    /// Maximum of each window.
    MaxPool(Window),
    /// Mean of each window.
    AvgPool(Window),
    /// Mean of each channel: `[C, H, W]` to `[C, 1, 1]`.
    GlobalAvgPool {
        /// The number of spatial axes.
        axes: usize,
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

    /// The name in `network!`.
    pub fn name(&self) -> &'static str {
        match self {
            Layer::Conv { window, .. } => by_axes(window.axes(), ["conv1d", "conv2d", "conv3d"]),
            Layer::MaxPool(window) => by_axes(window.axes(), ["max_pool1d", "max_pool2d", "max_pool3d"]),
            Layer::AvgPool(window) => by_axes(window.axes(), ["avg_pool1d", "avg_pool2d", "avg_pool3d"]),
            Layer::GlobalAvgPool { axes } => {
                by_axes(*axes, ["global_avg_pool1d", "global_avg_pool2d", "global_avg_pool3d"])
            }
            Layer::Linear { .. } => "linear",
            Layer::Flatten => "flatten",
            Layer::Dropout { .. } => "dropout",
            Layer::BatchNorm { .. } => "batch_norm",
            Layer::Relu => "relu",
            Layer::Sigmoid => "sigmoid",
            Layer::Tanh => "tanh",
            Layer::Softmax => "softmax",
            Layer::LogSoftmax => "log_softmax",
        }
    }

    /// The number of leading axes that are steps: the layer applies to each index of these.
    fn steps(&self, shape: &Shape) -> Option<usize> {
        let open = shape.has_open_item();
        match self {
            // Element by element.
            Layer::Relu | Layer::Sigmoid | Layer::Tanh => None,
            // One scalar for each index of a fixed axis, which cannot be a step.
            Layer::BatchNorm { .. } => None,
            Layer::Linear { .. } | Layer::Softmax | Layer::LogSoftmax => {
                (open || shape.is_sequence()).then(|| shape.rank() - 1)
            }
            // Along the steps.
            Layer::Conv { window, .. } | Layer::MaxPool(window) | Layer::AvgPool(window)
                if window.axes() == 1 && shape.is_open_sequence() =>
            {
                None
            }
            Layer::Conv { .. }
            | Layer::MaxPool(_)
            | Layer::AvgPool(_)
            | Layer::GlobalAvgPool { .. }
            | Layer::Flatten
            | Layer::Dropout { .. } => {
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
            Layer::MaxPool(window) => builder.op(MaxPool { window: window.clone() }, &[x], label),
            Layer::AvgPool(window) => builder.op(AvgPool { window: window.clone() }, &[x], label),
            Layer::GlobalAvgPool { axes } => {
                let Some(sizes) = item.get(1..).filter(|sizes| sizes.len() == *axes) else {
                    return Err(at(ShapeError::Rank { expected: image_words(*axes), got: shape }));
                };
                let window = Window { kernel_size: sizes.to_vec(), ..Window::cube(*axes, 1, 1, 0) };
                builder.op(AvgPool { window }, &[x], label)
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
            Layer::Dropout { rate } => builder.op(Dropout { rate: *rate }, &[x], label),
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
            Layer::Softmax => builder.op(Softmax {}, &[x], label),
            Layer::LogSoftmax => builder.op(LogSoftmax {}, &[x], label),
        }
    }
}

/// The name for a number of spatial axes.
fn by_axes(axes: usize, [one, two, three]: [&'static str; 3]) -> &'static str {
    match axes {
        1 => one,
        3 => three,
        _ => two,
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
