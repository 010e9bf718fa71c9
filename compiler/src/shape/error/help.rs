//! How to fix a broken shape rule.

use super::ShapeError;
use crate::shape::Shape;

impl ShapeError {
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
            ShapeError::NeedsNumbers { .. } => Some(
                "put `embedding(vocabulary, features)` before it, which has numbers for each index"
                    .to_owned(),
            ),
            ShapeError::NeedsIndices { got } => {
                let item = got.display_item();
                Some(format!("it follows an input of indices: declare the input as `{item} of index`"))
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
            ShapeError::HeadsDoNotDivide { heads, features } => {
                Some(format!("`heads` can be {}", divisors_near(*heads, *features, *features)))
            }
            ShapeError::Rank { expected, got } if expected.starts_with("a sequence") && got.rank() == 2 => {
                let open = "declare the number of steps too, which may be open: `input: [T, ";
                Some(format!("{open}{}]`", got.item_elements()))
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
            ShapeError::ConnectionCount { outputs, .. } => {
                Some(format!("write a list of input channels for each of the {outputs} output channels"))
            }
            ShapeError::ConnectionOutOfRange { inputs, .. } => {
                Some(format!("the layer's input has {inputs} channels, counted from 0"))
            }
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
    use super::divisors_near;
    use crate::error::ShapeError;
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
