//! A network with fixed weights, held once, in the form that its kernels read.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use windlass_compiler::codegen::Program;
use windlass_compiler::pipeline::CompileTimes;
use windlass_compiler::shape::Sizes;

use crate::batching::Batching;
use crate::checkpoint::LoadOptions;
use crate::error::Error;
use crate::forward::Forward;
use crate::memory::MemoryReport;
use crate::network::{AnyNetwork, Feed, Network};
use crate::options::Options;
use crate::parameters::Parameters;
use crate::profile::Profile;

/// A network with fixed weights, compiled for prediction, with any batch size and from any number of threads at once.
///
/// It gives the same bits as the [`Model`](crate::model::Model) it was made from, with less memory. A model holds its parameters as
/// declared, so that they can be read, saved and changed, and also in the form that its kernels read: packed or
/// transformed weights, folded batch normalisation. A predictor holds each weight once: as declared if kernels read it
/// so, as in dense layers, otherwise only in the converted form. Its parameters cannot be read, changed, or saved: for
/// that, keep the model or its file.
///
/// ```
/// use std::path::Path;
///
/// use windlass::{Error, Network, Predictor};
///
/// fn ready<N: Network>(weights: &Path) -> Result<Predictor<N>, Error> {
///     let predictor = Predictor::load(weights)?;
///     println!("{}", predictor.memory(64)); // before the first run
///     Ok(predictor)
/// }
/// ```
///
/// Its debugging form is one line.
pub struct Predictor<N> {
    /// The parameters that runs read as declared, with the version that everything was prepacked from.
    parameters: Parameters,
    forward: Forward<N>,
}

impl<N: AnyNetwork> fmt::Debug for Predictor<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Predictor<{}> {{ {} }}", self.network().name(), self.forward.in_short())
    }
}

impl<N: Network> Predictor<N> {
    /// A predictor with the parameters of a file written by [`Model::save`](crate::model::Model::save) or a trainer.
    ///
    /// # Errors
    /// Those of [`Model::load`](crate::model::Model::load).
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load_with(path, &Options::default())
    }

    /// Like [`Predictor::load`], with options.
    ///
    /// # Errors
    /// Those of [`Model::load`](crate::model::Model::load).
    pub fn load_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        Self::load_of(N::VALUE, path, options)
    }
}

impl<N: AnyNetwork> Predictor<N> {
    /// Like [`Predictor::load_with`], for a network given as a value.
    ///
    /// # Errors
    /// Those of [`Model::load`](crate::model::Model::load).
    pub fn load_of(network: N, path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        let parameters = Parameters::load_of(&network, path, &LoadOptions::default())?;
        let forward = Forward::compile(network, &parameters, options)?;
        Predictor::new(parameters, forward)
    }

    pub(crate) fn new(parameters: Parameters, mut forward: Forward<N>) -> Result<Self, Error> {
        let parameters = forward.settle(parameters)?;
        Ok(Predictor { parameters, forward })
    }

    /// The network.
    pub fn network(&self) -> &N {
        self.forward.network()
    }

    /// Runs the network on a batch of any size.
    ///
    /// # Errors
    /// Those of [`Model::forward`](crate::model::Model::forward).
    pub fn forward<'a>(&self, inputs: impl Into<N::Inputs<'a>>) -> Result<N::Outputs, Error> {
        self.forward.run(&self.parameters, inputs.into())
    }

    /// Runs the network on a batch of any size and writes the results to existing memory, like [`Model::forward_into`](crate::model::Model::forward_into).
    ///
    /// # Errors
    /// Those of [`Model::forward_into`](crate::model::Model::forward_into).
    pub fn forward_into<'a>(
        &self,
        inputs: impl Into<N::Inputs<'a>>,
        outputs: &mut [&mut [f32]],
    ) -> Result<(), Error> {
        self.forward.run_into(&self.parameters, inputs.into(), outputs)
    }

    /// Gathers the requests of several threads into batches of at most `max_batch` samples. A request waits at most as long as
    /// `wait` for others, and not at all if it fills a batch.
    ///
    /// # Errors
    /// [`Error::Setting`] for a batch of 0, a wait of more than a minute, or a network whose inputs or outputs have another first
    /// axis than the batch.
    pub fn batching(self, max_batch: usize, wait: Duration) -> Result<Batching<N>, Error> {
        Batching::new(self, max_batch, wait)
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

    /// The parameters that runs read as declared.
    #[cfg(feature = "image")]
    pub(crate) fn kept(&self) -> &Parameters {
        &self.parameters
    }

    pub(crate) fn compiled(&self) -> &Forward<N> {
        &self.forward
    }

    /// Measures the time of [`Predictor::forward`] by kernel, over `runs` runs on the same batch. The profile prints as
    /// a table.
    ///
    /// # Errors
    /// Those of [`Model::forward`](crate::model::Model::forward).
    pub fn profile<'a>(&self, inputs: impl Into<N::Inputs<'a>>, runs: usize) -> Result<Profile, Error> {
        self.forward.profile(&self.parameters, inputs.into(), runs)
    }

    /// Frees the memory that finished runs keep for later ones, like [`Model::release_memory`](crate::model::Model::release_memory).
    pub fn release_memory(&self) {
        self.forward.release_memory();
    }

    /// The memory of runs with a batch size, known before any run. Prepacking is complete.
    pub fn memory(&self, sizes: impl Into<Sizes>) -> MemoryReport {
        MemoryReport { prepacking: 0, ..self.forward.memory(&self.parameters, &sizes.into()) }
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
