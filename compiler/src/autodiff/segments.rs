//! Divides scans into segments, so that their gradient computes values of the forward pass again instead of keeping them
//! (Chen et al. 2016).
//!
//! A scan over a segment of steps becomes the body of a scan over segments. Differentiation keeps what the outer scan
//! carries from segment to segment; the inner scan, which collects what the gradient reads, is part of the gradient of a
//! segment. Steps beyond the last whole segment are a scan of their own, at the end of the sequence.

use std::collections::HashMap;

use super::AutodiffError;
use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::Op;
use crate::ops::scan::Scan;
use crate::ops::source::{Input, InputRole};
use crate::ops::steps::{FoldSteps, UnfoldSteps};
use crate::ops::structure::{Concat, Slice};
use crate::shape::{Dim, Shape, Type};

/// The same graph with segments of at most this many steps.
pub(super) fn in_segments(graph: &Graph, length: usize) -> Result<Graph, AutodiffError> {
    if length == 0 {
        return Err(AutodiffError::Setting { setting: "recompute", value: 0.0, expected: "at least 1" });
    }
    let mut result = Graph::new(graph.name());
    let mut values: HashMap<ValueId, ValueId> = HashMap::new();
    for node in graph.nodes() {
        let Op::Scan(scan) = &node.op else {
            result.copy_node(node, &mut values)?;
            continue;
        };
        let Some(steps) = scan.steps.as_number().and_then(|steps| usize::try_from(steps).ok()) else {
            let (layer, steps) = (node.label.clone(), scan.steps.to_string());
            return Err(AutodiffError::OpenSegments { layer, steps });
        };
        if steps <= length {
            result.copy_node(node, &mut values)?;
            continue;
        }
        let operands: Vec<ValueId> = node.operands.iter().map(|operand| values[operand]).collect();
        let results = Divided { scan, node, steps, length }.add(&mut result, &operands)?;
        values.extend(node.results.iter().copied().zip(results));
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}

/// A scan with more steps than a segment.
struct Divided<'g> {
    scan: &'g Scan,
    node: &'g Node,
    steps: usize,
    length: usize,
}

impl Divided<'_> {
    /// A scan over segments.
    fn segments(&self, count: usize) -> Result<Scan, GraphError> {
        let inner = self.scan.with_steps(self.length);
        let mut body = Graph::new("segment");
        let mut inputs = Vec::new();
        let (constants, slices) = (inner.constants(), inner.slices);
        for (index, (_, input)) in inner.body.inputs().enumerate() {
            let ty = match (constants..constants + slices).contains(&index) {
                true => Type { dtype: input.ty.dtype, shape: inner.sequence(&input.ty.shape) },
                false => input.ty.clone(),
            };
            let input = Input { name: format!("x{index}"), role: InputRole::Data, ty };
            inputs.push(body.add_single(input, &[], "")?);
        }
        let carried = inner.carried;
        for (index, value) in body.add(inner, &inputs, &self.node.label)?.into_iter().enumerate() {
            body.add_output(&format!("y{index}"), value)?;
        }
        Ok(Scan::new(body, count, slices, carried).reversed(self.scan.reverse).recomputed(true))
    }

    /// Adds the scan over segments, and that of the other steps. Returns the results of the whole scan.
    fn add(&self, graph: &mut Graph, operands: &[ValueId]) -> Result<Vec<ValueId>, GraphError> {
        let (count, rest) = (self.steps / self.length, self.steps % self.length);
        let (scan, label) = (self.scan, &self.node.label);
        let segments = self.segments(count)?;
        if rest == 0 {
            return graph.add(segments, operands, label);
        }
        let first = scan.constants() + scan.slices;
        let whole = count * self.length;
        let mut given: [Vec<ValueId>; 2] =
            [operands[..scan.constants()].to_vec(), operands[..scan.constants()].to_vec()];
        for &sequence in &operands[scan.constants()..first] {
            let parts = self.cut(graph, sequence, [whole, rest])?;
            given.iter_mut().zip(parts).for_each(|(given, part)| given.push(part));
        }
        let [of_segments, of_rest] = given;
        let last = scan.with_steps(rest);
        let mut run = |scan: Scan, given: &[ValueId], carried: &[ValueId]| {
            graph.add(scan, &[given, carried].concat(), label)
        };
        let [segments, last] = match scan.reverse {
            false => {
                let segments = run(segments, &of_segments, &operands[first..])?;
                let last = run(last, &of_rest, &segments[..scan.carried])?;
                [segments, last]
            }
            true => {
                let last = run(last, &of_rest, &operands[first..])?;
                [run(segments, &of_segments, &last[..scan.carried])?, last]
            }
        };
        let mut results = if scan.reverse { &segments } else { &last }[..scan.carried].to_vec();
        for (&segments, &last) in segments[scan.carried..].iter().zip(&last[scan.carried..]) {
            results.push(self.join(graph, [(segments, whole), (last, rest)])?);
        }
        Ok(results)
    }

    /// The shape `[N, steps, …]` of a sequence.
    fn unfolded(&self, graph: &Graph, sequence: ValueId, steps: usize) -> Shape {
        let shape = &graph.ty(sequence).shape;
        let total = shape.dims()[0].polynomial();
        let (times, primitive) = total.primitive();
        let samples = Dim::from(primitive.scaled((times / steps) as i64));
        Shape::new([&[samples, Dim::Fixed(steps)], shape.item_dims()].concat())
    }

    /// The first and the last steps of a sequence.
    fn cut(
        &self,
        graph: &mut Graph,
        sequence: ValueId,
        lengths: [usize; 2],
    ) -> Result<[ValueId; 2], GraphError> {
        let label = &self.node.label;
        let shape = self.unfolded(graph, sequence, self.steps);
        let all = graph.add_single(UnfoldSteps { shape }, &[sequence], label)?;
        let mut part = |start: usize, length: usize| {
            let slice = Slice { axis: 1, start: start.into(), length: length.into() };
            let part = graph.add_single(slice, &[all], label)?;
            graph.add_single(FoldSteps {}, &[part], label)
        };
        Ok([part(0, lengths[0])?, part(lengths[0], lengths[1])?])
    }

    /// The sequence of the steps of two.
    fn join(&self, graph: &mut Graph, parts: [(ValueId, usize); 2]) -> Result<ValueId, GraphError> {
        let label = &self.node.label;
        let mut unfolded = Vec::with_capacity(2);
        for (sequence, steps) in parts {
            let shape = self.unfolded(graph, sequence, steps);
            unfolded.push(graph.add_single(UnfoldSteps { shape }, &[sequence], label)?);
        }
        let all = graph.add_single(Concat { axis: 1 }, &unfolded, label)?;
        graph.add_single(FoldSteps {}, &[all], label)
    }
}
