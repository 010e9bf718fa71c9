//! Models from ONNX files.

use std::path::Path;

use ndarray::{ArrayD, IxDyn};
pub use windlass_onnx::{ImportError, ImportOptions, Output, Port, Problem, Reason, supported_operators};

use crate::error::Error;
use crate::model::Model;
use crate::network::Dynamic;
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

impl From<ImportError> for Error {
    fn from(error: ImportError) -> Self {
        Error::Onnx(Box::new(error))
    }
}
