//! Dense layers, element-wise functions, channel sums, and moves of elements, bit for bit; softmax within a bound.

use windlass_compiler::entity::ValueId;
use windlass_compiler::ops::conv::Conv;
use windlass_compiler::ops::elementwise::{
    Activation, Bias, Binary, BinaryKind, Scale, SumChannels, Unary, UnaryKind,
};
use windlass_compiler::ops::epilogue::EpilogueStep;
use windlass_compiler::ops::linear::{Linear, LinearGradInput, LinearGradWeight};
use windlass_compiler::ops::softmax::{LogSoftmax, LogSoftmaxGrad, Softmax, SoftmaxGrad};
use windlass_compiler::ops::source::Constant;
use windlass_compiler::ops::structure::{Concat, Reshape, Slice};
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::CompileOptions;
use windlass_compiler::plan::Features;
use windlass_compiler::shape::{Dim, Shape};

use crate::check::{Agreement, Expectation};
use crate::graphs::Ops;
use crate::numbers::Values;

/// Sizes of items with channels and any further axes.
const ITEMS: [&[usize]; 9] =
    [&[1], &[2], &[5], &[17], &[64, 1], &[3, 5], &[2, 3, 37], &[33, 1, 1], &[1, 4, 1, 9]];

#[track_caller]
fn check_exact(ops: Ops, batches: &[usize], what: &str) {
    Expectation::new(&ops.finish(), batches, Values::Integers, Agreement::Exact)
        .check_variants(Mode::Inference, what);
}

#[track_caller]
fn check_near(ops: Ops, batches: &[usize], bound: f64, what: &str) {
    Expectation::new(&ops.finish(), batches, Values::Reals, Agreement::Within(bound))
        .check_variants(Mode::Inference, what);
}

#[test]
fn dense_layers() {
    for inputs in [1, 2, 3, 4, 5, 8, 15, 16, 17, 33, 100] {
        for outputs in [1, 3, 4, 5, 7, 10, 16, 17, 33] {
            let mut ops = Ops::new();
            let (x, g) = (ops.input("x", &[inputs]), ops.input("g", &[outputs]));
            let (w, b) = (ops.parameter("w", &[outputs, inputs]), ops.parameter("b", &[outputs]));
            let y = ops.op(Linear { epilogue: Vec::new() }, &[x, w]);
            let y = ops.op(Bias {}, &[y, b]);
            // The residual is added between bias and ReLU, in the order in which the passes fuse it.
            let sum = ops.op(Binary { kind: BinaryKind::Add }, &[y, g]);
            let relu = ops.op(Unary { kind: UnaryKind::Relu }, &[sum]);
            let dx = ops.op(LinearGradInput {}, &[g, w]);
            let dw = ops.op(LinearGradWeight {}, &[g, x]);
            let ops = ops.output("y", relu).output("dx", dx).output("dw", dw);
            check_exact(ops, &[1, 2, 7], &format!("{inputs} to {outputs}"));
        }
    }
}

#[test]
fn epilogues_in_any_order() {
    use EpilogueStep::{Add, Bias, Relu};
    for epilogue in [vec![Relu, Bias], vec![Add, Relu, Add], vec![Bias, Bias, Relu, Add], vec![Relu, Relu]] {
        for (inputs, outputs) in [(3, 2), (5, 7), (17, 33)] {
            let mut ops = Ops::new();
            let mut operands = vec![ops.input("x", &[inputs]), ops.parameter("w", &[outputs, inputs])];
            for (index, step) in epilogue.iter().enumerate() {
                match step {
                    Bias => operands.push(ops.parameter(&format!("b{index}"), &[outputs])),
                    Add => operands.push(ops.input(&format!("a{index}"), &[outputs])),
                    _ => {}
                }
            }
            let y = ops.op(Linear { epilogue: epilogue.clone() }, &operands);
            check_exact(ops.output("y", y), &[1, 3], &format!("{epilogue:?}"));
        }
    }
}

#[test]
fn functions_of_one_and_two_elements() {
    for item in ITEMS {
        let mut ops = Ops::new();
        let (a, b) = (ops.input("a", item), ops.input("b", item));
        let scalar = ops.op(Constant { shape: Shape::scalar(), values: vec![-2.0] }, &[]);
        let mut results: Vec<(String, ValueId)> = Vec::new();
        for kind in [UnaryKind::Relu, UnaryKind::Negate, UnaryKind::Square, UnaryKind::Sqrt] {
            results.push((format!("{kind:?}"), ops.op(Unary { kind }, &[a])));
        }
        for kind in BinaryKind::PLAIN {
            results.push((format!("{kind:?}"), ops.op(Binary { kind }, &[a, b])));
            results.push((format!("{kind:?} with a number"), ops.op(Binary { kind }, &[a, scalar])));
        }
        let ops = results.into_iter().fold(ops, |ops, (name, value)| ops.output(&name, value));
        check_exact(ops, &[1, 2, 7, 33], &format!("{item:?}"));
    }
}

/// Each activation alone, its gradient, and in the epilogue of a product that gives exact integers.
#[test]
fn activations() {
    let others = [Activation::leaky_relu(0.3), Activation::elu(0.7), Activation::huber(2.5)];
    for activation in Activation::ALL.into_iter().chain(others) {
        for item in ITEMS {
            let mut ops = Ops::new();
            let (g, x) = (ops.input("g", item), ops.input("x", item));
            let y = ops.op(Unary { kind: UnaryKind::Activation(activation) }, &[x]);
            let at = if activation.slope_takes_result() { y } else { x };
            let dx = ops.op(Binary { kind: BinaryKind::ActivationGrad(activation) }, &[g, at]);
            check_near(
                ops.output("y", y).output("dx", dx),
                &[1, 2, 7],
                3e-6,
                &format!("{activation} {item:?}"),
            );
        }
        let epilogue = vec![EpilogueStep::Bias, EpilogueStep::Activation(activation)];
        for (inputs, outputs) in [(5, 7), (17, 33)] {
            let mut ops = Ops::new();
            let (x, w) = (ops.input("x", &[inputs]), ops.parameter("w", &[outputs, inputs]));
            let b = ops.parameter("b", &[outputs]);
            let y = ops.op(Linear { epilogue: epilogue.clone() }, &[x, w, b]);
            check_near(ops.output("y", y), &[1, 3], 3e-6, &format!("{activation} after a dense layer"));
        }
        for channels in [3, 24] {
            let mut ops = Ops::new();
            let (x, w) = (ops.input("x", &[channels, 5, 6]), ops.parameter("w", &[channels, channels, 3, 3]));
            let b = ops.parameter("b", &[channels]);
            let window = Window::square(3, 1, 1);
            let conv = Conv { window, groups: 1, epilogue: epilogue.clone() };
            let y = ops.op(conv, &[x, w, b]);
            check_near(ops.output("y", y), &[2], 2e-5, &format!("{activation} after a convolution"));
        }
    }
}

/// A comparison is the only SSE instruction that could have an operand in unaligned memory.
#[test]
fn comparisons_of_unaligned_elements_without_avx() {
    let mut ops = Ops::new();
    let (g, y) = (ops.input("g", &[7]), ops.input("y", &[7]));
    let dx = ops.op(Binary { kind: BinaryKind::ReluGrad }, &[g, y]);
    let graph = ops.output("dx", dx).finish();
    let mut options = CompileOptions::default();
    options.plan.features = Features::Baseline;
    Expectation::new(&graph, &[1, 3], Values::Integers, Agreement::Exact).check(
        Mode::Inference,
        &options,
        "baseline",
    );
}

#[test]
fn transcendental_functions() {
    for item in ITEMS {
        let mut ops = Ops::new();
        let a = ops.input("a", item);
        let square = ops.op(Unary { kind: UnaryKind::Square }, &[a]);
        let half = ops.op(Constant { shape: Shape::scalar(), values: vec![0.5] }, &[]);
        let positive = ops.op(Binary { kind: BinaryKind::Add }, &[square, half]);
        let mut results: Vec<(String, ValueId)> = Vec::new();
        for kind in UnaryKind::ALL {
            // A rounded sum may be on the other side of a jump.
            let is_rounding = matches!(kind, UnaryKind::Activation(activation) if activation.is_rounding());
            let x = if is_rounding { a } else { positive };
            results.push((format!("{kind:?}"), ops.op(Unary { kind }, &[x])));
        }
        let ops = results.into_iter().fold(ops, |ops, (name, value)| ops.output(&name, value));
        check_near(ops, &[1, 2, 7], 1e-6, &format!("{item:?}"));
    }
}

#[test]
fn channels() {
    for item in ITEMS {
        let mut ops = Ops::new();
        let x = ops.input("x", item);
        let b = ops.parameter("b", &item[..1]);
        let biased = ops.op(Bias {}, &[x, b]);
        let sums = ops.op(SumChannels {}, &[x]);
        let mut ops = ops.output("biased", biased).output("sums", sums);
        for (axis, &size) in item.iter().enumerate() {
            let scale = ops.parameter(&format!("s{axis}"), &[size]);
            let scaled = ops.op(Scale::along(axis + 1), &[x, scale]);
            ops = ops.output(&format!("scaled{axis}"), scaled);
        }
        // One factor for each sample, each channel of a sample, and each pixel.
        let of_samples = ops.input("of_samples", &[]);
        let of_channels = ops.input("of_channels", &item[..1]);
        let scaled = [(of_samples, 1), (of_channels, 2)]
            .map(|(factors, count)| ops.op(Scale { axis: 0, count }, &[x, factors]));
        ops = ops.output("samples", scaled[0]).output("channels", scaled[1]);
        for first in 2..=item.len() {
            let axes = &item[first - 1..];
            let factors = ops.parameter(&format!("p{first}"), axes);
            let scaled = ops.op(Scale { axis: first, count: axes.len() }, &[x, factors]);
            ops = ops.output(&format!("pixels{first}"), scaled);
        }
        if item.len() == 3 {
            let factors = ops.parameter("rows", &item[..2]);
            let scaled = ops.op(Scale { axis: 1, count: 2 }, &[x, factors]);
            ops = ops.output("channels and rows", scaled);
        }
        check_exact(ops, &[1, 2, 7], &format!("{item:?}"));
    }
    // Along the axes of a parameter, which has no batch axis.
    let mut ops = Ops::new();
    let (w, s) = (ops.parameter("w", &[3, 5, 2]), ops.parameter("s", &[3]));
    let scaled = ops.op(Scale::along(0), &[w, s]);
    check_exact(ops.output("y", scaled), &[1, 4], "a scaled parameter");
}

#[test]
fn moves() {
    for item in ITEMS {
        for axis in 1..=item.len() {
            let wider = |size: usize| {
                let mut item = item.to_vec();
                item[axis - 1] = size;
                item
            };
            let mut ops = Ops::new();
            let parts = [(0, item[axis - 1]), (1, 1), (2, 5), (3, 18)]
                .map(|(name, size)| ops.input(&format!("x{name}"), &wider(size)));
            let joined = ops.op(Concat { axis }, &parts);
            let total = ops.item(joined)[axis - 1];
            let slice = |start, length| Slice::new(axis, start, length);
            let first = ops.op(slice(0, 1), &[joined]);
            let middle = ops.op(slice(1, total - 2), &[joined]);
            let last = ops.op(slice(total - 3, 3), &[joined]);
            let ops = ops
                .output("joined", joined)
                .output("first", first)
                .output("middle", middle)
                .output("last", last);
            check_exact(ops, &[1, 2, 7], &format!("{item:?} along {axis}"));
        }
    }
}

#[test]
fn one_value_under_several_names_and_shapes() {
    let mut ops = Ops::new();
    let (x, w) = (ops.input("x", &[3, 4]), ops.parameter("w", &[12]));
    let relu = ops.op(Unary { kind: UnaryKind::Relu }, &[x]);
    let flat = ops.op(Reshape { shape: Shape::batched(&[12]) }, &[relu]);
    let raised = ops.op(Reshape { shape: Shape::new([Dim::batch(), Dim::Fixed(1), Dim::Fixed(12)]) }, &[x]);
    let square = ops.op(Unary { kind: UnaryKind::Square }, &[w]);
    let reshaped = ops.op(Reshape { shape: Shape::fixed(&[3, 4]) }, &[square]);
    let biased = ops.op(Bias {}, &[flat, square]);
    let ops = ops
        .output("relu", relu)
        .output("flat", flat)
        .output("flat again", flat)
        .output("input itself", x)
        .output("input reshaped", raised)
        .output("parameter itself", w)
        .output("of parameters alone", square)
        .output("of parameters alone, reshaped", reshaped)
        .output("biased", biased);
    check_exact(ops, &[1, 2, 7], "shared values");
}

#[test]
fn softmax_and_its_logarithm() {
    for item in ITEMS {
        let mut ops = Ops::new();
        let (x, g) = (ops.input("x", item), ops.input("g", item));
        let softmax = ops.op(Softmax {}, &[x]);
        let softmax_dx = ops.op(SoftmaxGrad {}, &[g, softmax]);
        let log = ops.op(LogSoftmax {}, &[x]);
        let log_dx = ops.op(LogSoftmaxGrad {}, &[g, log]);
        // The exact gradients are zero, so a relative bound is impossible.
        let ops = ops.output("softmax", softmax);
        let ops = match item[0] {
            1 => ops,
            _ => ops.output("softmax dx", softmax_dx).output("log", log).output("log dx", log_dx),
        };
        check_near(ops, &[1, 2, 7], 1e-5, &format!("{item:?}"));
    }
}
