//! Converts a network to training mode: dropout draws masks, and batch normalisation uses and records batch statistics.

use std::collections::HashMap;

use super::names;
use super::scan_dropout::without_dropout_in_scans;
use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::source::{Input, InputRole};
use crate::ops::{InTraining, Op, Rewrite};
use crate::shape::{Shape, Type};

/// The graph of a network in training mode: every dropout draws its mask from the control input `seed`, each from its
/// own random stream, and every batch normalisation uses the statistics of the batch and updates its running ones.
/// Dropout in the body of a scan drops other elements in every step. Nothing else changes; a graph already in training mode
/// stays the same.
///
/// # Errors
/// [`GraphError::DuplicateName`] if the network has dropout and its own source named `seed`; [`GraphError::Shape`] for
/// batch normalisation, or dropout of values without a batch, in the body of a scan.
pub fn training_mode(graph: &Graph) -> Result<Graph, GraphError> {
    training_mode_but(graph, |_, _| false)
}

/// Like [`training_mode`], except that batch normalisations selected by `keeps` still use their running statistics.
pub(super) fn training_mode_but(
    graph: &Graph,
    keeps: impl Fn(&Graph, &Node) -> bool,
) -> Result<Graph, GraphError> {
    let graph = &without_dropout_in_scans(graph)?;
    let mut mode = TrainingMode { graph: Graph::new(graph.name()), values: HashMap::new(), seed: None };
    let mut stream = 0;
    // The latest value of each running statistic. If several nodes share one, each updates what the one before it made.
    let mut running: Vec<(&str, ValueId)> = Vec::new();
    let mut place_of: HashMap<&str, usize> = HashMap::new();
    for node in graph.nodes() {
        let Some(InTraining { op, is_random, updates }) =
            node.op.in_training(stream).filter(|_| !keeps(graph, node))
        else {
            mode.graph.copy_node(node, &mut mode.values)?;
            continue;
        };
        let mut seed = None;
        if is_random {
            stream += 1;
            seed = Some(mode.seed()?);
        }
        let mut operands: Vec<ValueId> = node.operands.iter().map(|operand| mode.values[operand]).collect();
        let name_of = |operand: usize| match &graph.producer(node.operands[operand]).op {
            Op::State(state) => Some(state.name.as_str()),
            _ => None,
        };
        for &(operand, _) in updates {
            if let Some(&place) = name_of(operand).and_then(|name| place_of.get(name)) {
                operands[operand] = running[place].1;
            }
        }
        let results = mode.replace(node, op, operands, seed)?;
        for &(operand, result) in updates {
            let Some(name) = name_of(operand) else { continue };
            let place = *place_of.entry(name).or_insert(running.len());
            match running.get_mut(place) {
                Some((_, latest)) => *latest = results[result],
                None => running.push((name, results[result])),
            }
        }
    }
    mode.graph.copy_ends(graph, &mode.values)?;
    for (name, value) in running {
        mode.graph.add_update(name, value)?;
    }
    Ok(mode.graph)
}

struct TrainingMode {
    graph: Graph,
    values: HashMap<ValueId, ValueId>,
    seed: Option<ValueId>,
}

impl TrainingMode {
    /// Replaces a node's operator and operands.
    fn replace(
        &mut self,
        node: &Node,
        op: Op,
        mut operands: Vec<ValueId>,
        seed: Option<ValueId>,
    ) -> Result<Vec<ValueId>, GraphError> {
        operands.extend(seed);
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
