//! Fuses neighbouring element-wise operators, so that one kernel computes them and intermediate values stay in registers.

use std::collections::{HashMap, HashSet};

use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::Op;
use crate::ops::elementwise::{Binary, BinaryKind, Unary};
use crate::ops::fused::{Fused, FusedStep, MOST_STEPS};
use crate::shape::{DType, Type};

/// Fuses functions of vectors `[N, C]`: unary and binary operators, bias, and scale per channel. The cell of a recurrent
/// layer becomes one operator. Images are left alone: most of their functions are epilogues already.
///
/// The operators of a group have one shape and depend on one another, or share operands. Another operator between them
/// moves before the group if it does not use its results; otherwise the group ends.
///
/// # Errors
/// None for a valid graph.
pub fn fuse_elementwise(graph: &Graph) -> Result<Graph, GraphError> {
    let mut fusion = Fusion {
        graph,
        uses: graph.use_counts(),
        result: Graph::new(graph.name()),
        values: HashMap::new(),
        group: Vec::new(),
        inside: HashSet::new(),
    };
    for node in graph.nodes() {
        let depends = node.operands.iter().any(|operand| fusion.inside.contains(operand));
        if step_of(graph, node, |value| value.index()).is_some() {
            if !fusion.group.is_empty() && !fusion.takes(node, depends) {
                fusion.close()?;
            }
            fusion.inside.extend(&node.results);
            fusion.group.push(node);
        } else {
            if depends {
                fusion.close()?;
            }
            fusion.result.copy_node(node, &mut fusion.values)?;
        }
    }
    fusion.close()?;
    fusion.result.copy_ends(graph, &fusion.values)?;
    Ok(fusion.result)
}

/// The type of the vectors that a group works on.
fn vectors(graph: &Graph, node: &Node) -> Option<Type> {
    let ty = graph.ty(*node.results.first()?);
    let fits = ty.dtype == DType::F32 && ty.shape.is_batched() && ty.shape.rank() == 2;
    fits.then(|| ty.clone())
}

/// The step that a node is, if it may be fused.
fn step_of(graph: &Graph, node: &Node, number: impl Fn(ValueId) -> usize) -> Option<FusedStep> {
    let ty = vectors(graph, node)?;
    if *graph.ty(node.operands.first().copied()?) != ty {
        return None;
    }
    let binary = |kind| FusedStep::Binary(kind, number(node.operands[0]), number(node.operands[1]));
    match &node.op {
        Op::Unary(Unary { kind }) => Some(FusedStep::Unary(*kind, number(node.operands[0]))),
        Op::Binary(Binary { kind }) => Some(binary(*kind)),
        Op::Bias(_) => Some(binary(BinaryKind::Add)),
        Op::Scale(scale) if (scale.axis, scale.count) == (1, 1) => Some(binary(BinaryKind::Multiply)),
        _ => None,
    }
}

struct Fusion<'g> {
    graph: &'g Graph,
    uses: Vec<usize>,
    result: Graph,
    values: HashMap<ValueId, ValueId>,
    /// The nodes of the open group.
    group: Vec<&'g Node>,
    /// Their results.
    inside: HashSet<ValueId>,
}

impl Fusion<'_> {
    /// Whether the open group takes a node.
    fn takes(&self, node: &Node, depends: bool) -> bool {
        let shares = |other: &&Node| other.operands.iter().any(|operand| node.operands.contains(operand));
        // Parts of one value belong together too.
        let origin = |value: &ValueId| self.graph.producer(*value).operands.first().copied();
        let neighbours = |other: &&Node| {
            let own: Vec<ValueId> = node.operands.iter().filter_map(origin).collect();
            other.operands.iter().filter_map(origin).any(|value| own.contains(&value))
        };
        self.group.len() < MOST_STEPS
            && vectors(self.graph, node) == vectors(self.graph, self.group[0])
            && (depends || self.group.iter().any(|other| shares(other) || neighbours(other)))
    }

    /// Adds the open group to the result.
    fn close(&mut self) -> Result<(), GraphError> {
        let group = std::mem::take(&mut self.group);
        let inside = std::mem::take(&mut self.inside);
        if group.len() < 2 {
            return group.into_iter().try_for_each(|node| self.result.copy_node(node, &mut self.values));
        }
        // Vectors first, so that the first operand has the type of the results.
        let mut operands: Vec<ValueId> = Vec::new();
        let ty = self.graph.ty(group[0].results[0]);
        for is_full in [true, false] {
            for operand in group.iter().flat_map(|node| &node.operands) {
                let fits = (self.graph.ty(*operand) == ty) == is_full;
                if fits && !inside.contains(operand) && !operands.contains(operand) {
                    operands.push(*operand);
                }
            }
        }
        let mut numbers: HashMap<ValueId, usize> =
            operands.iter().enumerate().map(|(number, &value)| (value, number)).collect();
        let mut steps = Vec::with_capacity(group.len());
        let mut used_inside: HashMap<ValueId, usize> = HashMap::new();
        for node in &group {
            steps.extend(step_of(self.graph, node, |value| numbers[&value]));
            numbers.insert(node.results[0], operands.len() + steps.len() - 1);
            node.operands.iter().for_each(|&operand| *used_inside.entry(operand).or_default() += 1);
        }
        let is_result =
            |value: &ValueId| self.uses[value.index()] > used_inside.get(value).copied().unwrap_or_default();
        let results: Vec<ValueId> = group.iter().map(|node| node.results[0]).filter(is_result).collect();
        if results.is_empty() {
            return group.into_iter().try_for_each(|node| self.result.copy_node(node, &mut self.values));
        }
        let op = Fused { steps, results: results.iter().map(|value| numbers[value]).collect() };
        let operands: Vec<ValueId> = operands.iter().map(|operand| self.values[operand]).collect();
        let label = group.last().map_or("", |node| &node.label);
        let new = self.result.add(op, &operands, label)?;
        self.values.extend(results.into_iter().zip(new));
        Ok(())
    }
}
