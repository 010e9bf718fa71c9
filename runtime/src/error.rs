//! What can go wrong at run time, in words that say what, where, what was expected, and the way out.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use windlass_compiler::error::GraphError;

/// The error of everything in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A network cannot be compiled.
    #[error("cannot compile `{network}`: {source}")]
    Compile {
        /// The network.
        network: String,
        /// Why.
        source: Box<windlass_compiler::pipeline::CompileError>,
    },
    /// A network cannot be trained as asked.
    #[error("cannot train `{network}`: {source}")]
    Autodiff {
        /// The network.
        network: String,
        /// Why.
        source: Box<windlass_compiler::autodiff::AutodiffError>,
    },
    /// Threads could not be started.
    #[error("could not start {count} threads: {reason}; ask for fewer")]
    Threads {
        /// How many.
        count: usize,
        /// The system's reason.
        reason: String,
    },
    /// A run without items.
    #[error("`{network}` was given a batch of 0 items; give it at least one")]
    EmptyBatch {
        /// The network.
        network: String,
    },
    /// An input that does not fit its network.
    #[error("the input `{input}` of `{network}` {source}")]
    Input {
        /// The network.
        network: String,
        /// The input.
        input: String,
        /// What does not fit.
        source: crate::network::InputError,
    },
    /// Inputs with different numbers of items.
    #[error(
        "the inputs of `{network}` differ in their number of items: `{left}` has {left_batch}, `{right}` has \
         {right_batch}"
    )]
    UnequalBatches {
        /// The network.
        network: String,
        /// An input.
        left: String,
        /// Its items.
        left_batch: usize,
        /// Another input.
        right: String,
        /// Its items.
        right_batch: usize,
    },
    /// A label that is no class.
    #[error("label {label} of item {index} is none of the {classes} classes of `{network}`, 0 to {}", classes - 1)]
    Label {
        /// The network.
        network: String,
        /// The item.
        index: usize,
        /// Its label.
        label: i32,
        /// The number of classes.
        classes: usize,
    },
    /// A target that does not fit the loss.
    #[error("training `{network}` needs {expected} but was given {got}")]
    Target {
        /// The network.
        network: String,
        /// What is needed.
        expected: String,
        /// What came.
        got: String,
    },
    /// A name that is no parameter.
    #[error("there is no parameter or state `{name}`; there are {}", known.join(", "))]
    UnknownParameter {
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A parameter of another shape.
    #[error("the parameter `{name}` has shape {expected:?}, not {got:?}")]
    ParameterShape {
        /// The parameter.
        name: String,
        /// Its shape.
        expected: Vec<usize>,
        /// The shape that came.
        got: Vec<usize>,
    },
    /// Memory bound to a run that does not fit.
    #[error("`{name}` needs {expected} but was given {got}")]
    Binding {
        /// The input, parameter or output.
        name: String,
        /// What is needed.
        expected: String,
        /// What came.
        got: String,
    },
    /// A batch that no memory can hold.
    #[error("a batch of {batch} items is too large for `{network}`: run fewer at a time")]
    BatchTooLarge {
        /// The network.
        network: String,
        /// The items.
        batch: usize,
    },
    /// A graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),

    /// The operating system refused to read, write or list.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// What was tried: "read", "write".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// A file does not start as an IDX file of the wanted kind does.
    #[error(
        "{} is not an IDX file of unsigned bytes with {rank} axes: it starts with {got:#010x}, not \
         {expected:#010x}; check that images and labels are not exchanged",
        path.display()
    )]
    IdxMagic {
        /// The file.
        path: PathBuf,
        /// The number of axes wanted: 3 for images, 1 for labels.
        rank: usize,
        /// The magic number wanted.
        expected: u32,
        /// The magic number found.
        got: u32,
    },
    /// An IDX file ends before what its header promises.
    #[error(
        "{} is truncated: it holds {got} bytes but its header needs {expected}; fetch the file again",
        path.display()
    )]
    IdxTruncated {
        /// The file.
        path: PathBuf,
        /// Bytes needed, the header included.
        expected: u64,
        /// Bytes found, after decompression.
        got: u64,
    },
    /// An IDX file goes on after what its header promises.
    #[error(
        "{} has bytes past its end: its header promises {expected} bytes but it holds at least {got}; fetch the \
         file again",
        path.display()
    )]
    IdxTrailingBytes {
        /// The file.
        path: PathBuf,
        /// Bytes promised: after decompression, or of the compressed stream when they follow it.
        expected: u64,
        /// Bytes found at least.
        got: u64,
    },
    /// An IDX header promises more than is ever read.
    #[error(
        "the header of {} promises {sizes:?} elements, more than the {limit} bytes this reader accepts; the file is \
         corrupt or no data set of images",
        path.display()
    )]
    IdxTooLarge {
        /// The file.
        path: PathBuf,
        /// The sizes in the header.
        sizes: Vec<u32>,
        /// The most bytes accepted.
        limit: u64,
    },
    /// A gzip stream cannot be decompressed.
    #[error("{} is a corrupt gzip file: {source}; fetch the file again", path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// What the decoder found.
        source: io::Error,
    },
    /// None of the directories holds the data set.
    #[error(
        "found no {name} in {}; {help}",
        directories.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    DataSetNotFound {
        /// The data set.
        name: &'static str,
        /// Where it was looked for.
        directories: Vec<PathBuf>,
        /// How to get it.
        help: &'static str,
    },
    /// A data set whose parts do not fit each other.
    #[error("{name}: {problem}")]
    DataSet {
        /// The file, or "the data set" for one made in memory.
        name: String,
        /// What does not fit.
        problem: DataSetProblem,
    },
    /// A setting out of its range.
    #[error("`{setting}` is {value} but must be {expected}")]
    Setting {
        /// The setting, as its owner names it: `batch_size`, `one_cycle.steps`.
        setting: String,
        /// Its value.
        value: String,
        /// The values allowed, in words.
        expected: String,
    },

    /// A file is no safetensors file.
    #[error("{} is not a valid safetensors file: {problem}", path.display())]
    CheckpointFormat {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A checkpoint was written by a later version.
    #[error(
        "{} has the format version {got} but this version reads up to {supported}; update Windlass",
        path.display()
    )]
    CheckpointVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        got: u32,
        /// The latest version known.
        supported: u32,
    },
    /// The tensors of a checkpoint are not those of the network.
    #[error("{} does not fit the network:{}", path.display(), bulleted(mismatches))]
    CheckpointMismatch {
        /// The file.
        path: PathBuf,
        /// Every tensor that does not fit, by name.
        mismatches: Vec<TensorMismatch>,
    },
    /// A tensor to be saved or loaded has a NaN or infinite element.
    #[error(
        "`{tensor}` has the value {value} at {index:?} ({}); train again with a smaller learning rate, or allow \
         non-finite values explicitly",
        path.display()
    )]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The element's index, one number an axis.
        index: Vec<usize>,
        /// The value.
        value: f32,
    },

    /// Predictions and labels that cannot be compared.
    #[error("{got} {what} do not fit {expected}")]
    Count {
        /// What was counted: "scores", "labels".
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many were expected and why, in words.
        expected: String,
    },
    /// A label that names no class.
    #[error("label {label} at position {index} is not one of the {classes} classes 0..{classes}")]
    LabelOutOfRange {
        /// The position of the label.
        index: usize,
        /// The label.
        label: i32,
        /// The number of classes.
        classes: usize,
    },
}

/// How the parts of a data set do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataSetProblem {
    /// There is nothing in it.
    #[error("there are no examples in it; at least one is needed")]
    Empty,
    /// An image has no pixels, or more than addresses allow.
    #[error(
        "images cannot have the shape {shape:?} (channels, height, width); every size must be at least 1"
    )]
    ImageShape {
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

/// One tensor of a checkpoint that does not fit the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TensorMismatch {
    /// The network has it, the file does not.
    Missing {
        /// The tensor.
        name: String,
        /// Its shape in the network.
        expected: Vec<usize>,
    },
    /// The file has it, the network does not.
    Unexpected {
        /// The tensor.
        name: String,
        /// Its shape in the file.
        got: Vec<usize>,
    },
    /// Both have it, with different shapes.
    Shape {
        /// The tensor.
        name: String,
        /// Its shape in the network.
        expected: Vec<usize>,
        /// Its shape in the file.
        got: Vec<usize>,
    },
    /// Its elements are no 32-bit floats.
    Type {
        /// The tensor.
        name: String,
        /// The element type in the file, as safetensors names it.
        got: String,
    },
}

impl fmt::Display for TensorMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TensorMismatch::Missing { name, expected } => {
                write!(f, "`{name}` {expected:?} is missing from the file")
            }
            TensorMismatch::Unexpected { name, got } => write!(f, "`{name}` {got:?} is not in the network"),
            TensorMismatch::Shape { name, expected, got } => {
                write!(f, "`{name}` is {got:?} in the file but {expected:?} in the network")
            }
            TensorMismatch::Type { name, got } => {
                write!(f, "`{name}` has elements of type {got} where F32 is needed; convert the file")
            }
        }
    }
}

fn bulleted(mismatches: &[TensorMismatch]) -> String {
    mismatches.iter().map(|mismatch| format!("\n  - {mismatch}")).collect()
}

impl Error {
    /// Names the file and what was tried, for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { action, path: path.clone(), source }
    }

    /// A setting out of its range.
    pub(crate) fn setting(
        setting: impl Into<String>,
        value: impl fmt::Display,
        expected: impl Into<String>,
    ) -> Error {
        Error::Setting { setting: setting.into(), value: value.to_string(), expected: expected.into() }
    }
}
