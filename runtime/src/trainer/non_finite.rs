//! Finds the first value of a training step that is NaN or infinite, by running the step in the interpreter.

use std::fmt;

use windlass_compiler::autodiff::names;
use windlass_compiler::graph::{Graph, Node, source_name};
use windlass_compiler::interp::{Array, Bindings, Data, Outcome, run as interpret};
use windlass_compiler::shape::Sizes;

use super::controls::Controls;
use super::{Target, Trainer};
use crate::error::Error;
use crate::executor::Binding;
use crate::network::{AnyNetwork, Feed};

/// The part of a training step that a value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// An input, a target, a parameter or a state.
    Given,
    /// The network's forward results, and the loss.
    Forward,
    /// Gradients.
    Gradient,
    /// New values of parameters and of the optimiser's state.
    Update,
}

/// The first value of a training step with a NaN or infinite element.
#[derive(Clone, Debug)]
pub struct NonFiniteOrigin {
    /// The part of the step.
    pub stage: Stage,
    /// The layer; for inputs and updates, the name of the input, parameter or state.
    pub layer: String,
    /// The operator, by its name in graph dumps.
    pub op: &'static str,
    /// The first such element, one index per axis.
    pub index: Vec<usize>,
    /// That element.
    pub value: f32,
}

impl fmt::Display for NonFiniteOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NonFiniteOrigin { stage, layer, op, index, value } = self;
        match stage {
            Stage::Given => write!(f, "the {op} `{layer}` has {value} at {index:?}"),
            Stage::Forward => write!(f, "`{op}` at layer `{layer}` gives {value} at {index:?}"),
            Stage::Gradient => {
                write!(f, "the gradient by `{op}` at layer `{layer}` is {value} at {index:?}")
            }
            Stage::Update => write!(f, "the update of `{layer}` by `{op}` is {value} at {index:?}"),
        }
    }
}

impl<N: AnyNetwork> Trainer<N> {
    /// Finds the first such value of a step whose inputs are checked.
    pub(super) fn find_in_step(
        &self,
        feeds: &[Feed<'_>],
        target: &Target<'_>,
        controls: &Controls,
        run: &Sizes,
    ) -> Result<Option<NonFiniteOrigin>, Error> {
        let carried = self.carried.as_ref();
        let state = |name: &str| carried.and_then(|carried| carried.find(name, run.batch()));
        let mut bindings = Bindings::new();
        for (value, input) in self.graph.inputs() {
            let sizes = self.graph.ty(value).shape.concrete(run);
            let of_network = self.model.ports().inputs.iter().position(|(name, _)| *name == input.name);
            let array = match of_network {
                Some(place) => match &feeds[place] {
                    Feed::Numbers(samples) => Array::new(sizes, samples.elements().to_vec()),
                    Feed::Indices(samples) => Array::ints(sizes, samples.elements().to_vec()),
                },
                None => match controls.binding(&input.name, self.graph.ty(value).dtype, target) {
                    Some(Binding::Floats(elements)) => Array::new(sizes, elements.to_vec()),
                    Some(Binding::Integers(elements)) => Array::ints(sizes, elements.to_vec()),
                    Some(Binding::Written(_)) | None => match state(&input.name) {
                        Some(elements) => Array::new(sizes, elements),
                        None => continue,
                    },
                },
            };
            bindings.insert(input.name.clone(), array);
        }
        for (name, tensor) in self.model.parameters().iter().chain(self.state.iter()) {
            let array = Array::new(tensor.shape(), tensor.iter().copied().collect());
            bindings.insert(name.to_owned(), array);
        }
        let outcome = interpret(&self.graph, run, &bindings)?;
        let (update, found) = (self.update_graph(), find(&self.graph, &outcome, true));
        match update.filter(|_| found.is_none() && self.is_due()) {
            Some(graph) => {
                bindings.extend(outcome.updates);
                for (value, input) in graph.inputs() {
                    let sizes = graph.ty(value).shape.concrete(run);
                    if let Some(Binding::Floats(elements)) =
                        controls.binding(&input.name, graph.ty(value).dtype, target)
                    {
                        bindings.insert(input.name.clone(), Array::new(sizes, elements.to_vec()));
                    }
                }
                let outcome = interpret(graph, Sizes::from(1), &bindings)?;
                Ok(find(graph, &outcome, false))
            }
            None => Ok(found),
        }
    }
}

/// The first value of a step with an element that is not finite; `is_forward` says whether the graph begins with the
/// forward pass.
fn find(graph: &Graph, outcome: &Outcome<f32>, mut is_forward: bool) -> Option<NonFiniteOrigin> {
    let loss = graph.outputs().iter().find(|output| output.name == names::LOSS).map(|output| output.value);
    for node in graph.nodes() {
        for &result in &node.results {
            if let Some((index, value)) = first_non_finite(outcome.value(result)) {
                let (stage, layer) = place(graph, node, is_forward);
                return Some(NonFiniteOrigin { stage, layer, op: node.op.name(), index, value });
            }
        }
        is_forward &= !node.results.iter().any(|&result| Some(result) == loss);
    }
    None
}

fn place(graph: &Graph, node: &Node, is_forward: bool) -> (Stage, String) {
    if let Some(name) = source_name(&node.op) {
        return (Stage::Given, name.to_owned());
    }
    if is_forward {
        return (Stage::Forward, node.label.clone());
    }
    match graph.updates().iter().find(|update| node.results.contains(&update.value)) {
        Some(update) => (Stage::Update, update.name.clone()),
        None => (Stage::Gradient, node.label.clone()),
    }
}

/// The first element that is not finite, with its index.
fn first_non_finite(array: &Array<f32>) -> Option<(Vec<usize>, f32)> {
    let Data::Real(values) = &array.data else { return None };
    let place = values.iter().position(|value| !value.is_finite())?;
    let mut rest = place;
    let mut index: Vec<usize> = array
        .sizes
        .iter()
        .rev()
        .map(|size| {
            let at = rest % size;
            rest /= size;
            at
        })
        .collect();
    index.reverse();
    Some((index, values[place]))
}
