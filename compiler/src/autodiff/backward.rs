//! The backward pass: walks the nodes of a graph from last to first, asks each operator for the gradients of its
//! operands, and sums the gradients of values that are used more than once.

use std::collections::{HashMap, HashSet};

use super::{AutodiffError, Differentiate};
use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::Op;
use crate::ops::elementwise::{Binary, BinaryKind, SumChannels, Unary, UnaryKind};
use crate::ops::source::Constant;
use crate::ops::structure::{Concat, Pad, Reshape};
use crate::shape::{DType, Polynomial, Shape, Type};

/// A graph to which gradients are being added. Gradient rules of operators read and extend it.
#[derive(Debug)]
pub struct Backward {
    graph: Graph,
    /// The values on a path from the values whose gradients are wanted.
    needed: HashSet<ValueId>,
    gradients: HashMap<ValueId, ValueId>,
    /// Gradients of parts of values, which are not in `gradients` yet.
    parts: HashMap<ValueId, Vec<Part>>,
    /// The label of the layer whose gradient is being added.
    label: String,
}

/// The gradient of some indices of an axis of a value.
#[derive(Debug)]
struct Part {
    axis: usize,
    start: Polynomial,
    length: Polynomial,
    gradient: ValueId,
}

impl Backward {
    /// Adds the gradients of the scalar `of` with respect to some values; `None` for those it does not depend on.
    pub(super) fn run(
        graph: Graph,
        of: ValueId,
        with_respect_to: &[ValueId],
    ) -> Result<(Self, Vec<Option<ValueId>>), AutodiffError> {
        for &value in with_respect_to.iter().chain([&of]) {
            if value.index() >= graph.value_count() {
                return Err(AutodiffError::UnknownValue { value });
            }
            if graph.ty(value).dtype != DType::F32 {
                return Err(AutodiffError::TowardsIntegers { value });
            }
        }
        if graph.ty(of).shape != Shape::scalar() {
            return Err(AutodiffError::NotScalar { value: of, ty: graph.ty(of).clone() });
        }
        let mut backward = Backward::new(graph, with_respect_to);
        backward.label = backward.graph.producer(of).label.clone();
        let forward = backward.graph.nodes().to_vec();
        if backward.needs(of) {
            let one = backward.constant(1.0)?;
            backward.gradients.insert(of, one);
        }
        let wanted = backward.walk(&forward, with_respect_to)?;
        Ok((backward, wanted))
    }

    /// Adds the gradients with respect to some values, from given gradients of the graph's own values; `None` for those
    /// that no such value depends on.
    pub(crate) fn from_gradients(
        graph: Graph,
        given: &[(ValueId, ValueId)],
        with_respect_to: &[ValueId],
    ) -> Result<(Graph, Vec<Option<ValueId>>), AutodiffError> {
        let mut backward = Backward::new(graph, with_respect_to);
        let forward = backward.graph.nodes().to_vec();
        for &(value, gradient) in given {
            if backward.needs(value) {
                backward.accumulate(value, gradient)?;
            }
        }
        let wanted = backward.walk(&forward, with_respect_to)?;
        Ok((backward.graph, wanted))
    }

    fn new(graph: Graph, with_respect_to: &[ValueId]) -> Self {
        let needed = dependents(&graph, with_respect_to);
        Backward { graph, needed, gradients: HashMap::new(), parts: HashMap::new(), label: String::new() }
    }

    fn walk(
        &mut self,
        forward: &[Node],
        with_respect_to: &[ValueId],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        for node in forward.iter().rev() {
            self.visit(node)?;
        }
        for &value in with_respect_to {
            self.join_parts(value)?;
        }
        Ok(with_respect_to.iter().map(|value| self.gradients.get(value).copied()).collect())
    }

    /// Adds the gradient of some indices of an axis of a value. If such parts cover the value, without overlap, they are
    /// concatenated; otherwise they are padded with zeros.
    pub fn add_part(
        &mut self,
        value: ValueId,
        axis: usize,
        start: &Polynomial,
        length: &Polynomial,
        gradient: ValueId,
    ) {
        if self.needs(value) {
            let (start, length) = (start.clone(), length.clone());
            self.parts.entry(value).or_default().push(Part { axis, start, length, gradient });
        }
    }

    /// Adds the gradients of a value's parts to its gradient.
    fn join_parts(&mut self, value: ValueId) -> Result<(), AutodiffError> {
        let Some(mut parts) = self.parts.remove(&value) else { return Ok(()) };
        let size = |axis: usize| self.graph.ty(value).shape.dims()[axis].polynomial();
        // In the order in which each part starts where another one ends.
        let axis = parts[0].axis;
        let mut ordered = Vec::with_capacity(parts.len());
        let mut end = Polynomial::default();
        while let Some(next) = parts.iter().position(|part| part.axis == axis && part.start == end) {
            let part = parts.swap_remove(next);
            end = end.plus(&part.length);
            ordered.push(part);
        }
        if parts.is_empty() && end == size(axis) {
            let gradients: Vec<ValueId> = ordered.iter().map(|part| part.gradient).collect();
            let whole = self.single(Concat { axis }, &gradients)?;
            return self.accumulate(value, whole);
        }
        parts.extend(ordered);
        for Part { axis, start, length, gradient } in parts {
            let size = self.graph.ty(value).shape.dims()[axis].polynomial();
            let behind = size.minus(&start).minus(&length);
            let padded = self.single(Pad { axis, before: start, behind }, &[gradient])?;
            self.accumulate(value, padded)?;
        }
        Ok(())
    }

    /// Adds a gradient of a value to those that it has.
    fn accumulate(&mut self, value: ValueId, gradient: ValueId) -> Result<(), AutodiffError> {
        let sum = match self.gradients.get(&value) {
            Some(&other) => self.binary(BinaryKind::Add, other, gradient)?,
            None => gradient,
        };
        self.gradients.insert(value, sum);
        Ok(())
    }

    fn visit(&mut self, node: &Node) -> Result<(), AutodiffError> {
        if node.results.iter().any(|result| self.parts.contains_key(result)) {
            self.label.clone_from(&node.label);
            node.results.iter().try_for_each(|&result| self.join_parts(result))?;
        }
        let incoming: Vec<Option<ValueId>> =
            node.results.iter().map(|result| self.gradients.get(result).copied()).collect();
        if incoming.iter().all(Option::is_none) || !node.operands.iter().any(|&operand| self.needs(operand)) {
            return Ok(());
        }
        self.label.clone_from(&node.label);
        let outgoing = node.op.gradient(self, node, &incoming)?;
        for (&operand, gradient) in node.operands.iter().zip(outgoing) {
            if let Some(gradient) = gradient.filter(|_| self.needs(operand)) {
                self.accumulate(operand, gradient)?;
            }
        }
        Ok(())
    }

    /// The graph so far: the forward nodes, then those of the gradients.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(super) fn into_graph(self) -> Graph {
        self.graph
    }

    /// The type of a value.
    pub fn ty(&self, value: ValueId) -> &Type {
        self.graph.ty(value)
    }

    /// Whether the gradient with respect to a value is needed.
    pub fn needs(&self, value: ValueId) -> bool {
        self.needed.contains(&value)
    }

    /// The gradient with respect to an operand, built by `build` if it is needed.
    ///
    /// # Errors
    /// The errors of `build`.
    pub fn towards(
        &mut self,
        operand: ValueId,
        build: impl FnOnce(&mut Self) -> Result<ValueId, AutodiffError>,
    ) -> Result<Option<ValueId>, AutodiffError> {
        if self.needs(operand) { build(self).map(Some) } else { Ok(None) }
    }

    /// Adds a node that carries the label of the layer being differentiated.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn add(&mut self, op: impl Into<Op>, operands: &[ValueId]) -> Result<Vec<ValueId>, GraphError> {
        self.graph.add(op, operands, &self.label)
    }

    /// Adds a node and returns its first result.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn single(&mut self, op: impl Into<Op>, operands: &[ValueId]) -> Result<ValueId, AutodiffError> {
        Ok(self.graph.add_single(op, operands, &self.label)?)
    }

    /// A unary function of each element.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn unary(&mut self, kind: UnaryKind, x: ValueId) -> Result<ValueId, AutodiffError> {
        self.single(Unary { kind }, &[x])
    }

    /// A binary function of corresponding elements.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn binary(&mut self, kind: BinaryKind, a: ValueId, b: ValueId) -> Result<ValueId, AutodiffError> {
        self.single(Binary { kind }, &[a, b])
    }

    /// A scalar constant.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn constant(&mut self, value: f32) -> Result<ValueId, AutodiffError> {
        self.single(Constant { shape: Shape::scalar(), values: vec![value] }, &[])
    }

    /// Zeros of a value's shape, including the batch, even if the value contains NaN: the gradient of a ReLU at 0.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn zeros_like(&mut self, value: ValueId) -> Result<ValueId, AutodiffError> {
        let zero = self.constant(0.0)?;
        self.binary(BinaryKind::ReluGrad, value, zero)
    }

    /// The sum of a batched value's elements: channels are flattened into one, and `sum_channels` adds up the rest.
    ///
    /// # Errors
    /// As [`Graph::add`].
    pub fn sum_all(&mut self, value: ValueId) -> Result<ValueId, AutodiffError> {
        let folded = self.ty(value).shape.folded();
        let shape = folded.with_item(&[1, folded.item_elements()]);
        let flat = self.single(Reshape { shape }, &[value])?;
        let sum = self.single(SumChannels {}, &[flat])?;
        self.single(Reshape { shape: Shape::scalar() }, &[sum])
    }
}

/// The given values and all values computed from them.
fn dependents(graph: &Graph, of: &[ValueId]) -> HashSet<ValueId> {
    let mut found: HashSet<ValueId> = of.iter().copied().collect();
    for node in graph.nodes() {
        if node.operands.iter().any(|operand| found.contains(operand)) {
            found.extend(&node.results);
        }
    }
    found
}
