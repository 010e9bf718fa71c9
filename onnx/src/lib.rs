//! Imports ONNX models as graphs of Windlass, with the values of their parameters, and exports them.
//!
//! ```
//! use windlass_onnx::{ImportOptions, import_bytes};
//!
//! // A file that is no model gives an error, never a panic.
//! let error = import_bytes(b"no model", &ImportOptions::new()).unwrap_err();
//! assert!(error.to_string().starts_with("it is no ONNX model"));
//! ```
//!
//! A network of Windlass computes each sample of a batch on its own. If the first axis of an input has a name or no size, it
//! is the batch. If all sizes are fixed, a whole run of the model is one sample; a first axis of size 1 is then left out:
//! `[1, 3, 224, 224]` becomes a batch of images `[N, 3, 224, 224]`.

mod batch;
mod broadcast;
mod decode;
mod error;
mod expand;
mod export;
mod forms;
mod importer;
mod known;
mod loops;
mod messages;
mod movement;
mod node;
mod ops;
mod options;
mod ports;
mod proto;
#[cfg(test)]
mod tests;
mod value;

use std::path::Path;

use bytes::Bytes;
use prost::Message;
use windlass_compiler::graph::Graph;
use windlass_compiler::shape::{Dim, Shape};

pub use error::{ImportError, Problem, Reason};
pub use export::{ExportError, ExportOptions, Exported, Unsupported, export};
pub use options::ImportOptions;

/// An imported model.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The network.
    pub graph: Graph,
    /// The values of its parameters and states.
    pub tensors: Vec<Tensor>,
    /// The inputs of the model that are inputs of the network, in order.
    pub inputs: Vec<Port>,
    /// The outputs of the model, in order.
    pub outputs: Vec<Output>,
}

/// A named tensor of floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its sizes.
    pub dims: Vec<usize>,
    /// Its elements, row-major.
    pub values: Vec<f32>,
}

/// An input or output: the axes in the model, and the shape in the network, in which the batch comes first.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// The axes in the model.
    pub dims: Vec<Dim>,
    /// The shape in the network.
    pub shape: Shape,
}

/// An output of the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// An output of the network. Integers and truth values are floats there.
    Computed(Port),
    /// Values that depend on no input, which are no output of the network.
    Known(Tensor),
}

/// Imports the model in a file; tensors may be in other files of its folder.
///
/// # Errors
/// [`ImportError`], which lists all nodes that are not supported.
pub fn import(path: impl AsRef<Path>, options: &ImportOptions) -> Result<Imported, ImportError> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|reason| ImportError::Read { path: path.to_owned(), reason })?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    decoded(bytes.into(), decode::Decoder::new(Some(folder)), options)
}

/// Imports a model from the bytes of its file, which contain all tensors.
///
/// # Errors
/// Those of [`import`].
pub fn import_bytes(bytes: &[u8], options: &ImportOptions) -> Result<Imported, ImportError> {
    decoded(Bytes::copy_from_slice(bytes), decode::Decoder::default(), options)
}

fn decoded(bytes: Bytes, decoder: decode::Decoder, options: &ImportOptions) -> Result<Imported, ImportError> {
    messages::check(&bytes)?;
    let model =
        proto::Model::decode(bytes).map_err(|error| ImportError::Format { reason: error.to_string() })?;
    importer::Importer::import(&model, decoder, options)
}

/// Decodes a file that contains one tensor, as those of the ONNX backend tests: its sizes and its elements as floats.
///
/// # Errors
/// [`ImportError::Format`] and [`ImportError::Tensor`].
pub fn tensor_from_bytes(bytes: &[u8]) -> Result<Tensor, ImportError> {
    let tensor =
        proto::Tensor::decode(bytes).map_err(|error| ImportError::Format { reason: error.to_string() })?;
    let known = decode::Decoder::default().tensor(&tensor)?;
    let values = known.to_floats().unwrap_or_default();
    Ok(Tensor { name: tensor.name, dims: known.dims, values })
}

/// The names of all operators that can be imported, sorted.
pub fn supported_operators() -> Vec<&'static str> {
    ops::names()
}

/// What a model declares.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Description {
    /// The inputs that have no initialiser, in order.
    pub inputs: Vec<Declared>,
    /// The outputs, in order.
    pub outputs: Vec<Declared>,
    /// The operators of its nodes, sorted, without those of nested graphs.
    pub operators: Vec<String>,
}

/// An input or output that a model declares.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub elements: Elements,
}

/// The type of elements, as far as Windlass distinguishes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Elements {
    /// Floats of 32 bits.
    Float,
    /// Floats of another width, which are computed with 32 bits.
    OtherFloat,
    /// Integers of any width.
    Integer,
    /// Truth values.
    Boolean,
    /// Anything else, such as texts and sequences.
    Other,
}

/// Reads what a model declares, without importing it.
///
/// # Errors
/// [`ImportError::Format`] for bytes that are no model.
pub fn describe(bytes: &[u8]) -> Result<Description, ImportError> {
    let format = |reason: String| ImportError::Format { reason };
    messages::check(bytes)?;
    let model = proto::Model::decode(bytes).map_err(|error| format(error.to_string()))?;
    let graph = model.graph.ok_or_else(|| format("it has no graph".to_owned()))?;
    let is_known = |name: &str| graph.initializers.iter().any(|tensor| tensor.name == name);
    let inputs = graph.inputs.iter().filter(|input| !is_known(&input.name)).map(declared).collect();
    let mut operators: Vec<String> = graph.nodes.iter().map(|node| node.operator.clone()).collect();
    operators.sort_unstable();
    operators.dedup();
    Ok(Description { inputs, outputs: graph.outputs.iter().map(declared).collect(), operators })
}

fn declared(info: &proto::ValueInfo) -> Declared {
    let tensor = info.ty.as_ref().and_then(|ty| ty.tensor.as_ref());
    let elements = match tensor.and_then(|tensor| decode::ElementType::of(tensor.element)) {
        Some(decode::ElementType::Float) => Elements::Float,
        Some(decode::ElementType::Bool) => Elements::Boolean,
        Some(element) if element.is_float() => Elements::OtherFloat,
        Some(_) => Elements::Integer,
        None => Elements::Other,
    };
    Declared { name: info.name.clone(), elements }
}
