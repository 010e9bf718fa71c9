//! Options for compiling and running a network.

use std::num::NonZero;

use windlass_compiler::pipeline::CompileOptions;

use crate::machine::Machine;

/// How a network is compiled and run.
///
/// ```
/// use windlass_runtime::Options;
/// let serial = Options::default().threads(1);
/// assert_eq!(serial.compile.plan.threads, 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Threads of each run; with 1, runs stay on the calling thread.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.compile.plan.threads = threads;
        self
    }

    /// Chooses algorithms by the measured speed of a machine instead of the default facts. [`Tuning`](crate::Tuning)
    /// measures the algorithms themselves.
    #[must_use]
    pub fn on(mut self, machine: &Machine) -> Self {
        self.compile.plan.costs = machine.costs();
        self
    }
}
