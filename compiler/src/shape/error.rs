//! Broken shape rules, worded for users. Each message continues after a layer's name: "`linear(120)` needs a vector but
//! receives [16, 5, 5]".

mod help;

use thiserror::Error;

use super::{Polynomial, Shape, Type};
use crate::functions::UnaryKind;

/// A broken shape rule.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// An operator received the wrong number of values.
    #[error("takes {expected} values but receives {got}")]
    Arity {
        /// The expected number, in words or digits.
        expected: String,
        /// The given number.
        got: usize,
    },
    /// A value has the wrong number of axes.
    #[error("needs {expected} but receives {}", got.display_item())]
    Rank {
        /// The expected shape, in words: "a vector", "an image [channels, height, width]".
        expected: String,
        /// The given shape.
        got: Shape,
    },
    /// A value has the wrong type.
    #[error("needs {expected} for its {operand} but receives {got}")]
    Operand {
        /// Which operand.
        operand: &'static str,
        /// The expected type.
        expected: String,
        /// The given type.
        got: Type,
    },
    /// A layer that computes with numbers receives indices.
    #[error("needs numbers but receives indices, {} of index", got.display_item())]
    NeedsNumbers {
        /// The given shape.
        got: Shape,
    },
    /// A layer that looks up indices receives numbers.
    #[error("needs indices but receives numbers, {}", got.display_item())]
    NeedsIndices {
        /// The given shape.
        got: Shape,
    },
    /// A window is larger than the padded input.
    #[error("has a {} kernel{}, which exceeds its {} input{}",
        sizes(kernel_size), dilated(kernel_size, dilation), sizes(&input.item()[1..]), padded_words(input, padded))]
    WindowExceedsInput {
        /// Extents of the window.
        kernel_size: Vec<usize>,
        /// Distances between neighbouring elements of the window.
        dilation: Vec<usize>,
        /// Sizes of the padded input.
        padded: Vec<usize>,
        /// The input.
        input: Shape,
    },
    /// A window without any axis.
    #[error("has a window without axes, which must have one for each axis of an image")]
    NoAxes,
    /// Padding of a pooling window is as large as the window.
    #[error("has padding {padding} along {axis}, which must be smaller than its kernel size {kernel_size}")]
    PaddingExceedsKernel {
        /// "height", "width" or "depth".
        axis: String,
        /// The padding on each side.
        padding: usize,
        /// The window's extent.
        kernel_size: usize,
    },
    /// An order that does not name every axis of a sample once.
    #[error("has the order {order:?}, but a sample {} has the axes 0 to {}", shape.display_item(), shape.rank() - 2)]
    Permutation {
        /// The given order, without the batch.
        order: Vec<usize>,
        /// The input.
        shape: Shape,
    },
    /// The number of channels is not a multiple of a number that an argument gives.
    #[error("needs a multiple of {of} channels but receives {channels}")]
    ChannelsNotMultiple {
        /// The argument.
        argument: &'static str,
        /// The number of channels.
        channels: usize,
        /// The number that must divide it.
        of: usize,
    },
    /// Channels are not a multiple of the groups.
    #[error("has {groups} groups, which must divide its {inputs} input and {outputs} output channels")]
    GroupsDoNotDivide {
        /// The number of groups.
        groups: usize,
        /// The number of input channels.
        inputs: usize,
        /// The number of output channels.
        outputs: usize,
    },
    /// The number of heads does not divide the features.
    #[error("has {heads} heads, which must divide its {features} features")]
    HeadsDoNotDivide {
        /// The number of heads.
        heads: usize,
        /// The number of features.
        features: usize,
    },
    /// Two values that must have the same shape do not.
    #[error("needs two equal shapes but receives {} and {}", left.display_item(), right.display_item())]
    UnequalShapes {
        /// The first.
        left: Shape,
        /// The second.
        right: Shape,
    },
    /// Concatenated values differ in an axis other than the concatenation axis.
    #[error(
        "concatenates along axis {axis}, but {} and {} differ in another axis",
        left.display_item(),
        right.display_item()
    )]
    ConcatMismatch {
        /// The concatenation axis; the batch axis is 0.
        axis: usize,
        /// The first value.
        left: Shape,
        /// The value that does not fit.
        right: Shape,
    },
    /// An axis that does not exist or is not allowed.
    #[error("has no axis {axis} to work along in {}", shape.display_item())]
    Axis {
        /// The axis; the batch axis is 0.
        axis: usize,
        /// The shape.
        shape: Shape,
    },
    /// A slice reaches past the end of its axis.
    #[error("takes {start}..{end} of axis {axis}, which {} does not have", shape.display_item())]
    SliceOutOfRange {
        /// First index.
        start: Polynomial,
        /// One past the last index.
        end: Polynomial,
        /// The axis.
        axis: usize,
        /// The shape.
        shape: Shape,
    },
    /// An order of axes that is not a permutation.
    #[error("puts the axes in the order {order:?}, but {shape} has the axes 0 to {}, and the batch must stay first",
        shape.rank().saturating_sub(1))]
    Order {
        /// The order.
        order: Vec<usize>,
        /// The shape.
        shape: Shape,
    },
    /// A scan whose body does not fit it.
    #[error("{reason}")]
    Scan {
        /// What does not fit, as the rest of a sentence.
        reason: String,
    },
    /// A reshape that changes the number of elements.
    #[error("reshapes {from} to {to}, which has a different number of elements")]
    ElementsDiffer {
        /// The shape before.
        from: Shape,
        /// The shape after.
        to: Shape,
    },
    /// A layer that shares the parameters of another does not fit them.
    #[error("needs the shared parameter `{name}` as {needed}, {}", match found {
        Some(found) => format!("but it is {found}"),
        None => "but there is none".to_owned(),
    })]
    SharedParameter {
        /// The name of the parameter or state.
        name: String,
        /// The shape that the layer needs.
        needed: Shape,
        /// The shape of the parameter, if there is one.
        found: Option<Shape>,
    },
    /// Lists of connections, but not one for each output channel.
    #[error("has connections for {lists} output channels, but `out_channels` is {outputs}")]
    ConnectionCount {
        /// The number of lists.
        lists: usize,
        /// The number of output channels.
        outputs: usize,
    },
    /// A connection with an input channel that does not exist, or that is out of order.
    #[error(
        "connects output channel {output} with input channel {input}, but connections ascend within 0 to {}",
        inputs.saturating_sub(1)
    )]
    ConnectionOutOfRange {
        /// The output channel, from 0.
        output: usize,
        /// The input channel, from 0.
        input: usize,
        /// The number of input channels.
        inputs: usize,
    },
    /// An output channel without connections.
    #[error("connects output channel {output} with no input channel")]
    Unconnected {
        /// The output channel, from 0.
        output: usize,
    },
    /// Parts of an axis whose sizes do not add up to its size.
    #[error("splits axis {axis} of {} into parts of {sizes:?}, whose sum is {}", shape.display_item(),
        sizes.iter().fold(0usize, |total, size| total.saturating_add(*size)))]
    Split {
        /// The sizes of the parts.
        sizes: Vec<usize>,
        /// The axis; the batch axis is 0.
        axis: usize,
        /// The shape.
        shape: Shape,
    },
    /// An axis of size zero.
    #[error("would produce the empty shape {}", shape.display_item())]
    ZeroSize {
        /// The shape.
        shape: Shape,
    },
    /// A size of zero.
    #[error("has `{argument}` 0, which must be at least 1")]
    ZeroArgument {
        /// The argument.
        argument: &'static str,
    },
    /// A number outside its range.
    #[error("has `{argument}` {value}, which must be {range}")]
    NumberOutOfRange {
        /// The argument.
        argument: &'static str,
        /// Its value.
        value: f64,
        /// The allowed values, in words.
        range: &'static str,
    },
    /// A function that is not an activation, where one is needed.
    #[error("has `activation` {kind}, which is not an activation")]
    NotAnActivation {
        /// The function.
        kind: UnaryKind,
    },
    /// More elements than can be addressed.
    #[error(
        "would {} {}, which has more than 2^31 elements",
        if shape.is_batched() { "produce" } else { "need a parameter of shape" },
        shape.display_item()
    )]
    TooLarge {
        /// The shape.
        shape: Shape,
    },
    /// The batch axis is not the first axis.
    #[error("has its batch axis after the first axis: {shape}")]
    BatchNotFirst {
        /// The shape.
        shape: Shape,
    },
    /// Open sizes in a value without a batch axis.
    #[error("has the open shape {shape}, whose first axis is not the batch")]
    OpenWithoutBatch {
        /// The shape.
        shape: Shape,
    },
    /// An axis that is empty for some values of its open sizes.
    #[error("would produce {}, which is empty for small sizes", shape.display_item())]
    MayBeEmpty {
        /// The shape.
        shape: Shape,
    },
    /// An open size where the network declaration must give a number.
    #[error("needs fixed sizes but receives {}", shape.display_item())]
    OpenSize {
        /// The shape.
        shape: Shape,
    },
}

impl ShapeError {
    /// The layer argument at fault, if it is a single one.
    pub fn argument(&self) -> Option<&'static str> {
        match self {
            ShapeError::ZeroArgument { argument } | ShapeError::NumberOutOfRange { argument, .. } => {
                Some(argument)
            }
            ShapeError::WindowExceedsInput { .. } | ShapeError::NoAxes => Some("kernel_size"),
            ShapeError::PaddingExceedsKernel { .. } => Some("padding"),
            ShapeError::GroupsDoNotDivide { .. } => Some("groups"),
            ShapeError::HeadsDoNotDivide { .. } => Some("heads"),
            ShapeError::ChannelsNotMultiple { argument, .. } => Some(argument),
            ShapeError::NotAnActivation { .. } => Some("activation"),
            ShapeError::ConnectionCount { .. }
            | ShapeError::ConnectionOutOfRange { .. }
            | ShapeError::Unconnected { .. } => Some("connections"),
            ShapeError::Arity { .. }
            | ShapeError::Rank { .. }
            | ShapeError::Operand { .. }
            | ShapeError::NeedsNumbers { .. }
            | ShapeError::NeedsIndices { .. }
            | ShapeError::UnequalShapes { .. }
            | ShapeError::ConcatMismatch { .. }
            | ShapeError::Axis { .. }
            | ShapeError::SliceOutOfRange { .. }
            | ShapeError::Order { .. }
            | ShapeError::Permutation { .. }
            | ShapeError::ElementsDiffer { .. }
            | ShapeError::SharedParameter { .. }
            | ShapeError::Split { .. }
            | ShapeError::Scan { .. }
            | ShapeError::ZeroSize { .. }
            | ShapeError::TooLarge { .. }
            | ShapeError::BatchNotFirst { .. }
            | ShapeError::OpenWithoutBatch { .. }
            | ShapeError::MayBeEmpty { .. }
            | ShapeError::OpenSize { .. } => None,
        }
    }
}

/// `28×28`
fn sizes(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

/// Describes the dilated kernel: ` with dilation 2 over 9×9`.
fn dilated(kernel_size: &[usize], dilation: &[usize]) -> String {
    if dilation.iter().all(|&dilation| dilation == 1) {
        return String::new();
    }
    let extents: Vec<usize> = kernel_size
        .iter()
        .zip(dilation)
        .map(|(kernel_size, dilation)| {
            kernel_size.saturating_sub(1).saturating_mul(*dilation).saturating_add(1)
        })
        .collect();
    format!(" with dilation {}, {} in all", sizes(dilation), sizes(&extents))
}

/// Describes the padded input: ` padded to 30×30`.
fn padded_words(input: &Shape, padded: &[usize]) -> String {
    if input.item()[1..] == *padded { String::new() } else { format!(" padded to {}", sizes(padded)) }
}
