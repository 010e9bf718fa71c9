//! What is tried: a graph with the numbers it runs on, and one way of compiling and running it.

use serde::{Deserialize, Serialize};
use windlass_compiler::graph::Graph;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::CompileOptions;
use windlass_compiler::shape::{Sizes, Symbol};

use crate::generate::mix;
use crate::values::Values;

/// A graph, and what it runs on.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The graph.
    pub graph: Graph,
    /// What it is compiled for.
    pub mode: Mode,
    /// The batch sizes it is run at, one after the other, each with numbers of its own.
    pub batches: Vec<usize>,
    /// The kind of numbers.
    pub values: Values,
    /// What the numbers are drawn from.
    pub seed: u64,
}

impl Case {
    /// The open sizes of a batch: those beside its number of samples are small, and follow from the seed.
    pub(crate) fn sizes_of(&self, batch: usize) -> Sizes {
        let mut sizes = Sizes::from(self.batches[batch]);
        for (_, input) in self.graph.inputs() {
            for size in input.ty.shape.symbols().into_iter().filter(|size| *size != Symbol::BATCH) {
                let key = size.name().bytes().fold(self.seed_of(batch), |key, byte| mix(key, byte.into()));
                sizes.set(size, 1 + (key % 4) as usize);
            }
        }
        sizes
    }

    /// What the numbers of a batch are drawn from.
    pub(crate) fn seed_of(&self, batch: usize) -> u64 {
        self.seed.wrapping_add(batch as u64)
    }
}

/// One way of compiling and running a case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// How it is compiled.
    pub options: CompileOptions,
    /// Whether all steps are shared among the threads, however short they are.
    pub share: bool,
    /// Whether it also runs between guard pages.
    pub guard: bool,
    /// By how many words the memory of inputs, parameters and outputs is off a multiple of 64 bytes.
    pub misaligned: usize,
}
