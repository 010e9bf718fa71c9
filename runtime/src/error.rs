//! What can go wrong at run time, in words that say what, where, what was expected, and the way out.

mod data;
mod mismatch;
mod network;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use windlass_compiler::error::GraphError;
use windlass_compiler::interp::InterpError;
use windlass_compiler::shape::Symbol;

pub use self::data::DataSetProblem;
pub use self::mismatch::TensorMismatch;
pub use self::network::NetworkProblem;
use crate::trainer::NonFiniteOrigin;

/// The error of everything in this crate. Its message is whole: where something else was the cause, its words are part of
/// it, and `source` gives nothing that would say them again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A network cannot be compiled.
    #[error("cannot compile `{network}`: {reason}")]
    Compile {
        /// The network.
        network: String,
        /// Why.
        reason: Box<windlass_compiler::pipeline::CompileError>,
    },
    /// A network cannot be trained as asked.
    #[error("cannot train `{network}`: {reason}")]
    Autodiff {
        /// The network.
        network: String,
        /// Why.
        reason: Box<windlass_compiler::autodiff::AutodiffError>,
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
    #[error("the input `{input}` of `{network}` {reason}")]
    Input {
        /// The network.
        network: String,
        /// The input.
        input: String,
        /// What does not fit.
        reason: crate::network::InputError,
    },
    /// Inputs with different values of an open size.
    #[error(
        "the inputs of `{network}` differ in their size {size}: it is {left_size} in `{left}` and {right_size} in \
         `{right}`; give both the same"
    )]
    UnequalSizes {
        /// The network.
        network: String,
        /// The size.
        size: Symbol,
        /// An input.
        left: String,
        /// Its size.
        left_size: usize,
        /// Another input.
        right: String,
        /// Its size.
        right_size: usize,
    },
    /// An open size without a value, or with 0.
    #[error("a run of `{network}` needs a size of at least 1 for {size}{}", value.map_or(", which has none", |_| ", not 0"))]
    OpenSize {
        /// The network.
        network: String,
        /// The size.
        size: Symbol,
        /// Its value, if it has one.
        value: Option<usize>,
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
    /// A graph that cannot be a network.
    #[error("the graph `{network}` is no network: {problem}")]
    Network {
        /// The graph's name.
        network: String,
        /// What keeps it from being one.
        problem: NetworkProblem,
    },
    /// An input that the network does not have.
    #[error("`{network}` has no input `{name}`; its inputs are {}", listed(known))]
    UnknownInput {
        /// The network.
        network: String,
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// An input that was not given.
    #[error("`{network}` was not given its input `{name}`; it needs {}", listed(known))]
    MissingInput {
        /// The network.
        network: String,
        /// The input.
        name: String,
        /// All inputs.
        known: Vec<String>,
    },
    /// An input that was given more than once.
    #[error("`{network}` was given its input `{name}` twice; give it once")]
    RepeatedInput {
        /// The network.
        network: String,
        /// The input.
        name: String,
    },
    /// An input without its name, where there are several.
    #[error("`{network}` has several inputs; give each with its name: {}", pairs(known))]
    UnnamedInput {
        /// The network.
        network: String,
        /// The inputs.
        known: Vec<String>,
    },
    /// An output that the network does not have.
    #[error("`{network}` has no output `{name}`; its outputs are {}", listed(known))]
    UnknownOutput {
        /// The network.
        network: String,
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A single output was asked for, where there are several.
    #[error("`{network}` has several outputs; get one by its name: {}", listed(known))]
    SeveralOutputs {
        /// The network.
        network: String,
        /// The outputs.
        known: Vec<String>,
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
    /// A graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The interpreter cannot run a graph on what it was given.
    #[error(transparent)]
    Interpreter(#[from] InterpError),
    /// More memory is needed than there is.
    #[error(
        "{what} needs {} of memory, {}; take a smaller batch or network",
        mebibytes(*needed),
        match available {
            Some(available) => format!("but {limit} {}", mebibytes(*available)),
            None => (*limit).to_owned(),
        }
    )]
    OutOfMemory {
        /// What needs it.
        what: String,
        /// Bytes needed.
        needed: usize,
        /// Bytes that could be had, where the system says so.
        available: Option<usize>,
        /// What limits it, in words.
        limit: &'static str,
    },
    /// A batch whose statistics are those of single values.
    #[error(
        "training `{network}` needs more than 1 value for each channel at `{layer}`: batch normalisation has no variance \
         of a batch of 1; take larger batches, leave out a last batch of 1 (`drop_last`), or freeze `{layer}`"
    )]
    SingleValue {
        /// The network.
        network: String,
        /// The batch normalisation.
        layer: String,
    },
    /// A step made its loss, a parameter or a state NaN or infinite, and was undone.
    #[error(
        "step {step} of `{network}` made values that are NaN or infinite; {}",
        match origin {
            Some(origin) => format!("first, {origin}"),
            None => "the interpreter makes none on the same batch, so they come from rounding in compiled code".to_owned(),
        }
    )]
    NonFiniteStep {
        /// The network.
        network: String,
        /// The step, counted from 0.
        step: u64,
        /// The first such value.
        origin: Option<Box<NonFiniteOrigin>>,
    },

    /// The operating system refused to read, write or list.
    #[error("could not {action} {}: {reason}", path.display())]
    Io {
        /// What was tried: "read", "write".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        reason: io::Error,
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
    #[error("{} is a corrupt gzip file: {reason}; fetch the file again", path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// What the decoder found.
        reason: io::Error,
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
    /// A checkpoint of another network, whose tensors would fit.
    #[error(
        "{} holds the network `{got}`, not `{expected}`; to load it all the same, say so by `LoadOptions::any_network`",
        path.display()
    )]
    CheckpointNetwork {
        /// The file.
        path: PathBuf,
        /// The network to load.
        expected: String,
        /// The network that the file names.
        got: String,
    },
    /// A training that was begun with another optimiser.
    #[error(
        "{} was written by {got}, but the options say {expected}: resume with {got}, or load the parameters alone with \
         `Model::load` and train anew",
        path.display()
    )]
    CheckpointOptimizer {
        /// The file.
        path: PathBuf,
        /// The optimiser of the options.
        expected: &'static str,
        /// The optimiser in the file.
        got: &'static str,
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

fn mebibytes(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn listed(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Names as inputs are given by them.
fn pairs(names: &[String]) -> String {
    format!("[{}]", names.iter().map(|name| format!("({name:?}, …)")).collect::<Vec<_>>().join(", "))
}

fn bulleted(mismatches: &[TensorMismatch]) -> String {
    mismatches.iter().map(|mismatch| format!("\n  - {mismatch}")).collect()
}

impl Error {
    /// Names the file and what was tried, for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Error {
        let path = path.to_owned();
        move |reason| Error::Io { action, path: path.clone(), reason }
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
