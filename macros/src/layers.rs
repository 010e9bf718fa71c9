//! The table of layers: names, arguments, defaults. Argument parsing, suggestions and the generated documentation use
//! it; the compiler checks shapes.

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
    /// One size for both axes, or a pair (height, width).
    Pair,
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
            Kind::Pair => "a size such as 3, or a pair (height, width)",
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
    Pair([usize; 2]),
    Number(f64),
    Flag(bool),
    Initializer(Initializer),
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

    fn pair(&self, name: &str) -> Option<Vec<usize>> {
        match self.get(name)? {
            Setting::Pair(pair) => Some(pair.to_vec()),
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
        Some(Window {
            kernel_size: self.pair("kernel_size")?,
            stride: self.pair("stride")?,
            padding: self.pair("padding")?,
            dilation: if self.get("dilation").is_some() { self.pair("dilation")? } else { vec![1; 2] },
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
const ONE: Default = Default::Is(Setting::Pair([1, 1]));
const NONE: Default = Default::Is(Setting::Pair([0, 0]));
const YES: Default = Default::Is(Setting::Flag(true));
const XAVIER: Default = Default::Is(Setting::Initializer(Initializer::XavierUniform));

/// Every layer.
pub(crate) const LAYERS: &[LayerRule] = &[
    LayerRule {
        name: "conv2d",
        also: &["conv", "convolution"],
        known: Some(Known {
            words: "input channels",
            names: &["in_channels", "input_channels", "in_c", "in"],
        }),
        arguments: &[
            required("out_channels", CHANNELS, Kind::Size),
            required("kernel_size", KERNEL, Kind::Pair),
            optional("stride", &["strides"], Kind::Pair, ONE),
            optional("padding", &["pad"], Kind::Pair, NONE),
            optional("dilation", &[], Kind::Pair, ONE),
            optional("groups", &[], Kind::Size, Default::Is(Setting::Size(1))),
            optional("bias", &["use_bias"], Kind::Flag, YES),
            optional("init", &["initializer", "weight_init"], Kind::Initializer, XAVIER),
        ],
        example: "conv2d(16, kernel_size = 3)",
        make: |settings| {
            Some(Layer::Conv2d {
                out_channels: settings.size("out_channels")?,
                window: settings.window()?,
                groups: settings.size("groups")?,
                bias: settings.flag("bias")?,
                init: settings.initializer("init")?,
            })
        },
    },
    LayerRule {
        name: "max_pool2d",
        also: &["maxpool", "max_pool", "max_pooling2d"],
        known: None,
        arguments: &[
            required("kernel_size", KERNEL, Kind::Pair),
            optional("stride", &["strides"], Kind::Pair, Default::As("kernel_size")),
            optional("padding", &["pad"], Kind::Pair, NONE),
            optional("dilation", &[], Kind::Pair, ONE),
        ],
        example: "max_pool2d(2)",
        make: |settings| settings.window().map(Layer::MaxPool2d),
    },
    LayerRule {
        name: "avg_pool2d",
        also: &["avgpool", "avg_pool", "mean_pool2d", "average_pool2d", "average_pooling2d"],
        known: None,
        arguments: &[
            required("kernel_size", KERNEL, Kind::Pair),
            optional("stride", &["strides"], Kind::Pair, Default::As("kernel_size")),
            optional("padding", &["pad"], Kind::Pair, NONE),
        ],
        example: "avg_pool2d(2)",
        make: |settings| settings.window().map(Layer::AvgPool2d),
    },
    LayerRule {
        name: "global_avg_pool2d",
        also: &["gap", "global_average_pool2d", "global_average_pooling2d", "adaptive_avg_pool2d"],
        known: None,
        arguments: &[],
        example: "global_avg_pool2d",
        make: |_| Some(Layer::GlobalAvgPool2d),
    },
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
    LayerRule {
        name: "flatten",
        also: &[],
        known: None,
        arguments: &[],
        example: "flatten",
        make: |_| Some(Layer::Flatten),
    },
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
        also: &["batch_norm1d", "batch_norm2d", "batch_normalization", "bn", "norm"],
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
    LayerRule {
        name: "relu",
        also: &["rectify"],
        known: None,
        arguments: &[],
        example: "relu",
        make: |_| Some(Layer::Relu),
    },
    LayerRule {
        name: "sigmoid",
        also: &["logistic"],
        known: None,
        arguments: &[],
        example: "sigmoid",
        make: |_| Some(Layer::Sigmoid),
    },
    LayerRule {
        name: "tanh",
        also: &[],
        known: None,
        arguments: &[],
        example: "tanh",
        make: |_| Some(Layer::Tanh),
    },
    LayerRule {
        name: "softmax",
        also: &[],
        known: None,
        arguments: &[],
        example: "softmax",
        make: |_| Some(Layer::Softmax),
    },
    LayerRule {
        name: "log_softmax",
        also: &[],
        known: None,
        arguments: &[],
        example: "log_softmax",
        make: |_| Some(Layer::LogSoftmax),
    },
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
