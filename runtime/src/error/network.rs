//! Why a graph cannot be used as a network, and why a network cannot take an input.

use windlass_compiler::shape::Symbol;

use super::words::Place;

/// Why a graph cannot be used for models, predictors and trainers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkProblem {
    /// It has no inputs.
    #[error("it has no inputs; declare one, `builder.input(\"image\", &[1, 28, 28])`")]
    NoInputs,
    /// It has no outputs.
    #[error("it has no outputs; name one, `builder.output(\"class\", value)`")]
    NoOutputs,
    /// It updates its own parameters, like a training step.
    #[error(
        "it updates `{name}`, like a training step; pass only the network, because `Trainer` builds the step"
    )]
    Updates {
        /// The first parameter or state that it updates.
        name: String,
    },
    /// It has a control input, like the learning rate of a training step.
    #[error(
        "its input `{name}` is a control input, like those of a training step; pass only the network, because `Trainer` builds the step"
    )]
    ControlInput {
        /// The input.
        name: String,
    },
    /// An open size that is not an axis of an input by itself.
    #[error("it has a value of type {ty}, but no input has an axis of size {size}, which would determine it")]
    UnknownSize {
        /// The type of the value.
        ty: String,
        /// The size.
        size: Symbol,
    },
    /// An input that is neither a batch of floats nor one of indices, or an output that is not a batch of floats.
    #[error(
        "its {what} `{name}` is {ty}, but outputs must be batches of 32-bit floats, such as f32[N, 10], and inputs batches \
         of these or of indices, such as i32[N, T]; labels, losses and gradients are left to `Trainer`"
    )]
    NoBatchOfFloats {
        /// "input" or "output".
        what: &'static str,
        /// Its name.
        name: String,
        /// Its type.
        ty: String,
    },
}

/// An index that is outside the vocabulary of the embedding that looks it up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "token {token} at {} of input `{input}` is outside the vocabulary of {vocabulary}, 0 to {}, of `{network}`",
    Place(place),
    vocabulary.saturating_sub(1)
)]
pub struct OutsideVocabulary {
    /// The network.
    pub network: String,
    /// The input.
    pub input: String,
    /// The sample, and the index in it along each axis, such as the step.
    pub place: Vec<usize>,
    /// The token.
    pub token: i32,
    /// The number of tokens that there are.
    pub vocabulary: usize,
}

/// A length of a padded sequence that is outside the steps that there are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "length {length} at {} of input `{input}` is outside {least} to {steps}, the steps of the sequences of `{network}`; {}",
    Place(place),
    match *length {
        0 => "leave out sequences without steps",
        ..0 => "a length counts the steps before the padding",
        _ => "pad the sequences to the longest",
    }
)]
pub struct OutsideSteps {
    /// The network.
    pub network: String,
    /// The input.
    pub input: String,
    /// The sample, and the index in it along each axis.
    pub place: Vec<usize>,
    /// The length.
    pub length: i32,
    /// The least length: 1, or 0 for a piece of a longer sequence, which may have ended before.
    pub least: i32,
    /// The number of steps that there are.
    pub steps: usize,
}
