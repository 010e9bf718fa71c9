//! The rules of activations.

use windlass_compiler::graph::Layer;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::ops::elementwise::Activation;

use super::{
    ArgumentRule, Default, Kind, LayerRule, NO, Setting, Settings, optional, required, without_arguments,
};

const fn with_arguments(
    name: &'static str,
    also: &'static [&'static str],
    arguments: &'static [ArgumentRule],
    example: &'static str,
    make: fn(&Settings) -> Option<Layer>,
) -> LayerRule {
    LayerRule { name, also, known: None, arguments, example, make }
}

const fn number(value: f64) -> Default {
    Default::Is(Setting::Number(value))
}

pub(super) const RELU6: LayerRule =
    without_arguments("relu6", &[], |_| Some(Layer::Activation(Activation::Relu6)));

pub(super) const LEAKY_RELU: LayerRule = with_arguments(
    "leaky_relu",
    &["lrelu"],
    &[optional("slope", &["negative_slope", "alpha"], Kind::Number, number(0.01))],
    "leaky_relu(slope = 0.2)",
    |settings| settings.number("slope").map(|slope| Layer::Activation(Activation::leaky_relu(slope))),
);

pub(super) const ELU: LayerRule =
    with_arguments("elu", &[], &[optional("alpha", &[], Kind::Number, number(1.0))], "elu", |settings| {
        settings.number("alpha").map(|alpha| Layer::Activation(Activation::elu(alpha)))
    });

pub(super) const SELU: LayerRule =
    without_arguments("selu", &[], |_| Some(Layer::Activation(Activation::Selu)));

pub(super) const GELU: LayerRule =
    with_arguments("gelu", &[], &[optional("approximate", &["tanh"], Kind::Flag, NO)], "gelu", |settings| {
        let is_approximate = settings.flag("approximate")?;
        Some(Layer::Activation(if is_approximate { Activation::GeluTanh } else { Activation::Gelu }))
    });

pub(super) const SILU: LayerRule =
    without_arguments("silu", &["swish"], |_| Some(Layer::Activation(Activation::Silu)));

pub(super) const HARD_SWISH: LayerRule =
    without_arguments("hard_swish", &["hard_silu"], |_| Some(Layer::Activation(Activation::HardSwish)));

pub(super) const HARD_SIGMOID: LayerRule =
    without_arguments("hard_sigmoid", &[], |_| Some(Layer::Activation(Activation::HardSigmoid)));

pub(super) const SOFTPLUS: LayerRule =
    without_arguments("softplus", &[], |_| Some(Layer::Activation(Activation::Softplus)));

pub(super) const SCALED_TANH: LayerRule =
    without_arguments("scaled_tanh", &[], |_| Some(Layer::Activation(Activation::ScaledTanh)));

pub(super) const PRELU: LayerRule = with_arguments(
    "prelu",
    &[],
    &[
        optional("shared", &["shared_axes"], Kind::Flag, NO),
        optional(
            "init",
            &["initializer", "weight_init", "alpha_initializer"],
            Kind::Initializer,
            Default::Is(Setting::Initializer(Initializer::Constant(0.25))),
        ),
    ],
    "prelu",
    |settings| Some(Layer::Prelu { shared: settings.flag("shared")?, init: settings.initializer("init")? }),
);

pub(super) const MAXOUT: LayerRule = with_arguments(
    "maxout",
    &[],
    &[required("pieces", &["groups", "pool_size"], Kind::Size)],
    "maxout(2)",
    |settings| settings.size("pieces").map(|pieces| Layer::Maxout { pieces }),
);

pub(super) const HUBER: LayerRule =
    with_arguments("huber", &[], &[optional("delta", &[], Kind::Number, number(1.0))], "huber", |settings| {
        settings.number("delta").map(|delta| Layer::Activation(Activation::huber(delta)))
    });

pub(super) const ABS: LayerRule =
    without_arguments("abs", &["absolute"], |_| Some(Layer::Activation(Activation::Abs)));
