//! What the rows of the table of layers are made of: common arguments, and how a layer is made from its settings.

use super::super::connections::Connections;
use super::super::rules::{ArgumentRule, Default, Each, Field, Kind, Known, LayerRule, Setting, Settings};
use super::super::{Interpolation, Layer, PaddingMode};
use crate::graph::initializer::Initializer;

pub(super) const fn required(name: &'static str, also: &'static [&'static str], kind: Kind) -> ArgumentRule {
    ArgumentRule { name, also, kind, default: Default::Required }
}

pub(super) const fn optional(
    name: &'static str,
    also: &'static [&'static str],
    kind: Kind,
    default: Default,
) -> ArgumentRule {
    ArgumentRule { name, also, kind, default }
}

pub(super) const fn number(name: &'static str, also: &'static [&'static str], default: f64) -> ArgumentRule {
    optional(name, also, Kind::Number, Default::Is(Setting::Number(default)))
}

pub(super) const fn flag(name: &'static str, also: &'static [&'static str], default: bool) -> ArgumentRule {
    optional(name, also, Kind::Flag, Default::Is(Setting::Flag(default)))
}

pub(super) const CHANNELS: &[&str] = &["channels", "filters", "out", "output_channels"];
pub(super) const FEATURES: &[&str] = &["features", "units", "out", "outputs"];
pub(super) const KERNEL: &[&str] = &["kernel", "size", "window", "pool_size", "k"];
pub(super) const INPUT_CHANNELS: Known =
    Known { words: "input channels", names: &["in_channels", "input_channels", "in_c", "in"] };
pub(super) const NORM_CHANNELS: Known =
    Known { words: "channels", names: &["num_features", "num_channels", "channels", "features"] };
pub(super) const BIAS: ArgumentRule = flag("bias", &["use_bias"], true);
pub(super) const AFFINE: ArgumentRule = flag("affine", &["elementwise_affine"], true);
pub(super) const EPSILON: ArgumentRule = number("epsilon", &["eps"], 1e-5);
pub(super) const RATE: ArgumentRule = required("rate", &["p", "probability", "drop_prob"], Kind::Number);
pub(super) const GROUPS: ArgumentRule = optional("groups", &[], Kind::Size, Default::Is(Setting::Size(1)));
pub(super) const INIT: ArgumentRule = optional(
    "init",
    &["initializer", "weight_init"],
    Kind::Initializer,
    Default::Is(Setting::Initializer(Initializer::XavierUniform)),
);

pub(super) const UNITS: ArgumentRule =
    required("units", &["hidden_size", "hidden", "features", "num_hiddens"], Kind::Size);
pub(super) const LAYERS_ARGUMENT: ArgumentRule =
    optional("layers", &["num_layers"], Kind::Size, Default::Is(Setting::Size(1)));
pub(super) const BIDIRECTIONAL: ArgumentRule = flag("bidirectional", &["bidir"], false);
pub(super) const BETWEEN: ArgumentRule = number("dropout", &["recurrent_dropout"], 0.0);
pub(super) const RECURRENT_BIAS: ArgumentRule = flag("bias", &["use_bias"], true);
/// The initial values of embeddings.
pub(in crate::graph::layer) const EMBEDDING_INIT: Initializer = Initializer::Normal(0.0, 1.0);

/// The arguments of layers with a window over some axes.
pub(super) struct Windowed<const AXES: usize>;

impl<const AXES: usize> Windowed<AXES> {
    pub(super) const ONE: Default = Default::Is(Setting::Sizes(Each::all(AXES, 1)));
    pub(super) const ZERO: Default = Default::Is(Setting::Sizes(Each::all(AXES, 0)));
    pub(super) const NONE: Default =
        Default::Is(Setting::Padding(Each::all(AXES, crate::ops::window::Sides { before: 0, after: 0 })));
    pub(super) const KERNEL_SIZE: ArgumentRule = required("kernel_size", KERNEL, Kind::Sizes(AXES));
    pub(super) const STRIDE: ArgumentRule = optional("stride", &["strides"], Kind::Sizes(AXES), Self::ONE);
    pub(super) const PADDING: ArgumentRule = optional("padding", &["pad"], Kind::Padding(AXES), Self::NONE);
    pub(super) const DILATION: ArgumentRule = optional("dilation", &[], Kind::Sizes(AXES), Self::ONE);
    pub(super) const POOL_STRIDE: ArgumentRule =
        optional("stride", &["strides"], Kind::Sizes(AXES), Default::As("kernel_size"));

    pub(super) const CONV: &'static [ArgumentRule] = &[
        required("out_channels", CHANNELS, Kind::Size),
        Self::KERNEL_SIZE,
        Self::STRIDE,
        Self::PADDING,
        Self::DILATION,
        GROUPS,
        BIAS,
        INIT,
        flag("rotated", &["flipped", "flip"], false),
        optional(
            "connections",
            &["table", "connection_table"],
            Kind::Connections,
            Default::Is(Setting::Connections(Connections::ALL)),
        ),
    ];
    pub(super) const CONV_TRANSPOSE: &'static [ArgumentRule] = &[
        required("out_channels", CHANNELS, Kind::Size),
        Self::KERNEL_SIZE,
        Self::STRIDE,
        Self::PADDING,
        optional("output_padding", &[], Kind::Sizes(AXES), Self::ZERO),
        Self::DILATION,
        GROUPS,
        BIAS,
        INIT,
    ];
    pub(super) const MAX_POOL: &'static [ArgumentRule] = &[
        Self::KERNEL_SIZE,
        Self::POOL_STRIDE,
        Self::PADDING,
        Self::DILATION,
        flag("ceil_mode", &["ceil"], false),
    ];
    pub(super) const AVG_POOL: &'static [ArgumentRule] = &[
        Self::KERNEL_SIZE,
        Self::POOL_STRIDE,
        Self::PADDING,
        flag("ceil_mode", &["ceil"], false),
        flag("count_include_pad", &["include_pad"], true),
    ];
    pub(super) const LP_POOL: &'static [ArgumentRule] =
        &[Self::KERNEL_SIZE, Self::POOL_STRIDE, number("power", &["norm_type", "p"], 2.0)];
    pub(super) const SUBSAMPLE: &'static [ArgumentRule] = &[Self::KERNEL_SIZE];
    pub(super) const ADAPTIVE: &'static [ArgumentRule] =
        &[required("output_size", &["size", "sizes"], Kind::Sizes(AXES))];
    pub(super) const PAD: &'static [ArgumentRule] = &[
        required("padding", &["pad", "size"], Kind::Padding(AXES)),
        optional("mode", &[], Kind::Word(PaddingMode::WORDS), Default::Is(Setting::Word("zeros"))),
    ];
    pub(super) const UPSAMPLE: &'static [ArgumentRule] = &[
        required("factor", &["scale_factor", "size", "scale"], Kind::Sizes(AXES)),
        optional(
            "mode",
            &["interpolation"],
            Kind::Word(Interpolation::WORDS),
            Default::Is(Setting::Word("nearest")),
        ),
    ];
}

pub(super) type Names = &'static [&'static str];
pub(super) type Arguments = &'static [ArgumentRule];

/// The function that makes a layer, and the one that finds its settings.
pub(super) type Rules = (fn(&Settings) -> Option<Layer>, fn(&Layer) -> Option<Settings>);

pub(super) const fn layer(
    name: &'static str,
    also: Names,
    arguments: Arguments,
    example: &'static str,
    (make, settings): Rules,
) -> LayerRule {
    LayerRule { name, also, known: None, arguments, example, make, settings }
}

/// A layer that takes a quantity from its input which is an argument in other libraries.
pub(super) const fn knowing(known: Known, rule: LayerRule) -> LayerRule {
    LayerRule { known: Some(known), ..rule }
}

/// A layer without arguments.
macro_rules! plain {
    ($name:literal, $also:expr, $layer:pat => $value:expr) => {
        layer(
            $name,
            $also,
            &[],
            $name,
            (
                |_| Some($value),
                |layer| match layer {
                    $layer => Some(Settings::default()),
                    _ => None,
                },
            ),
        )
    };
}

/// A layer whose arguments are the fields of its variant.
macro_rules! fields {
    ($variant:ident { $($field:ident),* }) => {
        (
            |settings| Some(Layer::$variant { $($field: settings.read(stringify!($field))?),* }),
            |layer| match layer {
                Layer::$variant { $($field),* } => {
                    Some(Settings::default()$(.with(stringify!($field), $field.setting()?))*)
                }
                _ => None,
            },
        )
    };
}

/// An activation with a number.
macro_rules! activation {
    ($field:ident: $variant:ident, $make:ident) => {
        (
            |settings| Some(Layer::Activation(Activation::$make(settings.read(stringify!($field))?))),
            |layer| match layer {
                Layer::Activation(Activation::$variant($field)) => {
                    Some(Settings::default().with(stringify!($field), Setting::Number($field.get())))
                }
                _ => None,
            },
        )
    };
}

/// A recurrent layer: how its settings make its cell, and the settings of the cell.
macro_rules! recurrent {
    ($settings:ident => $cell:expr, $pattern:pat => [$(($name:literal, $setting:expr)),*]) => {
        (
            |$settings| {
                Some(Layer::Recurrent(Recurrent {
                    cell: $cell,
                    units: $settings.read("units")?,
                    layers: $settings.read("layers")?,
                    bidirectional: $settings.read("bidirectional")?,
                    dropout: $settings.read("dropout")?,
                    bias: $settings.read("bias")?,
                }))
            },
            |layer| match layer {
                Layer::Recurrent(Recurrent { cell: $pattern, units, layers, bidirectional, dropout, bias }) => Some(
                    Settings::default()
                        $(.with($name, $setting))*
                        .with("units", units.setting()?)
                        .with("layers", layers.setting()?)
                        .with("bidirectional", bidirectional.setting()?)
                        .with("dropout", dropout.setting()?)
                        .with("bias", bias.setting()?),
                ),
                _ => None,
            },
        )
    };
}

/// A layer for some number of spatial axes, which the first field has one size for.
macro_rules! along {
    ($name:ident, $variant:ident { $axes:ident $(, $field:ident)* }) => {
        pub(super) const fn $name<const AXES: usize>() -> Rules {
            (
                |settings| {
                    let $axes: Vec<_> = settings.read(stringify!($axes))?;
                    Some(Layer::$variant { $axes, $($field: settings.read(stringify!($field))?),* })
                },
                |layer| match layer {
                    Layer::$variant { $axes $(, $field)* } if $axes.len() == AXES => Some(
                        Settings::default()
                            .with(stringify!($axes), $axes.setting()?)
                            $(.with(stringify!($field), $field.setting()?))*,
                    ),
                    _ => None,
                },
            )
        }
    };
}

/// A layer with a window over some number of spatial axes.
macro_rules! windowed {
    ($name:ident, $variant:ident { $($field:ident),* }) => {
        pub(super) const fn $name<const AXES: usize>() -> Rules {
            (
                |settings| {
                    let window = settings.window()?;
                    Some(Layer::$variant { window, $($field: settings.read(stringify!($field))?),* })
                },
                |layer| match layer {
                    Layer::$variant { window, $($field),* } if window.axes() == AXES => Some(
                        Settings::of_window(window)?$(.with(stringify!($field), $field.setting()?))*,
                    ),
                    _ => None,
                },
            )
        }
    };
}

windowed!(conv, Conv { out_channels, groups, bias, init, rotated, connections });
windowed!(conv_transpose, ConvTranspose { out_channels, output_padding, groups, bias, init });
windowed!(max_pool, MaxPool { ceil_mode });
windowed!(avg_pool, AvgPool { ceil_mode, count_include_pad });
along!(lp_pool, LpPool { kernel_size, stride, power });
along!(subsample, Subsample { kernel_size });
along!(adaptive_avg_pool, AdaptiveAvgPool { output_size });
along!(adaptive_max_pool, AdaptiveMaxPool { output_size });
along!(pad, Pad { padding, mode });
along!(upsample, Upsample { factor, mode });
