//! The graph of a step of a loop: the nodes of a body, imported into a graph of their own.

use std::collections::HashMap;

use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::{Builder, Graph};
use windlass_compiler::ops::Op;
use windlass_compiler::ops::source::{Input, InputRole};
use windlass_compiler::shape::{Dim, Shape, Type};

use super::{Recurrence, free};
use crate::error::{Reason, unsupported};
use crate::importer::{Importer, Scope, result};
use crate::value::{Data, Value, Weight};

/// The import of the graph around a body, while the body is imported.
pub(crate) struct Frame {
    builder: Builder,
    forms: HashMap<ValueId, ValueId>,
    /// Values of the graph around, and the inputs of the body that they are.
    captured: Vec<(ValueId, ValueId)>,
}

/// The graph of a step.
pub(super) struct Body {
    pub(super) graph: Graph,
    /// The values around it that its first inputs are.
    pub(super) constants: Vec<ValueId>,
    /// Its results.
    pub(super) results: Vec<Data>,
    /// The first size of each result.
    pub(super) first: Vec<Dim>,
}

/// The inputs and results of a body in its own graph.
struct Inside {
    given: Vec<ValueId>,
    results: Vec<Data>,
}

impl<'m> Importer<'m> {
    /// Imports the body of a loop, for slices and carried values with the given axes.
    pub(super) fn step(
        &mut self,
        recurrence: &Recurrence<'_, 'm>,
        slices: &[Data],
        carried: &[Data],
    ) -> Result<Body, Reason> {
        let builder = std::mem::replace(&mut self.builder, Builder::new("step"));
        let forms = std::mem::take(&mut self.forms);
        self.frames.push(Frame { builder, forms, captured: Vec::new() });
        let label = self.label.clone();
        let inside = self.inside(recurrence, slices, carried);
        self.label = label;
        let Some(frame) = self.frames.pop() else { return unsupported("its body is not nested") };
        let builder = std::mem::replace(&mut self.builder, frame.builder);
        self.forms = frame.forms;
        assembled(builder.graph(), &frame.captured, inside?)
    }

    fn inside(
        &mut self,
        recurrence: &Recurrence<'_, 'm>,
        slices: &[Data],
        carried: &[Data],
    ) -> Result<Inside, Reason> {
        let mut inner = Scope::default();
        self.initializers(recurrence.graph, &mut inner)
            .map_err(|error| Reason::Unsupported(error.to_string()))?;
        for (name, value) in &recurrence.fixed {
            inner.insert((*name).to_owned(), Some(value.clone()));
        }
        let mut given = Vec::with_capacity(slices.len() + carried.len());
        let names = recurrence.slices.iter().chain(&recurrence.carried).map(|(name, _)| *name);
        for (index, (name, data)) in names.zip(slices.iter().chain(carried)).enumerate() {
            let Type { dtype, shape } = self.outer_type(data.value)?;
            let mut dims = shape.dims().to_vec();
            if index < slices.len() {
                dims.remove(1);
            }
            let value = self.body_input(Type { dtype, shape: Shape::new(dims) })?;
            given.push(value);
            if !inner.insert(name.to_owned(), Some(Data { value, ..data.clone() }.into())) {
                return unsupported(format!("two values of its body are named `{name}`"));
            }
        }
        let used = free::names(&recurrence.nodes, recurrence.condition.iter().chain(&recurrence.results));
        let mut used: Vec<&str> = used.into_iter().collect();
        used.sort_unstable();
        for name in used {
            if inner.get(name).is_none()
                && let Some(value) = recurrence.scope.get(name)
            {
                let value = value.clone().map(|value| self.seen_inside(value)).transpose()?;
                inner.insert(name.to_owned(), value);
            }
        }
        self.body(recurrence.nodes.iter().copied(), &mut inner, recurrence.depth)?;
        if !self.goes_on(recurrence, &inner)? {
            return unsupported("its condition is false after the first step");
        }
        let mut results = Vec::with_capacity(recurrence.results.len());
        for (index, name) in recurrence.results.iter().enumerate() {
            let value = result(&inner, name)?;
            let data = match (carried.get(index), &value) {
                (Some(old), Value::Known(_) | Value::Weight(_)) => {
                    let old = Data { value: given[slices.len() + index], ..old.clone() };
                    self.lift_like(&value, &old)?
                }
                _ => self.data(&value)?,
            };
            let data = self.spread(&data)?;
            if let Some(old) = carried.get(index)
                && (data.dims != old.dims || data.batch != old.batch)
            {
                let list = |dims: &[Dim]| Shape::new(dims.to_vec()).to_string();
                let (old, new) = (list(&old.dims), list(&data.dims));
                return unsupported(format!(
                    "its state `{name}` has the shape {old} before a step and {new} after it"
                ));
            }
            self.builder.output(&format!("y{index}"), data.value)?;
            results.push(data);
        }
        Ok(Inside { given, results })
    }

    fn outer_type(&self, value: ValueId) -> Result<Type, Reason> {
        match self.frames.last() {
            Some(frame) => Ok(frame.builder.graph().ty(value).clone()),
            None => unsupported("its body is not nested"),
        }
    }

    /// A new input of the body that is imported.
    fn body_input(&mut self, ty: Type) -> Result<ValueId, Reason> {
        let name = format!("#{}", self.builder.graph().inputs().count() + 1);
        Ok(self.builder.op(Input { name, role: InputRole::Data, ty }, &[], "")?)
    }

    /// A value of the graph around the body, as an input of the body.
    fn captured(&mut self, outer: ValueId) -> Result<ValueId, Reason> {
        let known =
            |frame: &Frame| frame.captured.iter().find(|(value, _)| *value == outer).map(|pair| pair.1);
        if let Some(value) = self.frames.last().and_then(known) {
            return Ok(value);
        }
        let ty = self.outer_type(outer)?;
        let value = self.body_input(ty)?;
        if let Some(frame) = self.frames.last_mut() {
            frame.captured.push((outer, value));
        }
        Ok(value)
    }

    fn seen_inside(&mut self, value: Value) -> Result<Value, Reason> {
        Ok(match value {
            Value::Data(data) => Data { value: self.captured(data.value)?, input: None, ..data }.into(),
            Value::Weight(weight) => Weight { value: self.captured(weight.value)?, ..weight }.into(),
            other => other,
        })
    }

    /// A parameter of the network in the body that is imported: `declare` adds it to the graph around.
    pub(crate) fn declared_around(
        &mut self,
        declare: impl FnOnce(&mut Self) -> Result<Weight, Reason>,
    ) -> Result<Weight, Reason> {
        let Some(mut frame) = self.frames.pop() else { return declare(self) };
        std::mem::swap(&mut self.builder, &mut frame.builder);
        let weight = declare(self);
        std::mem::swap(&mut self.builder, &mut frame.builder);
        self.frames.push(frame);
        let weight = weight?;
        Ok(Weight { value: self.captured(weight.value)?, ..weight })
    }
}

/// The graph of a step without what its results do not need, whose inputs have the order of a scan: constants, slices and
/// carried values.
fn assembled(inner: &Graph, captured: &[(ValueId, ValueId)], inside: Inside) -> Result<Body, Reason> {
    let live = inner.reachable(inner.outputs().iter().map(|output| output.value));
    let used: Vec<&(ValueId, ValueId)> = captured.iter().filter(|(_, value)| live.contains(value)).collect();
    let mut graph = Graph::new(inner.name());
    let mut values = HashMap::new();
    for value in used.iter().map(|(_, value)| value).chain(&inside.given) {
        graph.copy_node(inner.producer(*value), &mut values)?;
    }
    for node in inner.nodes() {
        if !matches!(node.op, Op::Input(_)) && node.results.iter().any(|value| live.contains(value)) {
            graph.copy_node(node, &mut values)?;
        }
    }
    graph.copy_ends(inner, &values)?;
    let first = |data: &Data| inner.ty(data.value).shape.dims()[0].clone();
    let first = inside.results.iter().map(first).collect();
    let constants = used.iter().map(|(value, _)| *value).collect();
    Ok(Body { graph, constants, results: inside.results, first })
}
