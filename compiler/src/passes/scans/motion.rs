//! Moves work out of scans, so that the same work of all steps is one large product.

use std::collections::{HashMap, HashSet};

use super::rebuild::{Given, given, rebuild};
use crate::entity::ValueId;
use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::elementwise::{Binary, BinaryKind};
use crate::ops::scan::Scan;
use crate::ops::source::Source;
use crate::ops::{Op, Operator, Role, Rows};
use crate::shape::Type;

/// Moves these nodes out of the bodies of scans:
///
/// - before the scan: products of slices and constants, and the element-wise operators on them, which then process all
///   steps at once (the input products of recurrent layers); and nodes that depend only on constants;
/// - after the scan: products that are only collected, and sums over all steps of terms that are sums over rows, such as
///   gradients of weights. Their operands are collected instead.
///
/// Scans whose values are recomputed stay as they are. Sums over steps are summed in another order, so results may change by rounding.
///
/// # Errors
/// None for a valid graph.
pub fn move_out_of_scans(graph: &Graph) -> Result<Graph, GraphError> {
    let mut result = Graph::new(graph.name());
    let mut values: HashMap<ValueId, ValueId> = HashMap::new();
    for node in graph.nodes() {
        let scan = match &node.op {
            Op::Scan(scan) if !scan.recomputed => scan,
            _ => {
                result.copy_node(node, &mut values)?;
                continue;
            }
        };
        let operands: Vec<ValueId> = node.operands.iter().map(|operand| values[operand]).collect();
        let results = move_out(&mut result, scan, &operands, node)?;
        values.extend(node.results.iter().copied().zip(results));
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}

fn move_out(
    result: &mut Graph,
    scan: &Scan,
    operands: &[ValueId],
    node: &Node,
) -> Result<Vec<ValueId>, GraphError> {
    let body = &scan.body;
    let mut given = given(scan, operands);
    before(result, scan, &mut given)?;
    let uses = body.use_counts();
    let outputs: Vec<ValueId> = body.outputs().iter().map(|output| output.value).collect();
    let after = |value: ValueId, rows: Rows| {
        let producer = body.producer(value);
        producer.results.len() == 1
            && !given.contains_key(&value)
            && producer.op.rows() == rows
            && producer
                .operands
                .iter()
                .all(|operand| given.contains_key(operand) || body.ty(*operand).shape.is_batched())
            && fits(scan, producer, &given)
    };
    // Sums over all steps.
    let mut sums: HashMap<usize, Vec<&Node>> = HashMap::new();
    for (index, input) in super::rebuild::carried_inputs(scan).into_iter().enumerate() {
        let terms = terms(body, outputs[index], input, &uses);
        if let Some(terms) = terms.filter(|terms| terms.iter().all(|&term| after(term, Rows::Summed))) {
            sums.insert(index, terms.into_iter().map(|term| body.producer(term)).collect());
        }
    }
    // Products that are only collected. A use by each output that names the value counts.
    let is_after = |index: usize| {
        let value = outputs[index];
        let named = outputs[scan.carried..].iter().filter(|other| **other == value).count();
        matches!(body.producer(value).op.facts().role, Role::Product(_))
            && uses[value.index()] == named
            && after(value, Rows::Apart)
    };
    let moved: HashSet<usize> = (scan.carried..outputs.len()).filter(|&index| is_after(index)).collect();
    let carried: Vec<usize> = (0..scan.carried).filter(|index| !sums.contains_key(index)).collect();
    let mut collected: Vec<ValueId> = Vec::new();
    let mut collect = |value: ValueId| {
        if !given.contains_key(&value) && !collected.contains(&value) {
            collected.push(value);
        }
    };
    for (index, &value) in outputs.iter().enumerate().skip(scan.carried) {
        match moved.contains(&index) {
            true => body.producer(value).operands.iter().for_each(|&operand| collect(operand)),
            false => collect(value),
        }
    }
    for term in sums.values().flatten() {
        term.operands.iter().for_each(|&operand| collect(operand));
    }
    let (op, new_operands) = rebuild(scan, operands, &given, &carried, &collected)?;
    let results = match op.carried + op.collected() {
        0 => Vec::new(),
        _ => result.add(op, &new_operands, &node.label)?,
    };
    let outside: HashMap<ValueId, ValueId> = given
        .iter()
        .map(|(&value, given)| (value, given.value))
        .chain(collected.iter().copied().zip(results[carried.len()..].iter().copied()))
        .collect();
    let first = scan.constants() + scan.slices;
    let mut all = Vec::with_capacity(outputs.len());
    for (index, value) in outputs.iter().enumerate() {
        all.push(if let Some(terms) = sums.get(&index) {
            sum(result, operands[first + index], terms, &outside)?
        } else if index < scan.carried {
            results[carried.iter().position(|&kept| kept == index).unwrap_or_default()]
        } else if moved.contains(&index) {
            copy(result, body.producer(*value), &outside)?
        } else {
            sequence_of(result, scan, &given, &outside, *value)?
        });
    }
    Ok(all)
}

/// Adds the nodes that can be computed before the scan, and are worth it, and adds their results to the given values.
fn before(result: &mut Graph, scan: &Scan, given: &mut HashMap<ValueId, Given>) -> Result<(), GraphError> {
    let body = &scan.body;
    // What could be computed before the scan; whether it is a sequence.
    let mut possible: HashMap<ValueId, bool> =
        given.iter().map(|(&value, given)| (value, given.is_sequence)).collect();
    let mut worth: HashSet<ValueId> = HashSet::new();
    for node in body.nodes() {
        if let Some(source) = node.op.source() {
            if let Source::Constant(_) = source {
                possible.insert(node.results[0], false);
            }
            continue;
        }
        let kinds: Option<Vec<bool>> =
            node.operands.iter().map(|operand| possible.get(operand).copied()).collect();
        let Some(kinds) = kinds else { continue };
        let is_sequence = kinds.contains(&true);
        if is_sequence && !is_same_for_sequences(scan, node, &kinds) {
            continue;
        }
        possible.extend(node.results.iter().map(|&value| (value, is_sequence)));
        let is_worth = match node.op.facts().role {
            Role::Product(_) => true,
            Role::Elementwise(_) => node.operands.iter().any(|operand| worth.contains(operand)),
            _ => false,
        };
        if is_worth || !is_sequence {
            worth.extend(&node.results);
        }
    }
    // What they need.
    let mut moved: HashSet<ValueId> = HashSet::new();
    let mut pending: Vec<ValueId> = worth.into_iter().collect();
    while let Some(value) = pending.pop() {
        if !given.contains_key(&value) && moved.insert(value) {
            pending.extend(&body.producer(value).operands);
        }
    }
    for node in body.nodes() {
        if !node.results.iter().any(|value| moved.contains(value)) {
            continue;
        }
        let operands: Vec<ValueId> = node.operands.iter().map(|operand| given[operand].value).collect();
        let results = result.add(node.op.clone(), &operands, &node.label)?;
        for (&old, new) in node.results.iter().zip(results) {
            given.insert(old, Given { value: new, is_sequence: possible[&old] });
        }
    }
    Ok(())
}

/// The types of a node's operands outside the scan; `None` if one has a batch but is no sequence.
fn types_outside(scan: &Scan, node: &Node, is_sequence: &[bool]) -> Option<Vec<Type>> {
    let ty = |(operand, is_sequence): (&ValueId, &bool)| {
        let ty = scan.body.ty(*operand);
        match is_sequence {
            true => Some(sequence(scan, ty)),
            false => (!ty.shape.is_batched()).then(|| ty.clone()),
        }
    };
    node.operands.iter().zip(is_sequence).map(ty).collect()
}

/// Whether a node computes the sequences of its results from the sequences of its operands.
fn is_same_for_sequences(scan: &Scan, node: &Node, is_sequence: &[bool]) -> bool {
    let results: Vec<Type> = node.results.iter().map(|&value| sequence(scan, scan.body.ty(value))).collect();
    node.op.rows() == Rows::Apart
        && types_outside(scan, node, is_sequence)
            .is_some_and(|operands| node.op.infer(&operands).is_ok_and(|types| types == results))
}

fn sequence(scan: &Scan, ty: &Type) -> Type {
    Type { dtype: ty.dtype, shape: scan.sequence(&ty.shape) }
}

/// Whether a node can process the sequences of its operands after the scan.
fn fits(scan: &Scan, node: &Node, given: &HashMap<ValueId, Given>) -> bool {
    let is_sequence = |operand: &ValueId| given.get(operand).is_none_or(|given| given.is_sequence);
    let kinds: Vec<bool> = node.operands.iter().map(is_sequence).collect();
    if node.op.rows() == Rows::Apart {
        return is_same_for_sequences(scan, node, &kinds);
    }
    let results = scan.body.types(&node.results);
    types_outside(scan, node, &kinds)
        .is_some_and(|operands| node.op.infer(&operands).is_ok_and(|types| types == results))
}

/// The terms that a carried value grows by in each step, if it is only a sum.
fn terms(body: &Graph, output: ValueId, input: ValueId, uses: &[usize]) -> Option<Vec<ValueId>> {
    if uses[input.index()] != 1 {
        return None;
    }
    let mut terms = Vec::new();
    let mut found = false;
    let mut pending = vec![output];
    while let Some(value) = pending.pop() {
        let producer = body.producer(value);
        let is_sum = matches!(&producer.op, Op::Binary(binary) if binary.kind == BinaryKind::Add)
            && body.types(&producer.operands).iter().all(|ty| ty == body.ty(output));
        match () {
            () if value == input => found = true,
            () if uses[value.index()] != 1 => return None,
            () if is_sum => pending.extend(&producer.operands),
            () => terms.push(value),
        }
    }
    (found && !terms.is_empty()).then_some(terms)
}

/// Adds the sum of an initial value and some terms over all steps.
fn sum(
    result: &mut Graph,
    initial: ValueId,
    terms: &[&Node],
    outside: &HashMap<ValueId, ValueId>,
) -> Result<ValueId, GraphError> {
    let mut sum = if is_zero(result, initial) { None } else { Some(initial) };
    for term in terms {
        let value = copy(result, term, outside)?;
        sum = Some(match sum {
            None => value,
            Some(sum) => result.add_single(Binary { kind: BinaryKind::Add }, &[sum, value], &term.label)?,
        });
    }
    Ok(sum.unwrap_or(initial))
}

/// Whether a value is made of zeros: the gradient of a ReLU with a gradient of zero.
fn is_zero(graph: &Graph, value: ValueId) -> bool {
    let node = graph.producer(value);
    let zero = |value: ValueId| matches!(&graph.producer(value).op, Op::Constant(constant) if constant.values.iter().all(|x| *x == 0.0));
    match &node.op {
        Op::Binary(binary) if binary.kind == BinaryKind::ReluGrad => zero(node.operands[1]),
        Op::Constant(_) => zero(value),
        _ => false,
    }
}

fn copy(result: &mut Graph, node: &Node, outside: &HashMap<ValueId, ValueId>) -> Result<ValueId, GraphError> {
    let operands: Vec<ValueId> = node.operands.iter().map(|operand| outside[operand]).collect();
    result.add_single(node.op.clone(), &operands, &node.label)
}

/// The sequence of a collected value. A constant that is collected is repeated, by a scan that only collects it.
fn sequence_of(
    result: &mut Graph,
    scan: &Scan,
    given: &HashMap<ValueId, Given>,
    outside: &HashMap<ValueId, ValueId>,
    value: ValueId,
) -> Result<ValueId, GraphError> {
    match given.get(&value) {
        Some(Given { value: constant, is_sequence: false }) => {
            let alone = HashMap::from([(value, Given { value: *constant, is_sequence: false })]);
            let (op, operands) = rebuild(scan, &[], &alone, &[], &[value])?;
            result.add_single(op, &operands, "")
        }
        _ => Ok(outside[&value]),
    }
}
