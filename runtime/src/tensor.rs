//! Tensors outside a running program: parameters and states by name, as they are initialised, saved and loaded.

use std::collections::BTreeMap;

use ndarray::ArrayD;
use windlass_compiler::graph::Graph;

/// 32-bit floats by the name of their parameter or state: `c1.weight`.
pub type NamedTensors = BTreeMap<String, ArrayD<f32>>;

/// The shapes of tensors by name.
pub type NamedShapes = BTreeMap<String, Vec<usize>>;

/// The shapes of all parameters and states of a graph.
pub fn shapes_of(graph: &Graph) -> NamedShapes {
    let parameters = graph.parameters().map(|(_, parameter)| (&parameter.name, &parameter.shape));
    let states = graph.states().map(|(_, state)| (&state.name, &state.shape));
    parameters.chain(states).map(|(name, shape)| (name.clone(), shape.item())).collect()
}
