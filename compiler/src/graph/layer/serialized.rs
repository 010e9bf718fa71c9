//! The serialized form of layers: a map with the name of the layer and its arguments, as in `network!`.

use serde::de::value::StrDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::Layer;
use super::rules::{self, ArgumentRule, Default, Each, Kind, LayerRule, Setting, Settings};
use crate::graph::initializer::Initializer;
use crate::ops::window::Sides;

/// A map that describes no layer.
#[derive(Debug, Error)]
enum LayerError {
    #[error("there is no layer `{name}`{}", did_you_mean(.meant))]
    Unknown { name: String, meant: Option<&'static str> },
    #[error("`{layer}` has no argument `{name}`; it takes {}", listed(.known))]
    UnknownArgument { layer: &'static str, name: String, known: Vec<&'static str> },
    #[error("`{name}` of `{layer}` is missing")]
    Missing { layer: &'static str, name: &'static str },
    #[error("`{name}` of `{layer}` takes {expected}, not {got}")]
    Kind { layer: &'static str, name: &'static str, expected: String, got: String },
    #[error("`{name}` has {got} sizes, but `{layer}` has {axes} spatial {}", if *.axes == 1 { "axis" } else { "axes" })]
    Axes { layer: &'static str, name: &'static str, axes: usize, got: usize },
    #[error(
        "`padding` of `{layer}` is `same` with a stride, so it depends on the input: give sizes, or pairs \
         [before, after]"
    )]
    SameWithStride { layer: &'static str },
    #[error("`padding` of `{layer}` cannot be `{word}`: it is `same`, `valid`, `full`, or sizes")]
    PaddingWord { layer: &'static str, word: String },
    #[error("`{layer}` cannot be made from these arguments")]
    Arguments { layer: &'static str },
}

fn did_you_mean(meant: &Option<&'static str>) -> String {
    meant.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

fn listed(names: &[&str]) -> String {
    match names {
        [] => "no arguments".to_owned(),
        _ => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

/// A value of an argument before its kind is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number, `true` or `false`, a word, a list of sizes, or a distribution")]
enum Given {
    Flag(bool),
    Size(usize),
    Number(f64),
    Word(String),
    Sizes(Vec<usize>),
    Padding(Vec<Sides>),
    Initializer(Initializer),
}

impl std::fmt::Display for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Given::Flag(flag) => write!(f, "{flag}"),
            Given::Size(size) => write!(f, "{size}"),
            Given::Number(number) => write!(f, "{number}"),
            Given::Word(word) => write!(f, "{word:?}"),
            Given::Sizes(sizes) => write!(f, "{sizes:?}"),
            Given::Padding(_) => f.write_str("a list of pairs"),
            Given::Initializer(_) => f.write_str("a distribution"),
        }
    }
}

impl Given {
    /// The shortest form of a setting.
    fn of(setting: Setting) -> Self {
        /// The only value, if all are equal.
        fn only<T: Copy + PartialEq>(values: &[T]) -> Option<T> {
            let (first, others) = values.split_first()?;
            others.iter().all(|value| value == first).then_some(*first)
        }
        match setting {
            Setting::Size(size) => Given::Size(size),
            Setting::Number(number) => Given::Number(number),
            Setting::Flag(flag) => Given::Flag(flag),
            Setting::Word(word) => Given::Word(word.to_owned()),
            Setting::Initializer(initializer) => Given::Initializer(initializer),
            Setting::Sizes(sizes) => {
                only(sizes.as_slice()).map_or_else(|| Given::Sizes(sizes.as_slice().to_vec()), Given::Size)
            }
            Setting::Padding(padding) => match only(padding.as_slice()) {
                Some(Sides { before, after }) if before == after => Given::Size(before),
                _ => Given::Padding(padding.as_slice().to_vec()),
            },
        }
    }

    /// The setting of an argument.
    fn setting(
        &self,
        rule: &LayerRule,
        argument: &ArgumentRule,
        before: &Settings,
    ) -> Result<Setting, LayerError> {
        let (layer, name) = (rule.name, argument.name);
        let axes_differ = |axes, got| LayerError::Axes { layer, name, axes, got };
        let setting = match (argument.kind, self) {
            (Kind::Size, Given::Size(size)) => Some(Setting::Size(*size)),
            (Kind::Number, Given::Size(size)) => Some(Setting::Number(*size as f64)),
            (Kind::Number, Given::Number(number)) => Some(Setting::Number(*number)),
            (Kind::Flag, Given::Flag(flag)) => Some(Setting::Flag(*flag)),
            (Kind::Sizes(axes), Given::Size(size)) => Some(Setting::Sizes(Each::all(axes, *size))),
            (Kind::Sizes(axes), Given::Sizes(sizes)) if sizes.len() != axes => {
                return Err(axes_differ(axes, sizes.len()));
            }
            (Kind::Sizes(_) | Kind::List, Given::Sizes(sizes)) => Each::each(sizes).map(Setting::Sizes),
            (Kind::List, Given::Size(size)) => Some(Setting::Sizes(Each::all(1, *size))),
            (Kind::Padding(axes), Given::Size(size)) => {
                Some(Setting::Padding(Each::all(axes, Sides::from(*size))))
            }
            (Kind::Padding(axes), Given::Sizes(sizes)) => match sizes[..] {
                [before, after] if axes == 1 => Some(Setting::Padding(Each::all(1, Sides { before, after }))),
                _ if sizes.len() != axes => return Err(axes_differ(axes, sizes.len())),
                _ => {
                    let sides: Vec<Sides> = sizes.iter().copied().map(Sides::from).collect();
                    Each::each(&sides).map(Setting::Padding)
                }
            },
            (Kind::Padding(axes), Given::Padding(sides)) if sides.len() != axes => {
                return Err(axes_differ(axes, sides.len()));
            }
            (Kind::Padding(_), Given::Padding(sides)) => Each::each(sides).map(Setting::Padding),
            (Kind::Padding(_), Given::Word(word)) => {
                let padding = before.padding_of(word).map_err(|error| match error {
                    rules::PaddingWord::Unknown => LayerError::PaddingWord { layer, word: word.clone() },
                    rules::PaddingWord::NeedsInput => LayerError::SameWithStride { layer },
                })?;
                Each::each(&padding).map(Setting::Padding)
            }
            (Kind::Word(words), Given::Word(word)) => {
                words.iter().find(|known| *known == word).map(|word| Setting::Word(word))
            }
            (Kind::Initializer, Given::Initializer(initializer)) => Some(Setting::Initializer(*initializer)),
            (Kind::Initializer, Given::Word(word)) => {
                let deserializer: StrDeserializer<'_, serde::de::value::Error> =
                    serde::de::IntoDeserializer::into_deserializer(word.as_str());
                Initializer::deserialize(deserializer).ok().map(Setting::Initializer)
            }
            _ => None,
        };
        setting.ok_or_else(|| LayerError::Kind {
            layer,
            name,
            expected: argument.kind.words(),
            got: self.to_string(),
        })
    }
}

/// The layer with a name and arguments.
fn layer(name: &str, given: &[(String, Given)]) -> Result<Layer, LayerError> {
    let Some(rule) = rules::find(name) else {
        let is_meant = |rule: &&LayerRule| {
            rule.also.contains(&name) || !name.is_empty() && rule.name.starts_with(name)
        };
        let meant = rules::LAYERS.iter().find(is_meant).map(|rule| rule.name);
        return Err(LayerError::Unknown { name: name.to_owned(), meant });
    };
    if let Some((name, _)) = given.iter().find(|(name, _)| rule.argument(name).is_none()) {
        let known = rule.arguments.iter().map(|argument| argument.name).collect();
        return Err(LayerError::UnknownArgument { layer: rule.name, name: name.clone(), known });
    }
    // Words of padding depend on the other arguments.
    let mut settings = Settings::default();
    let is_padding = |argument: &ArgumentRule| matches!(argument.kind, Kind::Padding(_));
    let first = rule.arguments.iter().filter(|argument| !is_padding(argument));
    for argument in first.chain(rule.arguments.iter().filter(|argument| is_padding(argument))) {
        let given = given.iter().find(|(name, _)| name == argument.name);
        let setting = match (given, argument.default) {
            (Some((_, given)), _) => given.setting(rule, argument, &settings)?,
            (None, Default::Is(setting)) => setting,
            (None, Default::As(other)) => {
                settings.get(other).ok_or(LayerError::Missing { layer: rule.name, name: argument.name })?
            }
            (None, Default::Required) => {
                return Err(LayerError::Missing { layer: rule.name, name: argument.name });
            }
        };
        settings.set(argument.name, setting);
    }
    (rule.make)(&settings).ok_or(LayerError::Arguments { layer: rule.name })
}

impl Serialize for Layer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some((rule, settings)) = self.rule() else {
            return Err(S::Error::custom("a layer with lists of unequal or unknown lengths"));
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("layer", rule.name)?;
        for argument in rule.arguments {
            let Some(setting) = settings.get(argument.name) else { continue };
            let is_default = match argument.default {
                Default::Required => false,
                Default::Is(default) => default == setting,
                Default::As(other) => settings.get(other) == Some(setting),
            };
            if !is_default {
                map.serialize_entry(argument.name, &Given::of(setting))?;
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Layer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LayerVisitor;

        impl<'de> Visitor<'de> for LayerVisitor {
            type Value = Layer;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a layer: a map with its name, `layer`, and its arguments")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Layer, A::Error> {
                let mut name: Option<String> = None;
                let mut given: Vec<(String, Given)> = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if (key == "layer" && name.is_some()) || given.iter().any(|(name, _)| *name == key) {
                        return Err(A::Error::custom(format!("`{key}` is given twice")));
                    }
                    if key == "layer" {
                        name = Some(map.next_value()?);
                    } else {
                        let value = map.next_value::<Given>();
                        given.push((
                            key.clone(),
                            value.map_err(|error| A::Error::custom(format!("`{key}`: {error}")))?,
                        ));
                    }
                }
                let name = name.ok_or_else(|| A::Error::missing_field("layer"))?;
                layer(&name, &given).map_err(A::Error::custom)
            }
        }

        deserializer.deserialize_map(LayerVisitor)
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            (window.stride, window.padding, window.dilation),
            (vec![2, 3], vec![0.into(); 2], vec![1; 2])
        );
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
            (r#"{"out_features":3}"#, "missing field `layer`"),
        ] {
            let error = serde_json::from_str::<Layer>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
