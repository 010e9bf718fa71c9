//! Layers as JSON: the words of the language, its defaults, and what is refused.

use super::*;

fn json(layer: &Layer) -> String {
    serde_json::to_string(layer).unwrap()
}

#[test]
fn layers_are_written_in_the_words_of_the_language() {
    let window = Window { kernel_size: vec![1, 7], padding: vec![0, 3], ..Window::square(1, 1, 0) };
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
            },
            r#"{"layer":"conv2d","out_channels":8,"kernel_size":[1,7],"padding":[0,3],"groups":4,"bias":false,"init":{"normal":[0.0,0.1]}}"#,
        ),
        (Layer::MaxPool(Window::square(2, 2, 0)), r#"{"layer":"max_pool2d","kernel_size":2}"#),
        (
            Layer::AvgPool(Window::square(3, 1, 1)),
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
        (Layer::MaxPool(Window::cube(1, 2, 2, 0)), r#"{"layer":"max_pool1d","kernel_size":2}"#),
        (Layer::AvgPool(Window::cube(3, 2, 2, 0)), r#"{"layer":"avg_pool3d","kernel_size":2}"#),
        (Layer::linear(10), r#"{"layer":"linear","out_features":10}"#),
        (Layer::Flatten, r#"{"layer":"flatten"}"#),
        (Layer::Dropout { rate: 0.5 }, r#"{"layer":"dropout","rate":0.5}"#),
        (
            Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 },
            r#"{"layer":"batch_norm","epsilon":0.00001,"momentum":0.1}"#,
        ),
        (Layer::Relu, r#"{"layer":"relu"}"#),
        (Layer::Sigmoid, r#"{"layer":"sigmoid"}"#),
        (Layer::Tanh, r#"{"layer":"tanh"}"#),
        (Layer::Activation(Activation::Relu6), r#"{"layer":"relu6"}"#),
        (Layer::Activation(Activation::leaky_relu(0.2)), r#"{"layer":"leaky_relu","slope":0.2}"#),
        (Layer::Activation(Activation::elu(0.5)), r#"{"layer":"elu","alpha":0.5}"#),
        (Layer::Activation(Activation::Selu), r#"{"layer":"selu"}"#),
        (Layer::Activation(Activation::Gelu), r#"{"layer":"gelu"}"#),
        (Layer::Activation(Activation::GeluTanh), r#"{"layer":"gelu","approximate":true}"#),
        (Layer::Activation(Activation::Silu), r#"{"layer":"silu"}"#),
        (Layer::Activation(Activation::HardSwish), r#"{"layer":"hard_swish"}"#),
        (Layer::Activation(Activation::HardSigmoid), r#"{"layer":"hard_sigmoid"}"#),
        (Layer::Activation(Activation::Softplus), r#"{"layer":"softplus"}"#),
        (Layer::Activation(Activation::ScaledTanh), r#"{"layer":"scaled_tanh"}"#),
        (Layer::Activation(Activation::Abs), r#"{"layer":"abs"}"#),
        (Layer::Activation(Activation::huber(2.0)), r#"{"layer":"huber","delta":2.0}"#),
        (Layer::prelu(), r#"{"layer":"prelu"}"#),
        (
            Layer::Prelu { shared: true, init: Initializer::ZEROS },
            r#"{"layer":"prelu","shared":true,"init":{"constant":0.0}}"#,
        ),
        (Layer::Maxout { pieces: 3 }, r#"{"layer":"maxout","pieces":3}"#),
        (Layer::Exp, r#"{"layer":"exp"}"#),
        (Layer::Log, r#"{"layer":"log"}"#),
        (Layer::Sqrt, r#"{"layer":"sqrt"}"#),
        (Layer::Square, r#"{"layer":"square"}"#),
        (Layer::Negate, r#"{"layer":"negate"}"#),
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
    for (text, activation) in [
        (r#"{"layer":"leaky_relu"}"#, Activation::leaky_relu(0.01)),
        (r#"{"layer":"elu"}"#, Activation::elu(1.0)),
        (r#"{"layer":"huber"}"#, Activation::huber(1.0)),
    ] {
        let layer: Layer = serde_json::from_str(text).unwrap();
        assert_eq!(layer, Layer::Activation(activation));
    }
    let layer: Layer = serde_json::from_str(r#"{"layer":"max_pool2d","kernel_size":[2,3]}"#).unwrap();
    let Layer::MaxPool(window) = layer else { panic!("{layer:?}") };
    assert_eq!((window.stride, window.padding, window.dilation), (vec![2, 3], vec![0; 2], vec![1; 2]));
}

#[test]
fn what_is_no_layer_is_refused_with_words() {
    for (text, expected) in [
        (
            r#"{"layer":"dense","out_features":3}"#,
            "unknown variant `dense`, expected one of `conv1d`, `conv2d`, `conv3d`, `max_pool1d`",
        ),
        (r#"{"layer":"linear"}"#, "missing field `out_features`"),
        (r#"{"layer":"linear","units":3,"out_features":3}"#, "unknown field `units`, expected one of"),
        (r#"{"layer":"relu","slope":0.1}"#, "unknown field `slope`"),
        (r#"{"layer":"max_pool2d","kernel_size":2,"groups":2}"#, "unknown field `groups`"),
        (
            r#"{"layer":"max_pool2d","kernel_size":"large"}"#,
            "a size such as 3, or a list of one for each axis such as [3, 5]",
        ),
        (
            r#"{"layer":"max_pool1d","kernel_size":[2,2]}"#,
            "`kernel_size` has 2 sizes, but the layer has 1 spatial axis",
        ),
        (
            r#"{"layer":"conv3d","out_channels":2,"kernel_size":3,"stride":[1,2]}"#,
            "`stride` has 2 sizes, but the layer has 3 spatial axes",
        ),
        (r#"{"layer":"linear","out_features":-3}"#, "invalid value: integer `-3`"),
        (r#"{"out_features":3}"#, "missing field `layer`"),
    ] {
        let error = serde_json::from_str::<Layer>(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
