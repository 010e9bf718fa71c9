//! Parameters and states of a network, by name, in declaration order.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use ndarray::{ArrayD, ArrayViewD};
use windlass_compiler::autodiff::names;
use windlass_compiler::graph::Graph;

use crate::checkpoint::{Checkpoint, LoadOptions};
use crate::error::Error;
use crate::executor::Binding;
use crate::initialize::initialize;
use crate::large_pages::tensor_in_large_pages;
use crate::network::{AnyNetwork, Network};
use crate::tensor::{NamedTensors, shapes_of};

/// Parameters and states of a network. The debugging form shows their number; [`Parameters::get`] returns one.
#[derive(Clone)]
pub struct Parameters {
    names: Vec<String>,
    tensors: Vec<ArrayD<f32>>,
    places: HashMap<String, usize>,
    /// Differs whenever the values may differ, even between models.
    version: u64,
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: usize = self.tensors.iter().map(ArrayD::len).sum();
        write!(f, "Parameters {{ tensors: {}, numbers: {numbers} }}", self.tensors.len())
    }
}

impl PartialEq for Parameters {
    /// Whether names and values are equal.
    fn eq(&self, other: &Self) -> bool {
        self.names == other.names && self.tensors == other.tensors
    }
}

impl Parameters {
    /// Initial values, drawn from the distributions that the graph declares.
    ///
    /// # Errors
    /// Those of [`initialize`].
    pub fn initialized(graph: &Graph, seed: u64) -> Result<Self, Error> {
        Ok(Self::from_named(graph, initialize(graph, seed)?))
    }

    /// Values from a file written by a model or trainer of Windlass, or by another library. The file's optimiser state
    /// and PyTorch's batch counters are skipped. [`Model::with_parameters`](crate::Model::with_parameters) makes a
    /// model of them. Parameters that [`LoadOptions::ignore_missing`] allows to be missing get initial values of the seed 0;
    /// [`Model::load_parameters`](crate::Model::load_parameters) keeps those of a model.
    ///
    /// ```no_run
    /// use windlass::{Error, LoadOptions, Model, Network, Options, Parameters};
    ///
    /// fn pretrained<N: Network>() -> Result<Model<N>, Error> {
    ///     let names = LoadOptions::new().rename("features.0", "c1").rename("features.3", "c2").rename("classifier", "f3");
    ///     Model::with_parameters(Parameters::load::<N>("torch.safetensors", &names)?, &Options::default())
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of [`Checkpoint::load_for`], and [`Error::Checkpoint`] for a file of another network.
    pub fn load<N: Network>(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Self, Error> {
        Self::load_of(&N::VALUE, path, options)
    }

    /// Like [`Parameters::load`], for a network given as a value.
    ///
    /// # Errors
    /// Those of [`Parameters::load`].
    pub fn load_of<N: AnyNetwork>(
        network: &N,
        path: impl AsRef<Path>,
        options: &LoadOptions,
    ) -> Result<Self, Error> {
        let graph = network.graph();
        let (mut tensors, shapes) = (read(graph, path.as_ref(), options)?, shapes_of(graph));
        if tensors.len() < shapes.len() {
            for (name, tensor) in initialize(graph, 0)? {
                tensors.entry(name).or_insert(tensor);
            }
        }
        Ok(Self::from_named(graph, tensors))
    }

    /// Creates parameters from tensors that are known to fit the graph.
    pub(crate) fn from_named(graph: &Graph, mut tensors: NamedTensors) -> Self {
        let names: Vec<String> = graph
            .parameters()
            .map(|(_, parameter)| parameter.name.clone())
            .chain(graph.states().map(|(_, state)| state.name.clone()))
            .collect();
        let found = names.into_iter().filter_map(|name| tensors.remove_entry(&name));
        Self::from_pairs(found.map(|(name, tensor)| (name, tensor_in_large_pages(tensor))))
    }

    fn from_pairs(pairs: impl Iterator<Item = (String, ArrayD<f32>)>) -> Self {
        let (names, tensors): (Vec<String>, Vec<ArrayD<f32>>) = pairs.unzip();
        let places = names.iter().enumerate().map(|(place, name)| (name.clone(), place)).collect();
        Parameters { names, tensors, places, version: new_version() }
    }

    /// Removes parameters whose names others have.
    pub(crate) fn without(self, others: &Parameters) -> Self {
        let pairs = self.names.into_iter().zip(self.tensors);
        Self::from_pairs(pairs.filter(|(name, _)| !others.places.contains_key(name)))
    }

    /// Keeps parameters with some names, with the same version: for programs that are prepacked from all of them.
    pub(crate) fn keep(self, is_kept: impl Fn(&str) -> bool) -> Self {
        let pairs = self.names.into_iter().zip(self.tensors);
        let kept = Self::from_pairs(pairs.filter(|(name, _)| is_kept(name)));
        Parameters { version: self.version, ..kept }
    }

    /// Bytes of all tensors.
    pub(crate) fn bytes(&self) -> usize {
        self.tensors.iter().map(|tensor| 4 * tensor.len()).sum()
    }

    /// The first tensor with a NaN or infinite element.
    pub(crate) fn non_finite(&self) -> Option<&str> {
        let is_finite = |tensor: &ArrayD<f32>| tensor.iter().all(|number| number.is_finite());
        self.tensors.iter().position(|tensor| !is_finite(tensor)).map(|place| self.names[place].as_str())
    }

    /// Each name with its tensor, in the order of [`Parameters::names`].
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &ArrayD<f32>)> {
        self.names.iter().map(String::as_str).zip(&self.tensors)
    }

    /// Checks that these are the tensors of a graph.
    ///
    /// # Errors
    /// [`Error::UnknownParameter`] for the first missing tensor, and [`Error::ParameterShape`].
    pub(crate) fn check(&self, graph: &Graph) -> Result<(), Error> {
        for (name, expected) in shapes_of(graph) {
            match self.get(&name) {
                None => return Err(Error::UnknownParameter { name, known: self.names.clone() }),
                Some(tensor) if tensor.shape() != expected => {
                    let got = tensor.shape().to_vec();
                    return Err(Error::ParameterShape { name, expected, got });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Names in declaration order, parameters before states.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A parameter or state.
    pub fn get(&self, name: &str) -> Option<ArrayViewD<'_, f32>> {
        self.places.get(name).map(|&place| self.tensors[place].view())
    }

    /// The elements of a parameter or state, row-major.
    #[cfg(feature = "onnx")]
    pub(crate) fn elements(&self, name: &str) -> Option<&[f32]> {
        self.tensors[*self.places.get(name)?].as_slice()
    }

    /// Replaces a parameter or state.
    ///
    /// # Errors
    /// [`Error::UnknownParameter`], and [`Error::ParameterShape`] for a tensor of the wrong shape.
    pub fn set(&mut self, name: &str, values: &ArrayD<f32>) -> Result<(), Error> {
        let place = *self
            .places
            .get(name)
            .ok_or_else(|| Error::UnknownParameter { name: name.to_owned(), known: self.names.clone() })?;
        if values.shape() != self.tensors[place].shape() {
            return Err(Error::ParameterShape {
                name: name.to_owned(),
                expected: self.tensors[place].shape().to_vec(),
                got: values.shape().to_vec(),
            });
        }
        self.tensors[place].assign(values);
        self.version = new_version();
        Ok(())
    }

    /// Sets tensors with some names to zeros.
    pub(crate) fn clear(&mut self, is_cleared: impl Fn(&str) -> bool) {
        for (name, tensor) in self.names.iter().zip(&mut self.tensors) {
            if is_cleared(name) {
                tensor.fill(0.0);
            }
        }
        self.version = new_version();
    }

    /// All tensors by name.
    pub fn to_named(&self) -> NamedTensors {
        self.names.iter().cloned().zip(self.tensors.iter().cloned()).collect()
    }

    /// Identifies a version of the values.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// A read-only binding of a tensor, by name; `likely` is the index to try first.
    pub(crate) fn read(&self, name: &str, likely: usize) -> Option<Binding<'_>> {
        let is_there = self.names.get(likely).is_some_and(|found| found == name);
        let place = if is_there { likely } else { *self.places.get(name)? };
        self.tensors[place].as_slice().map(Binding::Floats)
    }

    /// Writable bindings, in the order of [`Parameters::names`]; counts as a new version.
    pub(crate) fn write_all(&mut self) -> impl Iterator<Item = Option<Binding<'_>>> {
        self.version = new_version();
        self.tensors.iter_mut().map(|tensor| tensor.as_slice_mut().map(Binding::Written))
    }
}

/// The tensors of a file, without an optimiser's state.
pub(crate) fn read(graph: &Graph, path: &Path, options: &LoadOptions) -> Result<NamedTensors, Error> {
    let is_state = |name: &str| name.starts_with(names::OPTIMIZER_PREFIX);
    Ok(Checkpoint::load_network(path, graph, &shapes_of(graph), is_state, options)?.tensors)
}

/// A version that is unique in this process.
fn new_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
