//! Options for compiling and running a network.

use std::num::NonZero;

use windlass_compiler::pass::PassOptions;
use windlass_compiler::pipeline::CompileOptions;
use windlass_compiler::plan::{Accuracy, Convolution, Costs, Im2col, Layouts, Savings};
use windlass_compiler::setters;
use windlass_compiler::target::Features;

use crate::machine::Machine;

/// How a network is compiled and run.
///
/// ```
/// use windlass::{Accuracy, Options};
/// let options = Options::default().threads(1).accuracy(Accuracy::Strict);
/// assert_eq!(options.compile.plan.threads, 1);
/// assert_eq!(options.compile.plan.accuracy, Accuracy::Strict);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Passes, algorithms, threads and instructions.
    pub compile: CompileOptions,
}

impl Default for Options {
    /// All threads of the system, every pass, the instructions of this CPU.
    fn default() -> Self {
        let available = std::thread::available_parallelism().map_or(1, NonZero::get);
        Options { compile: CompileOptions::default() }.threads(available)
    }
}

impl Options {
    setters! {
        compile: CompileOptions;
        /// Threads of each run; with 1, runs stay on the calling thread.
        [compile.plan] threads: usize;
        /// The batch size to optimise for. Any batch size may be run.
        [compile.plan] batch: impl Into<Option<usize>> = batch.into();
        /// How closely results must follow the sums as written.
        [compile.plan] accuracy: Accuracy;
        /// The convolution algorithm.
        [compile.plan] convolution: Convolution;
        /// Width of vectors in bits: 128, 256 or 512; by default the widest that this CPU supports.
        [compile.plan] vector_bits: impl Into<Option<usize>> = vector_bits.into();
        /// The CPU features that code may use.
        [compile.plan] features: Features;
        /// The layouts of images in memory.
        [compile.plan] layouts: Layouts;
        /// How convolutions gather their patches, for images in NCHW layout.
        [compile.plan] im2col: Im2col;
        /// Optimisations that may be turned off.
        [compile.plan] savings: Savings;
        /// The costs of operations on a core; [`Options::on`] takes those of a machine.
        [compile.plan] costs: Costs;
        /// Which passes run.
        [compile] passes: PassOptions;
    }

    /// Chooses algorithms by the measured speed of a machine instead of the default facts. [`Tuning`](crate::Tuning)
    /// measures the algorithms themselves.
    #[must_use]
    pub fn on(self, machine: &Machine) -> Self {
        self.costs(machine.costs())
    }
}
