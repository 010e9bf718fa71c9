//! The rules of layers: names, arguments and defaults. `network!`, the serialized form of layers and their documentation
//! use the same rules; shapes are checked when a layer is built.

pub use super::connections::{Connections, MAX_CONNECTED};
use super::{GruReset, Interpolation, Layer, PaddingMode, RnnActivation};
use crate::graph::initializer::Initializer;
use crate::ops::window::{Sides, Window};

/// A layer of the language with one input and one output.
pub struct LayerRule {
    /// The name in `network!`.
    pub name: &'static str,
    /// Its names in other libraries.
    pub also: &'static [&'static str],
    /// The quantity that it takes from its input, but that is an argument in other libraries.
    pub known: Option<Known>,
    /// Its arguments; the required ones come first.
    pub arguments: &'static [ArgumentRule],
    /// A call.
    pub example: &'static str,
    /// The layer; `None` if a setting that it needs is missing.
    pub make: fn(&Settings) -> Option<Layer>,
    /// The settings that make a layer; `None` if it is a layer of another rule.
    pub settings: fn(&Layer) -> Option<Settings>,
}

impl LayerRule {
    /// The number of spatial axes of the layer's window; 0 for a layer without one.
    pub fn axes(&self) -> usize {
        let axes = |argument: &ArgumentRule| match argument.kind {
            Kind::Sizes(axes) => Some(axes),
            _ => None,
        };
        self.arguments.iter().find_map(axes).unwrap_or(0)
    }

    /// The rule of an argument.
    pub fn argument(&self, name: &str) -> Option<&'static ArgumentRule> {
        self.arguments.iter().find(|argument| argument.name == name)
    }
}

/// A quantity that a layer takes from its input.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// In words: "input channels".
    pub words: &'static str,
    /// The names of the argument in other libraries.
    pub names: &'static [&'static str],
}

/// An argument of a layer.
#[derive(Clone, Copy, Debug)]
pub struct ArgumentRule {
    /// The name in `network!`.
    pub name: &'static str,
    /// Its names in other libraries.
    pub also: &'static [&'static str],
    /// The kind of its values.
    pub kind: Kind,
    /// The value if it is omitted.
    pub default: Default,
}

/// The kind of an argument's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One size.
    Size,
    /// One size for all axes of a window, or one for each; the number of axes.
    Sizes(usize),
    /// Padding for all axes, or for each; the number of axes.
    Padding(usize),
    /// Any number of sizes.
    List,
    /// A real number.
    Number,
    /// `true` or `false`.
    Flag,
    /// A list of input channels for each output channel.
    Connections,
    /// One of some words.
    Word(&'static [&'static str]),
    /// An initializer.
    Initializer,
}

impl Kind {
    /// What such an argument takes, in words.
    pub fn words(self) -> String {
        match self {
            Kind::Size => "a size such as 16".to_owned(),
            Kind::Sizes(1) => "a size such as 3".to_owned(),
            Kind::Sizes(2) => "a size such as 3, or a pair (height, width)".to_owned(),
            Kind::Sizes(_) => "a size such as 3, or a triple (depth, height, width)".to_owned(),
            Kind::Padding(1) => {
                "a size such as 1, a pair (before, after), or `same`, `valid` or `full`".to_owned()
            }
            Kind::Padding(2) => {
                "a size such as 1, a pair (height, width) of sizes or of pairs (before, after), \
                 or `same`, `valid` or `full`"
                    .to_owned()
            }
            Kind::Padding(_) => {
                "a size such as 1, a triple (depth, height, width) of sizes or of pairs (before, after), \
                 or `same`, `valid` or `full`"
                    .to_owned()
            }
            Kind::List => "a list of sizes such as (16, 7, 7)".to_owned(),
            Kind::Number => "a number such as 0.5".to_owned(),
            Kind::Flag => "`true` or `false`".to_owned(),
            Kind::Connections => "`all`, or for each output channel the list of its input channels, such as \
                 ((0, 1, 2), (1, 2, 3)): each from 0 to 63 and once, for at most 64 output channels"
                .to_owned(),
            Kind::Word(words) => alternatives(words),
            Kind::Initializer => "a distribution such as `xavier_uniform` or `normal(0, 0.01)`".to_owned(),
        }
    }
}

/// `a`, `b` or `c`, each in backticks.
fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.join(""),
    }
}

/// The default of an argument.
#[allow(clippy::large_enum_variant, reason = "constants cannot be boxed")]
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// It is required; only required arguments may be positional.
    Required,
    /// A value.
    Is(Setting),
    /// The value of another argument.
    As(&'static str),
}

/// An argument's value.
#[allow(clippy::large_enum_variant, reason = "defaults are constants, which cannot be boxed")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Setting {
    /// One size.
    Size(usize),
    /// A size for each axis.
    Sizes(Each<usize>),
    /// Padding for each axis.
    Padding(Each<Sides>),
    /// A real number.
    Number(f64),
    /// `true` or `false`.
    Flag(bool),
    /// A list of input channels for each output channel.
    Connections(Connections),
    /// One of the words of its kind.
    Word(&'static str),
    /// An initializer.
    Initializer(Initializer),
}

/// The maximum number of entries of [`Each`].
pub const MAX_ENTRIES: usize = 8;

/// One value for each of a few axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Each<T> {
    values: [T; MAX_ENTRIES],
    count: usize,
}

impl<T: Copy> Each<T> {
    /// The same value for all axes.
    pub const fn all(count: usize, value: T) -> Self {
        Each { values: [value; MAX_ENTRIES], count }
    }

    /// One value for each axis; `None` for none, or more than [`MAX_ENTRIES`].
    pub fn of(values: &[T]) -> Option<Self> {
        let mut each = Each::all(values.len(), *values.first()?);
        each.values.get_mut(..values.len())?.copy_from_slice(values);
        Some(each)
    }

    /// The values.
    pub fn as_slice(&self) -> &[T] {
        &self.values[..self.count]
    }
}

/// The arguments of one call, including defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    settings: Vec<(&'static str, Setting)>,
    /// The sizes of an item of the layer's input, if they are known.
    input: Option<Vec<usize>>,
}

/// Why a word stands for no padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaddingWord {
    /// There is no such word.
    Unknown,
    /// It depends on the sizes of the input, which are not known.
    NeedsInput,
}

impl Settings {
    /// No settings yet, for an input whose items have these sizes, if they are known.
    pub fn for_input(input: Option<Vec<usize>>) -> Self {
        Settings { settings: Vec::new(), input }
    }

    /// Sets an argument that has no value yet.
    pub fn set(&mut self, name: &'static str, setting: Setting) {
        self.settings.push((name, setting));
    }

    /// The settings with one more argument.
    #[must_use]
    pub(super) fn with(mut self, name: &'static str, setting: Setting) -> Self {
        self.set(name, setting);
        self
    }

    /// The value of an argument.
    pub fn get(&self, name: &str) -> Option<Setting> {
        self.settings.iter().find(|(candidate, _)| *candidate == name).map(|(_, setting)| *setting)
    }

    /// The value of an argument as the type of a layer's field.
    pub(super) fn read<T: Field>(&self, name: &str) -> Option<T> {
        T::of(self.get(name)?)
    }

    /// The window of a convolution or pooling layer.
    pub(super) fn window(&self) -> Option<Window> {
        let kernel_size = self.read::<Vec<usize>>("kernel_size")?;
        Some(Window {
            stride: self.read("stride")?,
            padding: self.read("padding")?,
            dilation: match self.get("dilation") {
                Some(_) => self.read("dilation")?,
                None => vec![1; kernel_size.len()],
            },
            kernel_size,
        })
    }

    /// The padding that a word stands for: `valid` for none, `full` for windows that overlap the input in at least one
    /// element, `same` for a result of the input's size divided by the stride and rounded up.
    ///
    /// # Errors
    /// [`PaddingWord`].
    pub fn padding_of(&self, word: &str) -> Result<Vec<Sides>, PaddingWord> {
        let sizes = |name| self.read::<Vec<usize>>(name).unwrap_or_default();
        let (kernel_size, stride) = (sizes("kernel_size"), sizes("stride"));
        let dilation = self.read("dilation").unwrap_or(vec![1; kernel_size.len()]);
        let around = kernel_size
            .iter()
            .zip(dilation)
            .map(|(size, dilation)| size.saturating_sub(1).saturating_mul(dilation));
        match word {
            "valid" => Ok(vec![Sides::default(); kernel_size.len()]),
            "full" => Ok(around.map(Sides::from).collect()),
            "same" => around
                .enumerate()
                .map(|(axis, around)| {
                    let total = match (stride.get(axis), &self.input) {
                        (None | Some(1), _) => around,
                        (Some(stride), Some(input)) => {
                            let size = input.get(axis + 1).copied().unwrap_or(1);
                            let outputs = size.div_ceil((*stride).max(1));
                            (outputs.saturating_sub(1) * stride + 1)
                                .saturating_add(around)
                                .saturating_sub(size)
                        }
                        (Some(_), None) => return Err(PaddingWord::NeedsInput),
                    };
                    Ok(Sides { before: total / 2, after: total - total / 2 })
                })
                .collect(),
            _ => Err(PaddingWord::Unknown),
        }
    }

    /// The settings of a window.
    pub(super) fn of_window(window: &Window) -> Option<Self> {
        Some(
            Settings::default()
                .with("kernel_size", window.kernel_size.setting()?)
                .with("stride", window.stride.setting()?)
                .with("padding", window.padding.setting()?)
                .with("dilation", window.dilation.setting()?),
        )
    }
}

/// A field of a layer that is an argument of its rule.
pub(super) trait Field: Sized {
    /// The field with a setting, if it is of its kind.
    fn of(setting: Setting) -> Option<Self>;

    /// The setting of the field; `None` for a list that is too long.
    fn setting(&self) -> Option<Setting>;
}

macro_rules! field {
    ($($type:ty: $setting:pat => $read:expr, $field:ident => $written:expr;)*) => {
        $(impl Field for $type {
            fn of(setting: Setting) -> Option<Self> {
                match setting {
                    $setting => $read,
                    _ => None,
                }
            }

            fn setting(&self) -> Option<Setting> {
                let $field = self;
                $written
            }
        })*
    };
}

field! {
    usize: Setting::Size(size) => Some(size), size => Some(Setting::Size(*size));
    f64: Setting::Number(number) => Some(number), number => Some(Setting::Number(*number));
    bool: Setting::Flag(flag) => Some(flag), flag => Some(Setting::Flag(*flag));
    Initializer: Setting::Initializer(init) => Some(init), init => Some(Setting::Initializer(*init));
    Vec<Vec<usize>>: Setting::Connections(connections) => Some(connections.lists()), lists => match &lists[..] {
        [] => Some(Setting::Connections(Connections::ALL)),
        lists => Connections::of(lists).map(Setting::Connections),
    };
    Vec<usize>: Setting::Sizes(sizes) => Some(sizes.as_slice().to_vec()),
        sizes => Each::of(sizes).map(Setting::Sizes);
    Vec<Sides>: Setting::Padding(padding) => Some(padding.as_slice().to_vec()),
        padding => Each::of(padding).map(Setting::Padding);
    PaddingMode: Setting::Word(word) => PaddingMode::of(word), mode => Some(Setting::Word(mode.word()));
    RnnActivation: Setting::Word(word) => RnnActivation::of(word), word => Some(Setting::Word(word.word()));
    GruReset: Setting::Word(word) => GruReset::of(word), word => Some(Setting::Word(word.word()));
    Interpolation: Setting::Word(word) => Interpolation::of(word), mode => Some(Setting::Word(mode.word()));
}

/// The rule of a layer.
pub fn find(name: &str) -> Option<&'static LayerRule> {
    super::table::LAYERS.iter().find(|rule| rule.name == name)
}

pub use super::table::LAYERS;

impl Layer {
    /// The rule of this layer, and the settings that make it.
    pub(crate) fn rule(&self) -> Option<(&'static LayerRule, Settings)> {
        LAYERS.iter().find_map(|rule| Some((rule, (rule.settings)(self)?)))
    }
}
