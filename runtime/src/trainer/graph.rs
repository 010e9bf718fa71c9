//! The graph of a training step.

use windlass_compiler::autodiff::training_graph;
use windlass_compiler::graph::{Stateful, with_states};

use super::TrainerOptions;
use crate::error::Error;
use crate::network::AnyNetwork;

/// The graph of a training step, and the names and sizes of the states that it carries.
pub(crate) fn step_graph<N: AnyNetwork>(network: &N, options: &TrainerOptions) -> Result<Stateful, Error> {
    let mut training = options.of_training();
    let given = network.graph();
    let stateful = match options.carry_states {
        true => with_states(given)?,
        false => Stateful { graph: given.clone(), states: Vec::new() },
    };
    // The states are outputs too: a single other one is still the one of the loss.
    if let ([only], true) = (given.outputs(), training.losses.is_empty()) {
        training.output.get_or_insert_with(|| only.name.clone());
    }
    let graph = training_graph(&stateful.graph, &training)
        .map_err(|reason| Error::Autodiff { network: network.name().to_owned(), reason: Box::new(reason) })?;
    Ok(Stateful { graph, states: stateful.states })
}
