//! Losses of one's own: a graph from outputs and targets to numbers, whose mean is the loss.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::names;
use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, verify};
use crate::ops::source::{Input, InputRole};
use crate::ops::{Op, Operator, Role};
use crate::shape::{DType, Symbol, Type};

/// A loss of one's own. Its graph has an input for each output of the network that it reads, of the output's name and type,
/// and one for each target: numbers of any shape, or indices. Its only output has numbers for each sample, of any shape; the loss
/// is their mean over the batch and everything else.
///
/// [`network!`](https://docs.rs/windlass) makes it from a `loss` section, and a [`Builder`](crate::graph::Builder) at run time:
///
/// ```
/// use windlass_compiler::autodiff::{Loss, LossGraph, TrainingOptions, training_graph};
/// use windlass_compiler::graph::{Builder, Combination, Layer};
/// use windlass_compiler::shape::DType;
///
/// let mut network = Builder::new("Net");
/// let x = network.input("x", &[4])?;
/// let y = network.layer("f1", &Layer::linear(3), x)?;
/// network.output("class", y)?;
///
/// // The cross-entropy times a weight of each sample.
/// let mut loss = Builder::new("weighted");
/// let class = loss.input("class", &[3])?;
/// let label = loss.input_of("label", DType::I32, [])?;
/// let weight = loss.input("weight", &[])?;
/// let each = loss.cross_entropy("", class, label)?;
/// let weighted = loss.combine("", Combination::Multiply, each, weight)?;
/// loss.output("loss", weighted)?;
///
/// let loss = Loss::Custom(LossGraph::new(loss.finish()?)?);
/// let step = training_graph(&network.finish()?, &TrainingOptions::default().loss(loss))?;
/// assert!(step.source("labels.label").is_some() && step.source("target.weight").is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Cloning is cheap: clones share the graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Graph", into = "Graph")]
pub struct LossGraph(Arc<Graph>);

/// Why a graph is not a loss.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum LossProblem {
    /// The graph is not valid.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// It has parameters, states or updates.
    #[error(
        "a loss has no parameters or states, but this one has `{name}`: put the layer into the network, as another output"
    )]
    Stored {
        /// The first of them.
        name: String,
    },
    /// It has dropout, which a loss does not draw.
    #[error("a loss has no dropout, but this one has `{layer}`: put it into the network")]
    Dropout {
        /// The layer.
        layer: String,
    },
    /// It has no output, or several.
    #[error("a loss has one output, a number or more for each sample, but this one has {got}")]
    Outputs {
        /// Their number.
        got: usize,
    },
    /// Its output is not a batch of numbers.
    #[error("a loss is a batch of numbers, but this one is {got}")]
    NoNumbers {
        /// Its type.
        got: Type,
    },
    /// An input is not a batch, or controls a step.
    #[error("inputs of a loss are batches, but `{name}` is {got}")]
    Input {
        /// The input.
        name: String,
        /// Its type.
        got: Type,
    },
}

impl TryFrom<Graph> for LossGraph {
    type Error = LossProblem;

    fn try_from(graph: Graph) -> Result<Self, LossProblem> {
        LossGraph::new(graph)
    }
}

impl From<LossGraph> for Graph {
    fn from(loss: LossGraph) -> Graph {
        Arc::unwrap_or_clone(loss.0)
    }
}

impl LossGraph {
    /// The loss of a graph.
    ///
    /// # Errors
    /// [`LossProblem`].
    pub fn new(graph: Graph) -> Result<Self, LossProblem> {
        verify(&graph)?;
        let parameters = graph.parameters().map(|(_, parameter)| &parameter.name);
        if let Some(name) = parameters.chain(graph.states().map(|(_, state)| &state.name)).next() {
            return Err(LossProblem::Stored { name: name.clone() });
        }
        if let Some(node) = graph.nodes().iter().find(|node| node.op.facts().role == Role::Identity) {
            return Err(LossProblem::Dropout { layer: node.label.clone() });
        }
        for (_, input) in graph.inputs() {
            if input.role != InputRole::Data || !input.ty.shape.is_batched() {
                return Err(LossProblem::Input { name: input.name.clone(), got: input.ty.clone() });
            }
        }
        let [output] = graph.outputs() else {
            return Err(LossProblem::Outputs { got: graph.outputs().len() });
        };
        let ty = graph.ty(output.value);
        if ty.dtype != DType::F32 || !ty.shape.is_batched() {
            return Err(LossProblem::NoNumbers { got: ty.clone() });
        }
        Ok(LossGraph(Arc::new(graph)))
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.0
    }

    /// The targets of the loss for a network with these outputs, in the order of their declaration: each a name and a type.
    pub fn targets<'l>(
        &'l self,
        is_output: impl Fn(&str) -> bool + 'l,
    ) -> impl Iterator<Item = (&'l str, &'l Type)> {
        let targets = self.0.inputs().filter(move |(_, input)| !is_output(&input.name));
        targets.map(|(_, input)| (input.name.as_str(), &input.ty))
    }

    /// The exclusive upper limit of the indices of a target, if anything looks them up.
    pub fn limit(&self, target: &str) -> Option<usize> {
        self.0.source(target).and_then(|value| self.0.index_limits()[value.index()])
    }

    /// The names of inputs that the loss reads.
    pub(super) fn read(&self) -> Vec<&Input> {
        let uses = self.0.use_counts();
        let read = self.0.inputs().filter(|(value, _)| uses[value.index()] > 0);
        read.map(|(_, input)| input).collect()
    }

    /// The open sizes.
    pub(super) fn symbols(&self) -> Vec<Symbol> {
        let values = (0..self.0.value_count()).map(ValueId::new);
        values.flat_map(|value| self.0.ty(value).shape.symbols()).collect()
    }

    /// Adds the loss of some outputs to a graph, without the mean; targets become inputs.
    pub(super) fn inline(
        &self,
        graph: &mut Graph,
        outputs: &HashMap<&str, ValueId>,
        label: &str,
    ) -> Result<ValueId, GraphError> {
        let mut values: HashMap<ValueId, ValueId> = HashMap::new();
        let uses = self.0.use_counts();
        for node in self.0.nodes() {
            let results = match &node.op {
                // An output that is not read.
                Op::Input(_) if uses[node.results[0].index()] == 0 => continue,
                Op::Input(input) => match outputs.get(input.name.as_str()) {
                    Some(&value) => vec![value],
                    None => {
                        let name = match input.ty.dtype {
                            DType::I32 => names::labels_of(&input.name),
                            DType::F32 => names::target_of(&input.name),
                        };
                        graph.add(Input { name, ..input.clone() }, &[], "")?
                    }
                },
                op => {
                    let operands: Vec<ValueId> =
                        node.operands.iter().map(|operand| values[operand]).collect();
                    graph.add(op.clone(), &operands, label)?
                }
            };
            values.extend(node.results.iter().copied().zip(results));
        }
        Ok(values[&self.0.outputs()[0].value])
    }
}
