//! The rows of layers on sequences: recurrent ones and attention.

use super::super::rules::{Default, Field, Kind, Known, LayerRule, Setting, Settings};
use super::super::{Cell, GruReset, Layer, Recurrent, RnnActivation};
use super::arguments::*;

pub(super) const RNN: LayerRule = layer(
    "rnn",
    &["simple_rnn", "vanilla_rnn", "elman"],
    &[
        UNITS,
        optional(
            "activation",
            &["nonlinearity"],
            Kind::Word(RnnActivation::WORDS),
            Default::Is(Setting::Word("tanh")),
        ),
        LAYERS_ARGUMENT,
        BIDIRECTIONAL,
        BETWEEN,
        RECURRENT_BIAS,
    ],
    "rnn(256)",
    recurrent!(
        settings => Cell::Rnn { activation: settings.read("activation")? },
        Cell::Rnn { activation } => [("activation", activation.setting()?)]
    ),
);

pub(super) const GRU: LayerRule = layer(
    "gru",
    &["gated_recurrent_unit"],
    &[
        UNITS,
        optional("reset", &["reset_after"], Kind::Word(GruReset::WORDS), Default::Is(Setting::Word("after"))),
        LAYERS_ARGUMENT,
        BIDIRECTIONAL,
        BETWEEN,
        RECURRENT_BIAS,
    ],
    "gru(256)",
    recurrent!(
        settings => Cell::Gru { reset: settings.read("reset")? },
        Cell::Gru { reset } => [("reset", reset.setting()?)]
    ),
);

pub(super) const LSTM: LayerRule = layer(
    "lstm",
    &["long_short_term_memory"],
    &[
        UNITS,
        optional("projection", &["proj_size"], Kind::Size, Default::Is(Setting::Size(0))),
        flag("peepholes", &["use_peepholes", "peephole"], false),
        LAYERS_ARGUMENT,
        BIDIRECTIONAL,
        BETWEEN,
        RECURRENT_BIAS,
    ],
    "lstm(256)",
    recurrent!(
        settings => Cell::Lstm { projection: settings.read("projection")?, peepholes: settings.read("peepholes")? },
        Cell::Lstm { projection, peepholes } =>
            [("projection", projection.setting()?), ("peepholes", peepholes.setting()?)]
    ),
);

pub(super) const MULTI_HEAD_ATTENTION: LayerRule = knowing(
    Known { words: "features", names: &["embed_dim", "d_model", "embedding_dim", "features"] },
    layer(
        "multi_head_attention",
        &["multihead_attention", "self_attention", "mha"],
        &[
            required("heads", &["num_heads", "n_heads", "nhead"], Kind::Size),
            BIAS,
            flag("causal", &["is_causal", "use_causal_mask"], false),
            INIT,
        ],
        "multi_head_attention(4)",
        fields!(MultiHeadAttention { heads, bias, causal, init }),
    ),
);
