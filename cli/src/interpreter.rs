//! Runs of the interpreter, in double precision.

use std::error::Error;

use ndarray::{ArrayD, IxDyn};
use windlass::{Graph, Parameters, Shape, Sizes};
use windlass_compiler::interp::{Array, Bindings, run};

use crate::inputs::{Inputs, Values};

/// Named outputs, in the order of the network.
pub(crate) type Outputs = Vec<(String, ArrayD<f64>)>;

/// The outputs of a graph.
pub(crate) fn outputs(
    graph: &Graph,
    parameters: &Parameters,
    inputs: &Inputs,
    sizes: &Sizes,
) -> Result<Outputs, Box<dyn Error>> {
    outputs_of(graph, &bindings(parameters, inputs), sizes)
}

/// The outputs of a graph for values of all its sources.
pub(crate) fn outputs_of(
    graph: &Graph,
    bindings: &Bindings<f64>,
    sizes: &Sizes,
) -> Result<Outputs, Box<dyn Error>> {
    let outcome = run(graph, sizes, bindings)?;
    let outputs = graph.outputs().iter().map(|output| {
        let array = &outcome.outputs[&output.name];
        let values = ArrayD::from_shape_vec(IxDyn(&array.sizes), array.real().to_vec())?;
        Ok((output.name.clone(), values))
    });
    outputs.collect()
}

/// The values of sources, by name.
pub(crate) fn bindings(parameters: &Parameters, inputs: &Inputs) -> Bindings<f64> {
    let mut bindings = Bindings::<f64>::new();
    for (name, values) in inputs {
        let array = match values {
            Values::Numbers(array) => {
                Array::new(array.shape(), array.iter().map(|number| f64::from(*number)).collect())
            }
            Values::Indices(array) => Array::ints(array.shape(), array.iter().copied().collect()),
        };
        bindings.insert(name.clone(), array);
    }
    for name in parameters.names() {
        if let Some(tensor) = parameters.get(name) {
            let numbers = tensor.iter().map(|number| f64::from(*number)).collect();
            bindings.insert(name.clone(), Array::new(tensor.shape(), numbers));
        }
    }
    bindings
}

/// The open sizes of a run with these inputs, which have these names and shapes in the graph.
pub(crate) fn sizes_of<'a>(
    declared: impl Iterator<Item = (&'a str, &'a Shape)>,
    inputs: &Inputs,
) -> Result<Sizes, Box<dyn Error>> {
    let mut sizes = Sizes::new();
    for ((name, shape), (_, values)) in declared.zip(inputs) {
        let got = match values {
            Values::Numbers(array) => array.shape(),
            Values::Indices(array) => array.shape(),
        };
        let dims = shape.dims();
        let fits = dims.len() == got.len()
            && dims.iter().zip(got).all(|(dim, &size)| match dim.polynomial().as_symbol() {
                Some(symbol) => {
                    sizes.get(symbol).is_none_or(|known| known == size) && {
                        sizes = std::mem::take(&mut sizes).with(symbol, size);
                        size > 0
                    }
                }
                None => dim.fixed() == Some(size),
            });
        if !fits {
            let known = shape.symbols().into_iter().filter_map(|symbol| Some((symbol, sizes.get(symbol)?)));
            let known: Vec<String> = known.map(|(symbol, size)| format!("{symbol} = {size}")).collect();
            let with = if known.is_empty() { String::new() } else { format!(" with {}", known.join(", ")) };
            return Err(format!(
                "the input `{name}` has the shape {got:?}, but the network takes {shape}{with}"
            )
            .into());
        }
    }
    Ok(sizes)
}
