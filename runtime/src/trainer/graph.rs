//! The graph of a training step.

use windlass_compiler::autodiff::{
    Accumulation, AutodiffError, TrainingOptions, accumulation_graphs, training_graph,
};
use windlass_compiler::graph::{Graph, Stateful, with_states};

use super::TrainerOptions;
use crate::error::Error;
use crate::network::AnyNetwork;

/// The graph of a training step, and the names and sizes of the states that it carries.
pub(crate) fn step_graph<N: AnyNetwork>(network: &N, options: &TrainerOptions) -> Result<Stateful, Error> {
    let (stateful, training) = network_of_step(network, options)?;
    let graph = training_graph(&stateful.graph, &training).map_err(refused(network))?;
    Ok(Stateful { graph, states: stateful.states })
}

/// The graph of a training step, and that of the update if the gradients of several batches make one.
pub(super) fn step_graphs<N: AnyNetwork>(
    network: &N,
    options: &TrainerOptions,
) -> Result<(Stateful, Option<Graph>), Error> {
    let Some(count) = options.accumulate.filter(|&count| count != 1) else {
        return Ok((step_graph(network, options)?, None));
    };
    let (stateful, training) = network_of_step(network, options)?;
    let graphs = accumulation_graphs(&stateful.graph, &training, count).map_err(refused(network))?;
    let Accumulation { gradients, update } = graphs;
    Ok((Stateful { graph: gradients, states: stateful.states }, Some(update)))
}

/// The network that is trained, and the compiler's options.
fn network_of_step<N: AnyNetwork>(
    network: &N,
    options: &TrainerOptions,
) -> Result<(Stateful, TrainingOptions), Error> {
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
    Ok((stateful, training))
}

fn refused<N: AnyNetwork>(network: &N) -> impl Fn(AutodiffError) -> Error {
    let name = network.name().to_owned();
    move |reason| Error::Autodiff { network: name.clone(), reason: Box::new(reason) }
}
