//! The serialized form of layers: the names of `network!`, with its defaults.

use serde::{Deserialize, Serialize};

use super::Layer;
use super::activation::PRELU_INIT;
use crate::graph::initializer::Initializer;
use crate::ops::elementwise::Activation;
use crate::ops::window::Window;

/// A layer with named arguments. Omitted ones have the defaults of `network!`.
#[derive(Serialize, Deserialize)]
#[serde(tag = "layer", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum SerializedLayer {
    Conv1d(Convolution),
    Conv2d(Convolution),
    Conv3d(Convolution),
    MaxPool1d(Pooling),
    MaxPool2d(Pooling),
    MaxPool3d(Pooling),
    AvgPool1d(Pooling),
    AvgPool2d(Pooling),
    AvgPool3d(Pooling),
    GlobalAvgPool1d {},
    GlobalAvgPool2d {},
    GlobalAvgPool3d {},
    Linear {
        out_features: usize,
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        bias: bool,
        #[serde(default = "xavier", skip_serializing_if = "is_xavier")]
        init: Initializer,
    },
    Flatten {},
    Dropout {
        rate: f64,
    },
    BatchNorm {
        #[serde(default = "epsilon")]
        epsilon: f64,
        #[serde(default = "momentum")]
        momentum: f64,
    },
    Relu {},
    Sigmoid {},
    Tanh {},
    Relu6 {},
    LeakyRelu {
        #[serde(default = "hundredth")]
        slope: f64,
    },
    Elu {
        #[serde(default = "one_number")]
        alpha: f64,
    },
    Selu {},
    Gelu {
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        approximate: bool,
    },
    Silu {},
    HardSwish {},
    HardSigmoid {},
    Softplus {},
    ScaledTanh {},
    Abs {},
    Huber {
        #[serde(default = "one_number")]
        delta: f64,
    },
    Prelu {
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        shared: bool,
        #[serde(default = "quarter", skip_serializing_if = "is_quarter")]
        init: Initializer,
    },
    Maxout {
        pieces: usize,
    },
    Exp {},
    Log {},
    Sqrt {},
    Square {},
    Negate {},
    Softmax {},
    LogSoftmax {},
}

/// A convolution.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Convolution {
    out_channels: usize,
    kernel_size: Sizes,
    #[serde(default = "one", skip_serializing_if = "Sizes::is_one")]
    stride: Sizes,
    #[serde(default = "zero", skip_serializing_if = "Sizes::is_zero")]
    padding: Sizes,
    #[serde(default = "one", skip_serializing_if = "Sizes::is_one")]
    dilation: Sizes,
    #[serde(default = "one_group", skip_serializing_if = "is_one_group")]
    groups: usize,
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    bias: bool,
    #[serde(default = "xavier", skip_serializing_if = "is_xavier")]
    init: Initializer,
}

/// The window of a pooling layer. The stride defaults to the window's size.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pooling {
    kernel_size: Sizes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stride: Option<Sizes>,
    #[serde(default = "zero", skip_serializing_if = "Sizes::is_zero")]
    padding: Sizes,
    #[serde(default = "one", skip_serializing_if = "Sizes::is_one")]
    dilation: Sizes,
}

/// One size for all axes, or one for each: `3` or `[1, 7]`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a size such as 3, or a list of one for each axis such as [3, 5]")]
pub(super) enum Sizes {
    All(usize),
    Each(Vec<usize>),
}

impl Sizes {
    /// The shortest form.
    fn of(sizes: Vec<usize>) -> Self {
        match sizes[..] {
            [first, ref others @ ..] if others.iter().all(|size| *size == first) => Sizes::All(first),
            _ => Sizes::Each(sizes),
        }
    }

    /// The size of each axis. A single size stands for all axes.
    fn each(self, axes: usize, argument: &'static str) -> Result<Vec<usize>, WrongLength> {
        match self {
            Sizes::All(size) => Ok(vec![size; axes]),
            Sizes::Each(sizes) if sizes.len() == axes => Ok(sizes),
            Sizes::Each(sizes) => Err(WrongLength { argument, axes, got: sizes.len() }),
        }
    }

    fn is_one(&self) -> bool {
        *self == Sizes::All(1)
    }

    fn is_zero(&self) -> bool {
        *self == Sizes::All(0)
    }
}

fn one() -> Sizes {
    Sizes::All(1)
}

fn zero() -> Sizes {
    Sizes::All(0)
}

fn one_group() -> usize {
    1
}

fn is_one_group(groups: &usize) -> bool {
    *groups == 1
}

fn yes() -> bool {
    true
}

fn is_yes(flag: &bool) -> bool {
    *flag
}

fn xavier() -> Initializer {
    Initializer::XavierUniform
}

fn is_xavier(init: &Initializer) -> bool {
    *init == Initializer::XavierUniform
}

fn hundredth() -> f64 {
    0.01
}

fn one_number() -> f64 {
    1.0
}

fn quarter() -> Initializer {
    PRELU_INIT
}

fn is_quarter(init: &Initializer) -> bool {
    *init == PRELU_INIT
}

fn epsilon() -> f64 {
    1e-5
}

fn momentum() -> f64 {
    0.1
}

/// A list of sizes that does not have one for each axis.
#[derive(Debug, thiserror::Error)]
#[error("`{argument}` has {got} sizes, but the layer has {axes} spatial {}", if *.axes == 1 { "axis" } else { "axes" })]
pub(super) struct WrongLength {
    argument: &'static str,
    axes: usize,
    got: usize,
}

impl Convolution {
    fn layer(self, axes: usize) -> Result<Layer, WrongLength> {
        let window = Window {
            kernel_size: self.kernel_size.each(axes, "kernel_size")?,
            stride: self.stride.each(axes, "stride")?,
            padding: self.padding.each(axes, "padding")?,
            dilation: self.dilation.each(axes, "dilation")?,
        };
        let Convolution { out_channels, groups, bias, init, .. } = self;
        Ok(Layer::Conv { out_channels, window, groups, bias, init })
    }
}

impl Pooling {
    fn window(self, axes: usize) -> Result<Window, WrongLength> {
        let kernel_size = self.kernel_size.each(axes, "kernel_size")?;
        let stride = self.stride.map(|stride| stride.each(axes, "stride")).transpose()?;
        Ok(Window {
            stride: stride.unwrap_or_else(|| kernel_size.clone()),
            padding: self.padding.each(axes, "padding")?,
            dilation: self.dilation.each(axes, "dilation")?,
            kernel_size,
        })
    }
}

impl From<Window> for Pooling {
    fn from(window: Window) -> Self {
        Pooling {
            stride: (window.stride != window.kernel_size).then(|| Sizes::of(window.stride)),
            kernel_size: Sizes::of(window.kernel_size),
            padding: Sizes::of(window.padding),
            dilation: Sizes::of(window.dilation),
        }
    }
}

impl TryFrom<SerializedLayer> for Layer {
    type Error = WrongLength;

    fn try_from(serialized: SerializedLayer) -> Result<Self, WrongLength> {
        Ok(match serialized {
            SerializedLayer::Conv1d(conv) => conv.layer(1)?,
            SerializedLayer::Conv2d(conv) => conv.layer(2)?,
            SerializedLayer::Conv3d(conv) => conv.layer(3)?,
            SerializedLayer::MaxPool1d(pooling) => Layer::MaxPool(pooling.window(1)?),
            SerializedLayer::MaxPool2d(pooling) => Layer::MaxPool(pooling.window(2)?),
            SerializedLayer::MaxPool3d(pooling) => Layer::MaxPool(pooling.window(3)?),
            SerializedLayer::AvgPool1d(pooling) => Layer::AvgPool(pooling.window(1)?),
            SerializedLayer::AvgPool2d(pooling) => Layer::AvgPool(pooling.window(2)?),
            SerializedLayer::AvgPool3d(pooling) => Layer::AvgPool(pooling.window(3)?),
            SerializedLayer::GlobalAvgPool1d {} => Layer::GlobalAvgPool { axes: 1 },
            SerializedLayer::GlobalAvgPool2d {} => Layer::GlobalAvgPool { axes: 2 },
            SerializedLayer::GlobalAvgPool3d {} => Layer::GlobalAvgPool { axes: 3 },
            SerializedLayer::Linear { out_features, bias, init } => {
                Layer::Linear { out_features, bias, init }
            }
            SerializedLayer::Flatten {} => Layer::Flatten,
            SerializedLayer::Dropout { rate } => Layer::Dropout { rate },
            SerializedLayer::BatchNorm { epsilon, momentum } => Layer::BatchNorm { epsilon, momentum },
            SerializedLayer::Relu {} => Layer::Relu,
            SerializedLayer::Sigmoid {} => Layer::Sigmoid,
            SerializedLayer::Tanh {} => Layer::Tanh,
            SerializedLayer::Relu6 {} => Layer::Activation(Activation::Relu6),
            SerializedLayer::LeakyRelu { slope } => Layer::Activation(Activation::leaky_relu(slope)),
            SerializedLayer::Elu { alpha } => Layer::Activation(Activation::elu(alpha)),
            SerializedLayer::Selu {} => Layer::Activation(Activation::Selu),
            SerializedLayer::Gelu { approximate: false } => Layer::Activation(Activation::Gelu),
            SerializedLayer::Gelu { approximate: true } => Layer::Activation(Activation::GeluTanh),
            SerializedLayer::Silu {} => Layer::Activation(Activation::Silu),
            SerializedLayer::HardSwish {} => Layer::Activation(Activation::HardSwish),
            SerializedLayer::HardSigmoid {} => Layer::Activation(Activation::HardSigmoid),
            SerializedLayer::Softplus {} => Layer::Activation(Activation::Softplus),
            SerializedLayer::ScaledTanh {} => Layer::Activation(Activation::ScaledTanh),
            SerializedLayer::Abs {} => Layer::Activation(Activation::Abs),
            SerializedLayer::Huber { delta } => Layer::Activation(Activation::huber(delta)),
            SerializedLayer::Prelu { shared, init } => Layer::Prelu { shared, init },
            SerializedLayer::Maxout { pieces } => Layer::Maxout { pieces },
            SerializedLayer::Exp {} => Layer::Exp,
            SerializedLayer::Log {} => Layer::Log,
            SerializedLayer::Sqrt {} => Layer::Sqrt,
            SerializedLayer::Square {} => Layer::Square,
            SerializedLayer::Negate {} => Layer::Negate,
            SerializedLayer::Softmax {} => Layer::Softmax,
            SerializedLayer::LogSoftmax {} => Layer::LogSoftmax,
        })
    }
}

impl From<Layer> for SerializedLayer {
    fn from(layer: Layer) -> Self {
        /// The form for a number of axes.
        fn by_axes<T>(
            axes: usize,
            content: T,
            [one, two, three]: [fn(T) -> SerializedLayer; 3],
        ) -> SerializedLayer {
            match axes {
                1 => one(content),
                3 => three(content),
                _ => two(content),
            }
        }
        match layer {
            Layer::Conv { out_channels, window, groups, bias, init } => {
                let axes = window.axes();
                let conv = Convolution {
                    out_channels,
                    kernel_size: Sizes::of(window.kernel_size),
                    stride: Sizes::of(window.stride),
                    padding: Sizes::of(window.padding),
                    dilation: Sizes::of(window.dilation),
                    groups,
                    bias,
                    init,
                };
                by_axes(
                    axes,
                    conv,
                    [SerializedLayer::Conv1d, SerializedLayer::Conv2d, SerializedLayer::Conv3d],
                )
            }
            Layer::MaxPool(window) => by_axes(
                window.axes(),
                window.into(),
                [SerializedLayer::MaxPool1d, SerializedLayer::MaxPool2d, SerializedLayer::MaxPool3d],
            ),
            Layer::AvgPool(window) => by_axes(
                window.axes(),
                window.into(),
                [SerializedLayer::AvgPool1d, SerializedLayer::AvgPool2d, SerializedLayer::AvgPool3d],
            ),
            Layer::GlobalAvgPool { axes: 1 } => SerializedLayer::GlobalAvgPool1d {},
            Layer::GlobalAvgPool { axes: 3 } => SerializedLayer::GlobalAvgPool3d {},
            Layer::GlobalAvgPool { .. } => SerializedLayer::GlobalAvgPool2d {},
            Layer::Linear { out_features, bias, init } => {
                SerializedLayer::Linear { out_features, bias, init }
            }
            Layer::Flatten => SerializedLayer::Flatten {},
            Layer::Dropout { rate } => SerializedLayer::Dropout { rate },
            Layer::BatchNorm { epsilon, momentum } => SerializedLayer::BatchNorm { epsilon, momentum },
            Layer::Relu => SerializedLayer::Relu {},
            Layer::Sigmoid => SerializedLayer::Sigmoid {},
            Layer::Tanh => SerializedLayer::Tanh {},
            Layer::Activation(activation) => match activation {
                Activation::Relu6 => SerializedLayer::Relu6 {},
                Activation::LeakyRelu(slope) => SerializedLayer::LeakyRelu { slope: slope.get() },
                Activation::Elu(alpha) => SerializedLayer::Elu { alpha: alpha.get() },
                Activation::Selu => SerializedLayer::Selu {},
                Activation::Gelu => SerializedLayer::Gelu { approximate: false },
                Activation::GeluTanh => SerializedLayer::Gelu { approximate: true },
                Activation::Silu => SerializedLayer::Silu {},
                Activation::HardSwish => SerializedLayer::HardSwish {},
                Activation::HardSigmoid => SerializedLayer::HardSigmoid {},
                Activation::Softplus => SerializedLayer::Softplus {},
                Activation::ScaledTanh => SerializedLayer::ScaledTanh {},
                Activation::Abs => SerializedLayer::Abs {},
                Activation::Huber(delta) => SerializedLayer::Huber { delta: delta.get() },
            },
            Layer::Prelu { shared, init } => SerializedLayer::Prelu { shared, init },
            Layer::Maxout { pieces } => SerializedLayer::Maxout { pieces },
            Layer::Exp => SerializedLayer::Exp {},
            Layer::Log => SerializedLayer::Log {},
            Layer::Sqrt => SerializedLayer::Sqrt {},
            Layer::Square => SerializedLayer::Square {},
            Layer::Negate => SerializedLayer::Negate {},
            Layer::Softmax => SerializedLayer::Softmax {},
            Layer::LogSoftmax => SerializedLayer::LogSoftmax {},
        }
    }
}

#[cfg(test)]
mod tests;
