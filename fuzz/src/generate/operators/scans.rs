//! A generator of scans: bodies of a few operators, with constants, slices, carried and collected values.

use std::collections::HashMap;

use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::Graph;
use windlass_compiler::ops::OpKind;
use windlass_compiler::ops::elementwise::{Binary, BinaryKind, Unary, UnaryKind};
use windlass_compiler::ops::fill::Fill;
use windlass_compiler::ops::gather::Gather;
use windlass_compiler::ops::scan::Scan;
use windlass_compiler::ops::source::InputRole;
use windlass_compiler::shape::{DType, Polynomial, Shape, Symbol, Type};

use super::super::sizes::{self, pick};
use super::super::sketch::{Meaning, Sketch};
use super::add;
use crate::values::POSITIVE;

/// The operators of bodies; common ones are listed several times.
const KINDS: [OpKind; 27] = [
    OpKind::Linear,
    OpKind::Linear,
    OpKind::Linear,
    OpKind::LinearGradInput,
    OpKind::LinearGradWeight,
    OpKind::LinearGradWeight,
    OpKind::Unary,
    OpKind::Unary,
    OpKind::Binary,
    OpKind::Binary,
    OpKind::Binary,
    OpKind::Bias,
    OpKind::Scale,
    OpKind::SumChannels,
    OpKind::Slice,
    OpKind::Slice,
    OpKind::Concat,
    OpKind::Reshape,
    OpKind::Reduce,
    OpKind::Expand,
    OpKind::Pad,
    OpKind::Transpose,
    OpKind::Matmul,
    OpKind::Mask,
    OpKind::Softmax,
    OpKind::Constant,
    OpKind::Scan,
];

/// The number of steps: fixed, or `T`, if the batch has no steps already.
fn steps(s: &mut Sketch<'_>) -> Polynomial {
    let length: Symbol = "T".parse().expect("a symbol");
    let is_free = !s.batch_of(&[]).symbols().contains(&length);
    match is_free && s.numbers.bool() {
        true => Polynomial::from(length),
        false => Polynomial::from(pick(s.numbers, &[1usize, 2, 3, 5])),
    }
}

/// A vector for each sample, of the width of another one or a new one.
fn vector(s: &mut Sketch<'_>, widths: &mut Vec<usize>) -> Type {
    let new = sizes::channels(s.numbers).min(17);
    let width = if s.chance(3) || widths.is_empty() { new } else { pick(s.numbers, widths) };
    widths.push(width);
    Type::f32(s.batch_of(&[width]))
}

/// Adds a scan.
pub(super) fn scan(s: &mut Sketch<'_>) {
    let steps = steps(s);
    // Bodies of bodies are small.
    let most = if s.is_body() { 3 } else { 8 };
    let mut body = s.body();
    let mut widths = Vec::new();
    let (mut slices, mut carried) = (Vec::new(), Vec::new());
    for _ in 0..pick(body.numbers, &[1, 1, 1, 2, 2]) {
        let ty = vector(&mut body, &mut widths);
        slices.push(body.input("slice", InputRole::Data, ty));
    }
    if body.chance(6) {
        let rows = sizes::channels(body.numbers).min(17);
        let ty = Type::i32(body.batch_of(&[]));
        let indices = body.input("rows", InputRole::Data, ty);
        body.means(indices, Some(Meaning::Index(rows)));
        slices.push(indices);
        let features = pick(body.numbers, &widths);
        let table = body.of_type(&Type::f32(Shape::fixed(&[rows, features])));
        body.op(Gather { rows }, &[table, indices]);
    }
    for _ in 0..pick(body.numbers, &[0, 1, 1, 1, 2, 2, 3]) {
        let ty = vector(&mut body, &mut widths);
        carried.push(body.input("carried", InputRole::Data, ty));
    }
    for _ in 0..1 + body.numbers.usize(..most) {
        let kind = pick(body.numbers, &KINDS);
        if kind != OpKind::Scan || most > 3 && body.chance(2) {
            add(&mut body, kind);
        }
    }
    let mut outputs: Vec<ValueId> = carried.iter().map(|&old| next(&mut body, old)).collect();
    // A sum over all steps, like the gradient of a weight.
    let sources: Vec<ValueId> = slices.iter().chain(&carried).copied().collect();
    if body.chance(3)
        && let Some(term) = body.find(|ty| ty.dtype == DType::F32 && !ty.shape.has_open_item())
        && !sources.contains(&term)
    {
        let ty = body.ty(term);
        let sum = body.input("carried", InputRole::Data, ty);
        outputs.push(body.op(Binary { kind: BinaryKind::Add }, &[sum, term])[0]);
        carried.push(sum);
    }
    let least = usize::from(carried.is_empty());
    for _ in 0..least.max(pick(body.numbers, &[0, 1, 1, 1, 2])) {
        let batched = |ty: &Type| ty.dtype == DType::F32 && ty.shape.is_batched();
        outputs.extend(body.find(batched));
    }
    let (graph, meanings) = body.into_parts();
    let ((named, graph), constants) = arranged(&graph, &slices, &carried, &outputs);
    let reverse = s.numbers.bool();
    let scan = Scan::new(graph, steps, slices.len(), carried.len()).reversed(reverse);
    let mut operands = Vec::new();
    for (index, value) in constants.into_iter().chain(slices).chain(carried).enumerate() {
        let (name, ty) = &named[&value];
        let is_slice = (scan.constants()..scan.constants() + scan.slices).contains(&index);
        let shape = if is_slice { scan.sequence(&ty.shape) } else { ty.shape.clone() };
        let ty = Type { dtype: ty.dtype, shape };
        operands.push(match meanings.get(&value) {
            Some(&meaning) => s.integers(&ty.shape, meaning),
            None if name.starts_with(POSITIVE) => s.positive(&ty),
            // Every open size is that of an input.
            None if name.starts_with("carried")
                && ty.shape.is_batched()
                && ty.shape.symbols().into_iter().all(|size| s.knows(size))
                && s.chance(3) =>
            {
                s.op(Fill::zeros(ty.shape), &[])[0]
            }
            None => s.of_type(&ty),
        });
    }
    s.op(scan, &operands);
}

/// A new value of a carried one: perhaps any other of its type, squashed or added to the old one.
fn next(body: &mut Sketch<'_>, old: ValueId) -> ValueId {
    let ty = body.ty(old);
    let found = body.find(|other| *other == ty).unwrap_or(old);
    match body.numbers.u8(..6) {
        0..3 => {
            let kind = pick(body.numbers, &[UnaryKind::Tanh, UnaryKind::Sigmoid, UnaryKind::Relu]);
            body.op(Unary { kind }, &[found])[0]
        }
        3..5 => {
            let kind = pick(body.numbers, &[BinaryKind::Add, BinaryKind::Subtract]);
            body.op(Binary { kind }, &[old, found])[0]
        }
        _ => found,
    }
}

/// The names and types of inputs, and a graph.
type Arranged = (HashMap<ValueId, (String, Type)>, Graph);

/// A body whose inputs are in the order of a scan: constants, slices, carried values. Also the constants, in their order.
fn arranged(
    graph: &Graph,
    slices: &[ValueId],
    carried: &[ValueId],
    outputs: &[ValueId],
) -> (Arranged, Vec<ValueId>) {
    let valid = "an arranged body has the same operators";
    let inputs: Vec<ValueId> = graph.inputs().map(|(value, _)| value).collect();
    let is_constant = |value: &ValueId| !slices.contains(value) && !carried.contains(value);
    let constants: Vec<ValueId> = inputs.iter().copied().filter(is_constant).collect();
    let mut made = Graph::new("step");
    let (mut values, mut named) = (HashMap::new(), HashMap::new());
    for &value in constants.iter().chain(slices).chain(carried) {
        let node = graph.producer(value);
        values.insert(value, made.add(node.op.clone(), &[], "").expect(valid)[0]);
        let name = graph.inputs().find(|(input, _)| *input == value).map(|(_, input)| input.name.clone());
        named.insert(value, (name.unwrap_or_default(), graph.ty(value).clone()));
    }
    for node in graph.nodes().iter().filter(|node| !inputs.contains(&node.results[0])) {
        let operands: Vec<ValueId> = node.operands.iter().map(|operand| values[operand]).collect();
        let results = made.add(node.op.clone(), &operands, "").expect(valid);
        values.extend(node.results.iter().copied().zip(results));
    }
    for (index, output) in outputs.iter().enumerate() {
        made.add_output(&format!("y{index}"), values[output]).expect(valid);
    }
    ((named, made), constants)
}
