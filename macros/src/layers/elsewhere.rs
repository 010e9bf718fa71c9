//! Layers and losses of other libraries that the language does not have.

use super::bare;

/// Layers of other libraries that the language does not have.
pub(crate) struct Absent {
    pub(crate) names: &'static [&'static str],
    /// The alternatives; if there are none, all layers are listed.
    pub(crate) instead: Option<&'static str>,
    /// Whether the result has the shape of the input, so that checking can continue.
    pub(crate) keeps_shape: bool,
}

/// Every absent layer that users are known to try, by kind.
pub(crate) const ABSENT: &[Absent] = &[
    Absent {
        names: &[
            "rrelu",
            "celu",
            "mish",
            "glu",
            "hard_tanh",
            "softsign",
            "softmin",
            "log_sigmoid",
            "threshold",
        ],
        instead: Some(
            "the activations are `relu`, `relu6`, `leaky_relu`, `prelu`, `elu`, `selu`, `gelu`, `silu`, `softplus`, \
             `sigmoid`, `tanh`, `scaled_tanh`, `hard_sigmoid`, `hard_swish`, `maxout`, `softmax` and `log_softmax`",
        ),
        keeps_shape: true,
    },
    Absent {
        names: &["rms_norm", "weight_norm", "spectral_norm"],
        instead: Some(
            "the normalisations are `batch_norm`, `layer_norm`, `group_norm`, `instance_norm` and \
             `local_response_norm`",
        ),
        keeps_shape: true,
    },
    Absent {
        names: &["alpha_dropout"],
        instead: Some("`dropout` sets single elements to zero, `channel_dropout` channels"),
        keeps_shape: true,
    },
    Absent {
        names: &["separable_conv2d", "depthwise_conv2d", "depthwise_separable"],
        instead: Some("a `conv2d` with as many `groups` as channels is depthwise"),
        keeps_shape: false,
    },
    Absent {
        names: &["fractional_max_pool2d"],
        instead: Some("the poolings are `max_pool2d`, `avg_pool2d`, `lp_pool2d` and `adaptive_max_pool2d`"),
        keeps_shape: false,
    },
    Absent {
        names: &["lstm_cell", "gru_cell", "rnn_cell"],
        instead: Some("`lstm`, `gru` and `rnn` work on whole sequences"),
        keeps_shape: false,
    },
    Absent {
        names: &["squeeze", "unsqueeze"],
        instead: Some("`reshape` gives any sizes, `flatten` makes a vector"),
        keeps_shape: false,
    },
    Absent {
        names: &["stack"],
        instead: Some("`slice` takes a part of the channels, `concat` concatenates channels"),
        keeps_shape: false,
    },
    Absent {
        names: &["div", "divide", "average", "maximum", "minimum", "matmul", "dot"],
        instead: Some("values are combined by `add`, `subtract`, `multiply` and `concat`"),
        keeps_shape: false,
    },
    Absent {
        names: &[
            "transformer",
            "transformer_encoder",
            "transformer_encoder_layer",
            "embedding_bag",
            "unfold",
            "fold",
            "sequential",
            "identity",
            "lambda",
        ],
        instead: None,
        keeps_shape: false,
    },
];

/// Losses of other libraries, which are not layers here.
pub(crate) const LOSSES: &[&str] = &[
    "cross_entropy",
    "cross_entropy_loss",
    "binary_cross_entropy",
    "mse_loss",
    "nll_loss",
    "l1_loss",
    "bce_loss",
    "huber_loss",
    "smooth_l1_loss",
];

/// The kind of an absent layer.
pub(crate) fn absent(name: &str) -> Option<&'static Absent> {
    let name = bare(name);
    ABSENT.iter().find(|absent| absent.names.iter().any(|other| bare(other) == name))
}

/// Whether the name is that of a loss in another library.
pub(crate) fn is_loss(name: &str) -> bool {
    LOSSES.iter().any(|loss| bare(loss) == bare(name))
}
