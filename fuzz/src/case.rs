//! Cases: a graph with its input values, and one way of compiling and running it.

use serde::{Deserialize, Serialize};
use windlass_compiler::graph::Graph;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::CompileOptions;
use windlass_compiler::shape::{Sizes, Symbol};

use crate::generate::mix;
use crate::values::Values;

/// A graph and its inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The graph.
    pub graph: Graph,
    /// The mode it is compiled for.
    pub mode: Mode,
    /// The batch sizes to run in sequence, each with different values.
    pub batches: Vec<usize>,
    /// The kind of values.
    pub values: Values,
    /// The seed of the values.
    pub seed: u64,
}

impl Case {
    /// The open sizes of a batch: those other than the number of samples are small, and depend on the seed.
    pub(crate) fn sizes_of(&self, batch: usize) -> Sizes {
        let mut sizes = Sizes::from(self.batches[batch]);
        for (_, input) in self.graph.inputs() {
            for size in input.ty.shape.symbols().into_iter().filter(|size| *size != Symbol::BATCH) {
                let key = size.name().bytes().fold(self.seed_of(batch), |key, byte| mix(key, byte.into()));
                // Seldom longer than the tiles of kernels along open axes.
                let length = if key % 16 == 0 { 5 + key / 16 % 30 } else { 1 + key / 16 % 4 };
                sizes.set(size, length as usize);
            }
        }
        sizes
    }

    /// The seed of the values of a batch.
    pub(crate) fn seed_of(&self, batch: usize) -> u64 {
        self.seed.wrapping_add(batch as u64)
    }
}

/// One way of compiling and running a case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// The compile options.
    pub options: CompileOptions,
    /// Whether all steps run on several threads, however short they are.
    pub parallelize: bool,
    /// Whether it also runs between guard pages.
    pub guard: bool,
    /// The offset, in words, of the memory of inputs, parameters and outputs from a multiple of 64 bytes.
    pub misaligned: usize,
}
