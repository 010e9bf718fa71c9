//! Why a graph cannot be differentiated or turned into a training step.

use thiserror::Error;

use super::frozen::{UnknownName, message as frozen_message};
use crate::entity::ValueId;
use crate::error::GraphError;
use crate::shape::{Symbol, Type};

/// Why a graph cannot be differentiated.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum AutodiffError {
    /// An operator has no gradient where one is needed.
    #[error("`{op}`{} has no gradient with respect to {towards}", at_layer(label))]
    NotDifferentiable {
        /// The operator.
        op: &'static str,
        /// The layer it comes from.
        label: String,
        /// The target without a gradient, in words.
        towards: &'static str,
    },
    /// The operator has a fused epilogue.
    #[error("`{op}`{} has a fused epilogue; differentiate the graph before fusing it", at_layer(label))]
    FusedEpilogue {
        /// The operator.
        op: &'static str,
        /// The layer it comes from.
        label: String,
    },
    /// The differentiated value is not a scalar.
    #[error("only a scalar has gradients, but {value} is {ty}")]
    NotScalar {
        /// The value.
        value: ValueId,
        /// Its type.
        ty: Type,
    },
    /// A gradient with respect to integers was requested.
    #[error("{value} holds integers, which have no gradient")]
    TowardsIntegers {
        /// The value.
        value: ValueId,
    },
    /// The value does not exist.
    #[error("the graph has no value {value}")]
    UnknownValue {
        /// The value.
        value: ValueId,
    },
    /// The output used for the loss does not exist.
    #[error("the network has no output `{name}`; it has {known:?}")]
    UnknownOutput {
        /// The given name.
        name: String,
        /// The existing outputs.
        known: Vec<String>,
    },
    /// The network has no output or several, and none was chosen.
    #[error("the loss needs one output, but the network has {known:?}; name one in the training options")]
    OutputNotChosen {
        /// The existing outputs.
        known: Vec<String>,
    },
    /// Both an output and a list of losses are given.
    #[error(
        "the options choose the output `{output}` and list losses: leave one out, since each loss names its output"
    )]
    OutputBesideLosses {
        /// The output.
        output: String,
    },
    /// An output has several losses.
    #[error("the output `{output}` has several losses: give it one")]
    RepeatedLoss {
        /// The output.
        output: String,
    },
    /// The number of class weights differs from the number of classes.
    #[error(
        "the loss has {got} class weights, but the output `{output}` has {classes} classes: give one weight for each"
    )]
    ClassWeights {
        /// The output.
        output: String,
        /// The number of classes.
        classes: usize,
        /// The number of weights.
        got: usize,
    },
    /// Unknown names to freeze.
    #[error("{}", frozen_message(unknown, parameters, states))]
    UnknownFrozen {
        /// All unknown names, each with the nearest existing one.
        unknown: Vec<UnknownName>,
        /// The existing parameters.
        parameters: Vec<String>,
        /// The existing states: running statistics.
        states: Vec<String>,
    },
    /// A parameter group without parameters.
    #[error(
        "the parameter group `{pattern}` has no parameter; there are {}",
        parameters.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    )]
    EmptyGroup {
        /// Its pattern.
        pattern: String,
        /// The existing parameters.
        parameters: Vec<String>,
    },
    /// A gradient with respect to an input of integers was requested by name.
    #[error(
        "the input `{input}` holds integers, which have no gradient: leave it out, or ask for the gradient of the parameter \
         that it indexes, such as the weight of an embedding"
    )]
    IntegerInput {
        /// The input.
        input: String,
    },
    /// A gradient with respect to an input or parameter that does not exist was requested.
    #[error(
        "the network has no {kind} `{name}`{}; it has {}",
        nearest.as_ref().map_or(String::new(), |nearest| format!(" (did you mean `{nearest}`?)")),
        known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    )]
    UnknownGradient {
        /// "input" or "parameter".
        kind: &'static str,
        /// The given name or pattern.
        name: String,
        /// The nearest existing name.
        nearest: Option<String>,
        /// The existing names.
        known: Vec<String>,
    },
    /// Gradients were requested with respect to nothing.
    #[error("there is nothing to differentiate with respect to: ask for an input of numbers or a parameter")]
    NoGradient,
    /// A setting outside its range.
    #[error("`{setting}` is {value:e} but must be {expected}")]
    Setting {
        /// The setting, by its name in the options.
        setting: &'static str,
        /// Its value.
        value: f64,
        /// The allowed values, in words.
        expected: &'static str,
    },
    /// A loss of logits receives probabilities.
    #[error(
        "the {loss} needs logits, but the output `{output}` comes from `softmax` at `{layer}`: remove `softmax` \
         from the network, since the {loss} applies it itself; for probabilities, apply `softmax` to the network's output"
    )]
    SoftmaxBeforeLoss {
        /// The loss.
        loss: &'static str,
        /// The output.
        output: String,
        /// The layer.
        layer: String,
    },
    /// The binary cross-entropy of logits receives probabilities.
    #[error(
        "the binary cross-entropy needs logits, but the output `{output}` comes from `sigmoid` at `{layer}`: remove `sigmoid` \
         from the network, since the binary cross-entropy applies it itself; for probabilities, apply `sigmoid` to the \
         network's output"
    )]
    SigmoidBeforeLoss {
        /// The output.
        output: String,
        /// The layer.
        layer: String,
    },
    /// A loss of one's own reads an output of another type.
    #[error(
        "the loss takes the output `{output}` as {expected}, but the network computes {got}: declare it like the output"
    )]
    CustomOutput {
        /// The output.
        output: String,
        /// The type of the input of the loss.
        expected: Type,
        /// The type of the output.
        got: Type,
    },
    /// A loss of one's own reads no output.
    #[error(
        "the loss reads no output of the network: name an input of it after one of {}",
        known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    )]
    CustomWithoutOutput {
        /// The outputs.
        known: Vec<String>,
    },
    /// A loss of one's own has an open size that the network has not.
    #[error("the loss has the open size {size}, which no input of the network has")]
    CustomSize {
        /// The size.
        size: Symbol,
    },
    /// A loss of one's own among the losses of several outputs.
    #[error(
        "the losses of several outputs include a loss of one's own, which reads any number of outputs by itself: give it alone, \
         as `loss`"
    )]
    CustomInList,
    /// The cross-entropy receives a single logit.
    #[error(
        "the cross-entropy needs at least 2 classes, but the output `{output}` has {classes}: give the last layer 2 for a \
         choice between two, or use the mean squared error"
    )]
    TooFewClasses {
        /// The output.
        output: String,
        /// The number of classes.
        classes: usize,
    },
    /// The output of the CTC loss is not one vector of logits for each step.
    #[error(
        "the CTC loss needs an output of logits for each step, [T, classes], but `{output}` is {got}: give the network \
         steps, or transpose its output"
    )]
    NotSteps {
        /// The output.
        output: String,
        /// The shape of an item.
        got: String,
    },
    /// The steps of a scan with recomputation are of open number.
    #[error(
        "`recompute` divides sequences into segments, but the length of those{} is open, {steps}: declare a fixed length, or \
         leave `recompute` out",
        at_layer(layer)
    )]
    OpenSegments {
        /// The layer.
        layer: String,
        /// The number of steps.
        steps: String,
    },
    /// The loss depends on no trainable parameter.
    #[error("there is nothing to train: the loss depends on no parameter that is not frozen")]
    NothingToTrain,
    /// The network uses a reserved name.
    #[error("the network's {kind} `{name}` has a name that is reserved for training; rename it")]
    ReservedName {
        /// "input", "output", "parameter" or "state".
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A node is invalid: the output does not fit the loss, or a setting is outside its range.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

fn at_layer(label: &str) -> String {
    if label.is_empty() { String::new() } else { format!(" at `{label}`") }
}
