//! Why a graph cannot be differentiated or turned into a training step.

use thiserror::Error;

use super::frozen::{UnknownName, message as frozen_message};
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
    /// Names to freeze that nothing has.
    #[error("{}", frozen_message(unknown, parameters, states))]
    UnknownFrozen {
        /// All of these names, each with the nearest there is.
        unknown: Vec<UnknownName>,
        /// The parameters there are.
        parameters: Vec<String>,
        /// The states there are: running statistics.
        states: Vec<String>,
    },
    /// A setting out of its range.
    #[error("`{setting}` is {value:e} but must be {expected}")]
    Setting {
        /// The setting, as the options name it.
        setting: &'static str,
        /// Its value.
        value: f64,
        /// The values allowed, in words.
        expected: &'static str,
    },
    /// The cross-entropy is to be taken of probabilities.
    #[error(
        "the cross-entropy needs logits, but the output `{output}` comes from `softmax` at `{layer}`: remove `softmax` \
         from the network, since the cross-entropy applies it itself; for probabilities, apply it to what the network predicts"
    )]
    SoftmaxBeforeLoss {
        /// The output.
        output: String,
        /// The layer.
        layer: String,
    },
    /// The cross-entropy is to be taken of a single logit.
    #[error(
        "the cross-entropy needs at least 2 classes, but the output `{output}` has {classes}: give the last layer 2 for a \
         choice between two, or take the mean squared error"
    )]
    TooFewClasses {
        /// The output.
        output: String,
        /// Its classes.
        classes: usize,
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
