//! Builds a whole training step as one graph: the network in training mode, its loss, the gradients, and the updates.

use super::backward::Backward;
use super::frozen::Frozen;
use super::mode::training_mode_but;
use super::{AutodiffError, Optimizer, ParameterGroup, TrainingOptions, losses, names, segments};
use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::Graph;
use crate::graph::initializer::Initializer;
use crate::ops::Op;
use crate::ops::elementwise::{Binary, BinaryKind};
use crate::ops::optimizer::{Adam, Adaptive, AdaptiveRule, ClipFactor, ClipValue, Sgd};
use crate::ops::source::{Constant, Input, InputRole, State};
use crate::shape::{Shape, Type};

/// A training step of a network. To the network's own sources and outputs it adds those of [`names`]: data for the
/// loss, control inputs, the optimiser's states (which start at zero), and the outputs `loss` and, with clipping,
/// `gradient_norm`. It updates every parameter that the loss depends on and that is not frozen, the optimiser's states,
/// and the running statistics of batch normalisations that are not frozen; see [`TrainingOptions::frozen`].
///
/// ```
/// use windlass_compiler::autodiff::{Optimizer, TrainingOptions, training_graph};
/// use windlass_compiler::graph::{Builder, Layer};
///
/// let mut builder = Builder::new("net");
/// let x = builder.input("x", &[4])?;
/// let y = builder.layer("f1", &Layer::linear(3), x)?;
/// builder.output("logits", y)?;
/// let options = TrainingOptions::default().optimizer(Optimizer::adam());
/// let step = training_graph(&builder.finish()?, &options)?;
/// let updated: Vec<&str> = step.updates().iter().map(|update| update.name.as_str()).collect();
/// assert_eq!(updated[..2], ["f1.weight", "optimizer.first_moment.f1.weight"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`AutodiffError`]: a reserved, unknown or missing name in the network or the options, nothing to train, an output
/// that does not fit the loss, the cross-entropy of a softmax or of a single class, a setting outside its range as
/// `f32`, or an operator without a gradient.
pub fn training_graph(graph: &Graph, options: &TrainingOptions) -> Result<Graph, AutodiffError> {
    let (graph, trained) = differentiated(graph, options)?;
    finished(graph, trained, options)
}

/// The graph of a network in training mode with its loss, and the gradients of the parameters that are trained.
pub(super) fn differentiated(
    graph: &Graph,
    options: &TrainingOptions,
) -> Result<(Graph, Vec<Trained>), AutodiffError> {
    check_names(graph)?;
    check_settings(options)?;
    check_groups(graph, options)?;
    let frozen = Frozen::of(graph, &options.frozen)?;
    let mut graph = training_mode_but(graph, |graph, node| frozen.fixes(graph, node))?;
    if let Some(length) = options.recompute {
        graph = segments::in_segments(&graph, length)?;
    }
    let terms = losses::terms(&graph, options)?;
    let loss = losses::add(&mut graph, &terms)?;
    graph.add_output(names::LOSS, loss)?;

    let parameters: Vec<(ValueId, String)> = graph
        .parameters()
        .filter(|(_, parameter)| !frozen.contains(&parameter.name))
        .map(|(value, parameter)| (value, parameter.name.clone()))
        .collect();
    let values: Vec<ValueId> = parameters.iter().map(|(value, _)| *value).collect();
    let (backward, gradients) = Backward::run(graph, loss, &values)?;
    let trained: Vec<Trained> = parameters
        .into_iter()
        .zip(gradients)
        .filter_map(|((value, name), gradient)| Some(Trained { value, name, gradient: gradient? }))
        .collect();
    if trained.is_empty() {
        return Err(AutodiffError::NothingToTrain);
    }
    Ok((backward.into_graph(), trained))
}

/// Adds clipping and the updates to a graph with gradients.
pub(super) fn finished(
    graph: Graph,
    mut trained: Vec<Trained>,
    options: &TrainingOptions,
) -> Result<Graph, AutodiffError> {
    let mut step = StepBuilder { graph };
    if let Some(max) = options.clip_value {
        step.clip_values(max, &mut trained)?;
    }
    if let Some(max_norm) = options.clip_norm {
        step.clip(max_norm, &mut trained)?;
    }
    step.update(&trained, options)?;
    Ok(step.graph)
}

pub(super) fn check_names(graph: &Graph) -> Result<(), AutodiffError> {
    let inputs = graph.inputs().map(|(_, input)| ("input", &input.name));
    let parameters = graph.parameters().map(|(_, parameter)| ("parameter", &parameter.name));
    let states = graph.states().map(|(_, state)| ("state", &state.name));
    let mut sources = inputs.chain(parameters).chain(states);
    if let Some((kind, name)) = sources.find(|(_, name)| names::is_reserved_source(name)) {
        return Err(AutodiffError::ReservedName { kind, name: name.clone() });
    }
    if let Some(output) = graph.outputs().iter().find(|output| names::is_reserved_output(&output.name)) {
        return Err(AutodiffError::ReservedName { kind: "output", name: output.name.clone() });
    }
    Ok(())
}

/// Checks the settings as `f32`, the type that compiled steps use: a positive value must not become 0 or infinite.
fn check_settings(options: &TrainingOptions) -> Result<(), AutodiffError> {
    let check = |setting, value: f64, holds: &dyn Fn(f32) -> bool, expected| {
        if holds(value as f32) { Ok(()) } else { Err(AutodiffError::Setting { setting, value, expected }) }
    };
    let positive = |value: f32| value.is_normal() && value > 0.0;
    let share = |value: f32| (0.0..1.0).contains(&value);
    let penalty = |value: f32| value.is_finite() && value >= 0.0;
    if let Some(max) = options.clip_value {
        check("clip_value", max, &positive, "above 0, and finite and normal as an f32")?;
    }
    if let Some(max_norm) = options.clip_norm {
        check("clip_norm", max_norm, &positive, "above 0, and finite and normal as an f32")?;
    }
    let (shares, epsilon): (Vec<(&'static str, f64)>, Option<f64>) = match options.optimizer {
        Optimizer::Sgd { momentum, .. } => (vec![("momentum", momentum)], None),
        Optimizer::Adam { beta1, beta2, epsilon, .. } | Optimizer::AdamW { beta1, beta2, epsilon, .. } => {
            (vec![("beta1", beta1), ("beta2", beta2)], Some(epsilon))
        }
        Optimizer::RmsProp { alpha, epsilon, momentum, .. } => {
            (vec![("alpha", alpha), ("momentum", momentum)], Some(epsilon))
        }
        Optimizer::Adagrad { epsilon, .. } => (vec![], Some(epsilon)),
        Optimizer::Adadelta { rho, epsilon, .. } => (vec![("rho", rho)], Some(epsilon)),
        Optimizer::Lion { beta1, beta2, .. } => (vec![("beta1", beta1), ("beta2", beta2)], None),
    };
    for (setting, value) in shares {
        check(setting, value, &share, "at least 0 and below 1 as an f32")?;
    }
    if let Some(epsilon) = epsilon {
        check("epsilon", epsilon, &positive, "above 0, and finite and normal as an f32: 1.2e-38 or more")?;
    }
    for group in &options.groups {
        check("groups.rate", group.rate, &penalty, "at least 0, and finite as an f32")?;
        if let Some(decay) = group.weight_decay {
            check("groups.weight_decay", decay, &penalty, "at least 0, and finite as an f32")?;
        }
    }
    check("weight_decay", options.optimizer.weight_decay(), &penalty, "at least 0, and finite as an f32")
}

/// Checks that every group has a parameter.
fn check_groups(graph: &Graph, options: &TrainingOptions) -> Result<(), AutodiffError> {
    let names = || graph.parameters().map(|(_, parameter)| parameter.name.as_str());
    match options.groups.iter().find(|group| !names().any(|name| group.contains(name))) {
        Some(ParameterGroup { pattern, .. }) => Err(AutodiffError::EmptyGroup {
            pattern: pattern.clone(),
            parameters: names().map(str::to_owned).collect(),
        }),
        None => Ok(()),
    }
}

/// A parameter with its gradient.
pub(super) struct Trained {
    pub(super) value: ValueId,
    pub(super) name: String,
    pub(super) gradient: ValueId,
}

/// The part of a training step after the gradients.
struct StepBuilder {
    graph: Graph,
}

impl StepBuilder {
    /// Limits every element of the gradients.
    fn clip_values(&mut self, max: f64, trained: &mut [Trained]) -> Result<(), GraphError> {
        for trained in trained {
            let label = self.graph.producer(trained.gradient).label.clone();
            trained.gradient = self.graph.add_single(ClipValue { max }, &[trained.gradient], &label)?;
        }
        Ok(())
    }

    /// Scales all gradients by one factor, so that their global norm stays within a bound.
    fn clip(&mut self, max_norm: f64, trained: &mut [Trained]) -> Result<(), GraphError> {
        let gradients: Vec<ValueId> = trained.iter().map(|trained| trained.gradient).collect();
        let results = self.graph.add(ClipFactor { max_norm }, &gradients, "")?;
        for trained in trained {
            let label = self.graph.producer(trained.gradient).label.clone();
            let op = Binary { kind: BinaryKind::Multiply };
            trained.gradient = self.graph.add_single(op, &[trained.gradient, results[0]], &label)?;
        }
        self.graph.add_output(names::GRADIENT_NORM, results[1])
    }

    /// Adds an optimiser step for every parameter.
    fn update(&mut self, trained: &[Trained], options: &TrainingOptions) -> Result<(), GraphError> {
        let rate = self.control(names::LEARNING_RATE, Shape::scalar())?;
        let correction = match options.optimizer {
            Optimizer::Adam { .. } | Optimizer::AdamW { .. } => {
                Some(self.control(names::CORRECTION, Shape::fixed(&[2]))?)
            }
            _ => None,
        };
        let share = match options.average {
            true => Some(self.control(names::AVERAGE_SHARE, Shape::scalar())?),
            false => None,
        };
        // Each group has a rate of its own.
        let mut rates = Vec::new();
        for ParameterGroup { rate: factor, .. } in &options.groups {
            rates.push(match *factor {
                1.0 => rate,
                factor => {
                    let factor = Constant { shape: Shape::scalar(), values: vec![factor as f32] };
                    let factor = self.graph.add_single(factor, &[], "")?;
                    self.graph.add_single(Binary { kind: BinaryKind::Multiply }, &[rate, factor], "")?
                }
            });
        }
        for Trained { value, name, gradient } in trained {
            let label = self.graph.producer(*value).label.clone();
            let group = options.groups.iter().position(|group| group.contains(name));
            let decay = group.and_then(|group| options.groups[group].weight_decay);
            let optimizer = match decay {
                Some(decay) => options.optimizer.with_weight_decay(decay),
                None => options.optimizer,
            };
            let (op, state_kinds) = operator(&optimizer);
            let mut operands = vec![*value, *gradient, group.map_or(rate, |group| rates[group])];
            operands.extend(correction);
            let mut updated = vec![name.clone()];
            for kind in state_kinds {
                updated.push(names::optimizer_state(kind, name));
                operands.push(self.state(names::optimizer_state(kind, name), *value, &label)?);
            }
            let new = self.graph.add(op, &operands, &label)?;
            for (name, value) in updated.iter().zip(&new) {
                self.graph.add_update(name, *value)?;
            }
            if let Some(share) = share {
                let average = self.state(names::average(name), *value, &label)?;
                let mut binary = |kind, a, b| self.graph.add_single(Binary { kind }, &[a, b], &label);
                // `average + share·(new − average)`.
                let ahead = binary(BinaryKind::Subtract, new[0], average)?;
                let part = binary(BinaryKind::Multiply, ahead, share)?;
                let moved = binary(BinaryKind::Add, average, part)?;
                self.graph.add_update(&names::average(name), moved)?;
            }
        }
        Ok(())
    }

    /// Adds a control input.
    fn control(&mut self, name: &str, shape: Shape) -> Result<ValueId, GraphError> {
        let input = Input { name: name.to_owned(), role: InputRole::Control, ty: Type::f32(shape) };
        self.graph.add_single(input, &[], "")
    }

    /// Adds a state of a parameter's shape, which begins with zeros.
    fn state(&mut self, name: String, parameter: ValueId, label: &str) -> Result<ValueId, GraphError> {
        let shape = self.graph.ty(parameter).shape.clone();
        self.graph.add_single(State { name, shape, init: Initializer::ZEROS }, &[], label)
    }
}

/// The operator of an optimiser step, and the kinds of state it keeps for each parameter, in the order of its operands.
fn operator(optimizer: &Optimizer) -> (Op, &'static [&'static str]) {
    let moments = &["first_moment", "second_moment"];
    let adaptive = |rule, weight_decay| Adaptive { rule, weight_decay }.into();
    match *optimizer {
        Optimizer::Sgd { momentum, nesterov, weight_decay } => {
            let states: &[&str] = if momentum == 0.0 { &[] } else { &["velocity"] };
            (Sgd { momentum, nesterov, weight_decay }.into(), states)
        }
        Optimizer::Adam { beta1, beta2, epsilon, weight_decay } => {
            (Adam { beta1, beta2, epsilon, weight_decay, decoupled: false }.into(), moments)
        }
        Optimizer::AdamW { beta1, beta2, epsilon, weight_decay } => {
            (Adam { beta1, beta2, epsilon, weight_decay, decoupled: true }.into(), moments)
        }
        Optimizer::RmsProp { alpha, epsilon, momentum, centered, weight_decay } => {
            let states: &[&str] = match (centered, momentum == 0.0) {
                (false, true) => &["square_average"],
                (false, false) => &["square_average", "velocity"],
                (true, true) => &["square_average", "gradient_average"],
                (true, false) => &["square_average", "gradient_average", "velocity"],
            };
            (adaptive(AdaptiveRule::RmsProp { alpha, epsilon, momentum, centered }, weight_decay), states)
        }
        Optimizer::Adagrad { epsilon, weight_decay } => {
            (adaptive(AdaptiveRule::Adagrad { epsilon }, weight_decay), &["square_sum"])
        }
        Optimizer::Adadelta { rho, epsilon, weight_decay } => {
            let states = &["square_average", "update_average"];
            (adaptive(AdaptiveRule::Adadelta { rho, epsilon }, weight_decay), states)
        }
        Optimizer::Lion { beta1, beta2, weight_decay } => {
            (adaptive(AdaptiveRule::Lion { beta1, beta2 }, weight_decay), &["first_moment"])
        }
    }
}
