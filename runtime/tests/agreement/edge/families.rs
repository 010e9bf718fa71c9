//! Cases that several operators share: families of functions, convolutions, pools, normalisation and optimisers.

use windlass_compiler::entity::ValueId;
use windlass_compiler::ops::batch_norm::{BatchNormGrad, BatchNormTraining};
use windlass_compiler::ops::elementwise::{Unary, UnaryKind};
use windlass_compiler::ops::optimizer::{Adam, Adaptive, AdaptiveRule, Sgd};
use windlass_compiler::ops::source::{Input, InputRole};
use windlass_compiler::ops::window::Window;
use windlass_compiler::shape::{Shape, Type};

use super::case::{Case, Fill, PAIRS, sums_of};
use crate::check::Agreement;
use crate::graphs::Ops;

pub(super) fn integers(ops: &mut Ops, name: &str, shape: Shape) -> ValueId {
    ops.op(Input { name: name.to_owned(), role: InputRole::Data, ty: Type::i32(shape) }, &[])
}

pub(super) fn unary(kinds: &[UnaryKind]) -> Case {
    let mut ops = Ops::new();
    let x = ops.input("x", &[PAIRS]);
    for &kind in kinds {
        let y = ops.op(Unary { kind }, &[x]);
        ops = ops.output(&format!("{kind:?}"), y);
    }
    Case::exact(ops, &[&[("x", Fill::Edges)]])
}

/// Convolutions at stride 1 and their gradients, with few channels and with many, with padding and without. `free` may
/// hold any values. `bound` is finite if it is multiplied by the zeros of the padding, because an infinite number times
/// such a zero is NaN in compiled code, while the interpreter skips it.
pub(super) fn convolutions(
    build: fn(&mut Ops, Window, [usize; 2]) -> ValueId,
    [free, bound]: [&'static str; 2],
    always_has_border: bool,
) -> Vec<Case> {
    let one = |inputs: usize, outputs: usize, padding: usize| {
        let mut ops = Ops::new();
        let y = build(&mut ops, Window::square(3, 1, padding), [inputs, outputs]);
        let mut runs = sums_of([free, bound]);
        if padding > 0 || always_has_border {
            runs.retain(|run| !matches!(run[..], [(name, Fill::Special)] if name == bound));
        }
        Case { graph: ops.output("y", y).finish(), agreement: Agreement::Exact, runs }
    };
    vec![one(2, 5, 0), one(2, 5, 1), one(16, 17, 0), one(16, 17, 1)]
}

/// The operands of convolutions: an image of 6 by 7, weights, and a gradient of the result.
pub(super) fn image(ops: &mut Ops, channels: usize) -> ValueId {
    ops.input("x", &[channels, 6, 7])
}

pub(super) fn weights(ops: &mut Ops, [inputs, outputs]: [usize; 2]) -> ValueId {
    ops.parameter("w", &[outputs, inputs, 3, 3])
}

pub(super) fn gradient(ops: &mut Ops, channels: usize, window: &Window) -> ValueId {
    ops.input("g", &[&[channels], &window.output_sizes(&[6, 7])[..]].concat())
}

/// A pool or its gradient, with adjacent and overlapping windows, with few channels and with many.
pub(super) fn pools(
    build: fn(&mut Ops, ValueId, ValueId, Window) -> ValueId,
    runs: &[Vec<(&'static str, Fill)>],
) -> Vec<Case> {
    let mut cases = Vec::new();
    for window in [Window::square(2, 2, 0), Window::square(3, 1, 1)] {
        for channels in [3, 17] {
            let mut ops = Ops::new();
            let (x, g) = (image(&mut ops, channels), gradient(&mut ops, channels, &window));
            let y = build(&mut ops, x, g, window.clone());
            let graph = ops.output("y", y).output("x", x).output("g", g).finish();
            cases.push(Case { graph, agreement: Agreement::Exact, runs: runs.to_vec() });
        }
    }
    cases
}

/// Operators on a row of logits: over each sample's channels, and over those at each position.
pub(super) fn softmax(build: fn(&mut Ops, ValueId, ValueId) -> ValueId) -> Vec<Case> {
    let one = |item: &[usize]| {
        let mut ops = Ops::new();
        let (x, g) = (ops.input("x", item), ops.input("g", item));
        let y = build(&mut ops, x, g);
        let rows: &[(&str, Fill)] = &[("x", Fill::Rows)];
        let special: &[(&str, Fill)] = &[("x", Fill::Rows), ("g", Fill::Special)];
        Case::exact(ops.output("y", y).output("g", g), &[rows, special]).near(1e-6, 3e-6)
    };
    vec![one(&[3, 11]), one(&[3, 4, 5]), one(&[3, 1])]
}

pub(super) fn sgd(momentum: f64, nesterov: bool, weight_decay: f64) -> Case {
    let mut ops = Ops::new();
    let mut operands = vec![ops.parameter("w", &[PAIRS]), ops.parameter("g", &[PAIRS])];
    operands.push(ops.parameter("learning_rate", &[]));
    if momentum != 0.0 {
        operands.push(ops.parameter("v", &[PAIRS]));
    }
    let results = ops.ops(Sgd { momentum, nesterov, weight_decay }, &operands);
    for (index, &result) in results.iter().enumerate() {
        ops = ops.output(&format!("{index}"), result);
    }
    let edges = vec![("w", Fill::Edges), ("g", Fill::Against)];
    let velocity = vec![("v", Fill::Edges), ("g", Fill::Against)];
    let runs = if momentum == 0.0 { vec![edges] } else { vec![edges, velocity] };
    Case { graph: ops.finish(), agreement: Agreement::Exact, runs }
}

pub(super) fn adam(weight_decay: f64, decoupled: bool) -> Case {
    let mut ops = Ops::new();
    let mut operands = vec![ops.parameter("w", &[PAIRS]), ops.parameter("g", &[PAIRS])];
    operands.extend([ops.parameter("learning_rate", &[]), ops.parameter("correction", &[2])]);
    operands.extend(["m", "v"].map(|name| ops.parameter(name, &[PAIRS])));
    let adam = Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay, decoupled };
    let results = ops.ops(adam, &operands);
    for (index, &result) in results.iter().enumerate() {
        ops = ops.output(&format!("{index}"), result);
    }
    let first = [("w", Fill::Edges), ("g", Fill::Against), ("v", Fill::All(1.0))];
    let second = [("m", Fill::Edges), ("v", Fill::Against)];
    let third = [("g", Fill::All(1e20)), ("v", Fill::All(0.0)), ("m", Fill::All(0.0))];
    Case::exact(ops, &[&first, &second, &third])
}

/// An optimiser that scales gradients.
pub(super) fn adaptive(rule: AdaptiveRule, weight_decay: f64) -> Case {
    let mut ops = Ops::new();
    let mut operands = ["w", "g"].map(|name| ops.parameter(name, &[PAIRS])).to_vec();
    operands.push(ops.parameter("learning_rate", &[]));
    let states = ["s", "t", "u"];
    operands.extend(states[..rule.states()].iter().map(|name| ops.parameter(name, &[PAIRS])));
    let results = ops.ops(Adaptive { rule, weight_decay }, &operands);
    for (index, &result) in results.iter().enumerate() {
        ops = ops.output(&format!("{index}"), result);
    }
    let first = [("w", Fill::Edges), ("g", Fill::Against)];
    let second = [("g", Fill::Edges), ("s", Fill::Against)];
    let third = [("g", Fill::All(1e20)), ("s", Fill::All(0.0))];
    Case::exact(ops, &[&first, &second, &third])
}

/// Normalisation with the statistics of the batch, or its gradient.
pub(super) fn batch_norm(mut ops: Ops, gradient: Option<BatchNormGrad>) -> Case {
    let (x, g) = (ops.input("x", &[5, 7]), ops.input("g", &[5, 7]));
    let operands = ["gamma", "beta", "old_mean", "old_running_var"].map(|name| ops.parameter(name, &[5]));
    let norm = BatchNormTraining { epsilon: 1e-5, momentum: 0.1, epilogue: vec![] };
    let forward = ops.ops(norm, &[vec![x], operands.to_vec()].concat());
    let results = match gradient {
        None => forward,
        Some(op) => {
            let beta = op.activation.map(|_| operands[1]);
            let own = [g, x, operands[0], forward[1], forward[2]];
            ops.ops(op, &own.into_iter().chain(beta).collect::<Vec<_>>())
        }
    };
    for (index, &result) in results.iter().enumerate() {
        ops = ops.output(&format!("{index}"), result);
    }
    let constant: &[(&str, Fill)] = &[("x", Fill::All(2.0))];
    let mut runs = sums_of(["x"]);
    runs.extend([constant.to_vec(), vec![("g", Fill::Special)]]);
    // If all elements equal the mean, results are multiplied by 1/√ε, which is 316.
    let agreement = Agreement::Edges { part: 1e-5, floor: 1e-3 };
    Case { graph: ops.output("g", g).finish(), agreement, runs }
}
