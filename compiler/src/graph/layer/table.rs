//! The table of layers: one row for each, with how it is made from its arguments and the arguments of a layer.

#[macro_use]
mod arguments;
mod sequences;

pub(super) use self::arguments::EMBEDDING_INIT;
use self::arguments::*;
use super::Layer;
use super::activation::PRELU_INIT;
use super::rules::{Default, Field, Kind, Known, LayerRule, Setting, Settings};
use crate::graph::initializer::Initializer;
use crate::ops::elementwise::Activation;

/// Every layer.
pub const LAYERS: &[LayerRule] = &[
    knowing(
        INPUT_CHANNELS,
        layer("conv1d", &["convolution1d"], Windowed::<1>::CONV, "conv1d(16, kernel_size = 3)", conv::<1>()),
    ),
    knowing(
        INPUT_CHANNELS,
        layer(
            "conv2d",
            &["conv", "convolution"],
            Windowed::<2>::CONV,
            "conv2d(16, kernel_size = 3)",
            conv::<2>(),
        ),
    ),
    knowing(
        INPUT_CHANNELS,
        layer("conv3d", &["convolution3d"], Windowed::<3>::CONV, "conv3d(16, kernel_size = 3)", conv::<3>()),
    ),
    knowing(
        INPUT_CHANNELS,
        layer(
            "conv_transpose1d",
            &["conv1d_transpose", "deconv1d"],
            Windowed::<1>::CONV_TRANSPOSE,
            "conv_transpose1d(16, kernel_size = 2, stride = 2)",
            conv_transpose::<1>(),
        ),
    ),
    knowing(
        INPUT_CHANNELS,
        layer(
            "conv_transpose2d",
            &[
                "conv2d_transpose",
                "deconv2d",
                "deconv",
                "deconvolution",
                "conv_transpose",
                "transposed_conv2d",
            ],
            Windowed::<2>::CONV_TRANSPOSE,
            "conv_transpose2d(16, kernel_size = 2, stride = 2)",
            conv_transpose::<2>(),
        ),
    ),
    knowing(
        INPUT_CHANNELS,
        layer(
            "conv_transpose3d",
            &["conv3d_transpose", "deconv3d"],
            Windowed::<3>::CONV_TRANSPOSE,
            "conv_transpose3d(16, kernel_size = 2, stride = 2)",
            conv_transpose::<3>(),
        ),
    ),
    layer("max_pool1d", &["max_pooling1d"], Windowed::<1>::MAX_POOL, "max_pool1d(2)", max_pool::<1>()),
    layer(
        "max_pool2d",
        &["maxpool", "max_pool", "max_pooling2d"],
        Windowed::<2>::MAX_POOL,
        "max_pool2d(2)",
        max_pool::<2>(),
    ),
    layer("max_pool3d", &["max_pooling3d"], Windowed::<3>::MAX_POOL, "max_pool3d(2)", max_pool::<3>()),
    layer(
        "avg_pool1d",
        &["mean_pool1d", "average_pool1d", "average_pooling1d"],
        Windowed::<1>::AVG_POOL,
        "avg_pool1d(2)",
        avg_pool::<1>(),
    ),
    layer(
        "avg_pool2d",
        &["avgpool", "avg_pool", "mean_pool2d", "average_pool2d", "average_pooling2d"],
        Windowed::<2>::AVG_POOL,
        "avg_pool2d(2)",
        avg_pool::<2>(),
    ),
    layer(
        "avg_pool3d",
        &["mean_pool3d", "average_pool3d", "average_pooling3d"],
        Windowed::<3>::AVG_POOL,
        "avg_pool3d(2)",
        avg_pool::<3>(),
    ),
    layer("lp_pool1d", &[], Windowed::<1>::LP_POOL, "lp_pool1d(2)", lp_pool::<1>()),
    layer(
        "lp_pool2d",
        &["lp_pool", "power_average_pool2d"],
        Windowed::<2>::LP_POOL,
        "lp_pool2d(2)",
        lp_pool::<2>(),
    ),
    layer("lp_pool3d", &[], Windowed::<3>::LP_POOL, "lp_pool3d(2)", lp_pool::<3>()),
    layer("subsample1d", &[], Windowed::<1>::SUBSAMPLE, "subsample1d(2)", subsample::<1>()),
    layer(
        "subsample2d",
        &["subsampling", "subsampling2d"],
        Windowed::<2>::SUBSAMPLE,
        "subsample2d(2)",
        subsample::<2>(),
    ),
    layer("subsample3d", &[], Windowed::<3>::SUBSAMPLE, "subsample3d(2)", subsample::<3>()),
    layer(
        "adaptive_avg_pool1d",
        &["adaptive_average_pool1d"],
        Windowed::<1>::ADAPTIVE,
        "adaptive_avg_pool1d(7)",
        adaptive_avg_pool::<1>(),
    ),
    layer(
        "adaptive_avg_pool2d",
        &["adaptive_average_pool2d"],
        Windowed::<2>::ADAPTIVE,
        "adaptive_avg_pool2d(7)",
        adaptive_avg_pool::<2>(),
    ),
    layer(
        "adaptive_avg_pool3d",
        &["adaptive_average_pool3d"],
        Windowed::<3>::ADAPTIVE,
        "adaptive_avg_pool3d(7)",
        adaptive_avg_pool::<3>(),
    ),
    layer(
        "adaptive_max_pool1d",
        &[],
        Windowed::<1>::ADAPTIVE,
        "adaptive_max_pool1d(7)",
        adaptive_max_pool::<1>(),
    ),
    layer(
        "adaptive_max_pool2d",
        &["adaptive_max_pool"],
        Windowed::<2>::ADAPTIVE,
        "adaptive_max_pool2d(7)",
        adaptive_max_pool::<2>(),
    ),
    layer(
        "adaptive_max_pool3d",
        &[],
        Windowed::<3>::ADAPTIVE,
        "adaptive_max_pool3d(7)",
        adaptive_max_pool::<3>(),
    ),
    plain!("global_avg_pool1d", &["global_average_pool1d", "global_average_pooling1d"], Layer::GlobalAvgPool { axes: 1 } => Layer::GlobalAvgPool { axes: 1 }),
    plain!("global_avg_pool2d", &["gap", "global_average_pool2d", "global_average_pooling2d"], Layer::GlobalAvgPool { axes: 2 } => Layer::GlobalAvgPool { axes: 2 }),
    plain!("global_avg_pool3d", &["global_average_pool3d", "global_average_pooling3d"], Layer::GlobalAvgPool { axes: 3 } => Layer::GlobalAvgPool { axes: 3 }),
    plain!("global_max_pool1d", &["global_max_pooling1d"], Layer::GlobalMaxPool { axes: 1 } => Layer::GlobalMaxPool { axes: 1 }),
    plain!("global_max_pool2d", &["global_max_pooling2d"], Layer::GlobalMaxPool { axes: 2 } => Layer::GlobalMaxPool { axes: 2 }),
    plain!("global_max_pool3d", &["global_max_pooling3d"], Layer::GlobalMaxPool { axes: 3 } => Layer::GlobalMaxPool { axes: 3 }),
    layer(
        "pad1d",
        &["zero_pad1d", "reflection_pad1d", "replication_pad1d"],
        Windowed::<1>::PAD,
        "pad1d(1)",
        pad::<1>(),
    ),
    layer(
        "pad2d",
        &["pad", "zero_pad2d", "zero_padding2d", "reflection_pad2d", "replication_pad2d"],
        Windowed::<2>::PAD,
        "pad2d(1)",
        pad::<2>(),
    ),
    layer(
        "pad3d",
        &["zero_pad3d", "reflection_pad3d", "replication_pad3d"],
        Windowed::<3>::PAD,
        "pad3d(1)",
        pad::<3>(),
    ),
    layer("upsample1d", &["upsampling1d"], Windowed::<1>::UPSAMPLE, "upsample1d(2)", upsample::<1>()),
    layer(
        "upsample2d",
        &["upsample", "upsampling2d", "interpolate", "resize"],
        Windowed::<2>::UPSAMPLE,
        "upsample2d(2)",
        upsample::<2>(),
    ),
    layer("upsample3d", &["upsampling3d"], Windowed::<3>::UPSAMPLE, "upsample3d(2)", upsample::<3>()),
    knowing(
        Known { words: "input features", names: &["in_features", "input_size", "input_dim", "in"] },
        layer(
            "linear",
            &["dense", "fc", "fully_connected"],
            &[required("out_features", FEATURES, Kind::Size), BIAS, INIT],
            "linear(10)",
            fields!(Linear { out_features, bias, init }),
        ),
    ),
    knowing(
        Known { words: "input features", names: &["in_features", "input_size", "in"] },
        layer(
            "rbf",
            &["radial_basis"],
            &[
                required("out_features", FEATURES, Kind::Size),
                flag("trainable", &["requires_grad"], true),
                optional(
                    "init",
                    &["initializer", "weight_init"],
                    Kind::Initializer,
                    Default::Is(Setting::Initializer(Initializer::Signs)),
                ),
            ],
            "rbf(10)",
            fields!(Rbf { out_features, trainable, init }),
        ),
    ),
    layer(
        "embedding",
        &["embed", "embedding_table"],
        &[
            required(
                "vocabulary",
                &["num_embeddings", "vocab_size", "vocab", "input_dim", "tokens"],
                Kind::Size,
            ),
            required("features", &["embedding_dim", "embed_size", "output_dim", "dim", "units"], Kind::Size),
            optional(
                "init",
                &["initializer", "weight_init"],
                Kind::Initializer,
                Default::Is(Setting::Initializer(EMBEDDING_INIT)),
            ),
        ],
        "embedding(10000, 256)",
        fields!(Embedding { vocabulary, features, init }),
    ),
    plain!("flatten", &[], Layer::Flatten => Layer::Flatten),
    layer(
        "reshape",
        &["view", "unflatten"],
        &[required("sizes", &["shape", "size"], Kind::List)],
        "reshape((16, 7, 7))",
        fields!(Reshape { sizes }),
    ),
    layer(
        "permute",
        &["transpose", "rearrange"],
        &[required("order", &["dims", "axes"], Kind::List)],
        "permute((1, 0))",
        fields!(Permute { order }),
    ),
    layer(
        "slice",
        &["narrow", "crop"],
        &[
            required("start", &["begin", "from"], Kind::Size),
            required("length", &["size"], Kind::Size),
            optional("axis", &["dim"], Kind::Size, Default::Is(Setting::Size(0))),
        ],
        "slice(0, 16)",
        fields!(Slice { start, length, axis }),
    ),
    layer(
        "mean",
        &["reduce_mean"],
        &[required("axes", &["axis", "dim"], Kind::List)],
        "mean((1, 2))",
        fields!(Mean { axes }),
    ),
    layer(
        "pixel_shuffle",
        &["depth_to_space"],
        &[required("factor", &["upscale_factor", "scale"], Kind::Size)],
        "pixel_shuffle(2)",
        fields!(PixelShuffle { factor }),
    ),
    layer(
        "channel_shuffle",
        &[],
        &[required("groups", &[], Kind::Size)],
        "channel_shuffle(2)",
        fields!(ChannelShuffle { groups }),
    ),
    layer("dropout", &[], &[RATE], "dropout(0.5)", fields!(Dropout { rate })),
    layer(
        "channel_dropout",
        &["dropout1d", "dropout2d", "dropout3d", "spatial_dropout2d"],
        &[RATE],
        "channel_dropout(0.2)",
        fields!(ChannelDropout { rate }),
    ),
    layer(
        "stochastic_depth",
        &["drop_path"],
        &[RATE],
        "stochastic_depth(0.2)",
        fields!(StochasticDepth { rate }),
    ),
    knowing(
        NORM_CHANNELS,
        layer(
            "batch_norm",
            &["batch_norm1d", "batch_norm2d", "batch_norm3d", "batch_normalization", "bn", "norm"],
            &[EPSILON, number("momentum", &[], 0.1)],
            "batch_norm",
            fields!(BatchNorm { epsilon, momentum }),
        ),
    ),
    knowing(
        Known { words: "sizes", names: &["normalized_shape"] },
        layer(
            "layer_norm",
            &["layer_normalization"],
            &[EPSILON, AFFINE],
            "layer_norm",
            fields!(LayerNorm { epsilon, affine }),
        ),
    ),
    knowing(
        NORM_CHANNELS,
        layer(
            "group_norm",
            &["group_normalization"],
            &[required("groups", &["num_groups"], Kind::Size), EPSILON, AFFINE],
            "group_norm(8)",
            fields!(GroupNorm { groups, epsilon, affine }),
        ),
    ),
    knowing(
        NORM_CHANNELS,
        layer(
            "instance_norm",
            &["instance_norm1d", "instance_norm2d", "instance_norm3d", "instance_normalization"],
            &[EPSILON, flag("affine", &[], false)],
            "instance_norm",
            fields!(InstanceNorm { epsilon, affine }),
        ),
    ),
    layer(
        "local_response_norm",
        &["lrn"],
        &[
            required("size", &["depth_radius", "n"], Kind::Size),
            number("alpha", &[], 1e-4),
            number("beta", &[], 0.75),
            number("k", &["bias"], 1.0),
        ],
        "local_response_norm(5)",
        fields!(LocalResponseNorm { size, alpha, beta, k }),
    ),
    sequences::RNN,
    sequences::GRU,
    sequences::LSTM,
    plain!("last_step", &["last"], Layer::LastStep => Layer::LastStep),
    plain!("relu", &["rectify"], Layer::Relu => Layer::Relu),
    plain!("sigmoid", &["logistic"], Layer::Sigmoid => Layer::Sigmoid),
    plain!("tanh", &[], Layer::Tanh => Layer::Tanh),
    plain!("relu6", &[], Layer::Activation(Activation::Relu6) => Layer::Activation(Activation::Relu6)),
    layer(
        "leaky_relu",
        &["lrelu"],
        &[number("slope", &["negative_slope", "alpha"], 0.01)],
        "leaky_relu(slope = 0.2)",
        activation!(slope: LeakyRelu, leaky_relu),
    ),
    layer("elu", &[], &[number("alpha", &[], 1.0)], "elu", activation!(alpha: Elu, elu)),
    plain!("selu", &[], Layer::Activation(Activation::Selu) => Layer::Activation(Activation::Selu)),
    layer(
        "gelu",
        &[],
        &[flag("approximate", &["tanh"], false)],
        "gelu",
        (
            |settings| {
                let is_approximate: bool = settings.read("approximate")?;
                Some(Layer::Activation(if is_approximate { Activation::GeluTanh } else { Activation::Gelu }))
            },
            |layer| {
                let is_approximate = match layer {
                    Layer::Activation(Activation::Gelu) => false,
                    Layer::Activation(Activation::GeluTanh) => true,
                    _ => return None,
                };
                Some(Settings::default().with("approximate", Setting::Flag(is_approximate)))
            },
        ),
    ),
    plain!("silu", &["swish"], Layer::Activation(Activation::Silu) => Layer::Activation(Activation::Silu)),
    plain!("hard_swish", &["hard_silu"], Layer::Activation(Activation::HardSwish) => Layer::Activation(Activation::HardSwish)),
    plain!("hard_sigmoid", &[], Layer::Activation(Activation::HardSigmoid) => Layer::Activation(Activation::HardSigmoid)),
    plain!("softplus", &[], Layer::Activation(Activation::Softplus) => Layer::Activation(Activation::Softplus)),
    plain!("scaled_tanh", &[], Layer::Activation(Activation::ScaledTanh) => Layer::Activation(Activation::ScaledTanh)),
    layer(
        "prelu",
        &[],
        &[
            flag("shared", &["shared_axes"], false),
            optional(
                "init",
                &["initializer", "weight_init", "alpha_initializer"],
                Kind::Initializer,
                Default::Is(Setting::Initializer(PRELU_INIT)),
            ),
        ],
        "prelu",
        fields!(Prelu { shared, init }),
    ),
    layer(
        "maxout",
        &[],
        &[required("pieces", &["groups", "pool_size"], Kind::Size)],
        "maxout(2)",
        fields!(Maxout { pieces }),
    ),
    sequences::MULTI_HEAD_ATTENTION,
    plain!(
        "positional_encoding",
        &["position_encoding", "sinusoidal_encoding", "positional_embedding"],
        Layer::PositionalEncoding => Layer::PositionalEncoding
    ),
    layer("huber", &[], &[number("delta", &[], 1.0)], "huber", activation!(delta: Huber, huber)),
    plain!("abs", &["absolute"], Layer::Activation(Activation::Abs) => Layer::Activation(Activation::Abs)),
    plain!("erf", &["error_function"], Layer::Activation(Activation::Erf) => Layer::Activation(Activation::Erf)),
    plain!("floor", &[], Layer::Activation(Activation::Floor) => Layer::Activation(Activation::Floor)),
    plain!("ceil", &["ceiling"], Layer::Activation(Activation::Ceil) => Layer::Activation(Activation::Ceil)),
    plain!("round", &[], Layer::Activation(Activation::Round) => Layer::Activation(Activation::Round)),
    plain!("exp", &[], Layer::Exp => Layer::Exp),
    plain!("log", &["ln"], Layer::Log => Layer::Log),
    plain!("sqrt", &[], Layer::Sqrt => Layer::Sqrt),
    plain!("square", &[], Layer::Square => Layer::Square),
    plain!("negate", &["neg", "negative"], Layer::Negate => Layer::Negate),
    plain!("softmax", &[], Layer::Softmax => Layer::Softmax),
    plain!("log_softmax", &[], Layer::LogSoftmax => Layer::LogSoftmax),
];
