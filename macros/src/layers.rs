//! The table of layers: names, arguments, defaults. Argument parsing, suggestions and the generated documentation use
//! it; the compiler checks shapes.

mod activations;
mod elsewhere;
#[cfg(test)]
mod tests;

use windlass_compiler::graph::Layer;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::ops::window::Window;

pub(crate) use self::elsewhere::{absent, is_loss};
use crate::diagnostics::did_you_mean;

/// A layer of the language with one input and one output.
pub(crate) struct LayerRule {
    pub(crate) name: &'static str,
    /// Its names in other libraries.
    pub(crate) also: &'static [&'static str],
    /// The quantity that it takes from its input, but that is an argument in other libraries.
    pub(crate) known: Option<Known>,
    pub(crate) arguments: &'static [ArgumentRule],
    pub(crate) example: &'static str,
    /// `None` if a value is unknown because of a mistake that was already reported.
    pub(crate) make: fn(&Settings) -> Option<Layer>,
}

impl LayerRule {
    /// The number of spatial axes of the layer's window; 0 for a layer without one.
    pub(crate) fn axes(&self) -> usize {
        let axes = |argument: &ArgumentRule| match argument.kind {
            Kind::Sizes(axes) => Some(axes),
            _ => None,
        };
        self.arguments.iter().find_map(axes).unwrap_or(0)
    }
}

/// A quantity that a layer takes from its input.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub(crate) words: &'static str,
    /// The names of the argument in other libraries.
    pub(crate) names: &'static [&'static str],
}

pub(crate) struct ArgumentRule {
    pub(crate) name: &'static str,
    pub(crate) also: &'static [&'static str],
    pub(crate) kind: Kind,
    pub(crate) default: Default,
}

/// The kind of an argument's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One size.
    Size,
    /// One size for all axes of a window, or one for each; the number of axes.
    Sizes(usize),
    /// A real number.
    Number,
    /// `true` or `false`.
    Flag,
    /// An initializer.
    Initializer,
}

impl Kind {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Kind::Size => "a size such as 16",
            Kind::Sizes(1) => "a size such as 3",
            Kind::Sizes(2) => "a size such as 3, or a pair (height, width)",
            Kind::Sizes(_) => "a size such as 3, or a triple (depth, height, width)",
            Kind::Number => "a number such as 0.5",
            Kind::Flag => "`true` or `false`",
            Kind::Initializer => "a distribution such as `xavier_uniform` or `normal(0, 0.01)`",
        }
    }
}

/// The default of an argument.
#[derive(Clone, Copy)]
pub(crate) enum Default {
    /// It is required; only required arguments may be positional.
    Required,
    Is(Setting),
    /// The value of another argument.
    As(&'static str),
}

/// An argument's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Setting {
    Size(usize),
    Sizes(AxisSizes),
    Number(f64),
    Flag(bool),
    Initializer(Initializer),
}

/// The most spatial axes of a layer.
pub(crate) const MOST_AXES: usize = 3;

/// A size for each spatial axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AxisSizes {
    sizes: [usize; MOST_AXES],
    axes: usize,
}

impl AxisSizes {
    /// The same size along all axes.
    pub(crate) const fn all(axes: usize, size: usize) -> Self {
        AxisSizes { sizes: [size; MOST_AXES], axes }
    }

    /// One size for each axis; `None` for more axes than there can be.
    pub(crate) fn each(sizes: &[usize]) -> Option<Self> {
        let mut each = AxisSizes::all(sizes.len(), 0);
        each.sizes.get_mut(..sizes.len())?.copy_from_slice(sizes);
        Some(each)
    }

    pub(crate) fn as_slice(&self) -> &[usize] {
        &self.sizes[..self.axes]
    }
}

/// The arguments of one call, including defaults.
#[derive(Debug, Default)]
pub(crate) struct Settings(Vec<(&'static str, Setting)>);

impl Settings {
    pub(crate) fn set(&mut self, name: &'static str, setting: Setting) {
        self.0.push((name, setting));
    }

    pub(crate) fn get(&self, name: &str) -> Option<Setting> {
        self.0.iter().find(|(candidate, _)| *candidate == name).map(|(_, setting)| *setting)
    }

    fn size(&self, name: &str) -> Option<usize> {
        match self.get(name)? {
            Setting::Size(size) => Some(size),
            _ => None,
        }
    }

    fn sizes(&self, name: &str) -> Option<Vec<usize>> {
        match self.get(name)? {
            Setting::Sizes(sizes) => Some(sizes.as_slice().to_vec()),
            _ => None,
        }
    }

    fn number(&self, name: &str) -> Option<f64> {
        match self.get(name)? {
            Setting::Number(number) => Some(number),
            _ => None,
        }
    }

    fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name)? {
            Setting::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    fn initializer(&self, name: &str) -> Option<Initializer> {
        match self.get(name)? {
            Setting::Initializer(initializer) => Some(initializer),
            _ => None,
        }
    }

    fn window(&self) -> Option<Window> {
        let kernel_size = self.sizes("kernel_size")?;
        Some(Window {
            stride: self.sizes("stride")?,
            padding: self.sizes("padding")?,
            dilation: match self.get("dilation") {
                Some(_) => self.sizes("dilation")?,
                None => vec![1; kernel_size.len()],
            },
            kernel_size,
        })
    }
}

const fn required(name: &'static str, also: &'static [&'static str], kind: Kind) -> ArgumentRule {
    ArgumentRule { name, also, kind, default: Default::Required }
}

const fn optional(
    name: &'static str,
    also: &'static [&'static str],
    kind: Kind,
    default: Default,
) -> ArgumentRule {
    ArgumentRule { name, also, kind, default }
}

const CHANNELS: &[&str] = &["channels", "filters", "out", "output_channels"];
const FEATURES: &[&str] = &["features", "units", "out", "outputs"];
const KERNEL: &[&str] = &["kernel", "size", "window", "pool_size", "k"];
const INPUT_CHANNELS: Known =
    Known { words: "input channels", names: &["in_channels", "input_channels", "in_c", "in"] };
const NO: Default = Default::Is(Setting::Flag(false));
const YES: Default = Default::Is(Setting::Flag(true));
const XAVIER: Default = Default::Is(Setting::Initializer(Initializer::XavierUniform));

/// The arguments of layers with a window over some axes.
struct Windowed<const AXES: usize>;

impl<const AXES: usize> Windowed<AXES> {
    const ONE: Default = Default::Is(Setting::Sizes(AxisSizes::all(AXES, 1)));
    const NONE: Default = Default::Is(Setting::Sizes(AxisSizes::all(AXES, 0)));
    const KERNEL_SIZE: ArgumentRule = required("kernel_size", KERNEL, Kind::Sizes(AXES));
    const PADDING: ArgumentRule = optional("padding", &["pad"], Kind::Sizes(AXES), Self::NONE);
    const DILATION: ArgumentRule = optional("dilation", &[], Kind::Sizes(AXES), Self::ONE);
    const POOL_STRIDE: ArgumentRule =
        optional("stride", &["strides"], Kind::Sizes(AXES), Default::As("kernel_size"));

    const CONV: &'static [ArgumentRule] = &[
        required("out_channels", CHANNELS, Kind::Size),
        Self::KERNEL_SIZE,
        optional("stride", &["strides"], Kind::Sizes(AXES), Self::ONE),
        Self::PADDING,
        Self::DILATION,
        optional("groups", &[], Kind::Size, Default::Is(Setting::Size(1))),
        optional("bias", &["use_bias"], Kind::Flag, YES),
        optional("init", &["initializer", "weight_init"], Kind::Initializer, XAVIER),
    ];
    const MAX_POOL: &'static [ArgumentRule] =
        &[Self::KERNEL_SIZE, Self::POOL_STRIDE, Self::PADDING, Self::DILATION];
    const AVG_POOL: &'static [ArgumentRule] = &[Self::KERNEL_SIZE, Self::POOL_STRIDE, Self::PADDING];
}

const fn conv(
    name: &'static str,
    also: &'static [&'static str],
    arguments: &'static [ArgumentRule],
    example: &'static str,
) -> LayerRule {
    LayerRule {
        name,
        also,
        known: Some(INPUT_CHANNELS),
        arguments,
        example,
        make: |settings| {
            Some(Layer::Conv {
                out_channels: settings.size("out_channels")?,
                window: settings.window()?,
                groups: settings.size("groups")?,
                bias: settings.flag("bias")?,
                init: settings.initializer("init")?,
            })
        },
    }
}

const fn max_pool(
    name: &'static str,
    also: &'static [&'static str],
    arguments: &'static [ArgumentRule],
    example: &'static str,
) -> LayerRule {
    let make = |settings: &Settings| settings.window().map(Layer::MaxPool);
    LayerRule { name, also, known: None, arguments, example, make }
}

const fn avg_pool(
    name: &'static str,
    also: &'static [&'static str],
    arguments: &'static [ArgumentRule],
    example: &'static str,
) -> LayerRule {
    let make = |settings: &Settings| settings.window().map(Layer::AvgPool);
    LayerRule { name, also, known: None, arguments, example, make }
}

const fn without_arguments(
    name: &'static str,
    also: &'static [&'static str],
    make: fn(&Settings) -> Option<Layer>,
) -> LayerRule {
    LayerRule { name, also, known: None, arguments: &[], example: name, make }
}

/// Every layer.
pub(crate) const LAYERS: &[LayerRule] = &[
    conv("conv1d", &["convolution1d"], Windowed::<1>::CONV, "conv1d(16, kernel_size = 3)"),
    conv("conv2d", &["conv", "convolution"], Windowed::<2>::CONV, "conv2d(16, kernel_size = 3)"),
    conv("conv3d", &["convolution3d"], Windowed::<3>::CONV, "conv3d(16, kernel_size = 3)"),
    max_pool("max_pool1d", &["max_pooling1d"], Windowed::<1>::MAX_POOL, "max_pool1d(2)"),
    max_pool(
        "max_pool2d",
        &["maxpool", "max_pool", "max_pooling2d"],
        Windowed::<2>::MAX_POOL,
        "max_pool2d(2)",
    ),
    max_pool("max_pool3d", &["max_pooling3d"], Windowed::<3>::MAX_POOL, "max_pool3d(2)"),
    avg_pool(
        "avg_pool1d",
        &["mean_pool1d", "average_pool1d", "average_pooling1d"],
        Windowed::<1>::AVG_POOL,
        "avg_pool1d(2)",
    ),
    avg_pool(
        "avg_pool2d",
        &["avgpool", "avg_pool", "mean_pool2d", "average_pool2d", "average_pooling2d"],
        Windowed::<2>::AVG_POOL,
        "avg_pool2d(2)",
    ),
    avg_pool(
        "avg_pool3d",
        &["mean_pool3d", "average_pool3d", "average_pooling3d"],
        Windowed::<3>::AVG_POOL,
        "avg_pool3d(2)",
    ),
    without_arguments(
        "global_avg_pool1d",
        &["global_average_pool1d", "global_average_pooling1d", "adaptive_avg_pool1d"],
        |_| Some(Layer::GlobalAvgPool { axes: 1 }),
    ),
    without_arguments(
        "global_avg_pool2d",
        &["gap", "global_average_pool2d", "global_average_pooling2d", "adaptive_avg_pool2d"],
        |_| Some(Layer::GlobalAvgPool { axes: 2 }),
    ),
    without_arguments(
        "global_avg_pool3d",
        &["global_average_pool3d", "global_average_pooling3d", "adaptive_avg_pool3d"],
        |_| Some(Layer::GlobalAvgPool { axes: 3 }),
    ),
    LayerRule {
        name: "linear",
        also: &["dense", "fc", "fully_connected"],
        known: Some(Known {
            words: "input features",
            names: &["in_features", "input_size", "input_dim", "in"],
        }),
        arguments: &[
            required("out_features", FEATURES, Kind::Size),
            optional("bias", &["use_bias"], Kind::Flag, YES),
            optional("init", &["initializer", "weight_init"], Kind::Initializer, XAVIER),
        ],
        example: "linear(10)",
        make: |settings| {
            Some(Layer::Linear {
                out_features: settings.size("out_features")?,
                bias: settings.flag("bias")?,
                init: settings.initializer("init")?,
            })
        },
    },
    without_arguments("flatten", &[], |_| Some(Layer::Flatten)),
    LayerRule {
        name: "dropout",
        also: &[],
        known: None,
        arguments: &[required("rate", &["p", "probability"], Kind::Number)],
        example: "dropout(0.5)",
        make: |settings| settings.number("rate").map(|rate| Layer::Dropout { rate }),
    },
    LayerRule {
        name: "batch_norm",
        also: &["batch_norm1d", "batch_norm2d", "batch_norm3d", "batch_normalization", "bn", "norm"],
        known: Some(Known {
            words: "channels",
            names: &["num_features", "num_channels", "channels", "features"],
        }),
        arguments: &[
            optional("epsilon", &["eps"], Kind::Number, Default::Is(Setting::Number(1e-5))),
            optional("momentum", &[], Kind::Number, Default::Is(Setting::Number(0.1))),
        ],
        example: "batch_norm",
        make: |settings| {
            let (epsilon, momentum) = (settings.number("epsilon")?, settings.number("momentum")?);
            Some(Layer::BatchNorm { epsilon, momentum })
        },
    },
    without_arguments("relu", &["rectify"], |_| Some(Layer::Relu)),
    without_arguments("sigmoid", &["logistic"], |_| Some(Layer::Sigmoid)),
    without_arguments("tanh", &[], |_| Some(Layer::Tanh)),
    activations::RELU6,
    activations::LEAKY_RELU,
    activations::ELU,
    activations::SELU,
    activations::GELU,
    activations::SILU,
    activations::HARD_SWISH,
    activations::HARD_SIGMOID,
    activations::SOFTPLUS,
    activations::SCALED_TANH,
    activations::PRELU,
    activations::MAXOUT,
    activations::HUBER,
    activations::ABS,
    without_arguments("exp", &[], |_| Some(Layer::Exp)),
    without_arguments("log", &["ln"], |_| Some(Layer::Log)),
    without_arguments("sqrt", &[], |_| Some(Layer::Sqrt)),
    without_arguments("square", &[], |_| Some(Layer::Square)),
    without_arguments("negate", &["neg", "negative"], |_| Some(Layer::Negate)),
    without_arguments("softmax", &[], |_| Some(Layer::Softmax)),
    without_arguments("log_softmax", &[], |_| Some(Layer::LogSoftmax)),
];

/// Keywords that look like layers.
pub(crate) const STRUCTURE: &[&str] = &["add", "concat", "from", "repeat"];

/// A distribution of initial values.
pub(crate) struct InitializerRule {
    pub(crate) name: &'static str,
    /// Its names in other libraries.
    pub(crate) also: &'static [&'static str],
    /// The numbers it takes.
    pub(crate) arguments: &'static [&'static str],
}

/// Every distribution.
pub(crate) const INITIALIZERS: &[InitializerRule] = &[
    InitializerRule { name: "xavier_uniform", also: &["xavier", "glorot", "glorot_uniform"], arguments: &[] },
    InitializerRule { name: "xavier_normal", also: &["glorot_normal"], arguments: &[] },
    InitializerRule { name: "kaiming_uniform", also: &["kaiming", "he", "he_uniform"], arguments: &[] },
    InitializerRule { name: "kaiming_normal", also: &["he_normal"], arguments: &[] },
    InitializerRule { name: "zeros", also: &["zero"], arguments: &[] },
    InitializerRule { name: "ones", also: &["one"], arguments: &[] },
    InitializerRule { name: "constant", also: &["fill"], arguments: &["value"] },
    InitializerRule { name: "uniform", also: &[], arguments: &["low", "high"] },
    InitializerRule { name: "normal", also: &["gaussian"], arguments: &["mean", "deviation"] },
];

/// The rule of a layer.
pub(crate) fn find(name: &str) -> Option<&'static LayerRule> {
    LAYERS.iter().find(|rule| rule.name == name)
}

/// A name without differences in style between libraries: `LeakyReLU` and `leaky_relu` are equal.
fn bare(name: &str) -> String {
    name.replace('_', "").to_lowercase()
}

/// The layer that has this name in another library.
pub(crate) fn known_elsewhere_as(name: &str) -> Option<&'static str> {
    let name = bare(name);
    let is_named =
        |rule: &&LayerRule| bare(rule.name) == name || rule.also.iter().any(|other| bare(other) == name);
    LAYERS.iter().find(is_named).map(|rule| rule.name)
}

/// The layer that a wrong name most likely means.
pub(crate) fn meant(name: &str) -> Option<&'static str> {
    if let Some(found) = known_elsewhere_as(name) {
        return Some(found);
    }
    if absent(name).is_some() {
        return None;
    }
    did_you_mean(name, LAYERS.iter().map(|rule| rule.name))
}
