//! Errors in a data set.

#[cfg(feature = "data")]
use super::Error;

/// An inconsistency in a data set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataSetProblem {
    /// It has no examples.
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
    /// An image has more pixels than can be addressed.
    #[error(
        "images of the shape {shape:?} (channels, height, width) have more pixels than can be counted: their number \
         overflows a usize"
    )]
    ImageTooLarge {
        /// Channels, height and width.
        shape: [usize; 3],
    },
    /// The numbers of images and labels differ.
    #[error(
        "{pixels} pixels make {images} images of {shape:?} with {rest} left over, but there are {labels} labels"
    )]
    CountsDiffer {
        /// The number of pixels, over all images and channels.
        pixels: usize,
        /// Complete images in these pixels.
        images: usize,
        /// Pixels left over.
        rest: usize,
        /// Channels, height and width.
        shape: [usize; 3],
        /// The number of labels.
        labels: usize,
    },
    /// A column that has not one value for each example.
    #[error("{column} has {got}, but there are {examples} examples; give a value for each")]
    ColumnsDiffer {
        /// The input or target.
        column: String,
        /// Its values, in words.
        got: String,
        /// The number of examples.
        examples: usize,
    },
    /// A label outside the range of classes.
    #[error("label {label} of example {index} is not one of the {classes} classes 0..{classes}")]
    LabelOutOfRange {
        /// The example.
        index: usize,
        /// Its label.
        label: i32,
        /// The number of classes.
        classes: usize,
    },
    /// A requested example does not exist.
    #[error("example {index} does not exist: there are {examples}")]
    IndexOutOfRange {
        /// The requested example.
        index: usize,
        /// The number of examples.
        examples: usize,
    },
    /// A split with an empty side.
    #[error("a split after {first} of {examples} examples leaves one side empty; both need at least one")]
    EmptySplit {
        /// The size of the first part.
        first: usize,
        /// The number of examples.
        examples: usize,
    },
    /// All pixels of a channel are equal, so the deviation is zero.
    #[error(
        "every pixel of channel {channel} is {value}, so it has no deviation to divide by; give a normalisation"
    )]
    ConstantChannel {
        /// The channel.
        channel: usize,
        /// The value of all its pixels.
        value: u8,
    },
    /// A normalisation for another number of channels.
    #[error("images have {channels} channels but the normalisation is for {normalized}")]
    ChannelsDiffer {
        /// Channels of the images.
        channels: usize,
        /// Channels of the normalisation.
        normalized: usize,
    },
}

impl DataSetProblem {
    /// The error for a data set in memory.
    #[cfg(feature = "data")]
    pub(crate) fn in_memory(self) -> Error {
        Error::DataSet { name: "the data set".to_owned(), problem: self }
    }
}
