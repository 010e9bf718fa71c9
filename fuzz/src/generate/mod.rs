//! Random valid graphs. A graph depends only on its random numbers, and every operator has a generator
//! (`operators::add`): a new operator does not compile without one.

mod network;
mod operators;
mod recurrent;
mod sizes;
mod sketch;

use fastrand::Rng;
use windlass_compiler::ops::OpKind;
use windlass_compiler::pass::Mode;

use crate::case::Case;
use crate::values::Values;
pub(crate) use sizes::pick;
use sketch::Sketch;

/// A source of graphs.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
    /// Every graph made from single operators contains each of these; all operators if it is empty.
    only: Vec<OpKind>,
}

impl Generator {
    /// Graphs of all operators, or of some (and what they need).
    pub fn new(seed: u64, only: Vec<OpKind>) -> Self {
        Generator { seed, only }
    }

    /// The random numbers of the case with an index: the same for the same seed and index.
    pub fn numbers(&self, index: u64) -> Rng {
        Rng::with_seed(mix(self.seed, index))
    }

    /// The case with an index.
    pub fn case(&self, index: u64, numbers: &mut Rng) -> Case {
        // Whole networks take longer, and are a smaller part of the possible graphs.
        let network = self.only.is_empty() && numbers.u8(..3) == 0;
        let (graph, mode) = if network { network::draw(numbers) } else { self.operators(numbers) };
        let values = Values::ALL[numbers.usize(..Values::ALL.len())];
        let mut batches = vec![sizes::batch(numbers)];
        if numbers.u8(..4) == 0 {
            batches.push(sizes::batch(numbers));
        }
        Case { graph, mode, batches, values, seed: mix(index, self.seed) >> 32 }
    }

    fn operators(&self, numbers: &mut Rng) -> (windlass_compiler::graph::Graph, Mode) {
        let mut sketch = Sketch::new(numbers);
        let count = 1 + sketch.numbers.usize(..9).min(sketch.numbers.usize(..12));
        let kinds: &[OpKind] = if self.only.is_empty() { OpKind::ALL } else { &self.only };
        // If an operator cannot be added to a kind of graph, others are tried: one always fits.
        for _ in 0..count {
            let kind = kinds[sketch.numbers.usize(..kinds.len())];
            operators::add(&mut sketch, kind);
        }
        sketch.finish()
    }
}

/// Mixes two numbers into one (the finaliser of SplitMix64, twice).
pub(crate) fn mix(a: u64, b: u64) -> u64 {
    let finish = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    finish(finish(a.wrapping_add(0x9E37_79B9_7F4A_7C15)).wrapping_add(b))
}
