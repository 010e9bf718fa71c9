//! Builds the graph of a loss and its gradients, without an update.

use serde::{Deserialize, Serialize};

use super::frozen::nearest;
use super::mode::training_mode;
use super::training::check_names;
use super::{AutodiffError, Loss, OutputLoss, TrainingOptions, losses, names};
use crate::entity::ValueId;
use crate::graph::Graph;
use crate::ops::source::InputRole;
use crate::passes;
use crate::shape::DType;

/// Which loss is differentiated, and with respect to what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct GradientGraphOptions {
    /// The loss of the only output, or of `output`.
    pub loss: Loss,
    /// The losses of several outputs, which are weighted and summed. If there are any, they replace `loss`.
    pub losses: Vec<OutputLoss>,
    /// The output used for the loss; by default the only one.
    pub output: Option<String>,
    /// The inputs with gradients; by default all inputs of numbers.
    pub inputs: Option<Vec<String>>,
    /// The parameters with gradients, as names or patterns, see [`names::matches`]; by default all.
    pub parameters: Option<Vec<String>>,
    /// Whether the network is in training mode: dropout draws masks, and batch normalisation uses the statistics of the
    /// batch. Running statistics are not updated in either mode.
    pub training: bool,
}

impl GradientGraphOptions {
    crate::setters! {
        loss: Loss;
        losses: impl Into<Vec<OutputLoss>> = losses.into();
        output: impl Into<String> = Some(output.into());
        inputs: impl IntoIterator<Item = impl Into<String>> = Some(inputs.into_iter().map(Into::into).collect());
        parameters: impl IntoIterator<Item = impl Into<String>> =
            Some(parameters.into_iter().map(Into::into).collect());
        training: bool;
    }
}

/// The loss of a network and its gradients. To the network's own sources and outputs it adds the data inputs of the loss,
/// and the outputs [`names::LOSS`] and [`names::gradient_of`] each input and parameter that is asked for, of their types.
/// Gradients with respect to what the loss does not depend on are zeros.
///
/// ```
/// use windlass_compiler::autodiff::{GradientGraphOptions, gradient_graph};
/// use windlass_compiler::graph::{Builder, Layer};
///
/// let mut builder = Builder::new("net");
/// let x = builder.input("x", &[4])?;
/// let y = builder.layer("f1", &Layer::linear(3), x)?;
/// builder.output("logits", y)?;
/// let graph = gradient_graph(&builder.finish()?, &GradientGraphOptions::default())?;
/// let outputs: Vec<&str> = graph.outputs().iter().map(|output| output.name.as_str()).collect();
/// assert_eq!(outputs, ["logits", "loss", "gradient.x", "gradient.f1.weight", "gradient.f1.bias"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`AutodiffError`]: a reserved or unknown name, an input of integers, nothing to differentiate with respect to, an output
/// that does not fit the loss, or an operator without a gradient.
pub fn gradient_graph(graph: &Graph, options: &GradientGraphOptions) -> Result<Graph, AutodiffError> {
    check_names(graph)?;
    // Without its updates: differentiation reads the network and changes nothing.
    let mut graph = match options.training {
        true => training_mode(graph)?.without_updates(),
        false => passes::inference(graph)?,
    };
    let sources = wanted(&graph, options)?;
    let loss_options = TrainingOptions {
        loss: options.loss.clone(),
        losses: options.losses.clone(),
        output: options.output.clone(),
        ..TrainingOptions::default()
    };
    let terms = losses::terms(&graph, &loss_options)?;
    let loss = losses::add(&mut graph, &terms)?;
    graph.add_output(names::LOSS, loss)?;
    let values: Vec<ValueId> = sources.iter().map(|(value, _)| *value).collect();
    let (mut graph, gradients) = super::gradients(&graph, loss, &values)?;
    for ((_, name), gradient) in sources.iter().zip(gradients) {
        graph.add_output(&names::gradient_of(name), gradient)?;
    }
    Ok(graph)
}

/// The inputs and parameters that the options ask for.
fn wanted(graph: &Graph, options: &GradientGraphOptions) -> Result<Vec<(ValueId, String)>, AutodiffError> {
    let data = || graph.inputs().filter(|(_, input)| input.role == InputRole::Data);
    let unknown = |kind, name: &str, known: Vec<&str>| AutodiffError::UnknownGradient {
        kind,
        name: name.to_owned(),
        nearest: nearest(name, known.iter().copied()).map(str::to_owned),
        known: known.into_iter().map(str::to_owned).collect(),
    };
    for name in options.inputs.iter().flatten() {
        match data().find(|(_, input)| input.name == *name) {
            Some((_, input)) if input.ty.dtype != DType::F32 => {
                return Err(AutodiffError::IntegerInput { input: name.clone() });
            }
            Some(_) => {}
            None => {
                let known = data().map(|(_, input)| input.name.as_str()).collect();
                return Err(unknown("input", name, known));
            }
        }
    }
    for pattern in options.parameters.iter().flatten() {
        let known: Vec<&str> = graph.parameters().map(|(_, parameter)| parameter.name.as_str()).collect();
        if !known.iter().any(|name| names::matches(pattern, name)) {
            return Err(unknown("parameter", pattern, known));
        }
    }
    let is_wanted =
        |name: &str| options.inputs.as_ref().is_none_or(|inputs| inputs.iter().any(|own| own == name));
    let matches = |name: &str| {
        options.parameters.as_ref().is_none_or(|own| own.iter().any(|pattern| names::matches(pattern, name)))
    };
    let inputs = data().filter(|(_, input)| input.ty.dtype == DType::F32 && is_wanted(&input.name));
    let inputs = inputs.map(|(value, input)| (value, input.name.clone()));
    let parameters = graph.parameters().filter(|(_, parameter)| matches(&parameter.name));
    let parameters = parameters.map(|(value, parameter)| (value, parameter.name.clone()));
    let sources: Vec<(ValueId, String)> = inputs.chain(parameters).collect();
    if sources.is_empty() { Err(AutodiffError::NoGradient) } else { Ok(sources) }
}
