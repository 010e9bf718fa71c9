//! The table of layers: names, arguments, defaults. It drives the reading of arguments, "did you mean" and the
//! generated documentation; shapes are the compiler's business.

use windlass_compiler::graph::Layer;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::ops::window::Window;

/// A layer of the language with one input and one output.
pub(crate) struct LayerRule {
    pub(crate) name: &'static str,
    /// What other libraries call it.
    pub(crate) also: &'static [&'static str],
    pub(crate) arguments: &'static [ArgumentRule],
    pub(crate) example: &'static str,
    /// `None` when a value is unknown because of a mistake already reported.
    pub(crate) make: fn(&Settings) -> Option<Layer>,
}

pub(crate) struct ArgumentRule {
    pub(crate) name: &'static str,
    pub(crate) also: &'static [&'static str],
    pub(crate) kind: Kind,
    pub(crate) default: Default,
}

/// The values an argument takes.
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
    /// A distribution.
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

/// What an argument is when it is left out.
#[derive(Clone, Copy)]
pub(crate) enum Default {
    /// It may not be left out; the only arguments that need not be named.
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

/// Every argument of one call, defaults filled in.
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
        also: &["maxpool", "max_pool"],
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
        also: &["avgpool", "avg_pool", "mean_pool2d", "average_pool2d"],
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
        also: &["gap", "global_average_pool2d", "adaptive_avg_pool2d"],
        arguments: &[],
        example: "global_avg_pool2d",
        make: |_| Some(Layer::GlobalAvgPool2d),
    },
    LayerRule {
        name: "linear",
        also: &["dense", "fc", "fully_connected"],
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
        also: &["reshape", "view"],
        arguments: &[],
        example: "flatten",
        make: |_| Some(Layer::Flatten),
    },
    LayerRule {
        name: "dropout",
        also: &[],
        arguments: &[required("rate", &["p", "probability"], Kind::Number)],
        example: "dropout(0.5)",
        make: |settings| settings.number("rate").map(|rate| Layer::Dropout { rate }),
    },
    LayerRule {
        name: "batch_norm",
        also: &["batch_norm2d", "bn", "norm"],
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
        arguments: &[],
        example: "relu",
        make: |_| Some(Layer::Relu),
    },
    LayerRule {
        name: "sigmoid",
        also: &["logistic"],
        arguments: &[],
        example: "sigmoid",
        make: |_| Some(Layer::Sigmoid),
    },
    LayerRule { name: "tanh", also: &[], arguments: &[], example: "tanh", make: |_| Some(Layer::Tanh) },
    LayerRule {
        name: "softmax",
        also: &[],
        arguments: &[],
        example: "softmax",
        make: |_| Some(Layer::Softmax),
    },
    LayerRule {
        name: "log_softmax",
        also: &[],
        arguments: &[],
        example: "log_softmax",
        make: |_| Some(Layer::LogSoftmax),
    },
];

/// Words with a grammar of their own, which look like layers.
pub(crate) const STRUCTURE: &[&str] = &["add", "concat", "from", "repeat"];

/// A distribution of first values.
pub(crate) struct InitializerRule {
    pub(crate) name: &'static str,
    /// What other libraries call it.
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

/// The layer that another library calls by this name.
pub(crate) fn known_elsewhere_as(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    LAYERS.iter().find(|rule| rule.also.contains(&name.as_str())).map(|rule| rule.name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Default, INITIALIZERS, Initializer, Kind, LAYERS, Setting, Settings, find};

    #[test]
    fn every_layer_can_be_made_from_its_defaults_and_required_arguments() {
        for rule in LAYERS {
            let mut settings = Settings::default();
            for argument in rule.arguments {
                let setting = match argument.default {
                    Default::Is(setting) => setting,
                    Default::As(other) => settings.get(other).unwrap(),
                    Default::Required => match argument.kind {
                        Kind::Size => Setting::Size(8),
                        Kind::Pair => Setting::Pair([3, 3]),
                        Kind::Number => Setting::Number(0.5),
                        Kind::Flag | Kind::Initializer => panic!("{} needs a sample", argument.name),
                    },
                };
                settings.set(argument.name, setting);
            }
            let layer = (rule.make)(&settings).unwrap_or_else(|| panic!("{} cannot be made", rule.name));
            assert_eq!(layer.name(), rule.name);
        }
    }

    #[test]
    fn names_are_unique_and_required_arguments_come_first() {
        let mut names = HashSet::new();
        for rule in LAYERS {
            assert!(names.insert(rule.name));
            assert!(rule.also.iter().all(|other| find(other).is_none()));
            let required =
                rule.arguments.iter().take_while(|rule| matches!(rule.default, Default::Required)).count();
            assert!(rule.arguments[required..].iter().all(|rule| !matches!(rule.default, Default::Required)));
        }
    }
    #[test]
    fn the_documentation_lists_every_layer_with_its_defaults() {
        let text = include_str!("../../src/language.md");
        for rule in LAYERS {
            let name = format!("`{}`", rule.name);
            let row = text.lines().find(|line| line.starts_with('|') && line.contains(&name));
            let row = row.unwrap_or_else(|| panic!("{name} is missing"));
            for argument in rule.arguments {
                let words = match argument.default {
                    Default::Required => format!("`{}`", argument.name),
                    Default::As(other) => format!("`{} = {other}`", argument.name),
                    Default::Is(setting) => format!("`{} = {}`", argument.name, words_of(setting)),
                };
                assert!(row.contains(&words), "{words} is missing in {row}");
            }
        }
        for rule in INITIALIZERS {
            assert!(text.contains(&format!("`{}", rule.name)), "{} is missing", rule.name);
        }
    }

    fn words_of(setting: Setting) -> String {
        match setting {
            Setting::Size(size) | Setting::Pair([size, _]) => size.to_string(),
            Setting::Number(number) => number.to_string(),
            Setting::Flag(flag) => flag.to_string(),
            Setting::Initializer(initializer) => {
                assert_eq!(initializer, Initializer::XavierUniform);
                "xavier_uniform".to_owned()
            }
        }
    }
}
