//! Run-time errors. Each message says what failed, where, what was expected, and how to fix it.

mod checkpoint;
mod data;
mod idx;
mod make;
mod mismatch;
mod network;
mod sequences;
mod words;

use std::io;
use std::path::PathBuf;

use windlass_compiler::error::GraphError;
use windlass_compiler::interp::InterpError;
use windlass_compiler::shape::Symbol;

pub use self::checkpoint::CheckpointError;
pub use self::data::DataSetProblem;
pub use self::idx::IdxError;
pub use self::mismatch::TensorMismatch;
pub use self::network::{NetworkProblem, OutsideSteps, OutsideVocabulary};
pub use self::sequences::SequenceProblem;
pub(crate) use self::words::place_of;
use self::words::{Place, listed, mebibytes, pairs};
use crate::text::TextError;
use crate::trainer::NonFiniteOrigin;

/// The error type of this crate. Its message is complete: it contains the cause's message, so `source` returns nothing
/// that would repeat it.
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
    /// A network cannot be trained with these options.
    #[error("cannot train `{network}`: {reason}")]
    Autodiff {
        /// The network.
        network: String,
        /// Why.
        reason: Box<windlass_compiler::autodiff::AutodiffError>,
    },
    /// A network has no gradients with these options.
    #[error("cannot differentiate `{network}`: {reason}")]
    Differentiate {
        /// The network.
        network: String,
        /// Why.
        reason: Box<windlass_compiler::autodiff::AutodiffError>,
    },
    /// A network cannot become an object file.
    #[error("cannot build an object file of `{network}`: {reason}")]
    Object {
        /// The network.
        network: String,
        /// Why.
        reason: crate::object::ObjectError,
    },
    /// Threads could not be started.
    #[error("could not start {count} threads: {reason}; ask for fewer")]
    Threads {
        /// Their number.
        count: usize,
        /// The system's reason.
        reason: String,
    },
    /// A network whose sequences cannot be processed piece by piece.
    #[error(
        "`{network}` cannot run piece by piece: its inputs have {open} open sizes besides the batch; declare one, the \
         length of its sequences, such as T in [T, 40]"
    )]
    Streaming {
        /// The network.
        network: String,
        /// The number of open sizes of its inputs.
        open: usize,
    },
    /// An empty batch.
    #[error("`{network}` was given a batch of 0 samples; give it at least one")]
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
        /// The mismatch.
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
        /// The first input.
        left: String,
        /// Its size.
        left_size: usize,
        /// The second input.
        right: String,
        /// Its size.
        right_size: usize,
    },
    /// An open size that is missing or 0.
    #[error("a run of `{network}` needs a size of at least 1 for {size}{}", value.map_or(", which has none", |_| ", not 0"))]
    OpenSize {
        /// The network.
        network: String,
        /// The size.
        size: Symbol,
        /// Its value, if it was given.
        value: Option<usize>,
    },
    /// Inputs with different batch sizes.
    #[error(
        "the inputs of `{network}` differ in their batch size: `{left}` has {left_batch}, `{right}` has \
         {right_batch}"
    )]
    UnequalBatches {
        /// The network.
        network: String,
        /// The first input.
        left: String,
        /// Its batch size.
        left_batch: usize,
        /// The second input.
        right: String,
        /// Its batch size.
        right_batch: usize,
    },
    /// A training step on another number of samples than that whose states are carried.
    #[error(
        "`{network}` carries the states of {carried} samples from the step before, but the batch has {got}; give as many, or \
         begin new sequences with `Trainer::reset_states`"
    )]
    CarriedStates {
        /// The network.
        network: String,
        /// The number of samples whose states are carried.
        carried: usize,
        /// The batch size.
        got: usize,
    },
    /// A graph that cannot be used as a network.
    #[error("the graph `{network}` is not a network: {problem}")]
    Network {
        /// The graph's name.
        network: String,
        /// The reason.
        problem: NetworkProblem,
    },
    /// An unknown input.
    #[error("`{network}` has no input `{name}`; its inputs are {}", listed(known))]
    UnknownInput {
        /// The network.
        network: String,
        /// The name.
        name: String,
        /// The existing names.
        known: Vec<String>,
    },
    /// A missing input.
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
    /// An input without a name, although there are several.
    #[error("`{network}` has several inputs; give each with its name: {}", pairs(known))]
    UnnamedInput {
        /// The network.
        network: String,
        /// The inputs.
        known: Vec<String>,
    },
    /// An unknown output.
    #[error("`{network}` has no output `{name}`; its outputs are {}", listed(known))]
    UnknownOutput {
        /// The network.
        network: String,
        /// The name.
        name: String,
        /// The existing names.
        known: Vec<String>,
    },
    /// A label of no layer or block, which is no output either.
    #[error(
        "`{network}` has no layer or output `{name}`{}; it has {}",
        nearest.as_ref().map_or(String::new(), |nearest| format!(" (did you mean `{nearest}`?)")),
        listed(known)
    )]
    UnknownLayer {
        /// The network.
        network: String,
        /// The name.
        name: String,
        /// The nearest existing name.
        nearest: Option<String>,
        /// The labels of all layers, and the outputs.
        known: Vec<String>,
    },
    /// A single output was requested, but there are several.
    #[error("`{network}` has several outputs; get one by its name: {}", listed(known))]
    SeveralOutputs {
        /// The network.
        network: String,
        /// The outputs.
        known: Vec<String>,
    },
    /// A label outside the range of classes.
    #[error(
        "label {label} of {} is outside the {classes} classes of `{network}`, 0 to {}",
        Place(place),
        classes.saturating_sub(1)
    )]
    Label {
        /// The network.
        network: String,
        /// The sample, and the index in it along each axis, such as the step.
        place: Vec<usize>,
        /// Its label.
        label: i32,
        /// The number of classes.
        classes: usize,
    },
    /// Labels of a sample, or their number, that do not fit the CTC loss.
    #[error("training `{network}`: sample {sample} {problem}")]
    LabelSequence {
        /// The network.
        network: String,
        /// The sample.
        sample: usize,
        /// What does not fit.
        problem: SequenceProblem,
    },
    /// An index of an input that is outside the vocabulary of the embedding that looks it up.
    #[error(transparent)]
    Token(OutsideVocabulary),
    /// A length of a padded sequence that is outside the steps that there are.
    #[error(transparent)]
    Length(OutsideSteps),
    /// A text, or the scores of its tokens, that cannot be used.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A target that does not fit the loss.
    #[error("training `{network}` needs {expected} but was given {got}")]
    Target {
        /// The network.
        network: String,
        /// The required target.
        expected: String,
        /// The given target.
        got: String,
    },
    /// An unknown parameter.
    #[error("there is no parameter or state `{name}`; there are {}", known.join(", "))]
    UnknownParameter {
        /// The name.
        name: String,
        /// The existing names.
        known: Vec<String>,
    },
    /// A parameter with the wrong shape.
    #[error("the parameter `{name}` has shape {expected:?}, not {got:?}")]
    ParameterShape {
        /// The parameter.
        name: String,
        /// Its shape.
        expected: Vec<usize>,
        /// The given shape.
        got: Vec<usize>,
    },
    /// Memory that does not fit the slot it is bound to.
    #[error("`{name}` needs {expected} but was given {got}")]
    Binding {
        /// The input, parameter or output.
        name: String,
        /// The required memory.
        expected: String,
        /// The given memory.
        got: String,
    },
    /// A graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// An ONNX model that cannot be imported.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    Onnx(Box<windlass_onnx::ImportError>),
    /// A network that cannot be exported to ONNX.
    #[cfg(feature = "onnx")]
    #[error(transparent)]
    OnnxExport(Box<windlass_onnx::ExportError>),
    /// The interpreter cannot run a graph with the given values.
    #[error(transparent)]
    Interpreter(#[from] InterpError),
    /// A request exceeds the available memory.
    #[error(
        "{what} needs {} of memory, {}; take a smaller batch or network",
        mebibytes(*needed),
        match available {
            Some(available) => format!("but {limit} {}", mebibytes(*available)),
            None => (*limit).to_owned(),
        }
    )]
    OutOfMemory {
        /// The purpose of the request.
        what: String,
        /// Bytes requested.
        needed: usize,
        /// Bytes available, if the system reports it.
        available: Option<usize>,
        /// The limit, in words.
        limit: &'static str,
    },
    /// A batch with a single value per channel for batch normalisation.
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
    /// A step made its loss, a parameter or a state NaN or infinite. The step was undone.
    #[error(
        "step {step} of `{network}` produced NaN or infinite values; {}",
        match origin {
            Some(origin) => format!("first, {origin}"),
            None => "the interpreter produces none for the same batch, so they come from rounding in compiled code".to_owned(),
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

    /// A step of a fit had a loss that is NaN or infinite.
    #[error(
        "the loss of `{network}` is {loss} at step {step}, at a learning rate of {learning_rate:e}: take a smaller rate \
         (`Trainer::find_learning_rate` finds one) or clip the gradients; with `check_finite`, the trainer names the first \
         layer that fails"
    )]
    Diverged {
        /// The network.
        network: String,
        /// The step, counted from 0.
        step: u64,
        /// The loss.
        loss: f32,
        /// The learning rate.
        learning_rate: f64,
    },

    /// A read, write or list operation failed in the operating system.
    #[error("could not {action} {}: {reason}", path.display())]
    Io {
        /// The operation: "read", "write".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        reason: io::Error,
    },

    /// An IDX file that cannot be read.
    #[error(transparent)]
    Idx(#[from] IdxError),
    /// A file of data or an image that cannot be read.
    #[error("{}: {problem}", path.display())]
    DataFile {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and where.
        problem: String,
    },
    /// A network that cannot classify images.
    #[error(
        "`{network}` does not classify images: it needs one input [channels, height, width] and one output [classes], but \
         has the inputs {inputs} and the outputs {outputs}"
    )]
    NoClassifier {
        /// The network.
        network: String,
        /// Its inputs, with their shapes.
        inputs: String,
        /// Its outputs, with their shapes.
        outputs: String,
    },
    /// The data set is in none of the directories.
    #[error(
        "found no {name} in {}; {help}",
        directories.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    DataSetNotFound {
        /// The data set.
        name: &'static str,
        /// The searched directories.
        directories: Vec<PathBuf>,
        /// How to get it.
        help: &'static str,
    },
    /// The parts of a data set do not match.
    #[error("{name}: {problem}")]
    DataSet {
        /// The file, or "the data set" for one in memory.
        name: String,
        /// The mismatch.
        problem: DataSetProblem,
    },
    /// A setting outside its range.
    #[error("`{setting}` is {value} but must be {expected}")]
    Setting {
        /// The setting, by its name in the options: `batch_size`, `one_cycle.steps`.
        setting: String,
        /// Its value.
        value: String,
        /// The allowed values, in words.
        expected: String,
    },

    /// A file that is no checkpoint of the network, or that does not fit it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A tensor to save or load has a NaN or infinite element.
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
        /// The element's index, one number per axis.
        index: Vec<usize>,
        /// The value.
        value: f32,
    },

    /// Numbers of predictions and labels that do not match.
    #[error("{got} {what} do not fit {expected}")]
    Count {
        /// What was counted: "scores", "labels".
        what: &'static str,
        /// The given number.
        got: usize,
        /// The expected number and the reason, in words.
        expected: String,
    },
    /// A label outside the range of classes.
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
