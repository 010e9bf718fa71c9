//! The loss of a network: layers on its outputs and targets, without parameters.

use proc_macro2::Ident;
use quote::format_ident;
use windlass_compiler::autodiff::LossGraph;
use windlass_compiler::entity::ValueId;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::{Builder, Graph, Node};
use windlass_compiler::ops::source::Source;
use windlass_compiler::ops::{Operator, Role};
use windlass_compiler::shape::{DType, Dim};

use super::scope::{Environment, Flow, Labels};
use super::{Checker, SINGLE_OUTPUT};
use crate::ast::{Call, Loss, Network, Outputs, plain};
use crate::diagnostics::Mistake;

/// A loss of two values, as `network!` names it.
type Entropy = fn(&mut Builder, &str, ValueId, ValueId) -> Result<ValueId, GraphError>;

/// The losses that a loss can call: the cross-entropies, which are not other layers in a row.
fn entropy(name: &str) -> Option<(&'static str, Entropy)> {
    match name {
        "cross_entropy" => Some(("cross_entropy", Builder::cross_entropy)),
        "binary_cross_entropy" => Some(("binary_cross_entropy", Builder::binary_cross_entropy)),
        _ => None,
    }
}

impl<'a> Checker<'_, 'a> {
    /// Checks the loss of a network whose outputs have these sizes. The values of the network are out of reach; its parameters
    /// are not.
    pub(super) fn loss(
        &mut self,
        network: &'a Network,
        outputs: &[Option<Vec<Dim>>],
        environment: &mut Environment,
    ) -> Option<Graph> {
        let loss = network.loss.as_ref()?;
        let builder = std::mem::replace(&mut self.builder, Builder::new(&plain(&network.name)));
        let outside = (
            builder,
            std::mem::take(&mut self.layers),
            std::mem::take(&mut self.results),
            std::mem::take(&mut self.unused),
            std::mem::take(&mut self.states),
            std::mem::take(&mut self.applied),
        );
        self.in_loss = true;
        let graph = self.loss_graph((network, loss), outputs, environment);
        self.in_loss = false;
        (self.builder, self.layers, self.results, self.unused, self.states, self.applied) = outside;
        graph
    }

    fn loss_graph(
        &mut self,
        (network, loss): (&'a Network, &'a Loss),
        outputs: &[Option<Vec<Dim>>],
        environment: &mut Environment,
    ) -> Option<Graph> {
        let before = self.errors.count();
        environment.enter_loss();
        let first = self.loss_outputs(network, outputs, environment);
        self.loss_targets((network, loss), environment);
        self.expect_statements(&loss.body, "the loss");
        let mut labels = Labels::of_block(String::new(), &loss.body, self.errors);
        let last = self.body(&loss.body, environment, &mut labels, first);
        match last {
            Flow::Value(value) if self.builder.graph().ty(value).dtype == DType::I32 => {
                let item = self.builder.item_dims(value);
                let mistake = Mistake::new(format!("the loss is {item:?} of index, but losses are numbers"))
                    .help("compare an output with the target: `cross_entropy(label)`".to_owned());
                self.errors.report(&loss.keyword, mistake);
            }
            Flow::Value(value) => {
                if let Err(error) = self.builder.output("loss", value) {
                    self.errors.report(&loss.keyword, Mistake::new(error.to_string()));
                }
            }
            Flow::Nothing if !loss.body.statements.is_empty() => {
                let inputs: Vec<String> =
                    environment.flow_names().iter().map(|name| format!("`from({name})`")).collect();
                let mistake = Mistake::new("the loss has no value: no layer was reached")
                    .help(format!("start with an output: {}", inputs.join(" or ")));
                self.errors.report(&loss.keyword, mistake);
            }
            Flow::Nothing | Flow::Unknown => {}
        }
        if self.errors.count() > before || !matches!(last, Flow::Value(_)) {
            return None;
        }
        let uses = self.builder.graph().use_counts();
        for port in &loss.targets {
            let value = self.builder.graph().source(&plain(&port.name));
            if value.is_some_and(|value| uses[value.index()] == 0) {
                let mistake = Mistake::new(format!("the target `{}` is never used", port.name))
                    .help("compare an output with it, or leave it out".to_owned());
                self.errors.report(&port.name, mistake);
            }
        }
        self.report_unused_results(&uses);
        let checked = LossGraph::new(self.builder.graph().clone());
        match checked {
            Ok(loss) => Some(loss.into()),
            Err(problem) => {
                self.errors.report(&loss.keyword, Mistake::new(problem.to_string()));
                None
            }
        }
    }

    /// Names the outputs. Returns the current value: the only output, if there is one.
    fn loss_outputs(
        &mut self,
        network: &Network,
        outputs: &[Option<Vec<Dim>>],
        environment: &mut Environment,
    ) -> Flow {
        let names: Vec<Ident> = match &network.outputs {
            Outputs::Missing => Vec::new(),
            Outputs::Single(_) => vec![format_ident!("{SINGLE_OUTPUT}")],
            Outputs::Named(ports) => ports.iter().map(|port| port.name.clone()).collect(),
        };
        let mut first = Flow::Unknown;
        for (name, sizes) in names.iter().zip(outputs) {
            let made = sizes
                .as_deref()
                .map(|sizes| self.builder.input_of(&plain(name), DType::F32, sizes.iter().cloned()));
            let flow = made.and_then(Result::ok).map_or(Flow::Unknown, Flow::Value);
            // A loss may be of some of the outputs.
            environment.define_free_flow(name, flow);
            first = if names.len() == 1 { flow } else { Flow::Nothing };
        }
        first
    }

    fn loss_targets(&mut self, (network, loss): (&Network, &Loss), environment: &mut Environment) {
        let open = self.open_sizes(network, environment);
        self.report_duplicates(&loss.targets, "target");
        for port in &loss.targets {
            let name = plain(&port.name);
            self.expect_free_name(&port.name);
            let is_output = match &network.outputs {
                Outputs::Missing => false,
                Outputs::Single(_) => name == SINGLE_OUTPUT,
                Outputs::Named(ports) => ports.iter().any(|output| plain(&output.name) == name),
            };
            if is_output {
                let mistake = Mistake::new(format!("`{name}` is an output and a target"))
                    .help("give the target another name".to_owned());
                self.errors.report(&port.name, mistake);
                continue;
            }
            let whose = format!("the target `{name}`");
            // One number or index for each sample.
            let sizes = match port.sizes.sizes.is_empty() {
                true => Some(Vec::new()),
                false => self.declared_sizes(&port.sizes, &whose, Some(&open), environment),
            };
            let dtype = if port.of_index.is_some() { DType::I32 } else { DType::F32 };
            let made = sizes.map(|sizes| self.builder.input_of(&name, dtype, sizes));
            let flow = made.and_then(Result::ok).map_or(Flow::Unknown, Flow::Value);
            environment.define_free_flow(&port.name, flow);
        }
    }

    /// `cross_entropy(label)`: a loss of the current value against a target, if the loss is being checked.
    pub(super) fn entropy(
        &mut self,
        (label, call, name): (Option<&Ident>, &Call, &str),
        environment: &mut Environment,
        labels: &mut Labels,
        it: Flow,
    ) -> Option<Flow> {
        let (word, build) = entropy(name).filter(|_| self.in_loss)?;
        let full_name = labels.name(label, word);
        let it = self.flowing(it, call, environment);
        let targets = self.named_arguments(call, environment, it, (&format!("{word}(target)"), false));
        if targets.len() > 1 {
            let mistake = Mistake::new(format!("`{word}` takes one target, but receives {}", targets.len()))
                .help("add the losses of several: `let first = it; … add(first)`".to_owned());
            self.errors.report(call, mistake);
            return Some(Flow::Unknown);
        }
        let Some((target, Flow::Value(value))) = targets.into_iter().next() else {
            return Some(Flow::Unknown);
        };
        let Flow::Value(logits) = it else { return Some(Flow::Unknown) };
        Some(match build(&mut self.builder, &full_name, logits, value) {
            Ok(loss) => self.record(loss, full_name, word, &call.to_string(), call.name.span(), 0),
            Err(GraphError::Shape { error, .. }) => {
                let of_index = |value| {
                    let is_index = self.builder.graph().ty(value).dtype == DType::I32;
                    format!("{:?}{}", self.builder.item_dims(value), if is_index { " of index" } else { "" })
                };
                let mistake = Mistake::new(format!("`{call}` {error}")).notes([format!(
                    "the current value is {}, and `{target}` is {}",
                    of_index(logits),
                    of_index(value)
                )]);
                self.report_here(call, mistake);
                Flow::Unknown
            }
            Err(error) => {
                self.errors.report(call, Mistake::new(error.to_string()));
                Flow::Unknown
            }
        })
    }

    /// Reports a layer in a loss that has parameters, which nothing would train, or that only training draws. Its operators
    /// are those from a position.
    pub(super) fn expect_fits_loss(&mut self, position: usize, call: &Call) {
        if !self.in_loss {
            return;
        }
        let nodes = &self.builder.graph().nodes()[position..];
        let is_stored = |node: &Node| node.op.source().is_some_and(Source::is_stored);
        let text = if nodes.iter().any(is_stored) {
            format!("`{call}` has parameters or states, which a loss cannot have")
        } else if nodes.iter().any(|node| node.op.facts().role == Role::Identity) {
            format!("`{call}` is random in training, which a loss cannot be")
        } else {
            return;
        };
        let help = "put it into the network, whose outputs the loss compares";
        self.report_here(call, Mistake::new(text).help(help.to_owned()));
    }
}
