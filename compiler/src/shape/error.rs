//! Broken shape rules, worded for users. Each message continues after a layer's name: "`linear(120)` needs a vector but
//! receives [16, 5, 5]".

use thiserror::Error;

use super::{Polynomial, Shape, Type};

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
            ShapeError::ChannelsNotMultiple { argument, .. } => Some(argument),
            ShapeError::Arity { .. }
            | ShapeError::Rank { .. }
            | ShapeError::Operand { .. }
            | ShapeError::UnequalShapes { .. }
            | ShapeError::ConcatMismatch { .. }
            | ShapeError::Axis { .. }
            | ShapeError::SliceOutOfRange { .. }
            | ShapeError::Order { .. }
            | ShapeError::Permutation { .. }
            | ShapeError::ElementsDiffer { .. }
            | ShapeError::SharedParameter { .. }
            | ShapeError::ZeroSize { .. }
            | ShapeError::TooLarge { .. }
            | ShapeError::BatchNotFirst { .. }
            | ShapeError::OpenWithoutBatch { .. }
            | ShapeError::MayBeEmpty { .. }
            | ShapeError::OpenSize { .. } => None,
        }
    }

    /// How to fix it, where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            ShapeError::Rank { expected, got } if expected.starts_with("a vector") => {
                let flat =
                    format!("put `flatten` before it: {} → [{}]", got.display_item(), got.item_elements());
                Some(match got.item()[..] {
                    [batch, length] => {
                        format!("{flat}; if {batch} is the size of the batch, leave it out: [{length}]")
                    }
                    _ => flat,
                })
            }
            ShapeError::Rank { expected, got }
                if expected.starts_with("an image") && got.item().len() == 4 =>
            {
                let item = got.item();
                Some(format!("if {} is the size of the batch, leave it out: {:?}", item[0], &item[1..]))
            }
            ShapeError::Rank { expected, got }
                if expected.starts_with("an image") && got.item().len() == 1 =>
            {
                Some("put it before `flatten`, where the image still has its height and width".to_owned())
            }
            ShapeError::WindowExceedsInput { kernel_size, dilation, padded, .. } => {
                Some(window_help(kernel_size, dilation, padded))
            }
            ShapeError::PaddingExceedsKernel { kernel_size, .. } => {
                Some(format!("use a padding of at most {}", kernel_size.saturating_sub(1)))
            }
            ShapeError::GroupsDoNotDivide { groups, inputs, outputs } => {
                Some(format!("`groups` can be {}", divisors_near(*groups, *inputs, *outputs)))
            }
            ShapeError::ChannelsNotMultiple { argument: "groups", channels, of } => {
                Some(format!("`groups` can be {}", divisors_near(*of, *channels, *channels)))
            }
            ShapeError::ChannelsNotMultiple { channels, of, .. } => {
                let channels = channels.next_multiple_of(*of);
                Some(format!("put `conv2d({channels}, kernel_size = 1)` before it"))
            }
            ShapeError::UnequalShapes { left, right } => Some(equal_shapes_help(left, right)),
            ShapeError::ConcatMismatch { .. } => {
                Some("give the paths strides and paddings that keep height and width equal".to_owned())
            }
            ShapeError::MayBeEmpty { .. } => Some(
                "open sizes can be as small as 1: add `padding`, so that the result is not empty then"
                    .to_owned(),
            ),
            ShapeError::OpenSize { shape } => open_size_help(shape),
            ShapeError::SharedParameter { .. } => Some(
                "give both uses inputs of the same sizes, or write the layer again for parameters of its own"
                    .to_owned(),
            ),
            ShapeError::TooLarge { .. } => {
                Some("reduce the sizes: use pooling, strides or fewer channels".to_owned())
            }
            _ => None,
        }
    }
}

/// What the user may have meant by an open size.
fn open_size_help(shape: &Shape) -> Option<String> {
    let open = shape.item_dims().iter().find(|dim| dim.fixed().is_none())?;
    Some(format!(
        "write a number instead of {open}, or put {open} before the sizes that the layer needs: it applies to the axes \
         after the last open size"
    ))
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

/// The largest kernel that fits the input, and the padding that makes the kernel fit if one pixel on each side is
/// enough.
fn window_help(kernel_size: &[usize], dilation: &[usize], padded: &[usize]) -> String {
    let (mut largest, mut enough) = (Vec::new(), true);
    for (axis, padded) in padded.iter().enumerate() {
        largest.push((padded.saturating_sub(1) / dilation[axis].max(1) + 1).min(kernel_size[axis].max(1)));
        let extent = kernel_size[axis].saturating_sub(1).saturating_mul(dilation[axis]).saturating_add(1);
        enough &= extent <= padded.saturating_add(2);
    }
    let words = match &largest[..] {
        [first, rest @ ..] if rest.iter().all(|other| other == first) => first.to_string(),
        _ => format!("({})", largest.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    };
    let more = if enough { ", or raise `padding` by 1" } else { "" };
    format!("use a kernel size of at most {words}{more}")
}

/// The group counts nearest to the given one that divide both channel counts.
fn divisors_near(groups: usize, inputs: usize, outputs: usize) -> String {
    let (mut channels, mut rest) = (inputs, outputs);
    while rest != 0 {
        (channels, rest) = (rest, channels % rest);
    }
    let small = (1..=channels.isqrt()).filter(|divisor| channels.is_multiple_of(*divisor));
    let mut divisors: Vec<usize> = small.flat_map(|divisor| [divisor, channels / divisor]).collect();
    divisors.sort_unstable();
    divisors.dedup();
    divisors.sort_by_key(|divisor| (divisor.abs_diff(groups), *divisor));
    divisors.truncate(3);
    divisors.sort_unstable();
    let words: Vec<String> = divisors.iter().map(usize::to_string).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.join(""),
    }
}

/// The 1×1 convolution that maps one image's shape to the other's, if there is one.
fn equal_shapes_help(left: &Shape, right: &Shape) -> String {
    for (from, to) in [(right.item(), left.item()), (left.item(), right.item())] {
        let ([_, from_height, from_width], [channels, height, width]) = (&from[..], &to[..]) else {
            continue;
        };
        if from.contains(&0) || to.contains(&0) {
            continue;
        }
        let stride = from_height.div_ceil(*height);
        if from_height.div_ceil(stride) != *height || from_width.div_ceil(stride) != *width {
            continue;
        }
        let stride = if stride == 1 { String::new() } else { format!(", stride = {stride}") };
        return format!("`conv2d({channels}, kernel_size = 1{stride})` brings {from:?} to {to:?}");
    }
    "change one side so that both have the same shape".to_owned()
}

#[cfg(test)]
mod tests {
    use super::{ShapeError, divisors_near};
    use crate::shape::Shape;

    #[track_caller]
    fn equal_shapes(left: &[usize], right: &[usize], expected: &str) {
        let error = ShapeError::UnequalShapes { left: Shape::batched(left), right: Shape::batched(right) };
        assert_eq!(error.help().unwrap(), expected);
    }

    #[test]
    fn unequal_images_are_brought_together_by_a_convolution() {
        equal_shapes(
            &[32, 28, 28],
            &[16, 28, 28],
            "`conv2d(32, kernel_size = 1)` brings [16, 28, 28] to [32, 28, 28]",
        );
        equal_shapes(
            &[32, 14, 14],
            &[16, 27, 28],
            "`conv2d(32, kernel_size = 1, stride = 2)` brings [16, 27, 28] to [32, 14, 14]",
        );
        equal_shapes(
            &[16, 28, 28],
            &[32, 14, 14],
            "`conv2d(32, kernel_size = 1, stride = 2)` brings [16, 28, 28] to [32, 14, 14]",
        );
        equal_shapes(&[16, 28, 28], &[32, 14, 13], "change one side so that both have the same shape");
        equal_shapes(&[8, 0, 0], &[8, 4, 4], "change one side so that both have the same shape");
        equal_shapes(&[400], &[10], "change one side so that both have the same shape");
    }

    #[test]
    fn groups_are_proposed_near_the_given_number() {
        assert_eq!(divisors_near(5, 16, 32), "2, 4 or 8");
        assert_eq!(divisors_near(2, 1, 7), "1");
        assert_eq!(divisors_near(5, 32, 30), "1 or 2");
        assert_eq!(divisors_near(7, 1 << 30, 1 << 31), "2, 4 or 8");
    }

    #[test]
    fn a_kernel_without_room_is_told_the_largest_that_has() {
        let error =
            |kernel_size: [usize; 2], dilation: usize, padding: usize| ShapeError::WindowExceedsInput {
                kernel_size: kernel_size.to_vec(),
                dilation: vec![dilation; 2],
                padded: vec![8 + 2 * padding, 6 + 2 * padding],
                input: Shape::batched(&[3, 8, 6]),
            };
        let text = |error: ShapeError| (error.to_string(), error.help().unwrap());
        let (message, help) = text(error([9, 9], 1, 0));
        assert_eq!(message, "has a 9×9 kernel, which exceeds its 8×6 input");
        assert_eq!(help, "use a kernel size of at most (8, 6)");
        let (message, help) = text(error([5, 2], 3, 2));
        assert_eq!(
            message,
            "has a 5×2 kernel with dilation 3×3, 13×4 in all, which exceeds its 8×6 input padded to 12×10"
        );
        assert_eq!(help, "use a kernel size of at most (4, 2), or raise `padding` by 1");
    }
}
