//! Named tensors outside a running program: initialised, saved and loaded parameters and states.

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

#[cfg(test)]
mod tests {
    use windlass_compiler::graph::{Builder, Layer};
    use windlass_compiler::ops::window::Window;

    use super::*;
    use crate::initialize;

    #[test]
    fn parameters_and_states_are_listed_as_they_are_initialised() {
        let mut builder = Builder::new("net");
        let x = builder.input("x", &[3, 4, 4]).unwrap();
        let x = builder.layer("c1", &Layer::conv(2, Window::square(3, 1, 0)), x).unwrap();
        let x = builder.layer("n1", &Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 }, x).unwrap();
        builder.output("y", x).unwrap();
        let graph = builder.finish().unwrap();
        let shapes = shapes_of(&graph);
        assert_eq!(shapes["c1.weight"], [2, 3, 3, 3]);
        assert_eq!(shapes["n1.running_var"], [2]);
        let drawn = initialize(&graph, 0).unwrap();
        let drawn: NamedShapes =
            drawn.into_iter().map(|(name, value)| (name, value.shape().to_vec())).collect();
        assert_eq!(shapes, drawn);
    }
}
