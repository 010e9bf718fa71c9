//! Converts a network to training mode: dropout draws masks, and batch normalisation uses and records batch statistics.

use std::collections::HashMap;

use super::names;
use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::Op;
use crate::ops::batch_norm::{BatchNorm, BatchNormTraining};
use crate::ops::dropout::DropoutTraining;
use crate::ops::source::{Input, InputRole};
use crate::shape::{Shape, Type};

/// The graph of a network in training mode: every dropout draws its mask from the control input `seed`, each from its
/// own random stream, and every batch normalisation uses the statistics of the batch and updates its running ones.
/// Nothing else changes; a graph already in training mode stays the same.
///
/// # Errors
/// [`GraphError::DuplicateName`] if the network has dropout and its own source named `seed`, or if two batch
/// normalisations share their running statistics.
pub fn training_mode(graph: &Graph) -> Result<Graph, GraphError> {
    training_mode_but(graph, |_| false)
}

/// Like [`training_mode`], except that batch normalisations selected by `keeps` still use their running statistics.
pub(super) fn training_mode_but(graph: &Graph, keeps: impl Fn(&Node) -> bool) -> Result<Graph, GraphError> {
    let mut mode = TrainingMode { graph: Graph::new(graph.name()), values: HashMap::new(), seed: None };
    let mut stream = 0;
    let mut running = Vec::new();
    for node in graph.nodes() {
        match &node.op {
            Op::Dropout(dropout) => {
                let op = DropoutTraining { rate: dropout.rate, stream };
                stream += 1;
                let seed = mode.seed()?;
                mode.replace(node, op.into(), &[seed])?;
            }
            Op::BatchNorm(BatchNorm { epsilon, momentum, epilogue }) if !keeps(node) => {
                let (epsilon, momentum, epilogue) = (*epsilon, *momentum, epilogue.clone());
                let op = BatchNormTraining { epsilon, momentum, epilogue };
                let results = mode.replace(node, op.into(), &[])?;
                let statistics = node.operands[3..].iter().zip(&results[3..]);
                running.extend(statistics.filter_map(|(&old, &new)| match &graph.producer(old).op {
                    Op::State(state) => Some((state.name.clone(), new)),
                    _ => None,
                }));
            }
            _ => mode.graph.copy_node(node, &mut mode.values)?,
        }
    }
    mode.graph.copy_ends(graph, &mode.values)?;
    for (name, value) in running {
        mode.graph.add_update(&name, value)?;
    }
    Ok(mode.graph)
}

struct TrainingMode {
    graph: Graph,
    values: HashMap<ValueId, ValueId>,
    seed: Option<ValueId>,
}

impl TrainingMode {
    /// Replaces a node's operator and appends operands.
    fn replace(&mut self, node: &Node, op: Op, further: &[ValueId]) -> Result<Vec<ValueId>, GraphError> {
        let mut operands: Vec<ValueId> = node.operands.iter().map(|operand| self.values[operand]).collect();
        operands.extend_from_slice(further);
        let results = self.graph.add(op, &operands, &node.label)?;
        self.values.extend(node.results.iter().copied().zip(results.iter().copied()));
        Ok(results)
    }

    fn seed(&mut self) -> Result<ValueId, GraphError> {
        if let Some(seed) = self.seed {
            return Ok(seed);
        }
        let ty = Type::i32(Shape::fixed(&[2]));
        let input = Input { name: names::SEED.to_owned(), role: InputRole::Control, ty };
        let seed = self.graph.add_single(input, &[], "")?;
        self.seed = Some(seed);
        Ok(seed)
    }
}
