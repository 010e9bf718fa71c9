//! Why a graph cannot be used as a network.

use windlass_compiler::shape::Symbol;

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
    /// An input or output that is not a batch of floats.
    #[error(
        "its {what} `{name}` is {ty}, but inputs and outputs must be batches of 32-bit floats, such as f32[N, 10]; labels, \
         losses and gradients are left to `Trainer`"
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
