//! Converts a network to training mode: dropout draws masks, and batch normalisation uses and records batch statistics.

use std::collections::HashMap;

use super::names;
use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::source::{Input, InputRole};
use crate::ops::{InTraining, Op, Rewrite};
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
        let Some(InTraining { op, is_random, updates }) =
            node.op.in_training(stream).filter(|_| !keeps(node))
        else {
            mode.graph.copy_node(node, &mut mode.values)?;
            continue;
        };
        let mut seed = None;
        if is_random {
            stream += 1;
            seed = Some(mode.seed()?);
        }
        let results = mode.replace(node, op, seed.as_slice())?;
        for &(operand, result) in updates {
            if let Op::State(state) = &graph.producer(node.operands[operand]).op {
                running.push((state.name.clone(), results[result]));
            }
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
