//! A network with its parameters, compiled for prediction.

use std::fmt;
use std::path::Path;

use ndarray::{ArrayD, ArrayViewD};
use windlass_compiler::codegen::Program;
use windlass_compiler::graph::Graph;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::CompileTimes;
use windlass_compiler::shape::Sizes;

use crate::checkpoint::{Checkpoint, LoadOptions, Metadata, NonFinite};
use crate::data::Batches;
use crate::error::Error;
use crate::evaluation::{Evaluation, EvaluationOptions, Evaluator};
use crate::executor::Executor;
use crate::forward::Forward;
use crate::memory::MemoryReport;
use crate::network::ports::Ports;
use crate::network::{AnyNetwork, Feed, Network};
use crate::options::Options;
use crate::parameters::Parameters;
use crate::predictor::Predictor;
use crate::profile::Profile;
use crate::streaming::Streaming;

/// A network with its parameters, compiled for prediction, with any batch size and from any number of threads at once.
///
/// Parameters may change at any time, so a model holds them both as declared and in the form that its kernels read.
/// [`Model::into_predictor`] converts it to a form that holds parameters once, for when they no longer change.
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
    /// A model with initial values drawn from the distributions that the network declares.
    ///
    /// # Errors
    /// [`Error::Compile`] if no code can be generated here, or an option is outside its range; [`Error::Setting`] for
    /// an invalid distribution.
    pub fn new(seed: u64) -> Result<Self, Error> {
        Self::with_options(seed, &Options::default())
    }

    /// Like [`Model::new`], with options.
    ///
    /// # Errors
    /// Those of [`Model::new`].
    pub fn with_options(seed: u64, options: &Options) -> Result<Self, Error> {
        Self::of(N::VALUE, seed, options)
    }

    /// A model with the parameters of a file written by [`Model::save`] or a trainer.
    ///
    /// # Errors
    /// Those of [`Model::new`], and those of [`Parameters::load`] for a file that cannot be read, does not fit, or
    /// holds another network.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load_with(path, &Options::default())
    }

    /// Like [`Model::load`], with options.
    ///
    /// # Errors
    /// Those of [`Model::load`].
    pub fn load_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        Self::load_of(N::VALUE, path, options)
    }

    /// A model with these parameters, for example from a file with other names, which [`Parameters::load`] reads.
    ///
    /// # Errors
    /// [`Error::Compile`]; [`Error::UnknownParameter`] and [`Error::ParameterShape`] for parameters of another network.
    pub fn with_parameters(parameters: Parameters, options: &Options) -> Result<Self, Error> {
        Self::of_parameters(N::VALUE, parameters, options)
    }
}

impl<N: AnyNetwork> Model<N> {
    /// Like [`Model::with_options`], for a network given as a value.
    ///
    /// # Errors
    /// Those of [`Model::new`].
    pub fn of(network: N, seed: u64, options: &Options) -> Result<Self, Error> {
        let parameters = Parameters::initialized(network.graph(), seed)?;
        Self::assemble(network, parameters, options)
    }

    /// Like [`Model::load_with`], for a network given as a value.
    ///
    /// # Errors
    /// Those of [`Model::load`].
    pub fn load_of(network: N, path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        let parameters = Parameters::load_of(&network, path, &LoadOptions::default())?;
        Self::assemble(network, parameters, options)
    }

    /// Like [`Model::with_parameters`], for a network given as a value.
    ///
    /// # Errors
    /// Those of [`Model::with_parameters`].
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

    /// Compiles another graph with the model's options, on its threads.
    pub(crate) fn compile_beside(
        &self,
        graph: &Graph,
        mode: Mode,
    ) -> Result<(Executor, CompileTimes), Error> {
        self.forward.compile_beside(graph, mode)
    }

    /// Ends all changes of the parameters: prepacks what kernels read, and frees every parameter that is no longer
    /// read. Until then both are held, as [`Model::memory`] reports.
    ///
    /// # Errors
    /// [`Error::Binding`] if the parameters are not those of this network.
    pub fn into_predictor(self) -> Result<Predictor<N>, Error> {
        Predictor::new(self.parameters, self.forward)
    }

    /// The network with the model's present parameters, compiled to process long sequences piece by piece: its recurrent
    /// layers keep their states between runs.
    ///
    /// # Errors
    /// [`Error::Graph`] for a network without recurrent layers, or with one that reads sequences backwards;
    /// [`Error::Streaming`] for a network of fixed lengths; [`Error::Compile`].
    pub fn streaming(&self) -> Result<Streaming, Error> {
        Streaming::new(self.network(), &self.parameters, self.options())
    }

    /// Writes the parameters, and the network's graph as text, to a safetensors file, atomically.
    /// [`Dynamic::of_checkpoint`](crate::Dynamic::of_checkpoint) makes a network of the file alone.
    ///
    /// # Errors
    /// Those of [`Checkpoint::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let metadata = Metadata::of(self.network().graph());
        let checkpoint = Checkpoint { tensors: self.parameters.to_named(), metadata: Some(metadata) };
        checkpoint.save(path.as_ref(), NonFinite::Refuse)
    }

    /// Runs the network on a batch of any size.
    ///
    /// # Errors
    /// [`Error::Input`] for an input of the wrong shape, [`Error::Token`] for an index outside the vocabulary, [`Error::UnequalBatches`] for inputs with different batch
    /// sizes, [`Error::EmptyBatch`] for an empty batch, [`Error::OutOfMemory`] for a batch that does not fit in memory.
    /// For a [`Dynamic`](crate::Dynamic) network also [`Error::UnknownInput`], [`Error::MissingInput`],
    /// [`Error::RepeatedInput`] and [`Error::UnnamedInput`].
    pub fn forward<'a>(&self, inputs: impl Into<N::Inputs<'a>>) -> Result<N::Outputs, Error> {
        self.forward.run(&self.parameters, inputs.into())
    }

    /// Runs the network on a batch of any size and writes the results to existing memory: for each output, in
    /// declaration order, the elements of all samples, with the last axis contiguous.
    ///
    /// After the first run with a batch size, it allocates no memory.
    ///
    /// # Errors
    /// Those of [`Model::forward`], and [`Error::Binding`] for the wrong number of outputs or elements.
    pub fn forward_into<'a>(
        &self,
        inputs: impl Into<N::Inputs<'a>>,
        outputs: &mut [&mut [f32]],
    ) -> Result<(), Error> {
        self.forward.run_into(&self.parameters, inputs.into(), outputs)
    }

    /// The loss and the metrics on a data set: by default the cross-entropy and the accuracy. They are means over all
    /// samples.
    ///
    /// ```
    /// use windlass::{Builder, Dynamic, Layer};
    /// use windlass::data::TensorDataset;
    ///
    /// let mut builder = Builder::new("Points");
    /// let x = builder.input("point", &[2])?;
    /// let y = builder.layer("f1", &Layer::linear(3), x)?;
    /// builder.output("class", y)?;
    /// let model = Dynamic::new(builder.finish()?)?.model(0)?;
    ///
    /// let data = TensorDataset::new(vec![0.5; 2 * 100], vec![1; 100])?;
    /// let evaluation = model.evaluate(&data.in_order(64)?)?;
    /// assert_eq!(evaluation.examples, 100);
    /// println!("{evaluation}"); // loss 1.0986, accuracy 0.0000
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Model::evaluate_with`].
    pub fn evaluate<B: Batches>(&self, data: &B) -> Result<Evaluation, Error> {
        self.evaluate_with(data, &EvaluationOptions::default())
    }

    /// Like [`Model::evaluate`], with another loss or other metrics.
    ///
    /// # Errors
    /// [`Error::Autodiff`] for a loss that does not fit the network, such as the cross-entropy of a softmax;
    /// [`Error::Setting`] for a metric that does not fit the loss, or data without batches; [`Error::Compile`]; those of
    /// [`Model::forward`] and, for the targets, of [`Trainer::step`](crate::Trainer::step).
    pub fn evaluate_with<B: Batches>(
        &self,
        data: &B,
        options: &EvaluationOptions,
    ) -> Result<Evaluation, Error> {
        Evaluator::new(self, options)?.run(self, data)
    }

    /// Runs the network on inputs in declaration order, and writes results to existing memory.
    pub(crate) fn run_feeds<'b>(
        &'b self,
        feeds: &'b [Feed<'_>],
        outputs: impl Iterator<Item = &'b mut [f32]>,
        sizes: &Sizes,
    ) -> Result<(), Error> {
        self.forward.run_feeds(&self.parameters, feeds, outputs, sizes)
    }

    /// Measures the time of [`Model::forward`] by kernel, over `runs` runs on the same batch. The profile prints as a
    /// table.
    ///
    /// # Errors
    /// Those of [`Model::forward`].
    pub fn profile<'a>(&self, inputs: impl Into<N::Inputs<'a>>, runs: usize) -> Result<Profile, Error> {
        self.forward.profile(&self.parameters, inputs.into(), runs)
    }

    /// Frees the memory that finished runs keep for later ones. Runs keep their memory so that later runs of the same
    /// size allocate none: as much as the largest batch needed, for each concurrent run. Call this after an unusually
    /// large batch.
    pub fn release_memory(&self) {
        self.forward.release_memory();
    }

    #[cfg(feature = "image")]
    pub(crate) fn compiled(&self) -> &Forward<N> {
        &self.forward
    }

    pub(crate) fn ports(&self) -> &Ports {
        self.forward.ports()
    }

    /// The memory of runs with a batch size, known before any run. If other sizes are open too, `sizes` gives them
    /// values: `Sizes::from(64).with("T".parse()?, 35)`.
    pub fn memory(&self, sizes: impl Into<Sizes>) -> MemoryReport {
        self.forward.memory(&self.parameters, &sizes.into())
    }

    /// The parameters and states.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The parameters and states, mutable.
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
    /// Those of [`Parameters::set`].
    pub fn set_parameter(&mut self, name: &str, values: &ArrayD<f32>) -> Result<(), Error> {
        self.parameters.set(name, values)
    }

    /// Replaces the parameters and states by those of a file, except for those that [`LoadOptions::ignore_missing`]
    /// allows to be missing: a pretrained network keeps its own, new head.
    ///
    /// # Errors
    /// Those of [`Parameters::load`]; nothing is replaced then.
    pub fn load_parameters(&mut self, path: impl AsRef<Path>, options: &LoadOptions) -> Result<(), Error> {
        let tensors = crate::parameters::read(self.network().graph(), path.as_ref(), options)?;
        tensors.iter().try_for_each(|(name, tensor)| self.parameters.set(name, tensor))
    }

    /// The options it was compiled with.
    pub fn options(&self) -> &Options {
        self.forward.options()
    }

    /// The time that compilation took.
    pub fn compile_times(&self) -> CompileTimes {
        self.forward.compile_times()
    }

    /// The compiled program: its plan, memory and steps.
    pub fn program(&self) -> &Program {
        self.forward.program()
    }
}
