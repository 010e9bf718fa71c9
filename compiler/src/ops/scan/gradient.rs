//! The gradient of a scan: a scan in the opposite order of time (back-propagation through time, Werbos 1990).
//!
//! Its body has the gradients of the body. What they read of the forward pass is collected there, by a second scan that
//! the pass [`merge_scans`](crate::passes::merge_scans) merges with the first. Values that cost nothing to compute
//! again, and those that depend only on constants, are computed again.

use std::collections::{BTreeSet, HashMap};

use super::Scan;
use crate::autodiff::{AutodiffError, Backward, Differentiate, not_differentiable};
use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::elementwise::{Binary, BinaryKind};
use crate::ops::source::{Input, InputRole};
use crate::ops::{Move, Op, Operator, Role};
use crate::shape::{DType, Type};

impl Differentiate for Scan {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let step = Step::of(self, backward, node, gradients)?;
        let kept = Kept::of(self, node, &step)?;
        let collected = kept.collect(self, backward, node)?;
        step.scan(self, backward, node, gradients, &kept, &collected)
    }
}

/// Inputs of the body.
struct Inputs {
    constants: Vec<ValueId>,
    slices: Vec<ValueId>,
    carried: Vec<ValueId>,
}

impl Inputs {
    fn of(scan: &Scan) -> Self {
        let all: Vec<ValueId> = scan.body.inputs().map(|(value, _)| value).collect();
        let (constants, rest) = all.split_at(scan.constants());
        let (slices, carried) = rest.split_at(scan.slices);
        Inputs { constants: constants.to_vec(), slices: slices.to_vec(), carried: carried.to_vec() }
    }
}

/// A body with its gradients.
struct Step {
    graph: Graph,
    inputs: Inputs,
    /// The number of values of the body itself.
    own: usize,
    /// The inputs that are gradients of carried outputs, by the index of the carried value; `None` for integers.
    of_carried: Vec<Option<ValueId>>,
    /// The inputs that are gradients of collected outputs, by their index, where they have one.
    of_collected: Vec<Option<ValueId>>,
    to_constants: Vec<Option<ValueId>>,
    to_slices: Vec<Option<ValueId>>,
    to_carried: Vec<Option<ValueId>>,
}

impl Step {
    fn of(
        scan: &Scan,
        backward: &Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Self, AutodiffError> {
        let inputs = Inputs::of(scan);
        let mut graph = (*scan.body).clone();
        let own = graph.value_count();
        let outputs: Vec<ValueId> = scan.body.outputs().iter().map(|output| output.value).collect();
        let mut given = Vec::new();
        let mut input = |graph: &mut Graph, index: usize, value: ValueId| -> Result<ValueId, GraphError> {
            let gradient = add_input(graph, &format!("gradient of output {index}"), graph.ty(value).clone())?;
            given.push((value, gradient));
            Ok(gradient)
        };
        let mut of_carried = Vec::with_capacity(scan.carried);
        let mut of_collected = Vec::with_capacity(scan.collected());
        for (index, &value) in outputs.iter().enumerate() {
            let is_float = graph.ty(value).dtype == DType::F32;
            if index < scan.carried {
                of_carried.push(if is_float { Some(input(&mut graph, index, value)?) } else { None });
            } else {
                let has_gradient = gradients[index].is_some();
                of_collected.push(if has_gradient { Some(input(&mut graph, index, value)?) } else { None });
            }
        }
        let operand_of = |index: usize| node.operands[index];
        let wanted = |values: &[ValueId], first: usize| -> Vec<ValueId> {
            let needed = |(index, _): &(usize, &ValueId)| backward.needs(operand_of(first + index));
            values.iter().enumerate().filter(needed).map(|(_, &value)| value).collect()
        };
        let mut towards = wanted(&inputs.constants, 0);
        towards.extend(wanted(&inputs.slices, inputs.constants.len()));
        let floats = inputs.carried.iter().filter(|&&value| graph.ty(value).dtype == DType::F32);
        towards.extend(floats.copied());
        let (graph, found) = Backward::from_gradients(graph, &given, &towards)?;
        let found: HashMap<ValueId, ValueId> =
            towards.into_iter().zip(found).filter_map(|(value, gradient)| Some((value, gradient?))).collect();
        let of = |values: &[ValueId]| values.iter().map(|value| found.get(value).copied()).collect();
        Ok(Step {
            to_constants: of(&inputs.constants),
            to_slices: of(&inputs.slices),
            to_carried: of(&inputs.carried),
            graph,
            inputs,
            own,
            of_carried,
            of_collected,
        })
    }

    /// The gradients that the backward step computes.
    fn results(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.to_constants.iter().chain(&self.to_slices).chain(&self.to_carried).filter_map(|value| *value)
    }

    /// Adds the scan of the gradients, and returns the gradients with respect to the operands of the forward scan.
    fn scan(
        &self,
        scan: &Scan,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
        kept: &Kept,
        collected: &HashMap<ValueId, ValueId>,
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let mut body = Graph::new("backward");
        let mut values: HashMap<ValueId, ValueId> = HashMap::new();
        let mut operands = Vec::new();
        let mut numbered = 0;
        let mut add = |body: &mut Graph, ty: &Type| -> Result<ValueId, GraphError> {
            numbered += 1;
            add_input(body, &format!("x{}", numbered - 1), ty.clone())
        };
        for (index, value) in self.inputs.constants.iter().enumerate() {
            if kept.constants.contains(value) {
                values.insert(*value, add(&mut body, self.graph.ty(*value))?);
                operands.push(node.operands[index]);
            }
        }
        let mut slices = 0;
        for (index, value) in self.inputs.slices.iter().enumerate() {
            if kept.slices.contains(value) {
                values.insert(*value, add(&mut body, self.graph.ty(*value))?);
                operands.push(node.operands[self.inputs.constants.len() + index]);
                slices += 1;
            }
        }
        for &value in &kept.saved {
            values.insert(value, add(&mut body, self.graph.ty(value))?);
            operands.push(collected[&value]);
            slices += 1;
        }
        for (index, input) in self.of_collected.iter().enumerate() {
            if let (Some(input), Some(gradient)) = (input, gradients[scan.carried + index]) {
                values.insert(*input, add(&mut body, self.graph.ty(*input))?);
                operands.push(gradient);
                slices += 1;
            }
        }
        // Carried: the gradients of carried values, then the sums of those of constants.
        let mut carried = 0;
        for (index, input) in self.of_carried.iter().enumerate() {
            let Some(input) = input else { continue };
            values.insert(*input, add(&mut body, self.graph.ty(*input))?);
            operands.push(match gradients[index] {
                Some(gradient) => gradient,
                None => backward.zeros_like(node.results[index])?,
            });
            carried += 1;
        }
        let mut sums = HashMap::new();
        for (index, gradient) in self.to_constants.iter().enumerate() {
            if gradient.is_some() {
                sums.insert(index, add(&mut body, self.graph.ty(self.inputs.constants[index]))?);
                operands.push(backward.zeros_like(node.operands[index])?);
                carried += 1;
            }
        }
        self.copy_nodes(&mut body, &mut values)?;
        let mut outputs = 0;
        let mut output = |body: &mut Graph, value: ValueId| -> Result<(), GraphError> {
            outputs += 1;
            body.add_output(&format!("y{}", outputs - 1), value)
        };
        for (index, input) in self.of_carried.iter().enumerate() {
            let Some(input) = input else { continue };
            let new = match self.to_carried[index] {
                Some(gradient) => values[&gradient],
                None => zeros(&mut body, values[input])?,
            };
            output(&mut body, new)?;
        }
        for (index, gradient) in self.to_constants.iter().enumerate() {
            if let Some(gradient) = gradient {
                let add = Binary { kind: BinaryKind::Add };
                let sum = body.add_single(add, &[sums[&index], values[gradient]], "")?;
                output(&mut body, sum)?;
            }
        }
        for gradient in self.to_slices.iter().flatten() {
            output(&mut body, values[gradient])?;
        }
        let op = Scan::new(body, scan.steps.clone(), slices, carried)
            .reversed(!scan.reverse)
            .recomputed(scan.recomputed);
        let results = backward.add(op, &operands)?;
        self.gradients_of_operands(node, results)
    }

    /// Copies the nodes that the gradients depend on, except for values that the body is given.
    fn copy_nodes(
        &self,
        body: &mut Graph,
        values: &mut HashMap<ValueId, ValueId>,
    ) -> Result<(), AutodiffError> {
        let mut needed: BTreeSet<ValueId> = BTreeSet::new();
        let mut pending: Vec<ValueId> = self.results().collect();
        while let Some(value) = pending.pop() {
            if !values.contains_key(&value) && needed.insert(value) {
                pending.extend(&self.graph.producer(value).operands);
            }
        }
        for node in self.graph.nodes() {
            if node.results.iter().any(|result| needed.contains(result)) {
                let operands: Vec<ValueId> = node.operands.iter().map(|operand| values[operand]).collect();
                let results = body.add(node.op.clone(), &operands, &node.label)?;
                for (old, new) in node.results.iter().zip(results) {
                    values.entry(*old).or_insert(new);
                }
            }
        }
        Ok(())
    }

    fn gradients_of_operands(
        &self,
        node: &Node,
        results: Vec<ValueId>,
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let mut results = results.into_iter();
        let to_initial: Vec<Option<ValueId>> =
            self.of_carried.iter().map(|input| input.and_then(|_| results.next())).collect();
        let mut next = |gradient: &Option<ValueId>| gradient.and_then(|_| results.next());
        let mut all: Vec<Option<ValueId>> = self.to_constants.iter().map(&mut next).collect();
        all.extend(self.to_slices.iter().map(&mut next));
        all.extend(to_initial);
        debug_assert_eq!(all.len(), node.operands.len());
        Ok(all)
    }
}

/// The values of the forward body that its gradients read.
#[derive(Default)]
struct Kept {
    constants: BTreeSet<ValueId>,
    slices: BTreeSet<ValueId>,
    /// Carried inputs and computed values, which the forward scan collects.
    saved: BTreeSet<ValueId>,
}

impl Kept {
    fn of(scan: &Scan, node: &Node, step: &Step) -> Result<Self, AutodiffError> {
        let body = &scan.body;
        let mut kept = Kept::default();
        let mut seen: BTreeSet<ValueId> = BTreeSet::new();
        let mut pending: Vec<ValueId> = step.results().collect();
        let of_constants = of_constants(body, &step.inputs);
        while let Some(value) = pending.pop() {
            if !seen.insert(value) {
                continue;
            }
            let producer = step.graph.producer(value);
            if value.index() >= step.own {
                pending.extend(&producer.operands);
                continue;
            }
            let is_free = matches!(producer.op.facts().role, Role::Move(Move::Reshape | Move::Part { .. }))
                || matches!(producer.op, Op::Expand(_));
            if step.inputs.constants.contains(&value) {
                kept.constants.insert(value);
            } else if step.inputs.slices.contains(&value) {
                kept.slices.insert(value);
            } else if of_constants.contains(&value) || is_free {
                pending.extend(&producer.operands);
            } else if body.ty(value).shape.is_batched() {
                kept.saved.insert(value);
            } else {
                return Err(not_differentiable(node, "a carried value without a batch that it uses"));
            }
        }
        Ok(kept)
    }

    /// Adds a scan that also collects the saved values, and returns their sequences.
    fn collect(
        &self,
        scan: &Scan,
        backward: &mut Backward,
        node: &Node,
    ) -> Result<HashMap<ValueId, ValueId>, AutodiffError> {
        let outputs = scan.body.outputs();
        let known = |value: &ValueId| {
            let place = outputs.iter().skip(scan.carried).position(|output| output.value == *value)?;
            Some(node.results[scan.carried + place])
        };
        let mut sequences: HashMap<ValueId, ValueId> = HashMap::new();
        let mut new = Vec::new();
        for &value in &self.saved {
            match known(&value) {
                Some(sequence) => _ = sequences.insert(value, sequence),
                None => new.push(value),
            }
        }
        if new.is_empty() {
            return Ok(sequences);
        }
        let mut body = (*scan.body).clone();
        for &value in &new {
            body.add_output(&format!("saved {value}"), value)?;
        }
        let results = backward.add(scan.with_body(body), &node.operands)?;
        sequences.extend(new.into_iter().zip(results.into_iter().skip(outputs.len())));
        Ok(sequences)
    }
}

/// The values of a body that depend only on its constants.
fn of_constants(body: &Graph, inputs: &Inputs) -> BTreeSet<ValueId> {
    let mut found: BTreeSet<ValueId> = inputs.constants.iter().copied().collect();
    for node in body.nodes() {
        let is_input = matches!(node.op, Op::Input(_));
        if !is_input && node.operands.iter().all(|operand| found.contains(operand)) {
            found.extend(&node.results);
        }
    }
    found
}

fn add_input(graph: &mut Graph, name: &str, ty: Type) -> Result<ValueId, GraphError> {
    graph.add_single(Input { name: name.to_owned(), role: InputRole::Data, ty }, &[], "")
}

/// Zeros of a value's shape.
fn zeros(graph: &mut Graph, like: ValueId) -> Result<ValueId, GraphError> {
    let shape = crate::shape::Shape::scalar();
    let zero = graph.add_single(crate::ops::source::Constant { shape, values: vec![0.0] }, &[], "")?;
    graph.add_single(Binary { kind: BinaryKind::ReluGrad }, &[like, zero], "")
}
