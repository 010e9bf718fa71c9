//! What keeps a graph from being a network.

use windlass_compiler::shape::Symbol;

/// Why models, predictors and trainers cannot be made of a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkProblem {
    /// It takes nothing.
    #[error("it has no inputs; declare one, `builder.input(\"image\", &[1, 28, 28])`")]
    NoInputs,
    /// It gives nothing.
    #[error("it has no outputs; name one, `builder.output(\"class\", value)`")]
    NoOutputs,
    /// It changes its own parameters, as a training step does.
    #[error("it updates `{name}`, as a training step does; give the network alone, `Trainer` makes its step")]
    Updates {
        /// The first parameter or state that it updates.
        name: String,
    },
    /// It is steered by an input, as a training step is by its learning rate.
    #[error(
        "its input `{name}` steers a run, as that of a training step does; give the network alone, `Trainer` makes its step"
    )]
    ControlInput {
        /// The input.
        name: String,
    },
    /// An open size that is no axis of an input by itself.
    #[error(
        "it has a value of type {ty}, but no input has an axis of size {size}, from which a run could tell it"
    )]
    UnknownSize {
        /// The type of the value.
        ty: String,
        /// The size.
        size: Symbol,
    },
    /// An input or output is something else than batches are.
    #[error(
        "its {what} `{name}` is {ty}, but networks take and give batches of 32-bit floats, such as f32[N, 10]; labels, \
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
