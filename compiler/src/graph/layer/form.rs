//! The serialized form of layers: the names of `network!`, with its defaults.

use serde::{Deserialize, Serialize};

use super::Layer;
use crate::graph::initializer::Initializer;
use crate::ops::window::Window;

/// A layer with named arguments. Omitted ones have the defaults of `network!`.
#[derive(Serialize, Deserialize)]
#[serde(tag = "layer", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Form {
    Conv2d {
        out_channels: usize,
        kernel_size: Sizes,
        #[serde(default = "one", skip_serializing_if = "Sizes::is_one")]
        stride: Sizes,
        #[serde(default = "zero", skip_serializing_if = "Sizes::is_zero")]
        padding: Sizes,
        #[serde(default = "one", skip_serializing_if = "Sizes::is_one")]
        dilation: Sizes,
        #[serde(default = "one_group", skip_serializing_if = "is_one_group")]
        groups: usize,
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        bias: bool,
        #[serde(default = "xavier", skip_serializing_if = "is_xavier")]
        init: Initializer,
    },
    MaxPool2d(Pooling),
    AvgPool2d(Pooling),
    GlobalAvgPool2d {},
    Linear {
        out_features: usize,
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        bias: bool,
        #[serde(default = "xavier", skip_serializing_if = "is_xavier")]
        init: Initializer,
    },
    Flatten {},
    Dropout {
        rate: f64,
    },
    BatchNorm {
        #[serde(default = "epsilon")]
        epsilon: f64,
        #[serde(default = "momentum")]
        momentum: f64,
    },
    Relu {},
    Sigmoid {},
    Tanh {},
    Softmax {},
    LogSoftmax {},
}

/// The window of a pooling layer. The stride defaults to the window's size.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pooling {
    kernel_size: Sizes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stride: Option<Sizes>,
    #[serde(default = "zero", skip_serializing_if = "Sizes::is_zero")]
    padding: Sizes,
    #[serde(default = "one", skip_serializing_if = "Sizes::is_one")]
    dilation: Sizes,
}

/// One size for all axes, or one for each: `3` or `[1, 7]`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a size such as 3, or a pair [height, width]")]
pub(super) enum Sizes {
    All(usize),
    Each(Vec<usize>),
}

impl Sizes {
    /// The shortest form.
    fn of(sizes: Vec<usize>) -> Self {
        match sizes[..] {
            [height, width] if height == width => Sizes::All(height),
            _ => Sizes::Each(sizes),
        }
    }

    /// The size of each axis. A single size applies to all axes; the layer's shape rule checks the length of a list.
    fn each(self, axes: usize) -> Vec<usize> {
        match self {
            Sizes::All(size) => vec![size; axes],
            Sizes::Each(sizes) => sizes,
        }
    }

    fn is_one(&self) -> bool {
        *self == Sizes::All(1)
    }

    fn is_zero(&self) -> bool {
        *self == Sizes::All(0)
    }
}

fn one() -> Sizes {
    Sizes::All(1)
}

fn zero() -> Sizes {
    Sizes::All(0)
}

fn one_group() -> usize {
    1
}

fn is_one_group(groups: &usize) -> bool {
    *groups == 1
}

fn yes() -> bool {
    true
}

fn is_yes(flag: &bool) -> bool {
    *flag
}

fn xavier() -> Initializer {
    Initializer::XavierUniform
}

fn is_xavier(init: &Initializer) -> bool {
    *init == Initializer::XavierUniform
}

fn epsilon() -> f64 {
    1e-5
}

fn momentum() -> f64 {
    0.1
}

/// The number of axes of a two-dimensional window, to which a single size applies.
const AXES: usize = 2;

impl From<Pooling> for Window {
    fn from(pooling: Pooling) -> Self {
        let kernel_size = pooling.kernel_size.each(AXES);
        Window {
            stride: pooling.stride.map_or_else(|| kernel_size.clone(), |stride| stride.each(AXES)),
            padding: pooling.padding.each(AXES),
            dilation: pooling.dilation.each(AXES),
            kernel_size,
        }
    }
}

impl From<Window> for Pooling {
    fn from(window: Window) -> Self {
        Pooling {
            stride: (window.stride != window.kernel_size).then(|| Sizes::of(window.stride)),
            kernel_size: Sizes::of(window.kernel_size),
            padding: Sizes::of(window.padding),
            dilation: Sizes::of(window.dilation),
        }
    }
}

impl From<Form> for Layer {
    fn from(form: Form) -> Self {
        match form {
            Form::Conv2d { out_channels, kernel_size, stride, padding, dilation, groups, bias, init } => {
                let window = Window {
                    kernel_size: kernel_size.each(AXES),
                    stride: stride.each(AXES),
                    padding: padding.each(AXES),
                    dilation: dilation.each(AXES),
                };
                Layer::Conv2d { out_channels, window, groups, bias, init }
            }
            Form::MaxPool2d(pooling) => Layer::MaxPool2d(pooling.into()),
            Form::AvgPool2d(pooling) => Layer::AvgPool2d(pooling.into()),
            Form::GlobalAvgPool2d {} => Layer::GlobalAvgPool2d,
            Form::Linear { out_features, bias, init } => Layer::Linear { out_features, bias, init },
            Form::Flatten {} => Layer::Flatten,
            Form::Dropout { rate } => Layer::Dropout { rate },
            Form::BatchNorm { epsilon, momentum } => Layer::BatchNorm { epsilon, momentum },
            Form::Relu {} => Layer::Relu,
            Form::Sigmoid {} => Layer::Sigmoid,
            Form::Tanh {} => Layer::Tanh,
            Form::Softmax {} => Layer::Softmax,
            Form::LogSoftmax {} => Layer::LogSoftmax,
        }
    }
}

impl From<Layer> for Form {
    fn from(layer: Layer) -> Self {
        match layer {
            Layer::Conv2d { out_channels, window, groups, bias, init } => Form::Conv2d {
                out_channels,
                kernel_size: Sizes::of(window.kernel_size),
                stride: Sizes::of(window.stride),
                padding: Sizes::of(window.padding),
                dilation: Sizes::of(window.dilation),
                groups,
                bias,
                init,
            },
            Layer::MaxPool2d(window) => Form::MaxPool2d(window.into()),
            Layer::AvgPool2d(window) => Form::AvgPool2d(window.into()),
            Layer::GlobalAvgPool2d => Form::GlobalAvgPool2d {},
            Layer::Linear { out_features, bias, init } => Form::Linear { out_features, bias, init },
            Layer::Flatten => Form::Flatten {},
            Layer::Dropout { rate } => Form::Dropout { rate },
            Layer::BatchNorm { epsilon, momentum } => Form::BatchNorm { epsilon, momentum },
            Layer::Relu => Form::Relu {},
            Layer::Sigmoid => Form::Sigmoid {},
            Layer::Tanh => Form::Tanh {},
            Layer::Softmax => Form::Softmax {},
            Layer::LogSoftmax => Form::LogSoftmax {},
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(layer: &Layer) -> String {
        serde_json::to_string(layer).unwrap()
    }

    #[test]
    fn layers_are_written_in_the_words_of_the_language() {
        let window = Window { kernel_size: vec![1, 7], padding: vec![0, 3], ..Window::square(1, 1, 0) };
        for (layer, expected) in [
            (
                Layer::conv2d(6, Window::square(5, 1, 2)),
                r#"{"layer":"conv2d","out_channels":6,"kernel_size":5,"padding":2}"#,
            ),
            (
                Layer::Conv2d {
                    out_channels: 8,
                    window,
                    groups: 4,
                    bias: false,
                    init: Initializer::Normal(0.0, 0.1),
                },
                r#"{"layer":"conv2d","out_channels":8,"kernel_size":[1,7],"padding":[0,3],"groups":4,"bias":false,"init":{"normal":[0.0,0.1]}}"#,
            ),
            (Layer::MaxPool2d(Window::square(2, 2, 0)), r#"{"layer":"max_pool2d","kernel_size":2}"#),
            (
                Layer::AvgPool2d(Window::square(3, 1, 1)),
                r#"{"layer":"avg_pool2d","kernel_size":3,"stride":1,"padding":1}"#,
            ),
            (Layer::GlobalAvgPool2d, r#"{"layer":"global_avg_pool2d"}"#),
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
            (Layer::Softmax, r#"{"layer":"softmax"}"#),
            (Layer::LogSoftmax, r#"{"layer":"log_softmax"}"#),
        ] {
            assert_eq!(json(&layer), expected);
            assert_eq!(serde_json::from_str::<Layer>(expected).unwrap(), layer, "{expected}");
            assert!(expected.contains(&format!("{:?}", layer.name())), "{expected}");
        }
    }

    #[test]
    fn windows_of_any_number_of_axes_come_back() {
        let window = |sizes: &[usize]| Window {
            kernel_size: sizes.to_vec(),
            stride: vec![1; sizes.len()],
            padding: vec![0; sizes.len()],
            dilation: vec![1; sizes.len()],
        };
        for sizes in [&[][..], &[3], &[3, 3], &[2, 3, 4], &[3, 3, 3]] {
            for layer in [Layer::conv2d(2, window(sizes)), Layer::MaxPool2d(window(sizes))] {
                assert_eq!(serde_json::from_str::<Layer>(&json(&layer)).unwrap(), layer);
            }
        }
    }

    #[test]
    fn defaults_are_those_of_the_language() {
        let layer: Layer = serde_json::from_str(r#"{"layer":"batch_norm"}"#).unwrap();
        assert_eq!(layer, Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 });
        let layer: Layer = serde_json::from_str(r#"{"layer":"max_pool2d","kernel_size":[2,3]}"#).unwrap();
        let Layer::MaxPool2d(window) = layer else { panic!("{layer:?}") };
        assert_eq!((window.stride, window.padding, window.dilation), (vec![2, 3], vec![0; 2], vec![1; 2]));
    }

    #[test]
    fn what_is_no_layer_is_refused_with_words() {
        for (text, expected) in [
            (
                r#"{"layer":"dense","out_features":3}"#,
                "unknown variant `dense`, expected one of `conv2d`, `max_pool2d`",
            ),
            (r#"{"layer":"linear"}"#, "missing field `out_features`"),
            (r#"{"layer":"linear","units":3,"out_features":3}"#, "unknown field `units`, expected one of"),
            (r#"{"layer":"relu","slope":0.1}"#, "unknown field `slope`"),
            (r#"{"layer":"max_pool2d","kernel_size":2,"groups":2}"#, "unknown field `groups`"),
            (
                r#"{"layer":"max_pool2d","kernel_size":"large"}"#,
                "a size such as 3, or a pair [height, width]",
            ),
            (r#"{"layer":"linear","out_features":-3}"#, "invalid value: integer `-3`"),
            (r#"{"out_features":3}"#, "missing field `layer`"),
        ] {
            let error = serde_json::from_str::<Layer>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
