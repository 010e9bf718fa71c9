//! Inputs of a run: from a file, or drawn.

use std::error::Error;
use std::ops::RangeInclusive;

use fastrand::Rng;
use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};
use windlass::{DType, Dynamic, DynamicInputs, DynamicOutputs, Feed, Graph, Model, Shape, Sizes};
use windlass_compiler::ops::source::InputRole;

use crate::ctc::Ctc;
use crate::{File, at};

/// The values of an input.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    Numbers(ArrayD<f32>),
    Indices(ArrayD<i32>),
}

/// Named inputs, in the order of the network.
pub(crate) type Inputs = Vec<(String, Values)>;

/// The inputs of a graph that runs are given, with their shapes.
pub(crate) fn data(graph: &Graph) -> impl Iterator<Item = (&str, &Shape)> {
    let given = graph.inputs().filter(|(_, input)| input.role == InputRole::Data);
    given.map(|(_, input)| (input.name.as_str(), &input.ty.shape))
}

/// Random inputs: numbers between −1 and 1, indices and lengths within their limits.
pub(crate) fn drawn(graph: &Graph, sizes: &Sizes, seed: u64) -> Inputs {
    let mut random = Rng::with_seed(seed);
    let named = data(graph).zip(limits(graph, sizes)).map(|((name, shape), limits)| {
        let dims = IxDyn(&shape.concrete(sizes));
        let values = match limits {
            None => Values::Numbers(ArrayD::from_shape_simple_fn(dims, || 2.0 * random.f32() - 1.0)),
            Some(limits) => {
                Values::Indices(ArrayD::from_shape_simple_fn(dims, || random.i32(limits.clone())))
            }
        };
        (name.to_owned(), values)
    });
    named.collect()
}

/// The least and greatest element of each input of whole numbers, in order; `None` for inputs of other numbers.
fn limits(graph: &Graph, sizes: &Sizes) -> Vec<Option<RangeInclusive<i32>>> {
    let (indices, lengths, ctc) = (graph.index_limits(), graph.length_limits(), Ctc::of(graph));
    let limits_of = |(name, _): (&str, &Shape)| {
        let value = graph.source(name).filter(|value| graph.ty(*value).dtype == DType::I32)?;
        if let Some(limits) = ctc.as_ref().and_then(|ctc| ctc.limits(name, sizes)) {
            return Some(limits);
        }
        let longest = lengths[value.index()].iter().map(|length| length.at(sizes)).min();
        let (least, most) = match (longest, indices[value.index()]) {
            (Some(longest), _) => (1, longest),
            (None, limit) => (0, limit.unwrap_or(1).saturating_sub(1)),
        };
        Some(least..=i32::try_from(most).unwrap_or(i32::MAX))
    };
    data(graph).map(limits_of).collect()
}

/// Checks whole numbers: the interpreter takes any.
pub(crate) fn check(graph: &Graph, inputs: &Inputs, sizes: &Sizes) -> Result<(), Box<dyn Error>> {
    for ((name, values), limits) in inputs.iter().zip(limits(graph, sizes)) {
        let fits = match (values, limits) {
            (Values::Numbers(_), None) => continue,
            (Values::Indices(array), Some(limits)) => {
                array.iter().find(|number| !limits.contains(number)).map_or(Ok(()), |number| {
                    Err(format!("{number}, but takes {} to {}", limits.start(), limits.end()))
                })
            }
            (Values::Numbers(_), Some(_)) => Err("numbers of F32, but takes I32".to_owned()),
            (Values::Indices(_), None) => Err("numbers of I32, but takes F32".to_owned()),
        };
        fits.map_err(|problem| format!("the input `{name}` has {problem}"))?;
    }
    Ok(())
}

/// Inputs of these names and shapes in a safetensors file.
pub(crate) fn from_file<'a>(
    wanted: impl Iterator<Item = (&'a str, &'a Shape)>,
    path: &File,
) -> Result<Inputs, Box<dyn Error>> {
    let bytes = std::fs::read(path).map_err(|reason| at(path, "read", &reason))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|reason| at(path, "read", &reason))?;
    let mut inputs = Inputs::new();
    for (name, shape) in wanted {
        let Ok(tensor) = file.tensor(name) else {
            let names: Vec<&str> = file.names();
            return Err(at(
                path,
                "read inputs from",
                &format!("it has no `{name}` of shape {shape}, but {}", names.join(", ")),
            ));
        };
        let dims = IxDyn(tensor.shape());
        let words = tensor.data().chunks_exact(4);
        let values = match tensor.dtype() {
            Dtype::F32 => {
                let numbers = words.map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]));
                Values::Numbers(ArrayD::from_shape_vec(dims, numbers.collect())?)
            }
            Dtype::I32 => {
                let numbers = words.map(|word| i32::from_le_bytes([word[0], word[1], word[2], word[3]]));
                Values::Indices(ArrayD::from_shape_vec(dims, numbers.collect())?)
            }
            other => {
                let reason = format!("`{name}` has the type {other:?}; inputs are F32 or I32");
                return Err(at(path, "read inputs from", &reason));
            }
        };
        inputs.push((name.to_owned(), values));
    }
    Ok(inputs)
}

/// The inputs as those of a model.
pub(crate) fn feeds(inputs: &Inputs) -> DynamicInputs<'_> {
    let feeds = inputs.iter().map(|(name, values)| match values {
        Values::Numbers(array) => (name.as_str(), Feed::from(array)),
        Values::Indices(array) => (name.as_str(), Feed::from(array)),
    });
    feeds.collect()
}

/// Runs a model.
pub(crate) fn forward(model: &Model<Dynamic>, inputs: &Inputs) -> Result<DynamicOutputs, Box<dyn Error>> {
    Ok(model.forward(feeds(inputs))?)
}
