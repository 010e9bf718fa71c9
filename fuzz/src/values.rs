//! The input values of graphs. Those of a source depend on its name, so that they stay when other sources are removed.

use fastrand::Rng;
use serde::{Deserialize, Serialize};
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{Array, Bindings};
use windlass_compiler::shape::{DType, Sizes};

use crate::generate::mix;

/// The name prefix of sources with positive numbers.
pub(crate) const POSITIVE: &str = "positive";

/// The kind of values in float sources. f32 represents all of them exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// Ones of either sign among many zeros: whole networks stay exact.
    Sparse,
    /// Integers between −3 and 3.
    Integers,
    /// Anything between −1 and 1.
    Reals,
    /// Numbers of magnitudes between 10⁻³ and 10⁴, one magnitude for each source.
    Magnitudes,
    /// Pairs of numbers that nearly cancel.
    Cancelling,
}

impl Values {
    /// Every kind.
    pub const ALL: [Values; 5] =
        [Values::Sparse, Values::Integers, Values::Reals, Values::Magnitudes, Values::Cancelling];

    /// Numbers for one source.
    fn draw(self, numbers: &mut Rng, count: usize, positive: bool) -> Vec<f64> {
        let scale = 10f32.powi(numbers.i32(-3..=4));
        let mut last = 0.0f32;
        let mut one = |index: usize| -> f32 {
            let real = |numbers: &mut Rng| numbers.f32() * 2.0 - 1.0;
            match (self, positive) {
                (Values::Sparse | Values::Integers, true) => [0.25, 0.5, 1.0, 2.0][numbers.usize(..4)],
                (Values::Reals | Values::Magnitudes | Values::Cancelling, true) => numbers.f32() + 0.5,
                (Values::Sparse, false) => [1.0, -1.0].get(numbers.usize(..12)).copied().unwrap_or(0.0),
                (Values::Integers, false) => numbers.i8(-3..=3).into(),
                (Values::Reals, false) => real(numbers),
                (Values::Magnitudes, false) => real(numbers) * scale,
                (Values::Cancelling, false) if index % 2 == 1 => -last * (1.0 + real(numbers) / 1024.0),
                (Values::Cancelling, false) => {
                    last = real(numbers);
                    last
                }
            }
        };
        (0..count).map(|index| f64::from(one(index))).collect()
    }
}

/// Numbers for every source of a graph.
pub fn sources(graph: &Graph, sizes: &Sizes, values: Values, seed: u64) -> Bindings<f64> {
    let (limits, lengths) = (graph.index_limits(), graph.length_limits());
    let inputs = graph.inputs().map(|(value, input)| (value, &input.name));
    let parameters = graph.parameters().map(|(value, parameter)| (value, &parameter.name));
    let states = graph.states().map(|(value, state)| (value, &state.name));
    let mut bindings = Bindings::new();
    for (value, name) in inputs.chain(parameters).chain(states) {
        let key = name.bytes().fold(seed, |key, byte| mix(key, byte.into()));
        let mut numbers = Rng::with_seed(key);
        let ty = graph.ty(value);
        // Lengths of sequences, and a little beyond both ends.
        let steps = lengths[value.index()].iter().map(|dim| dim.at(sizes)).min();
        let sizes = ty.shape.concrete(sizes);
        let count = sizes.iter().product();
        let array = match ty.dtype {
            DType::I32 if limits[value.index()].is_none() && steps.is_some() => {
                let most = i32::try_from(steps.unwrap_or_default()).unwrap_or(i32::MAX - 1) + 1;
                Array::ints(sizes, (0..count).map(|_| numbers.i32(-1..=most)).collect())
            }
            DType::I32 => {
                let most = limits[value.index()].and_then(|limit| u32::try_from(limit).ok());
                let most = most.unwrap_or(u32::MAX).min(1 << 20);
                Array::ints(sizes, (0..count).map(|_| numbers.u32(..most).cast_signed()).collect())
            }
            DType::F32 => {
                let positive = name.starts_with(POSITIVE)
                    || name.ends_with("running_var")
                    || name.contains("second_moment")
                    || matches!(name.as_str(), "learning_rate" | "correction");
                Array::new(sizes, values.draw(&mut numbers, count, positive))
            }
        };
        bindings.insert(name.clone(), array);
    }
    bindings
}
