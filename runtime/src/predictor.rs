//! A network with weights that are fixed, held once, in the form that its kernels read.

use std::fmt;
use std::path::Path;

use windlass_compiler::codegen::Program;
use windlass_compiler::pipeline::CompileTimes;
use windlass_compiler::shape::Sizes;

use crate::error::Error;
use crate::forward::Forward;
use crate::memory::MemoryReport;
use crate::model::Model;
use crate::network::{AnyNetwork, Network};
use crate::options::Options;
use crate::parameters::Parameters;
use crate::profile::Profile;

/// A network with fixed weights, compiled to predict: any batch size, from any number of threads at once.
///
/// It gives the same bits as the [`Model`] it was made from, and takes less memory. A model holds its parameters as they
/// were declared, since they may be read, saved and changed, and beside them what its kernels read: weights packed or
/// transformed, batch normalisation folded in. A predictor holds each weight once: those that kernels read as they were
/// declared, as of dense layers, and of all others what was made of them. So there is nothing left that could be asked for
/// parameters, changed, or saved: for that, keep the model, or its file.
///
/// ```
/// use std::path::Path;
///
/// use windlass_runtime::network::Network;
/// use windlass_runtime::{Error, Predictor};
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
    /// Those that runs read as they are, of the version that everything was prepared from.
    parameters: Parameters,
    forward: Forward<N>,
}

impl<N: AnyNetwork> fmt::Debug for Predictor<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Predictor<{}> {{ {} }}", self.network().name(), self.forward.in_short())
    }
}

impl<N: Network> Predictor<N> {
    /// A predictor with the parameters of a file, as [`Model::save`] or a trainer wrote it.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load_with(path, &Options::default())
    }

    /// A predictor as [`Predictor::load`] makes it, compiled and run as asked.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        Self::load_of(N::VALUE, path, options)
    }
}

impl<N: AnyNetwork> Predictor<N> {
    /// A predictor of a network, as [`Predictor::load_with`] makes it where the type says which network it is.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_of(network: N, path: impl AsRef<Path>, options: &Options) -> Result<Self, Error> {
        Model::load_of(network, path, options)?.into_predictor()
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
    /// As [`Model::forward`].
    pub fn forward<'a>(&self, inputs: impl Into<N::Inputs<'a>>) -> Result<N::Outputs, Error> {
        self.forward.run(&self.parameters, inputs.into())
    }

    /// Runs the network on a batch of any size and writes the results to memory that is there already, as
    /// [`Model::forward_into`] does.
    ///
    /// # Errors
    /// As [`Model::forward_into`].
    pub fn forward_into<'a>(
        &self,
        inputs: impl Into<N::Inputs<'a>>,
        outputs: &mut [&mut [f32]],
    ) -> Result<(), Error> {
        self.forward.run_into(&self.parameters, inputs.into(), outputs)
    }

    /// Measures where the time of [`Predictor::forward`] goes, kernel by kernel, over `runs` runs on the same batch. The
    /// profile prints as a table.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn profile<'a>(&self, inputs: impl Into<N::Inputs<'a>>, runs: usize) -> Result<Profile, Error> {
        self.forward.profile(&self.parameters, inputs.into(), runs)
    }

    /// Gives back the memory that runs have left for later ones, as [`Model::release_memory`] does.
    pub fn release_memory(&self) {
        self.forward.release_memory();
    }

    /// The memory that runs on batches of a size take, said before any. Preparing is over.
    pub fn memory(&self, sizes: impl Into<Sizes>) -> MemoryReport {
        MemoryReport { preparing: 0, ..self.forward.memory(&self.parameters, &sizes.into()) }
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
