//! The serialized form of layers: a map with the name of the layer and its arguments, as in `network!`.

use serde::de::value::StrDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::Layer;
use super::rules::{self, ArgumentRule, Connections, Default, Each, Kind, LayerRule, Setting, Settings};
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
    Lists(Vec<Vec<usize>>),
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
            Given::Lists(lists) => write!(f, "{lists:?}"),
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
            Setting::Connections(connections) => Given::Lists(connections.lists()),
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
            (Kind::Sizes(_) | Kind::List, Given::Sizes(sizes)) => Each::of(sizes).map(Setting::Sizes),
            (Kind::List, Given::Size(size)) => Some(Setting::Sizes(Each::all(1, *size))),
            (Kind::Padding(axes), Given::Size(size)) => {
                Some(Setting::Padding(Each::all(axes, Sides::from(*size))))
            }
            (Kind::Padding(axes), Given::Sizes(sizes)) => match sizes[..] {
                [before, after] if axes == 1 => Some(Setting::Padding(Each::all(1, Sides { before, after }))),
                _ if sizes.len() != axes => return Err(axes_differ(axes, sizes.len())),
                _ => {
                    let sides: Vec<Sides> = sizes.iter().copied().map(Sides::from).collect();
                    Each::of(&sides).map(Setting::Padding)
                }
            },
            (Kind::Padding(axes), Given::Padding(sides)) if sides.len() != axes => {
                return Err(axes_differ(axes, sides.len()));
            }
            (Kind::Padding(_), Given::Padding(sides)) => Each::of(sides).map(Setting::Padding),
            (Kind::Padding(_), Given::Word(word)) => {
                let padding = before.padding_of(word).map_err(|error| match error {
                    rules::PaddingWord::Unknown => LayerError::PaddingWord { layer, word: word.clone() },
                    rules::PaddingWord::NeedsInput => LayerError::SameWithStride { layer },
                })?;
                Each::of(&padding).map(Setting::Padding)
            }
            (Kind::Connections, Given::Word(word)) if word == "all" => {
                Some(Setting::Connections(Connections::ALL))
            }
            (Kind::Connections, Given::Lists(lists)) => Connections::of(lists).map(Setting::Connections),
            // Lists of two channels each read as pairs.
            (Kind::Connections, Given::Padding(pairs)) => {
                let lists: Vec<Vec<usize>> =
                    pairs.iter().map(|sides| vec![sides.before, sides.after]).collect();
                Connections::of(&lists).map(Setting::Connections)
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
        let is_meant =
            |rule: &&LayerRule| rule.also.contains(&name) || !name.is_empty() && rule.name.starts_with(name);
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
mod tests;
