//! The words of the language and of other libraries; the rules of layers are the compiler's.

mod elsewhere;
#[cfg(test)]
mod tests;

pub(crate) use windlass_compiler::graph::rules::{
    ArgumentRule, Connections, Default, Each, Kind, Known, LAYERS, LayerRule, PaddingWord, Setting, Settings,
    find,
};

pub(crate) use self::elsewhere::{absent, is_loss};
use crate::diagnostics::did_you_mean;

/// Keywords that look like layers.
pub(crate) const STRUCTURE: &[&str] = &[
    "add",
    "additive_attention",
    "attention",
    "bilinear",
    "concat",
    "cross_attention",
    "from",
    "multiply",
    "repeat",
    "scan",
    "share",
    "subtract",
];

/// An argument of a layer that is the name of a value.
pub(crate) struct OperandRule {
    pub(crate) name: &'static str,
    /// Its names in other libraries.
    pub(crate) also: &'static [&'static str],
}

/// The first states of a recurrent layer.
pub(crate) const INITIAL: OperandRule = OperandRule {
    name: "initial",
    also: &["initial_state", "initial_states", "hx", "h0", "h_0", "state", "states"],
};

/// The number of steps of each sample.
pub(crate) const LENGTHS: OperandRule = OperandRule {
    name: "lengths",
    also: &["length", "valid_lens", "valid_length", "seq_len", "sequence_length", "mask", "key_padding_mask"],
};

/// The arguments of a layer, besides those of its rule, that are names of values.
pub(crate) fn operands(layer: &str) -> &'static [OperandRule] {
    match layer {
        "rnn" | "gru" | "lstm" => &[INITIAL, LENGTHS],
        "attention" | "additive_attention" | "cross_attention" | "multi_head_attention" => &[LENGTHS],
        _ => &[],
    }
}

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
    InitializerRule { name: "signs", also: &["rademacher"], arguments: &[] },
    InitializerRule { name: "normal", also: &["gaussian"], arguments: &["mean", "deviation"] },
];

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
