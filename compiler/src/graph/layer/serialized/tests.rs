use super::*;
use crate::graph::{Interpolation, PaddingMode};
use crate::ops::elementwise::Activation;
use crate::ops::window::Window;

fn json(layer: &Layer) -> String {
    serde_json::to_string(layer).unwrap()
}

#[test]
fn layers_are_written_in_the_words_of_the_language() {
    let window =
        Window { kernel_size: vec![1, 7], padding: vec![0.into(), 3.into()], ..Window::square(1, 1, 0) };
    for (layer, expected) in [
        (
            Layer::conv(6, Window::square(5, 1, 2)),
            r#"{"layer":"conv2d","out_channels":6,"kernel_size":5,"padding":2}"#,
        ),
        (
            Layer::Conv {
                out_channels: 8,
                window,
                groups: 4,
                bias: false,
                init: Initializer::Normal(0.0, 0.1),
                rotated: false,
                connections: Vec::new(),
            },
            r#"{"layer":"conv2d","out_channels":8,"kernel_size":[1,7],"padding":[0,3],"groups":4,"bias":false,"init":{"normal":[0.0,0.1]}}"#,
        ),
        (Layer::max_pool(Window::square(2, 2, 0)), r#"{"layer":"max_pool2d","kernel_size":2}"#),
        (
            Layer::avg_pool(Window::square(3, 1, 1)),
            r#"{"layer":"avg_pool2d","kernel_size":3,"stride":1,"padding":1}"#,
        ),
        (Layer::GlobalAvgPool { axes: 2 }, r#"{"layer":"global_avg_pool2d"}"#),
        (Layer::GlobalAvgPool { axes: 1 }, r#"{"layer":"global_avg_pool1d"}"#),
        (Layer::GlobalAvgPool { axes: 3 }, r#"{"layer":"global_avg_pool3d"}"#),
        (
            Layer::conv(4, Window::cube(1, 3, 2, 1)),
            r#"{"layer":"conv1d","out_channels":4,"kernel_size":3,"stride":2,"padding":1}"#,
        ),
        (
            Layer::conv(4, Window { kernel_size: vec![1, 3, 5], ..Window::cube(3, 1, 1, 0) }),
            r#"{"layer":"conv3d","out_channels":4,"kernel_size":[1,3,5]}"#,
        ),
        (Layer::max_pool(Window::cube(1, 2, 2, 0)), r#"{"layer":"max_pool1d","kernel_size":2}"#),
        (Layer::avg_pool(Window::cube(3, 2, 2, 0)), r#"{"layer":"avg_pool3d","kernel_size":2}"#),
        (
            Layer::Conv {
                out_channels: 3,
                window: Window::square(5, 1, 0),
                groups: 1,
                bias: true,
                init: Initializer::XavierUniform,
                rotated: true,
                connections: vec![vec![0, 1], vec![1, 2], vec![0, 2]],
            },
            r#"{"layer":"conv2d","out_channels":3,"kernel_size":5,"rotated":true,"connections":[[0,1],[1,2],[0,2]]}"#,
        ),
        (
            Layer::Conv {
                out_channels: 2,
                window: Window::cube(1, 3, 1, 0),
                groups: 1,
                bias: true,
                init: Initializer::XavierUniform,
                rotated: false,
                connections: vec![vec![63], vec![0, 1, 2]],
            },
            r#"{"layer":"conv1d","out_channels":2,"kernel_size":3,"connections":[[63],[0,1,2]]}"#,
        ),
        (
            Layer::Rbf { out_features: 10, trainable: false, init: Initializer::Signs },
            r#"{"layer":"rbf","out_features":10,"trainable":false}"#,
        ),
        (Layer::linear(10), r#"{"layer":"linear","out_features":10}"#),
        (Layer::Flatten, r#"{"layer":"flatten"}"#),
        (Layer::Dropout { rate: 0.5 }, r#"{"layer":"dropout","rate":0.5}"#),
        (Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 }, r#"{"layer":"batch_norm"}"#),
        (Layer::Relu, r#"{"layer":"relu"}"#),
        (Layer::Sigmoid, r#"{"layer":"sigmoid"}"#),
        (Layer::Tanh, r#"{"layer":"tanh"}"#),
        (Layer::Activation(Activation::Relu6), r#"{"layer":"relu6"}"#),
        (Layer::Activation(Activation::leaky_relu(0.2)), r#"{"layer":"leaky_relu","slope":0.2}"#),
        (Layer::Activation(Activation::elu(0.5)), r#"{"layer":"elu","alpha":0.5}"#),
        (Layer::Activation(Activation::Gelu), r#"{"layer":"gelu"}"#),
        (Layer::Activation(Activation::GeluTanh), r#"{"layer":"gelu","approximate":true}"#),
        (Layer::Activation(Activation::Abs), r#"{"layer":"abs"}"#),
        (Layer::Activation(Activation::Erf), r#"{"layer":"erf"}"#),
        (Layer::Activation(Activation::Floor), r#"{"layer":"floor"}"#),
        (Layer::Activation(Activation::Ceil), r#"{"layer":"ceil"}"#),
        (Layer::Activation(Activation::Round), r#"{"layer":"round"}"#),
        (Layer::Activation(Activation::huber(2.0)), r#"{"layer":"huber","delta":2.0}"#),
        (Layer::prelu(), r#"{"layer":"prelu"}"#),
        (
            Layer::Prelu { shared: true, init: Initializer::ZEROS },
            r#"{"layer":"prelu","shared":true,"init":{"constant":0.0}}"#,
        ),
        (Layer::Maxout { pieces: 3 }, r#"{"layer":"maxout","pieces":3}"#),
        (Layer::Negate, r#"{"layer":"negate"}"#),
        (
            Layer::ConvTranspose {
                out_channels: 4,
                window: Window::square(4, 2, 1),
                output_padding: vec![0, 1],
                groups: 2,
                bias: true,
                init: Initializer::XavierUniform,
            },
            r#"{"layer":"conv_transpose2d","out_channels":4,"kernel_size":4,"stride":2,"padding":1,"output_padding":[0,1],"groups":2}"#,
        ),
        (
            Layer::MaxPool { window: Window::square(3, 2, 0), ceil_mode: true },
            r#"{"layer":"max_pool2d","kernel_size":3,"stride":2,"ceil_mode":true}"#,
        ),
        (
            Layer::Pad { padding: vec![Sides { before: 0, after: 1 }; 2], mode: PaddingMode::Reflect },
            r#"{"layer":"pad2d","padding":[[0,1],[0,1]],"mode":"reflect"}"#,
        ),
        (
            Layer::Upsample { factor: vec![2, 2], mode: Interpolation::Nearest },
            r#"{"layer":"upsample2d","factor":2}"#,
        ),
        (Layer::Reshape { sizes: vec![2, 3] }, r#"{"layer":"reshape","sizes":[2,3]}"#),
        (
            Layer::GroupNorm { groups: 8, epsilon: 1e-5, affine: false },
            r#"{"layer":"group_norm","groups":8,"affine":false}"#,
        ),
        (Layer::StochasticDepth { rate: 0.1 }, r#"{"layer":"stochastic_depth","rate":0.1}"#),
        (Layer::Softmax, r#"{"layer":"softmax"}"#),
        (Layer::LogSoftmax, r#"{"layer":"log_softmax"}"#),
    ] {
        assert_eq!(json(&layer), expected);
        assert_eq!(serde_json::from_str::<Layer>(expected).unwrap(), layer, "{expected}");
        assert!(expected.contains(&format!("{:?}", layer.name())), "{expected}");
    }
}

#[test]
fn defaults_are_those_of_the_language() {
    let layer: Layer = serde_json::from_str(r#"{"layer":"batch_norm"}"#).unwrap();
    assert_eq!(layer, Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 });
    let layer: Layer = serde_json::from_str(r#"{"layer":"max_pool2d","kernel_size":[2,3]}"#).unwrap();
    let Layer::MaxPool { window, ceil_mode: false } = layer else { panic!("{layer:?}") };
    assert_eq!((window.stride, window.padding, window.dilation), (vec![2, 3], vec![0.into(); 2], vec![1; 2]));
}

#[test]
fn what_is_no_layer_is_refused_with_words() {
    for (text, expected) in [
        (r#"{"layer":"dense","out_features":3}"#, "there is no layer `dense`; did you mean `linear`?"),
        (r#"{"layer":"linear"}"#, "`out_features` of `linear` is missing"),
        (
            r#"{"layer":"linear","units":3,"out_features":3}"#,
            "`linear` has no argument `units`; it takes `out_features`, `bias`, `init`",
        ),
        (r#"{"layer":"relu","slope":0.1}"#, "`relu` has no argument `slope`; it takes no arguments"),
        (r#"{"layer":"linear","out_features":3,"out_features":4}"#, "`out_features` is given twice"),
        (
            r#"{"layer":"max_pool2d","kernel_size":"large"}"#,
            "`kernel_size` of `max_pool2d` takes a size such as 3, or a pair (height, width), not \"large\"",
        ),
        (
            r#"{"layer":"max_pool1d","kernel_size":[2,2]}"#,
            "`kernel_size` has 2 sizes, but `max_pool1d` has 1 spatial axis",
        ),
        (
            r#"{"layer":"conv3d","out_channels":2,"kernel_size":3,"stride":[1,2]}"#,
            "`stride` has 2 sizes, but `conv3d` has 3 spatial axes",
        ),
        (
            r#"{"layer":"conv2d","out_channels":2,"kernel_size":3,"stride":2,"padding":"same"}"#,
            "`padding` of `conv2d` is `same` with a stride",
        ),
        (
            r#"{"layer":"conv2d","out_channels":2,"kernel_size":3,"padding":"sane"}"#,
            "`padding` of `conv2d` cannot be `sane`",
        ),
        (
            r#"{"layer":"linear","out_features":-3}"#,
            "`out_features` of `linear` takes a size such as 16, not -3",
        ),
        (
            r#"{"layer":"pad2d","padding":1,"mode":"mirror"}"#,
            "`mode` of `pad2d` takes `zeros`, `reflect` or `replicate`, not \"mirror\"",
        ),
        (
            r#"{"layer":"conv2d","out_channels":2,"kernel_size":3,"connections":[[1],[2,2]]}"#,
            "`connections` of `conv2d` takes `all`, or for each output channel the list of its input channels",
        ),
        (
            r#"{"layer":"conv2d","out_channels":2,"kernel_size":3,"connections":[[1],[64]]}"#,
            "each from 0 to 63 and once, for at most 64 output channels, not [[1], [64]]",
        ),
        (r#"{"out_features":3}"#, "missing field `layer`"),
    ] {
        let error = serde_json::from_str::<Layer>(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
