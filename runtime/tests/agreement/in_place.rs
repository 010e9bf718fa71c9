//! Results that overwrite operands: residual sums in and after products, and unary and binary functions. Also operands
//! that are still needed. Bit for bit.

use windlass_compiler::entity::ValueId;
use windlass_compiler::ops::conv::{Conv, ConvGradInput};
use windlass_compiler::ops::elementwise::{Bias, Binary, BinaryKind, Scale, SumChannels, Unary, UnaryKind};
use windlass_compiler::ops::linear::Linear;
use windlass_compiler::ops::structure::{Concat, Reshape, Slice};
use windlass_compiler::ops::window::{Window, fixed_sizes};
use windlass_compiler::pass::Mode;
use windlass_compiler::shape::Shape;

use crate::check::{Agreement, Expectation};
use crate::graphs::Ops;
use crate::numbers::Values;

fn binary(ops: &mut Ops, kind: BinaryKind, a: ValueId, b: ValueId) -> ValueId {
    ops.op(Binary { kind }, &[a, b])
}

fn relu(ops: &mut Ops, x: ValueId) -> ValueId {
    ops.op(Unary { kind: UnaryKind::Relu }, &[x])
}

fn conv(ops: &mut Ops, name: &str, x: ValueId, channels: usize, size: usize) -> ValueId {
    let weight = ops.parameter(name, &[channels, ops.item(x)[0], size, size]);
    let window = Window::square(size, 1, size / 2);
    ops.op(Conv { window, groups: 1, epilogue: Vec::new() }, &[x, weight])
}

#[track_caller]
fn check(ops: Ops, y: ValueId, what: &str) {
    let graph = ops.output("y", y).finish();
    Expectation::new(&graph, &[1, 2, 7], Values::Sparse, Agreement::Exact)
        .check_variants(Mode::Inference, what);
}

/// Blocks whose input is last used in the sum, with few channels and many, one and several pixels wide, and with
/// windows for every convolution algorithm.
#[test]
fn residual_sums() {
    for channels in [1, 3, 5, 16, 17, 33] {
        for (height, width) in [(1, 1), (3, 7), (4, 37)] {
            for size in [1, 3] {
                let mut ops = Ops::new();
                let x = ops.input("x", &[2, height, width]);
                let a = conv(&mut ops, "w0", x, channels, 1);
                let b = conv(&mut ops, "w1", a, channels, size);
                let first = binary(&mut ops, BinaryKind::Add, b, a);
                let first = relu(&mut ops, first);
                let b = conv(&mut ops, "w2", first, channels, size);
                let b = relu(&mut ops, b);
                let c = conv(&mut ops, "w3", b, channels, 1);
                let second = binary(&mut ops, BinaryKind::Add, first, c);
                let y = conv(&mut ops, "w4", second, 2, 1);
                check(ops, y, &format!("{channels} channels of {height}x{width}, windows of {size}"));
            }
        }
    }
}

/// Like [`residual_sums`], but after gradients with respect to an input: convolutions back to the sizes before a
/// strided one.
#[test]
fn residual_sums_of_transposed_convolutions() {
    for channels in [3, 16, 17] {
        for (size, stride, groups) in
            [(1, 1, 1), (1, 2, 1), (2, 3, 1), (3, 1, 1), (3, 2, 1), (3, 2, channels)]
        {
            let mut ops = Ops::new();
            let x = ops.input("x", &[2, 5, 7]);
            let skip = conv(&mut ops, "w0", x, channels, 1);
            let window = Window::square(size, stride, size / 2);
            let weight = ops.parameter("w1", &[channels, channels / groups, size, size]);
            let down = Conv { window: window.clone(), groups, epilogue: Vec::new() };
            let down = ops.op(down, &[skip, weight]);
            let up =
                ConvGradInput { window, groups, input_sizes: fixed_sizes(&[5, 7]), epilogue: Vec::new() };
            let up = ops.op(up, &[down, weight]);
            let bias = ops.parameter("bias", &[channels]);
            let up = ops.op(Bias {}, &[up, bias]);
            let sum = binary(&mut ops, BinaryKind::Add, skip, up);
            let y = relu(&mut ops, sum);
            let y = conv(&mut ops, "w2", y, 2, 1);
            check(
                ops,
                y,
                &format!("{channels} channels in {groups} groups, windows of {size}, stride {stride}"),
            );
        }
    }
}

#[test]
fn residual_sums_of_dense_layers() {
    for features in [1, 5, 33, 70] {
        let mut ops = Ops::new();
        let x = ops.input("x", &[3]);
        let linear = |ops: &mut Ops, name: &str, x: ValueId, outputs: usize| {
            let weight = ops.parameter(name, &[outputs, ops.item(x)[0]]);
            ops.op(Linear { epilogue: Vec::new() }, &[x, weight])
        };
        let a = linear(&mut ops, "w0", x, features);
        let b = linear(&mut ops, "w1", a, features);
        let sum = binary(&mut ops, BinaryKind::Add, a, b);
        let y = linear(&mut ops, "w2", sum, 4);
        check(ops, y, &format!("{features} features"));
    }
}

/// Chains of functions, each of which is the last user of the previous result.
#[test]
fn chains_of_elements() {
    for item in [&[9][..], &[3, 5, 7], &[17, 3, 5], &[33, 1, 1]] {
        let mut ops = Ops::new();
        let (x, other) = (ops.input("x", item), ops.input("other", item));
        let numbers = ops.parameter("numbers", &item[..1]);
        let a = ops.op(Unary { kind: UnaryKind::Negate }, &[x]);
        let b = ops.op(Unary { kind: UnaryKind::Negate }, &[other]);
        let c = binary(&mut ops, BinaryKind::ReluGrad, a, b);
        let d = binary(&mut ops, BinaryKind::Subtract, other, c);
        let e = ops.op(Bias {}, &[d, numbers]);
        let f = ops.op(Scale::along(1), &[e, numbers]);
        let g = binary(&mut ops, BinaryKind::Add, f, f);
        let h = relu(&mut ops, g);
        let y = binary(&mut ops, BinaryKind::Subtract, x, h);
        check(ops, y, &format!("chains on {item:?}"));
    }
}

/// Operands that are needed later: directly, reshaped, sliced, or concatenated.
#[test]
fn operands_that_live_on() {
    for channels in [4, 16] {
        for later in 0..4 {
            let mut ops = Ops::new();
            let x = ops.input("x", &[channels, 3, 5]);
            let a = ops.op(Unary { kind: UnaryKind::Negate }, &[x]);
            let half = ops.op(Slice::new(1, 0, channels / 2), &[a]);
            let flat = ops.op(Reshape { shape: Shape::batched(&[channels * 15]) }, &[a]);
            let join = ops.op(Concat { axis: 1 }, &[a, x]);
            let b = relu(&mut ops, a);
            let c = ops.op(Unary { kind: UnaryKind::Negate }, &[b]);
            let again = match later {
                0 => binary(&mut ops, BinaryKind::Subtract, c, a),
                1 => {
                    let twice = ops.op(Concat { axis: 1 }, &[half, half]);
                    binary(&mut ops, BinaryKind::Subtract, c, twice)
                }
                2 => {
                    let image = ops.op(Reshape { shape: Shape::batched(&[channels, 3, 5]) }, &[flat]);
                    binary(&mut ops, BinaryKind::Subtract, c, image)
                }
                _ => {
                    let part = ops.op(Slice::new(1, 1, channels), &[join]);
                    binary(&mut ops, BinaryKind::Subtract, c, part)
                }
            };
            check(ops, again, &format!("{channels} channels, read again as {later}"));
        }
    }
}

/// Updates computed by elementwise functions: in place, in separate memory if another operator reads the old value
/// later, and from the old value of another parameter.
#[test]
fn updates_by_functions_of_elements() {
    for reads_later in [false, true] {
        let mut ops = Ops::new();
        let x = ops.input("x", &[37]);
        let (a, b, c) = (ops.parameter("a", &[37]), ops.parameter("b", &[37]), ops.parameter("c", &[37]));
        let before = ops.op(Bias {}, &[x, a]);
        let sums = ops.op(SumChannels {}, &[x]);
        let new_a = binary(&mut ops, BinaryKind::Subtract, sums, a);
        let new_b = binary(&mut ops, BinaryKind::Multiply, b, b);
        let negated = ops.op(Unary { kind: UnaryKind::Negate }, &[c]);
        let new_c = relu(&mut ops, negated);
        let after = ops.op(Bias {}, &[before, if reads_later { a } else { b }]);
        let y = ops.op(Bias {}, &[after, new_a]);
        let mut graph = ops.output("y", y).finish();
        for (name, value) in [("a", new_a), ("b", new_b), ("c", new_c)] {
            graph.add_update(name, value).unwrap();
        }
        Expectation::new(&graph, &[1, 2, 7], Values::Integers, Agreement::Exact)
            .check_variants(Mode::Inference, if reads_later { "read later" } else { "read before" });
    }
}
