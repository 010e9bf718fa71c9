//! Why a graph cannot be differentiated or turned into a training step.

use thiserror::Error;

use crate::entity::ValueId;
use crate::error::GraphError;
use crate::shape::Type;

/// Why a graph cannot be differentiated.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum AutodiffError {
    /// An operator has no gradient where one is needed.
    #[error("`{op}`{} has no gradient towards {towards}", at_layer(label))]
    NotDifferentiable {
        /// The operator.
        op: &'static str,
        /// The layer it comes from.
        label: String,
        /// What there is no gradient towards, in words.
        towards: &'static str,
    },
    /// An operator carries fused steps.
    #[error("`{op}`{} has a fused epilogue; differentiate the graph before fusing it", at_layer(label))]
    FusedEpilogue {
        /// The operator.
        op: &'static str,
        /// The layer it comes from.
        label: String,
    },
    /// A value that is not a single number was to be differentiated.
    #[error("only a single number has gradients, but {value} is {ty}")]
    NotScalar {
        /// The value.
        value: ValueId,
        /// Its type.
        ty: Type,
    },
    /// A gradient towards integers was asked for.
    #[error("{value} holds integers, towards which nothing has a gradient")]
    TowardsIntegers {
        /// The value.
        value: ValueId,
    },
    /// A value that the graph does not have.
    #[error("the graph has no value {value}")]
    UnknownValue {
        /// The value.
        value: ValueId,
    },
    /// The output that the loss is taken of does not exist.
    #[error("the network has no output `{name}`; it has {known:?}")]
    UnknownOutput {
        /// The name asked for.
        name: String,
        /// The outputs there are.
        known: Vec<String>,
    },
    /// The network has none or several outputs, and none was chosen.
    #[error("the loss needs one output, but the network has {known:?}; name one in the training options")]
    OutputNotChosen {
        /// The outputs there are.
        known: Vec<String>,
    },
    /// A parameter to freeze does not exist.
    #[error("there is no parameter `{name}` to freeze")]
    UnknownParameter {
        /// The name.
        name: String,
    },
    /// The loss depends on no parameter that may change.
    #[error("there is nothing to train: the loss depends on no parameter that is not frozen")]
    NothingToTrain,
    /// The network uses a name that training needs.
    #[error("the network's {kind} `{name}` has a name that training uses itself; rename it")]
    ReservedName {
        /// "input", "output", "parameter" or "state".
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A node cannot be added: the output does not fit the loss, or a setting is out of range.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

fn at_layer(label: &str) -> String {
    if label.is_empty() { String::new() } else { format!(" at `{label}`") }
}
