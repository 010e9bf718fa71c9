//! Networks that are built at run time.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ndarray::ArrayD;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::{Graph, verify};
use windlass_compiler::ops::source::InputRole;
use windlass_compiler::shape::{DType, Dim, Shape, Symbol, Type};
use windlass_compiler::summary::{Summary, summary};

use super::named::{NamedArrays, NamedInputs};
use super::ports::{Port, Ports, symbol};
use super::{AnyNetwork, DynamicInputs, DynamicOutputs};
use crate::checkpoint::Metadata;
use crate::error::{CheckpointError, Error, NetworkProblem};
use crate::model::Model;
use crate::options::Options;

/// A network built at run time: its graph comes from a [`Builder`](windlass_compiler::graph::Builder), from text or
/// from a file.
///
/// It replaces the type that `network!` creates: [`Model<Dynamic>`](Model), [`Predictor<Dynamic>`](crate::Predictor)
/// and [`Trainer<Dynamic>`](crate::Trainer) work like those of a declared network, as fast and with the same bits.
/// Because its type does not identify the network, constructors take the network as a value: [`Dynamic::model`] and
/// [`Dynamic::load`], or [`Model::of`], [`Model::load_of`], [`Model::of_parameters`],
/// [`Predictor::load_of`](crate::Predictor::load_of) and [`Trainer::resume_of`](crate::Trainer::resume_of).
///
/// ```
/// use windlass::{Builder, Dynamic, Layer};
///
/// let mut builder = Builder::new("Points");
/// let mut x = builder.input("point", &[2])?;
/// for (index, width) in [16, 16, 3].into_iter().enumerate() {
///     x = builder.layer(&format!("f{index}"), &Layer::linear(width), x)?;
/// }
/// builder.output("class", x)?;
///
/// let network = Dynamic::new(builder.finish()?)?;
/// let model = network.model(42)?; // initial values drawn from this seed
/// let scores = model.forward(&[0.5, 0.25, 1.0, 0.0])?.single()?; // two points
/// assert_eq!(scores.shape(), [2, 3]);
/// # Ok::<(), windlass::Error>(())
/// ```
///
/// Several inputs are given by name, in any order, and outputs are found by name:
///
/// ```
/// use windlass::{Dynamic, Feed};
///
/// let graph = r#"graph Pair {
///   %0 = input {name = "left", type = "f32[N, 2]"}
///   %1 = input {name = "right", type = "f32[N, 2]"}
///   %2 = binary(%0, %1) {kind = "add"}
///   %3 = unary(%2) {kind = "tanh"}
///   output "sum" = %2
///   output "bounded" = %3
/// }"#;
/// let model = Dynamic::new(graph.parse()?)?.model(0)?;
/// let outputs = model.forward([("right", &[1.0, 2.0]), ("left", &[0.5, 0.5])])?;
/// assert_eq!(outputs.get("sum")?[[0, 1]], 2.5);
///
/// // Inputs of different types, numbers or indices, are converted to one.
/// let left = ndarray::Array2::from_elem((1, 2), 0.5);
/// let inputs = [("left", Feed::from(&left)), ("right", Feed::from(&[1.0, 2.0]))];
/// assert_eq!(model.forward(inputs)?, outputs);
/// # Ok::<(), windlass::Error>(())
/// ```
///
/// Cloning is cheap: clones share the graph. Its debugging form is one line.
#[derive(Clone)]
pub struct Dynamic(Arc<Definition>);

struct Definition {
    graph: Graph,
    ports: Ports,
}

impl fmt::Debug for Dynamic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |ports: &[Port]| {
            let named = ports.iter().map(|(name, shape)| format!("{name}: {}", shape.display_item()));
            named.collect::<Vec<_>>().join(", ")
        };
        write!(
            f,
            "Dynamic {}({}) -> ({})",
            self.name(),
            names(&self.0.ports.inputs),
            names(&self.0.ports.outputs)
        )
    }
}

impl Dynamic {
    /// The network of a graph.
    ///
    /// # Errors
    /// [`Error::Graph`] for an invalid graph, and [`Error::Network`] for one that is not a network: without inputs or
    /// outputs, with inputs that are not batches of 32-bit floats or of indices, with outputs that are not batches of 32-bit floats, or with a whole training step.
    pub fn new(graph: Graph) -> Result<Self, Error> {
        verify(&graph)?;
        let ports =
            ports(&graph).map_err(|problem| Error::Network { network: graph.name().to_owned(), problem })?;
        Ok(Dynamic(Arc::new(Definition { graph, ports })))
    }

    /// The network of a checkpoint, whose graph [`Model::save`] and [`Trainer::save`](crate::Trainer::save) write into it. The graph
    /// is verified like that of any other file.
    ///
    /// ```
    /// use windlass::{Builder, Dynamic, Layer};
    ///
    /// let mut builder = Builder::new("Points");
    /// let point = builder.input("point", &[2])?;
    /// let scores = builder.layer("f1", &Layer::linear(3), point)?;
    /// builder.output("class", scores)?;
    /// let model = Dynamic::new(builder.finish()?)?.model(42)?;
    /// let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("points.safetensors");
    /// model.save(&path)?;
    ///
    /// // Elsewhere, where nothing but the file is known.
    /// let read = Dynamic::of_checkpoint(&path)?.load(&path)?;
    /// assert_eq!(read.forward(&[0.5, 0.25])?, model.forward(&[0.5, 0.25])?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Checkpoint::load`](crate::checkpoint::Checkpoint::load) for a file that cannot be read;
    /// [`CheckpointError::WithoutGraph`] for one of another program or an earlier version; [`CheckpointError::Format`] for a graph that
    /// is not valid; [`Error::Network`] for one that is not a network.
    pub fn of_checkpoint(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let Some(text) = Metadata::read(path)?.and_then(|metadata| metadata.graph) else {
            return Err(Error::Checkpoint(CheckpointError::WithoutGraph { path: path.to_owned() }));
        };
        let graph: Graph = text.parse().map_err(|reason: GraphError| {
            Error::Checkpoint(CheckpointError::Format {
                path: path.to_owned(),
                problem: format!("its graph: {reason}"),
            })
        })?;
        Dynamic::new(graph)
    }

    /// The network's name, which checkpoints contain.
    pub fn name(&self) -> &str {
        self.0.graph.name()
    }

    /// The network's graph.
    pub fn graph(&self) -> &Graph {
        &self.0.graph
    }

    /// The inputs in declaration order: each a name and a shape, `[N, 3, 32, 32]`.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = (&str, &Shape)> {
        self.0.ports.inputs.iter().map(borrowed)
    }

    /// The outputs in declaration order: each a name and a shape.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = (&str, &Shape)> {
        self.0.ports.outputs.iter().map(borrowed)
    }

    /// Layers, shapes, parameters, multiply-adds, receptive fields and memory, as a table.
    pub fn summary(&self) -> Summary {
        summary(self.graph())
    }

    /// A model with initial values drawn from a seed, compiled for prediction.
    ///
    /// # Errors
    /// Those of [`Model::of`].
    pub fn model(&self, seed: u64) -> Result<Model<Self>, Error> {
        Model::of(self.clone(), seed, &Options::default())
    }

    /// A model with the parameters of a file, compiled for prediction.
    ///
    /// # Errors
    /// Those of [`Model::load_of`].
    pub fn load(&self, path: impl AsRef<Path>) -> Result<Model<Self>, Error> {
        Model::load_of(self.clone(), path, &Options::default())
    }
}

fn borrowed((name, shape): &Port) -> (&str, &Shape) {
    (name, shape)
}

/// The inputs and outputs of a graph that is a network.
fn ports(graph: &Graph) -> Result<Ports, NetworkProblem> {
    if let Some(update) = graph.updates().first() {
        return Err(NetworkProblem::Updates { name: update.name.clone() });
    }
    let mut told: Vec<Symbol> = Vec::new();
    for (_, input) in graph.inputs() {
        if input.role == InputRole::Control {
            return Err(NetworkProblem::ControlInput { name: input.name.clone() });
        }
        check_port("input", &input.name, &input.ty)?;
        let first = input.ty.shape.dims().first();
        if first != Some(&Dim::batch()) {
            return Err(NetworkProblem::NoBatchOfFloats {
                what: "input",
                name: input.name.clone(),
                ty: input.ty.to_string(),
            });
        }
        told.extend(input.ty.shape.dims().iter().filter_map(symbol));
    }
    for output in graph.outputs() {
        check_port("output", &output.name, graph.ty(output.value))?;
    }
    for node in graph.nodes() {
        for &value in &node.results {
            let ty = graph.ty(value);
            if let Some(size) = ty.shape.symbols().into_iter().find(|size| !told.contains(size)) {
                return Err(NetworkProblem::UnknownSize { ty: ty.to_string(), size });
            }
        }
    }
    let ports = Ports::of(graph);
    match (ports.inputs.is_empty(), ports.outputs.is_empty()) {
        (true, _) => Err(NetworkProblem::NoInputs),
        (_, true) => Err(NetworkProblem::NoOutputs),
        _ => Ok(ports),
    }
}

/// Checks that an input is a batch of 32-bit floats or of indices, and an output one of floats.
fn check_port(what: &'static str, name: &str, ty: &Type) -> Result<(), NetworkProblem> {
    if what == "output" && ty.dtype != DType::F32 || !ty.shape.is_batched() {
        return Err(NetworkProblem::NoBatchOfFloats { what, name: name.to_owned(), ty: ty.to_string() });
    }
    Ok(())
}

impl AnyNetwork for Dynamic {
    type Inputs<'a> = DynamicInputs<'a>;
    type Outputs = DynamicOutputs;
    type Feeds<'a> = NamedInputs<'a>;
    type Results = NamedArrays;

    fn name(&self) -> &str {
        self.name()
    }

    fn graph(&self) -> &Graph {
        self.graph()
    }

    fn order_inputs<'a>(&self, inputs: Self::Inputs<'a>) -> Result<Self::Feeds<'a>, Error> {
        inputs.in_order_of(self)
    }

    fn make_results(&self, make: impl FnMut(usize) -> ArrayD<f32>) -> NamedArrays {
        (0..self.0.ports.outputs.len()).map(make).collect()
    }

    fn name_results(&self, results: NamedArrays) -> DynamicOutputs {
        DynamicOutputs::new(self.clone(), results)
    }
}
