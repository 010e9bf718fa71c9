//! What can be wrong with a data set.

use super::Error;

/// How the parts of a data set do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataSetProblem {
    /// There is nothing in it.
    #[error("there are no examples in it; at least one is needed")]
    Empty,
    /// An image has no pixels.
    #[error(
        "images cannot have the shape {shape:?} (channels, height, width); every size must be at least 1"
    )]
    ImageShape {
        /// Channels, height and width.
        shape: [usize; 3],
    },
    /// An image has more pixels than addresses allow.
    #[error(
        "images of the shape {shape:?} (channels, height, width) have more pixels than can be counted: their number \
         overflows a usize"
    )]
    ImageTooLarge {
        /// Channels, height and width.
        shape: [usize; 3],
    },
    /// Pixels and labels do not count the same examples.
    #[error(
        "{pixels} pixels make {images} images of {shape:?} with {rest} left over, but there are {labels} labels"
    )]
    CountsDiffer {
        /// The number of pixels, over all images and channels.
        pixels: usize,
        /// Whole images in these pixels.
        images: usize,
        /// Pixels left over.
        rest: usize,
        /// Channels, height and width.
        shape: [usize; 3],
        /// The number of labels.
        labels: usize,
    },
    /// A label names no class.
    #[error("label {label} of example {index} is not one of the {classes} classes 0..{classes}")]
    LabelOutOfRange {
        /// The example.
        index: usize,
        /// Its label.
        label: i32,
        /// The number of classes.
        classes: usize,
    },
    /// A split or a choice asks for examples that do not exist.
    #[error("example {index} does not exist: there are {examples}")]
    IndexOutOfRange {
        /// The example asked for.
        index: usize,
        /// The number of examples.
        examples: usize,
    },
    /// A split that leaves one side empty.
    #[error("a split after {first} of {examples} examples leaves one side empty; both need at least one")]
    EmptySplit {
        /// The size of the first part.
        first: usize,
        /// The number of examples.
        examples: usize,
    },
    /// All pixels of a channel are equal: there is no deviation to divide by.
    #[error(
        "every pixel of channel {channel} is {value}, so it has no deviation to divide by; give a normalisation"
    )]
    ConstantChannel {
        /// The channel.
        channel: usize,
        /// The value of all its pixels.
        value: u8,
    },
    /// A normalisation made for another number of channels.
    #[error("images have {channels} channels but the normalisation is for {normalized}")]
    ChannelsDiffer {
        /// Channels of the images.
        channels: usize,
        /// Channels of the normalisation.
        normalized: usize,
    },
}

impl DataSetProblem {
    /// The problem of a data set that comes from no file.
    pub(crate) fn in_memory(self) -> Error {
        Error::DataSet { name: "the data set".to_owned(), problem: self }
    }
}
