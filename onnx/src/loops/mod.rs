//! `Scan` and `Loop`: their bodies become the graph of a step of a `scan`. A `Loop` that cannot be one is unrolled, if its
//! number of steps is known and small.

mod body;
mod free;
#[cfg(test)]
mod tests;

use windlass_compiler::entity::ValueId;
use windlass_compiler::ops::Op;
use windlass_compiler::ops::scan::Scan;
use windlass_compiler::ops::steps::{FoldSteps, UnfoldSteps};
use windlass_compiler::shape::{Dim, Polynomial, Shape};

pub(crate) use self::body::Frame;
use crate::error::{Reason, unsupported};
use crate::importer::{Importer, Scope, result};
use crate::known::Known;
use crate::node::{Node, resolve};
use crate::proto;
use crate::value::{Batch, Data, Meaning, Value};

/// The most steps of a loop that is unrolled.
const MOST_UNROLLED: usize = 256;

/// A loop over the steps of sequences.
#[derive(Clone)]
struct Recurrence<'n, 'm> {
    /// The graph of a step.
    graph: &'m proto::Graph,
    /// Its nodes, without those that take the slices of sequences.
    nodes: Vec<&'m proto::Node>,
    /// Values of names in the body that are the same in every step.
    fixed: Vec<(&'m str, Value)>,
    steps: Polynomial,
    reverse: bool,
    /// The names of slices in the body, and the sequences, whose first axis is the steps.
    slices: Vec<(&'m str, Value)>,
    /// The names of carried values in the body, and their initial values.
    carried: Vec<(&'m str, Value)>,
    /// The name of the condition after a step, which must hold.
    condition: Option<&'m str>,
    /// The results of the body: new carried values, and collected ones.
    results: Vec<&'m str>,
    scope: &'n Scope<'n>,
    depth: usize,
}

impl<'m> Importer<'m> {
    /// `Scan` since version 9 of the operators.
    pub(crate) fn scan(
        &mut self,
        node: &Node<'m>,
        scope: &Scope<'_>,
        depth: usize,
    ) -> Result<Vec<Value>, Reason> {
        if node.opset < 9 {
            return unsupported(
                "`Scan` before opset 9 has sequences of different lengths; convert the model",
            );
        }
        let Some(graph) = node.graph("body") else {
            return Err(Reason::Attribute { name: "body".to_owned() });
        };
        let sequences = usize::try_from(node.int("num_scan_inputs", 0)).unwrap_or(0);
        let Some(states) = node.operands.len().checked_sub(sequences).filter(|_| sequences > 0) else {
            return unsupported(format!(
                "it has {} operands, but {sequences} sequences",
                node.operands.len()
            ));
        };
        let Some(collected) = graph.outputs.len().checked_sub(states) else {
            return unsupported(format!("its body has {} results for {states} states", graph.outputs.len()));
        };
        if graph.inputs.len() != node.operands.len() {
            return unsupported(format!(
                "its body has {} inputs for {} operands",
                graph.inputs.len(),
                node.operands.len()
            ));
        }
        let list = |name: &'static str, count: usize| -> Result<Vec<i64>, Reason> {
            let given = node.ints(name).map_or_else(|| vec![0; count], <[i64]>::to_vec);
            match given.len() == count {
                true => Ok(given),
                false => {
                    let needed = format!("it needs {count} numbers");
                    Err(Reason::AttributeValue { name, value: format!("{given:?}"), needed })
                }
            }
        };
        let (directions, axes) =
            (list("scan_input_directions", sequences)?, list("scan_input_axes", sequences)?);
        let (of_results, result_axes) =
            (list("scan_output_directions", collected)?, list("scan_output_axes", collected)?);
        let reverse = directions[0] == 1;
        let names = || graph.inputs.iter().map(|input| input.name.as_str());
        let mut slices = Vec::with_capacity(sequences);
        for (index, name) in names().skip(states).enumerate() {
            let value = node.operand(states + index)?;
            let axis = resolve(axes[index], value.rank())?;
            let mut value =
                self.steps_first(value, axis).map_err(|reason| reason.of_operand(states + index))?;
            if (directions[index] == 1) != reverse {
                value = self.reversed(&value, 0)?;
            }
            slices.push((name, value));
        }
        let steps = slices[0].1.dims()[0].polynomial();
        let carried = names().take(states).zip(node.operands.iter().cloned()).collect();
        let recurrence = Recurrence {
            graph,
            nodes: graph.nodes.iter().collect(),
            fixed: Vec::new(),
            steps,
            reverse,
            slices,
            carried,
            condition: None,
            results: graph.outputs.iter().map(|output| output.name.as_str()).collect(),
            scope,
            depth,
        };
        let mut results = self.recurrence(&recurrence)?;
        for (index, value) in results[states..].iter_mut().enumerate() {
            if (of_results[index] == 1) != reverse {
                *value = self.reversed(value, 0)?;
            }
            let place = resolve(result_axes[index], value.rank())?;
            let mut order: Vec<usize> = (1..value.rank()).collect();
            order.insert(place, 0);
            *value = self.transpose(value, &order)?;
        }
        Ok(results)
    }

    /// `Loop` whose number of steps does not depend on data.
    pub(crate) fn repeated_body(
        &mut self,
        node: &Node<'m>,
        scope: &Scope<'_>,
        depth: usize,
    ) -> Result<Vec<Value>, Reason> {
        let Some(graph) = node.graph("body") else {
            return Err(Reason::Attribute { name: "body".to_owned() });
        };
        if let Some(condition) = node.optional_known(1)?
            && condition.to_booleans().as_deref() != Some(&[true])
        {
            return unsupported("its condition is false before the first step");
        }
        if node.optional(0).is_none() {
            return unsupported(
                "it has no number of steps, and ends by a condition that is computed from data",
            );
        }
        let steps = match node.known(0)?.to_sizes().as_deref() {
            Some([steps]) if steps.is_positive() => steps.clone(),
            _ => {
                let problem = "must be a number of steps of at least 1, whatever open sizes are".to_owned();
                return Err(Reason::Operand { index: 0, problem });
            }
        };
        let states = node.operands.len().saturating_sub(2);
        if graph.inputs.len() != states + 2 || graph.outputs.len() <= states {
            return unsupported(format!(
                "its body has {} inputs and {} results for {states} states",
                graph.inputs.len(),
                graph.outputs.len()
            ));
        }
        let names: Vec<&str> = graph.inputs.iter().map(|input| input.name.as_str()).collect();
        let carried = names[2..].iter().copied().zip(node.operands[2..].iter().cloned()).collect();
        let condition = Value::from(Known::booleans(Vec::new(), vec![true]));
        let mut results = graph.outputs.iter().map(|output| output.name.as_str());
        let recurrence = Recurrence {
            graph,
            nodes: graph.nodes.iter().collect(),
            fixed: vec![(names[1], condition)],
            steps,
            reverse: false,
            slices: Vec::new(),
            carried,
            condition: results.next(),
            results: results.collect(),
            scope,
            depth,
        };
        let known = recurrence.steps.as_number().and_then(|steps| usize::try_from(steps).ok());
        let known = known.filter(|&steps| steps <= MOST_UNROLLED);
        // States that are known, such as counters, stay known if the loop is unrolled.
        if let Some(steps) = known
            && recurrence.carried.iter().any(|(_, value)| matches!(value, Value::Known(_)))
        {
            return self.unrolled(&recurrence, names[0], steps);
        }
        let mut in_steps = recurrence.clone();
        let taken = self.take_slices(&mut in_steps, names[0]);
        match (taken.and_then(|()| self.recurrence(&in_steps)), known) {
            (Err(_), Some(steps)) if !self.has_too_many_nodes() => {
                self.unrolled(&recurrence, names[0], steps)
            }
            (outcome, _) => outcome,
        }
    }

    /// Sequences of which the body takes the element of the step, `Gather(sequence, step)`, as slices.
    fn take_slices(&mut self, recurrence: &mut Recurrence<'_, 'm>, step: &'m str) -> Result<(), Reason> {
        let mut nodes = Vec::with_capacity(recurrence.nodes.len());
        for node in std::mem::take(&mut recurrence.nodes) {
            let [sequence, index] = &node.inputs[..] else {
                nodes.push(node);
                continue;
            };
            let outer = recurrence.scope.get(sequence).cloned().flatten();
            let axis = node.attributes.iter().find(|it| it.name == "axis").and_then(|it| it.int).unwrap_or(0);
            match (node.operator.as_str(), outer, node.outputs.first()) {
                ("Gather", Some(value), Some(name)) if index == step && value.is_data() => {
                    let axis = resolve(axis, value.rank())?;
                    let value = self.steps_first(&value, axis)?;
                    recurrence.slices.push((name, value));
                }
                _ => nodes.push(node),
            }
        }
        let used = free::names(&nodes, recurrence.condition.iter().chain(&recurrence.results));
        recurrence.nodes = nodes;
        match used.contains(step) {
            true => unsupported(
                "its body computes with the number of the step, other than as an index of a sequence of as many steps",
            ),
            false => Ok(()),
        }
    }

    /// A value with the axis of the steps first.
    fn steps_first(&mut self, value: &Value, axis: usize) -> Result<Value, Reason> {
        let data = self.data(value)?;
        let data = self.with_axes(&data, &[axis])?;
        let order: Vec<usize> =
            std::iter::once(axis).chain((0..data.dims.len()).filter(|&other| other != axis)).collect();
        let moved = self.transpose(&data.into(), &order)?;
        let moved = self.data(&moved)?;
        Ok(self.spread(&moved)?.into())
    }

    /// The steps of sequences `[N, T, …]` in time-major order.
    pub(crate) fn fold_steps(&mut self, value: ValueId) -> Result<ValueId, Reason> {
        let graph = self.builder.graph();
        let node = graph.producer(value);
        if let Op::UnfoldSteps(_) = &node.op
            && graph.ty(node.operands[0]).shape == graph.ty(value).shape.with_first_folded(2)
        {
            return Ok(node.operands[0]);
        }
        self.op(FoldSteps {}, &[value])
    }

    /// A loop as a `scan`: the last carried values, and the sequences of collected ones, whose first axis is the steps.
    fn recurrence(&mut self, recurrence: &Recurrence<'_, 'm>) -> Result<Vec<Value>, Reason> {
        let mut sequences = Vec::with_capacity(recurrence.slices.len());
        let mut slices = Vec::with_capacity(recurrence.slices.len());
        for (name, value) in &recurrence.slices {
            let data = self.data(value)?;
            if data.dims[0].polynomial() != recurrence.steps {
                let (own, steps) = (&data.dims[0], &recurrence.steps);
                return unsupported(format!("the sequence of `{name}` has {own} steps, not {steps}"));
            }
            sequences.push(self.fold_steps(data.value)?);
            let batch = match data.batch {
                Batch::Axis(axis) => Batch::Axis(axis - 1),
                Batch::Outside => Batch::Outside,
            };
            slices.push(Data { dims: data.dims[1..].to_vec(), batch, input: None, ..data });
        }
        let mut carried = Vec::with_capacity(recurrence.carried.len());
        for (name, value) in &recurrence.carried {
            let data = self.data(value)?;
            let data = self.spread(&data)?;
            if data.meaning == Meaning::Index {
                return unsupported(format!("the state `{name}` begins with an input of integers"));
            }
            carried.push(Data { input: None, ..data });
        }
        let body = self.step(recurrence, &slices, &carried)?;
        let initial: Vec<ValueId> = carried.iter().map(|data| data.value).collect();
        let operands = [&body.constants[..], &sequences, &initial].concat();
        let op = Scan::new(body.graph, recurrence.steps.clone(), slices.len(), carried.len())
            .reversed(recurrence.reverse);
        let label = self.label.clone();
        let values = self.builder.ops(op, &operands, &label)?;
        let mut results = Vec::with_capacity(values.len());
        for (index, (value, data)) in values.into_iter().zip(body.results).enumerate() {
            if index < carried.len() {
                results.push(Data { value, ..data }.into());
                continue;
            }
            let dims = [vec![Dim::from(recurrence.steps.clone())], data.dims].concat();
            let batch = match data.batch {
                Batch::Axis(axis) => Batch::Axis(axis + 1),
                Batch::Outside => Batch::Outside,
            };
            let data = Data { value, dims, batch, meaning: data.meaning, input: None };
            let mut shape = data.shape().dims().to_vec();
            shape[0] = body.first[index].clone();
            let value = self.op(UnfoldSteps { shape: Shape::new(shape) }, &[value])?;
            results.push(Data { value, ..data }.into());
        }
        Ok(results)
    }

    /// A loop of few steps, one after the other; the number of the step is known in each.
    fn unrolled(
        &mut self,
        recurrence: &Recurrence<'_, 'm>,
        step: &'m str,
        steps: usize,
    ) -> Result<Vec<Value>, Reason> {
        let mut stored = Scope::default();
        self.initializers(recurrence.graph, &mut stored)
            .map_err(|error| Reason::Unsupported(error.to_string()))?;
        let mut carried: Vec<Value> = recurrence.carried.iter().map(|(_, value)| value.clone()).collect();
        let mut collected: Vec<Vec<Value>> = Vec::new();
        for index in 0..steps {
            self.count_step()?;
            let mut inner = stored.beside(recurrence.scope);
            let number = Known::integers(Vec::new(), vec![index as i64]);
            inner.insert(step.to_owned(), Some(number.into()));
            let states = recurrence.carried.iter().map(|(name, _)| *name).zip(carried);
            let fixed = recurrence.fixed.iter().map(|(name, value)| (*name, value.clone()));
            for (name, value) in states.chain(fixed) {
                inner.insert(name.to_owned(), Some(value));
            }
            self.body(recurrence.nodes.iter().copied(), &mut inner, recurrence.depth)?;
            let mut results = recurrence.results.iter().map(|name| result(&inner, name));
            carried = results.by_ref().take(recurrence.carried.len()).collect::<Result<_, _>>()?;
            for (place, value) in results.enumerate() {
                let value = value?;
                let dims = [vec![Dim::Fixed(1)], value.dims()].concat();
                let value = self.reshape(&value, &dims)?;
                match collected.get_mut(place) {
                    Some(values) => values.push(value),
                    None => collected.push(vec![value]),
                }
            }
            if !self.goes_on(recurrence, &inner)? {
                break;
            }
        }
        for values in collected {
            carried.push(self.concat(&values, 0)?);
        }
        Ok(carried)
    }

    /// The condition after a step.
    fn goes_on(&self, recurrence: &Recurrence<'_, 'm>, scope: &Scope<'_>) -> Result<bool, Reason> {
        let Some(name) = recurrence.condition else { return Ok(true) };
        match result(scope, name)? {
            Value::Known(known) if known.len() == 1 => Ok(known.to_booleans() == Some(vec![true])),
            _ => unsupported("its condition is computed from data, which decides about the number of steps"),
        }
    }
}
