//! Models from ONNX files, and ONNX files of models.

use std::io;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use windlass_compiler::graph::Graph;
use windlass_onnx::ExportOptions;
pub use windlass_onnx::{
    ExportError, ImportError, ImportOptions, Output, Port, Problem, Reason, Unsupported, supported_operators,
};

use crate::atomic_file;
use crate::error::Error;
use crate::model::Model;
use crate::network::{AnyNetwork, Dynamic};
use crate::options::Options;
use crate::parameters::Parameters;
use crate::tensor::NamedTensors;

/// A network from an ONNX file, with the values of its parameters.
///
/// Float initialisers are parameters, under their names in the file; a trainer trains them. The running statistics of batch
/// normalisations are states.
///
/// A network computes each sample of a batch on its own. If the first axis of an input has a name or no size, it is the batch.
/// If all sizes are fixed, a whole run of the model is one sample, and a first axis of size 1 is left out: `[1, 3, 224, 224]`
/// becomes `[N, 3, 224, 224]`. [`OnnxModel::inputs`] and [`OnnxModel::outputs`] have the axes of both.
///
/// ```no_run
/// use windlass::{Options, Trainer, TrainerOptions};
/// use windlass::onnx::{ImportOptions, OnnxModel};
///
/// let file = OnnxModel::load("resnet18.onnx", &ImportOptions::new())?;
/// for input in file.inputs() {
///     println!("{}: {}", input.name, input.shape);
/// }
/// let model = file.into_model(&Options::default())?;
/// let scores = model.forward(&[0.0; 3 * 224 * 224])?.single()?;
/// let trainer = Trainer::new(model, TrainerOptions::default())?; // fine-tunes it
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct OnnxModel {
    network: Dynamic,
    parameters: Parameters,
    inputs: Vec<Port>,
    outputs: Vec<Output>,
}

impl OnnxModel {
    /// Imports a file. Tensors may be in other files of its folder.
    ///
    /// # Errors
    /// [`Error::Onnx`], which lists all nodes that cannot be imported, and [`Error::Network`] for a model without inputs, or
    /// without outputs that depend on them.
    pub fn load(path: impl AsRef<Path>, options: &ImportOptions) -> Result<Self, Error> {
        Self::of(windlass_onnx::import(path, options)?)
    }

    /// Imports the bytes of a file, which contain all tensors.
    ///
    /// # Errors
    /// Those of [`OnnxModel::load`].
    pub fn from_bytes(bytes: &[u8], options: &ImportOptions) -> Result<Self, Error> {
        Self::of(windlass_onnx::import_bytes(bytes, options)?)
    }

    fn of(imported: windlass_onnx::Imported) -> Result<Self, Error> {
        let windlass_onnx::Imported { graph, tensors, inputs, outputs } = imported;
        let network = Dynamic::new(graph)?;
        let mut named = NamedTensors::new();
        for tensor in tensors {
            let shape = IxDyn(&tensor.dims);
            let array = ArrayD::from_shape_vec(shape, tensor.values).map_err(|error| {
                ImportError::Tensor { name: tensor.name.clone(), reason: format!("is inconsistent: {error}") }
            })?;
            named.insert(tensor.name, array);
        }
        let parameters = Parameters::from_named(network.graph(), named);
        Ok(OnnxModel { network, parameters, inputs, outputs })
    }

    /// The network.
    pub fn network(&self) -> &Dynamic {
        &self.network
    }

    /// The values of its parameters and states.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The inputs of the file that are inputs of the network, in order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// The outputs of the file, in order. Those that depend on no input are no outputs of the network.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// A model with these parameters, compiled for prediction.
    ///
    /// # Errors
    /// Those of [`Model::of_parameters`].
    pub fn into_model(self, options: &Options) -> Result<Model<Dynamic>, Error> {
        Model::of_parameters(self.network, self.parameters, options)
    }
}

impl Model<Dynamic> {
    /// The model in an ONNX file, compiled for prediction with default options; see [`OnnxModel`] for others.
    ///
    /// # Errors
    /// Those of [`OnnxModel::load`] and [`Model::of_parameters`].
    pub fn from_onnx(path: impl AsRef<Path>) -> Result<Self, Error> {
        OnnxModel::load(path, &ImportOptions::new())?.into_model(&Options::default())
    }
}

/// Writes a network with its parameters to an ONNX file: the graph as declared, before all passes. The file is replaced as a
/// whole or not at all. If the weights need more than 2 GiB, they are in a second file beside it, whose name ends with `.data`,
/// and which is written first.
///
/// Inputs, outputs, parameters and states keep their names; an output with the name of one of the others gets a suffix. The
/// axis of the batch is named `batch`, and other open sizes have their own names. The operators are those of opset 20, and
/// integers have 64 bits. Recurrent layers become `Scan`. Masks and encodings of positions are functions of the model, which
/// consist of operators of ONNX.
///
/// ```
/// use windlass::onnx::{OnnxModel, ImportOptions, export};
/// use windlass::{Builder, Layer, Parameters};
///
/// let mut builder = Builder::new("net");
/// let x = builder.input("x", &[4])?;
/// let y = builder.layer("f1", &Layer::linear(2), x)?;
/// builder.output("y", y)?;
/// let graph = builder.finish()?;
/// let parameters = Parameters::initialized(&graph, 1)?;
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("net.onnx");
/// export(&graph, &parameters, &path)?;
/// let model = OnnxModel::load(&path, &ImportOptions::new())?;
/// assert_eq!(model.parameters().get("f1.weight"), parameters.get("f1.weight"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::OnnxExport`], which lists all operators that ONNX cannot express, or names a parameter without values;
/// [`Error::Io`] if a file cannot be written.
pub fn export(graph: &Graph, parameters: &Parameters, path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    let write = |path: &Path, content: &dyn Fn(&mut dyn io::Write) -> io::Result<()>| {
        atomic_file::write(path, |file| content(file)).map_err(Error::io("write", path))
    };
    let values = |name: &str| parameters.elements(name);
    let exported = match windlass_onnx::export(graph, values, &ExportOptions::new()) {
        Err(ExportError::TooLarge { .. }) => {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(".data");
            let beside = path.with_file_name(&name);
            let options = ExportOptions::new().external(&name.to_string_lossy());
            let exported = windlass_onnx::export(graph, values, &options)?;
            write(&beside, &|file| exported.write_external(file))?;
            exported
        }
        other => other?,
    };
    write(path, &|file| file.write_all(&exported.model))
}

impl<N: AnyNetwork> Model<N> {
    /// Writes the network with its parameters to an ONNX file, atomically: see [`onnx::export`](export). Other programs read
    /// it, and [`Model::from_onnx`] gives the same results.
    ///
    /// # Errors
    /// Those of [`onnx::export`](export).
    pub fn to_onnx(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        export(self.network().graph(), self.parameters(), path)
    }
}

impl From<ExportError> for Error {
    fn from(error: ExportError) -> Self {
        Error::OnnxExport(Box::new(error))
    }
}

impl From<ImportError> for Error {
    fn from(error: ImportError) -> Self {
        Error::Onnx(Box::new(error))
    }
}
