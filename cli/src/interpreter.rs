//! Runs of the interpreter, in double precision.

use std::error::Error;

use ndarray::{ArrayD, IxDyn};
use windlass::{Dynamic, Parameters, Sizes};
use windlass_compiler::interp::{Array, Bindings, run};

use crate::inputs::{Inputs, Values};

/// Named outputs, in the order of the network.
pub(crate) type Outputs = Vec<(String, ArrayD<f64>)>;

/// The outputs of a network.
pub(crate) fn outputs(
    network: &Dynamic,
    parameters: &Parameters,
    inputs: &Inputs,
    sizes: &Sizes,
) -> Result<Outputs, Box<dyn Error>> {
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
    let outcome = run(network.graph(), sizes, &bindings)?;
    let outputs = network.outputs().map(|(name, _)| {
        let array = &outcome.outputs[name];
        let values = ArrayD::from_shape_vec(IxDyn(&array.sizes), array.real().to_vec())?;
        Ok((name.to_owned(), values))
    });
    outputs.collect()
}

/// The open sizes of a run with these inputs.
pub(crate) fn sizes_of(network: &Dynamic, inputs: &Inputs) -> Result<Sizes, Box<dyn Error>> {
    let mut sizes = Sizes::new();
    for ((name, shape), (_, values)) in network.inputs().zip(inputs) {
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
            return Err(
                format!("the input `{name}` has the shape {got:?}, but the network takes {shape}").into()
            );
        }
    }
    Ok(sizes)
}
