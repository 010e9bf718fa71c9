//! The losses of a network as a graph of their own, to evaluate what the network has computed.

use super::training::check_names;
use super::{AutodiffError, TrainingOptions, losses, names};
use crate::graph::Graph;
use crate::ops::source::{Input, InputRole};

/// The losses of a network alone: the outputs that they are computed from are inputs, [`names::evaluated`], beside those
/// of labels and targets. The only output is `loss`. Of the options, only the losses and the output count.
///
/// ```
/// use windlass_compiler::autodiff::{TrainingOptions, loss_graph};
/// use windlass_compiler::graph::{Builder, Layer};
///
/// let mut builder = Builder::new("net");
/// let x = builder.input("x", &[4])?;
/// let y = builder.layer("f1", &Layer::linear(3), x)?;
/// builder.output("logits", y)?;
/// let loss = loss_graph(&builder.finish()?, &TrainingOptions::default())?;
/// let inputs: Vec<&str> = loss.inputs().map(|(_, input)| input.name.as_str()).collect();
/// assert_eq!(inputs, ["evaluated.logits", "labels"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`AutodiffError`], as of [`training_graph`](super::training_graph), for a loss that does not fit the network.
pub fn loss_graph(graph: &Graph, options: &TrainingOptions) -> Result<Graph, AutodiffError> {
    check_names(graph)?;
    let mut terms = losses::terms(graph, options)?;
    let mut alone = Graph::new(graph.name());
    for term in &mut terms {
        for output in &mut term.outputs {
            let input = Input {
                name: names::evaluated(&output.name),
                role: InputRole::Data,
                ty: graph.ty(output.value).clone(),
            };
            output.value = alone.add_single(input, &[], "")?;
        }
    }
    let loss = losses::add(&mut alone, &terms)?;
    alone.add_output(names::LOSS, loss)?;
    Ok(alone)
}
