//! A network with its parameters, compiled to predict.

use std::fmt;
use std::path::Path;

use ndarray::{ArrayD, ArrayViewD};
use windlass_compiler::codegen::Program;
use windlass_compiler::graph::Graph;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::CompileTimes;
use windlass_compiler::shape::Sizes;

use crate::checkpoint::{Checkpoint, LoadOptions, Metadata, NonFinite};
use crate::error::Error;
use crate::executor::Executor;
use crate::forward::Forward;
use crate::memory::MemoryReport;
use crate::network::ports::Ports;
use crate::network::{AnyNetwork, Network};
use crate::options::Options;
use crate::parameters::Parameters;
use crate::predictor::Predictor;
use crate::profile::Profile;

/// A network with its parameters, compiled to predict: any batch size, from any number of threads at once.
///
/// Parameters may change at any time, so a model holds them as they are beside what it makes of them for its kernels. Where
/// they will not change any more, [`Model::into_predictor`] gives what holds them once.
///
/// Its debugging form is one line.
pub struct Model<N> {
    parameters: Parameters,
    forward: Forward<N>,
}

impl<N: AnyNetwork> fmt::Debug for Model<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model<{}> {{ {:?}, {} }}", self.network().name(), self.parameters, self.forward.in_short())
    }
}

impl<N: Network> Model<N> {
    /// A model with first values drawn from the distributions the network declares.
    ///
    /// # Errors
    /// [`Error::Compile`] where no code can be made for it here, or an option is out of its range; [`Error::Setting`]
    /// for a distribution that cannot be drawn from.
    pub fn new(seed: u64) -> Result<Self, Error> {
        Self::with_options(seed, &Options::default())
    }

    /// A model as [`Model::new`] makes it, compiled and run as asked.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn with_options(seed: u64, options: &Options) -> Result<Self, Error> {
        Self::of(N::VALUE, seed, options)
    }

    /// A model with the parameters of a file, as [`Model::save`] or a trainer wrote it.
    ///
    /// # Errors
    /// As [`Model::new`], and as [`Parameters::load`] for a file that cannot be read, does not fit, or holds another
    /// network.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load_with(path, &Options::default())
    }

    /// A model as [`Model::load`] makes it, compiled and run as asked.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        Self::load_of(N::VALUE, path, options)
    }

    /// A model with these parameters: from a file whose names differ, say, as [`Parameters::load`] reads it.
    ///
    /// # Errors
    /// [`Error::Compile`]; [`Error::UnknownParameter`] and [`Error::ParameterShape`] for parameters of another network.
    pub fn with_parameters(parameters: Parameters, options: &Options) -> Result<Self, Error> {
        Self::of_parameters(N::VALUE, parameters, options)
    }
}

impl<N: AnyNetwork> Model<N> {
    /// A model of a network, as [`Model::with_options`] makes it where the type says which network it is.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn of(network: N, seed: u64, options: &Options) -> Result<Self, Error> {
        let parameters = Parameters::initialized(network.graph(), seed)?;
        Self::assemble(network, parameters, options)
    }

    /// A model of a network, as [`Model::load_with`] makes it where the type says which network it is.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_of(network: N, path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        let parameters = Parameters::load_of(&network, path, &LoadOptions::default())?;
        Self::assemble(network, parameters, options)
    }

    /// A model of a network, as [`Model::with_parameters`] makes it where the type says which network it is.
    ///
    /// # Errors
    /// As [`Model::with_parameters`].
    pub fn of_parameters(network: N, parameters: Parameters, options: &Options) -> Result<Self, Error> {
        parameters.check(network.graph())?;
        Self::assemble(network, parameters, options)
    }

    fn assemble(network: N, parameters: Parameters, options: &Options) -> Result<Self, Error> {
        let forward = Forward::compile(network, &parameters, options)?;
        Ok(Model { parameters, forward })
    }

    /// The network.
    pub fn network(&self) -> &N {
        self.forward.network()
    }

    /// Compiles another graph as the model was, to run on its threads.
    pub(crate) fn compile_beside(
        &self,
        graph: &Graph,
        mode: Mode,
    ) -> Result<(Executor, CompileTimes), Error> {
        self.forward.compile_beside(graph, mode)
    }

    /// Ends all changes of the parameters: prepares what kernels read, and gives back the memory of every parameter that is
    /// then read no more. Until then both are held, as [`Model::memory`] says.
    ///
    /// # Errors
    /// [`Error::Binding`] when the parameters are not those of this network.
    pub fn into_predictor(self) -> Result<Predictor<N>, Error> {
        Predictor::new(self.parameters, self.forward)
    }

    /// Writes the parameters to a safetensors file: whole, or not at all.
    ///
    /// # Errors
    /// As [`Checkpoint::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let metadata = Metadata { network: self.network().name().to_owned(), ..Metadata::default() };
        let checkpoint = Checkpoint { tensors: self.parameters.to_named(), metadata: Some(metadata) };
        checkpoint.save(path.as_ref(), NonFinite::Refuse)
    }

    /// Runs the network on a batch of any size.
    ///
    /// # Errors
    /// [`Error::Input`] for an input of the wrong shape, [`Error::UnequalBatches`] for inputs of different batch sizes,
    /// [`Error::EmptyBatch`] for none, [`Error::OutOfMemory`] for a batch that memory does not suffice for. For a
    /// [`Dynamic`](crate::Dynamic) network also [`Error::UnknownInput`], [`Error::MissingInput`], [`Error::RepeatedInput`]
    /// and [`Error::UnnamedInput`].
    pub fn forward<'a>(&self, inputs: impl Into<N::Inputs<'a>>) -> Result<N::Outputs, Error> {
        self.forward.run(&self.parameters, inputs.into())
    }

    /// Runs the network on a batch of any size and writes the results to memory that is there already: for each output,
    /// in the order of declaration, the elements of all items, the last axis fastest.
    ///
    /// Once a batch of that size has been run, it asks for no memory.
    ///
    /// # Errors
    /// As [`Model::forward`], and [`Error::Binding`] for another number of outputs or of their elements.
    pub fn forward_into<'a>(
        &self,
        inputs: impl Into<N::Inputs<'a>>,
        outputs: &mut [&mut [f32]],
    ) -> Result<(), Error> {
        self.forward.run_into(&self.parameters, inputs.into(), outputs)
    }

    /// Measures where the time of [`Model::forward`] goes, kernel by kernel, over `runs` runs on the same batch. The
    /// profile prints as a table.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn profile<'a>(&self, inputs: impl Into<N::Inputs<'a>>, runs: usize) -> Result<Profile, Error> {
        self.forward.profile(&self.parameters, inputs.into(), runs)
    }

    /// Gives back the memory that runs have left for later ones. Runs keep what they took, so that runs of that size ask for
    /// no memory again: as much as the largest batch needed, as often as runs overlapped. After a batch larger than those to
    /// come, this gives it back.
    pub fn release_memory(&self) {
        self.forward.release_memory();
    }

    pub(crate) fn ports(&self) -> &Ports {
        self.forward.ports()
    }

    /// The memory that runs on batches of a size take, said before any. Where other sizes are open too, `sizes` gives them
    /// values: `Sizes::from(64).with("T".parse()?, 35)`.
    pub fn memory(&self, sizes: impl Into<Sizes>) -> MemoryReport {
        self.forward.memory(&self.parameters, &sizes.into())
    }

    /// The parameters and states.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The parameters and states, for changing them.
    pub fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }

    /// A parameter or state by name.
    pub fn parameter(&self, name: &str) -> Option<ArrayViewD<'_, f32>> {
        self.parameters.get(name)
    }

    /// Replaces a parameter or state.
    ///
    /// # Errors
    /// As [`Parameters::set`].
    pub fn set_parameter(&mut self, name: &str, values: &ArrayD<f32>) -> Result<(), Error> {
        self.parameters.set(name, values)
    }

    /// How it was compiled.
    pub fn options(&self) -> &Options {
        self.forward.options()
    }

    /// How long it took to compile.
    pub fn compile_times(&self) -> CompileTimes {
        self.forward.compile_times()
    }

    /// The compiled program: its plan, memory and steps.
    pub fn program(&self) -> &Program {
        self.forward.program()
    }
}
