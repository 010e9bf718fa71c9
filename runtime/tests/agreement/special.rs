//! NaN, infinities, denormals and signed zeros pass through every layer like in the interpreter.

use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::Array;
use windlass_compiler::ops::conv::{Conv, ConvGradInput, ConvGradWeight};
use windlass_compiler::ops::elementwise::{Binary, BinaryKind, Unary, UnaryKind};
use windlass_compiler::ops::linear::Linear;
use windlass_compiler::ops::pool::{AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad};
use windlass_compiler::ops::softmax::{LogSoftmax, Softmax};
use windlass_compiler::ops::window::{Window, fixed_sizes};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::CompileOptions;
use windlass_compiler::plan::Accuracy;

use crate::check::{Agreement, Expectation};
use crate::graphs::Ops;
use crate::numbers::{Values, sources};

#[track_caller]
fn check(graph: &Graph, agreement: Agreement, what: &str) {
    for seed in 0..6 {
        let batch = 1 + seed as usize % 3;
        let sources = sources(graph, batch, Values::Special, seed);
        Expectation::on(graph, batch, sources, agreement).check_variants(Mode::Inference, what);
    }
}

#[test]
fn functions_without_rounding() {
    let mut ops = Ops::new();
    let (a, b) = (ops.input("a", &[37]), ops.input("b", &[37]));
    let mut results = Vec::new();
    for kind in [UnaryKind::Relu, UnaryKind::Negate, UnaryKind::Square, UnaryKind::Sqrt, UnaryKind::Rsqrt] {
        results.push((format!("{kind:?}"), ops.op(Unary { kind }, &[a])));
    }
    for kind in BinaryKind::PLAIN {
        results.push((format!("{kind:?}"), ops.op(Binary { kind }, &[a, b])));
    }
    let ops = results.into_iter().fold(ops, |ops, (name, value)| ops.output(&name, value));
    check(&ops.finish(), Agreement::Exact, "functions");
}

#[test]
fn max_pooling() {
    let windows = [Window::square(2, 2, 0), Window::square(3, 1, 1), Window::square(5, 2, 2)];
    for (window, channels) in windows.iter().flat_map(|window| [3, 17].map(|channels| (window, channels))) {
        let mut ops = Ops::new();
        let x = ops.input("x", &[channels, 7, 6]);
        let results = ops.ops(MaxPool { window: window.clone() }, &[x]);
        let g = ops.input("g", &[&[channels], &window.output_sizes(&[7, 6])[..]].concat());
        // Ones, so that sums in any order have the same result.
        let ones = ops.op(Binary { kind: BinaryKind::Divide }, &[g, g]);
        let to_x = MaxPoolGrad { window: window.clone(), input_sizes: fixed_sizes(&[7, 6]) };
        let dx = ops.op(to_x, &[ones, results[1]]);
        check(
            &ops.output("y", results[0]).output("dx", dx).finish(),
            Agreement::Exact,
            &format!("{channels} channels, {window:?}"),
        );
    }
}

/// Images of one repeated value, with windows that extend into the padding.
#[test]
fn windows_of_equal_values() {
    let values = [f64::NEG_INFINITY, f64::INFINITY, f64::NAN, 0.0, -0.0];
    for (value, channels) in values.into_iter().flat_map(|value| [1, 9].map(|channels| (value, channels))) {
        let mut ops = Ops::new();
        let x = ops.input("x", &[channels, 5, 5]);
        let g = ops.input("g", &[channels, 3, 3]);
        let window = Window::square(3, 2, 1);
        let results = ops.ops(MaxPool { window: window.clone() }, &[x]);
        let dx = ops
            .op(MaxPoolGrad { window: window.clone(), input_sizes: fixed_sizes(&[5, 5]) }, &[g, results[1]]);
        let mean = ops.op(AvgPool { window }, &[x]);
        let graph = ops.output("max", results[0]).output("dx", dx).output("mean", mean).finish();
        let mut sources = sources(&graph, 2, Values::Integers, 3);
        sources.insert("x".to_owned(), Array::new(vec![2, channels, 5, 5], vec![value; 50 * channels]));
        Expectation::on(&graph, 2, sources, Agreement::Exact)
            .check_variants(Mode::Inference, &format!("all {value}"));
    }
}

/// A gradient is a sum that starts at zero, even with a single term.
#[test]
fn pooling_backward_of_negative_zeros() {
    let windows = [Window::square(2, 2, 0), Window::square(2, 3, 0), Window::square(3, 1, 1)];
    for (window, channels) in windows.iter().flat_map(|window| [1, 17].map(|channels| (window, channels))) {
        let mut ops = Ops::new();
        let x = ops.input("x", &[channels, 8, 8]);
        let g = ops.input("g", &[&[channels], &window.output_sizes(&[8, 8])[..]].concat());
        let places = ops.ops(MaxPool { window: window.clone() }, &[x])[1];
        let to_x = MaxPoolGrad { window: window.clone(), input_sizes: fixed_sizes(&[8, 8]) };
        let max_dx = ops.op(to_x, &[g, places]);
        let mean_dx = ops.op(AvgPoolGrad { window: window.clone(), input_sizes: fixed_sizes(&[8, 8]) }, &[g]);
        let graph = ops.output("max dx", max_dx).output("mean dx", mean_dx).finish();
        let mut sources = sources(&graph, 1, Values::Integers, 3);
        let sizes = sources["g"].sizes.clone();
        let zeros = vec![-0.0; sizes.iter().product()];
        sources.insert("g".to_owned(), Array::new(sizes, zeros));
        Expectation::on(&graph, 1, sources, Agreement::Exact)
            .check_variants(Mode::Inference, "negative zeros");
    }
}

#[test]
fn products() {
    // Weights are finite if there is padding, because compiled code multiplies them by its zeros.
    let window = Window::square(3, 1, 0);
    let mut ops = Ops::new();
    let (x, g) = (ops.input("x", &[2, 6, 7]), ops.input("g", &[5, 4, 5]));
    let w = ops.parameter("w", &[5, 2, 3, 3]);
    let y = ops.op(Conv { window: window.clone(), groups: 1, epilogue: Vec::new() }, &[x, w]);
    let dx = ops.op(
        ConvGradInput {
            window: window.clone(),
            groups: 1,
            input_sizes: fixed_sizes(&[6, 7]),
            epilogue: Vec::new(),
        },
        &[g, w],
    );
    let dw = ops.op(ConvGradWeight { window, groups: 1 }, &[g, x]);
    let graph = ops.output("y", y).output("dx", dx).output("dw", dw).finish();
    check(&graph, Agreement::Within(1e-5), "convolution");

    let mut ops = Ops::new();
    let (x, w) = (ops.input("x", &[13]), ops.parameter("w", &[7, 13]));
    let y = ops.op(Linear { epilogue: Vec::new() }, &[x, w]);
    check(&ops.output("y", y).finish(), Agreement::Within(1e-5), "dense layer");
}

/// Weights are finite, because gradients with respect to the input multiply them by the zeros of their padding.
/// Accuracy is strict, because Winograd's algorithm spreads values that are not finite to neighbouring results.
#[test]
fn products_of_many_channels() {
    for (inputs, outputs, groups, stride) in [(9, 17, 1, 1), (16, 8, 1, 2), (16, 16, 16, 1), (3, 16, 1, 2)] {
        let window = Window::square(3, stride, 0);
        let mut ops = Ops::new();
        let x = ops.input("x", &[inputs, 6, 7]);
        let g = ops.input("g", &[&[outputs], &window.output_sizes(&[6, 7])[..]].concat());
        let w = ops.parameter("w", &[outputs, inputs / groups, 3, 3]);
        let y = ops.op(Conv { window: window.clone(), groups, epilogue: Vec::new() }, &[x, w]);
        let to_input = ConvGradInput {
            window: window.clone(),
            groups,
            input_sizes: fixed_sizes(&[6, 7]),
            epilogue: Vec::new(),
        };
        let dx = ops.op(to_input, &[g, w]);
        let dw = ops.op(ConvGradWeight { window, groups }, &[g, x]);
        let graph = ops.output("y", y).output("dx", dx).output("dw", dw).finish();
        for seed in 0..6 {
            let mut bindings = sources(&graph, 2, Values::Special, seed);
            bindings.insert("w".to_owned(), sources(&graph, 2, Values::Reals, seed)["w"].clone());
            let expectation = Expectation::on(&graph, 2, bindings, Agreement::Within(1e-5));
            for bits in available_vector_bits() {
                let mut options = CompileOptions::default();
                options.plan.vector_bits = Some(bits);
                options.plan.accuracy = Accuracy::Strict;
                expectation.check(Mode::Inference, &options, "convolution of many channels");
            }
        }
    }
}

#[test]
fn padding_meets_special_inputs() {
    let mut ops = Ops::new();
    let x = ops.input("x", &[2, 5, 6]);
    let w = ops.parameter("w", &[3, 2, 3, 3]);
    let conv = Conv { window: Window::square(3, 2, 1), groups: 1, epilogue: Vec::new() };
    let y = ops.op(conv, &[x, w]);
    let graph = ops.output("y", y).finish();
    for seed in 0..6 {
        let mut bindings = sources(&graph, 2, Values::Special, seed);
        bindings.insert("w".to_owned(), sources(&graph, 2, Values::Reals, seed)["w"].clone());
        Expectation::on(&graph, 2, bindings, Agreement::Within(1e-5))
            .check_variants(Mode::Inference, "padded");
    }
}

#[test]
fn softmax() {
    for item in [vec![5], vec![17], vec![3, 7]] {
        let mut ops = Ops::new();
        let x = ops.input("x", &item);
        let (y, log) = (ops.op(Softmax {}, &[x]), ops.op(LogSoftmax {}, &[x]));
        check(&ops.output("y", y).output("log", log).finish(), Agreement::Within(1e-5), &format!("{item:?}"));
    }
}

#[test]
fn transcendental_functions() {
    let mut ops = Ops::new();
    let x = ops.input("x", &[37]);
    let mut results = Vec::new();
    for kind in [UnaryKind::Sigmoid, UnaryKind::Tanh, UnaryKind::Exp, UnaryKind::Log] {
        results.push((format!("{kind:?}"), ops.op(Unary { kind }, &[x])));
    }
    let ops = results.into_iter().fold(ops, |ops, (name, value)| ops.output(&name, value));
    check(&ops.finish(), Agreement::Within(1e-6), "transcendental functions");
}
