//! Compares every operator's gradient, and those of products twice, with central differences in double precision,
//! through sums in which every element of the result has its own weight.

mod support;

use support::{check_gradients, operator, outcome, spaced_bindings, weighted_sum};
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::Array;
use windlass_compiler::ops::batch_norm::{BatchNorm, BatchNormTraining};
use windlass_compiler::ops::conv::{Conv, ConvGradInput, ConvGradWeight};
use windlass_compiler::ops::ctc::Ctc;
use windlass_compiler::ops::dropout::{Dropout, DropoutTraining, MaskUnit};
use windlass_compiler::ops::elementwise::{Bias, Binary, BinaryKind, Scale, SumChannels, Unary, UnaryKind};
use windlass_compiler::ops::gather::{Gather, GatherGrad};
use windlass_compiler::ops::linear::{Linear, LinearGradInput, LinearGradWeight};
use windlass_compiler::ops::loss::{CrossEntropy, MeanSquaredError};
use windlass_compiler::ops::mask::{Fill, Mask, Masked};
use windlass_compiler::ops::matmul::Matmul;
use windlass_compiler::ops::pool::{AvgPool, MaxPool};
use windlass_compiler::ops::positions::AddPositions;
use windlass_compiler::ops::reduce::{Expand, Reduce, ReduceKind};
use windlass_compiler::ops::softmax::{LogSoftmax, Softmax};
use windlass_compiler::ops::structure::{Concat, Pad, Reshape, Slice, Transpose};
use windlass_compiler::ops::window::Window;
use windlass_compiler::ops::{Op, Operator};
use windlass_compiler::shape::{Dim, Shape, Sizes, Type};

const BATCH: usize = 3;

/// Checks an operator on operands of the given types; those marked `positive` hold numbers between 0.5 and 2.5.
#[track_caller]
fn check(op: impl Into<Op>, operands: &[&str]) {
    let types: Vec<Type> =
        operands.iter().map(|text| text.trim_start_matches("positive ").parse().unwrap()).collect();
    let op = op.into();
    let (mut graph, _, results) = operator(&op, &types);
    let loss = weighted_sum(&mut graph, results[0]);
    let sizes = Sizes::from(BATCH).with("T".parse().unwrap(), 4).with("S".parse().unwrap(), 2);
    let mut bindings = spaced_bindings(&graph, &sizes);
    for (index, _) in operands.iter().enumerate().filter(|(_, text)| text.starts_with("positive ")) {
        let array = bindings.get_mut(&format!("operand{index}")).unwrap();
        let values = array.real().iter().map(|x| 1.5 + x).collect();
        *array = Array::new(array.sizes.clone(), values);
    }
    check_gradients(&graph, loss, sizes, bindings);
}

fn window<const N: usize>(
    kernel_size: [usize; N],
    stride: [usize; N],
    padding: [usize; N],
    dilation: [usize; N],
) -> Window {
    Window {
        kernel_size: kernel_size.into(),
        stride: stride.into(),
        padding: padding.map(Into::into).into(),
        dilation: dilation.into(),
    }
}

#[track_caller]
fn check_conv(window: Window, groups: usize, x: &str, weight: &str) {
    let conv = Conv { window: window.clone(), groups, epilogue: Vec::new() };
    let types: Vec<Type> = [x, weight].iter().map(|text| text.parse().unwrap()).collect();
    let g = conv.infer(&types).unwrap()[0].to_string();
    let input_sizes = types[0].shape.dims()[2..].iter().map(Dim::polynomial).collect();
    check_second_derivatives(&conv.clone().into(), &types);
    check(conv, &[x, weight]);
    check(ConvGradInput { window: window.clone(), groups, input_sizes, epilogue: Vec::new() }, &[&g, weight]);
    check(ConvGradWeight { window, groups }, &[&g, x]);
}

/// Checks the second gradients of a product: those of the sum of the squares of its results.
#[track_caller]
fn check_second_derivatives(op: &Op, operands: &[Type]) {
    let (mut graph, sources, results) = operator(op, operands);
    let squares = graph.add_single(Unary { kind: UnaryKind::Square }, &results, "").unwrap();
    let elements = graph.ty(squares).shape.item_elements();
    let shape = Shape::batched(&[1, elements]);
    let flat = graph.add_single(Reshape { shape }, &[squares], "").unwrap();
    let sum = graph.add_single(SumChannels {}, &[flat], "").unwrap();
    let loss = graph.add_single(Reshape { shape: Shape::scalar() }, &[sum], "").unwrap();
    for source in sources {
        let (mut graph, gradients) = windlass_compiler::autodiff::gradients(&graph, loss, &[source]).unwrap();
        let loss = weighted_sum(&mut graph, gradients[0]);
        let bindings = spaced_bindings(&graph, BATCH);
        check_gradients(&graph, loss, BATCH, bindings);
    }
}

#[test]
fn convolution() {
    check_conv(Window::square(1, 1, 0), 1, "f32[N, 3, 2, 2]", "f32[2, 3, 1, 1]");
    check_conv(Window::square(3, 1, 1), 1, "f32[N, 2, 4, 5]", "f32[3, 2, 3, 3]");
    check_conv(Window::square(3, 2, 1), 1, "f32[N, 2, 6, 5]", "f32[2, 2, 3, 3]");
    // A stride that leaves out rows and columns, padding wider than the kernel, a stride wider than the kernel.
    check_conv(Window::square(2, 3, 0), 1, "f32[N, 1, 6, 7]", "f32[2, 1, 2, 2]");
    check_conv(Window::square(1, 2, 2), 1, "f32[N, 1, 2, 3]", "f32[2, 1, 1, 1]");
}

#[test]
fn convolution_with_rectangles_and_dilation() {
    let rectangle = window([3, 2], [2, 1], [1, 0], [1, 2]);
    check_conv(rectangle, 1, "f32[N, 2, 5, 4]", "f32[3, 2, 3, 2]");
    check_conv(window([2, 3], [1, 2], [0, 2], [3, 1]), 1, "f32[N, 1, 5, 3]", "f32[2, 1, 2, 3]");
}

#[test]
fn convolution_in_groups() {
    check_conv(Window::square(3, 1, 1), 2, "f32[N, 4, 3, 4]", "f32[6, 2, 3, 3]");
    // Depthwise, with two outputs to each input.
    check_conv(Window::square(3, 2, 1), 3, "f32[N, 3, 5, 5]", "f32[6, 1, 3, 3]");
}

/// Of sequences of four pixels, and of three more or less.
#[test]
fn windows_along_an_axis_of_open_size() {
    for (kernel_size, padding, dilation, groups, weight) in [
        (3, 1, 1, 1, "f32[3, 4, 3]"),
        (2, 3, 2, 2, "f32[6, 2, 2]"),
        (3, 3, 3, 4, "f32[4, 1, 3]"),
        (1, 0, 1, 1, "f32[2, 4, 1]"),
    ] {
        let window = window([kernel_size], [1], [padding], [dilation]);
        for x in ["f32[N, 4, T]", "f32[N, 4, T + 3]"] {
            let conv = Conv { window: window.clone(), groups, epilogue: Vec::new() };
            let types: Vec<Type> = [x, weight].iter().map(|text| text.parse().unwrap()).collect();
            let g = conv.infer(&types).unwrap()[0].to_string();
            let input_sizes = types[0].shape.dims()[2..].iter().map(Dim::polynomial).collect();
            let epilogue = Vec::new();
            check(conv, &[x, weight]);
            let to_input = ConvGradInput { window: window.clone(), groups, input_sizes, epilogue };
            check(to_input, &[&g, weight]);
            check(ConvGradWeight { window: window.clone(), groups }, &[&g, x]);
        }
        if padding < kernel_size {
            check(AvgPool { window: window.clone() }, &["f32[N, 4, T + 3]"]);
            check(MaxPool { window }, &["f32[N, 4, T + 3]"]);
        }
    }
    check(Bias {}, &["f32[N, 3, T]", "f32[3]"]);
    check(SumChannels {}, &["f32[N, 3, T]"]);
}

#[test]
fn convolution_along_one_and_three_axes() {
    check_conv(window([3], [2], [1], [2]), 1, "f32[N, 2, 8]", "f32[3, 2, 3]");
    check_conv(
        window([2, 1, 3], [1, 2, 1], [1, 0, 1], [1; 3]),
        1,
        "f32[N, 2, 2, 3, 2]",
        "f32[2, 2, 2, 1, 3]",
    );
}

#[test]
fn pooling() {
    for (window, x) in [
        (Window::square(2, 2, 0), "f32[N, 2, 4, 4]"),
        (Window::square(3, 1, 1), "f32[N, 2, 4, 3]"),
        (Window::square(3, 2, 1), "f32[N, 1, 6, 5]"),
        (window([3, 2], [2, 1], [1, 0], [1, 1]), "f32[N, 2, 5, 4]"),
        (window([2, 2], [1, 2], [0, 1], [2, 1]), "f32[N, 1, 5, 4]"),
        (window([3], [2], [1], [2]), "f32[N, 2, 8]"),
        (window([2, 3, 1], [2, 1, 1], [1, 1, 0], [1, 1, 1]), "f32[N, 1, 3, 4, 2]"),
    ] {
        check(MaxPool { window: window.clone() }, &[x]);
        check(AvgPool { window }, &[x]);
    }
}

#[test]
fn dense_layers() {
    for [x, weight, g] in [["f32[N, 5]", "f32[4, 5]", "f32[N, 4]"], ["f32[N, 1]", "f32[1, 1]", "f32[N, 1]"]] {
        let linear = Linear { epilogue: Vec::new() };
        check_second_derivatives(&linear.clone().into(), &[x, weight].map(|text| text.parse().unwrap()));
        check(linear, &[x, weight]);
        check(LinearGradInput {}, &[g, weight]);
        check(LinearGradWeight {}, &[g, x]);
    }
}

#[test]
fn functions_of_an_element() {
    // At a jump, a difference is no slope: the golden files have the gradients of roundings.
    let is_rounding =
        |kind: &UnaryKind| matches!(kind, UnaryKind::Activation(activation) if activation.is_rounding());
    for kind in UnaryKind::ALL.into_iter().filter(|kind| !is_rounding(kind)) {
        let (batched, fixed) = match kind {
            UnaryKind::Log | UnaryKind::Sqrt | UnaryKind::Rsqrt => {
                ("positive f32[N, 2, 3]", "positive f32[5]")
            }
            UnaryKind::Relu
            | UnaryKind::Sigmoid
            | UnaryKind::Tanh
            | UnaryKind::Exp
            | UnaryKind::Negate
            | UnaryKind::Square
            | UnaryKind::Activation(_) => ("f32[N, 2, 3]", "f32[5]"),
        };
        check(Unary { kind }, &[batched]);
        check(Unary { kind }, &[fixed]);
    }
}

#[test]
fn functions_of_two_elements() {
    use BinaryKind::{Add, Divide, Maximum, Minimum, Multiply, Subtract};
    for kind in [Add, Subtract, Multiply, Divide, Maximum, Minimum] {
        check(Binary { kind }, &["f32[N, 2, 3]", "positive f32[N, 2, 3]"]);
        check(Binary { kind }, &["f32[4]", "positive f32[4]"]);
        check(Binary { kind }, &["f32[N, 2, 3]", "positive f32[]"]);
        check(Binary { kind }, &["f32[]", "positive f32[]"]);
    }
}

#[test]
fn channels() {
    for x in ["f32[N, 3]", "f32[N, 3, 2]", "f32[N, 3, 2, 2]"] {
        check(Bias {}, &[x, "f32[3]"]);
        check(Scale::along(1), &[x, "f32[3]"]);
        check(Scale { axis: 0, count: 1 }, &[x, "f32[N]"]);
        check(Scale { axis: 0, count: 2 }, &[x, "f32[N, 3]"]);
        check(SumChannels {}, &[x]);
    }
}

#[test]
fn moving_elements() {
    check(Reshape { shape: Shape::batched(&[6]) }, &["f32[N, 2, 3]"]);
    check(Reshape { shape: Shape::fixed(&[6]) }, &["f32[2, 3]"]);
    check(Concat { axis: 1 }, &["f32[N, 2, 2]", "f32[N, 1, 2]", "f32[N, 3, 2]"]);
    check(Concat { axis: 2 }, &["f32[N, 2, 1]", "f32[N, 2, 2]"]);
    check(Concat { axis: 0 }, &["f32[2, 2]", "f32[1, 2]"]);
    check(Slice::new(1, 0, 2), &["f32[N, 5, 2]"]);
    check(Slice::new(1, 1, 2), &["f32[N, 5, 2]"]);
    check(Slice::new(2, 3, 2), &["f32[N, 2, 5]"]);
    check(Slice::new(1, 0, 5), &["f32[N, 5]"]);
    check(Slice::new(0, 1, 1), &["f32[3]"]);
}

#[test]
fn moving_elements_along_open_axes() {
    let size = |text: &str| text.parse().unwrap();
    check(Reshape { shape: "[N*T, 3]".parse().unwrap() }, &["f32[N, T, 3]"]);
    check(Reshape { shape: "[N, T*3]".parse().unwrap() }, &["f32[N, T, 3]"]);
    check(Concat { axis: 1 }, &["f32[N, T, 2]", "f32[N, 3, 2]", "f32[N, S, 2]"]);
    check(Concat { axis: 2 }, &["f32[N, T, 2]", "f32[N, T, 1]"]);
    check(Slice { axis: 1, start: size("1"), length: size("T") }, &["f32[N, T + 2, 2]"]);
    check(Slice { axis: 2, start: size("T"), length: size("T*2") }, &["f32[N, 2, T*3]"]);
    check(Pad { axis: 1, before: size("2"), behind: size("0") }, &["f32[N, 3, 2]"]);
    check(Pad { axis: 1, before: size("T - 1"), behind: size("S") }, &["f32[N, T, 2]"]);
    check(Pad { axis: 2, before: size("1"), behind: size("1") }, &["f32[N, 2, T]"]);
    for order in [[0, 1, 2], [0, 2, 1]] {
        check(Transpose { order: order.into() }, &["f32[N, T, 3]"]);
        check(Transpose { order: order.into() }, &["f32[N, S, T]"]);
    }
    check(Transpose { order: vec![0, 3, 1, 2] }, &["f32[N, 2, T, 3]"]);
    check(Transpose { order: vec![1, 0] }, &["f32[2, 3]"]);
}

#[test]
fn reductions_and_expansions() {
    for kind in ReduceKind::ALL {
        for (axis, count, x) in [
            (1, 1, "f32[N, 5]"),
            (1, 1, "f32[N, T, 3]"),
            (2, 1, "f32[N, T, 3]"),
            (1, 2, "f32[N, T, 3]"),
            (1, 1, "f32[N, 3, T]"),
            (2, 2, "f32[N, 2, T, 3]"),
            (0, 1, "f32[4, 2]"),
        ] {
            check(Reduce { kind, axis, count }, &[x]);
        }
    }
    for divided in [false, true] {
        let expand =
            |shape: &str, axis, count| Expand { shape: shape.parse().unwrap(), axis, count, divided };
        check(expand("[N, T, 3]", 1, 1), &["f32[N, 3]"]);
        check(expand("[N, 3, T]", 2, 1), &["f32[N, 3]"]);
        check(expand("[N, 2, T, 3]", 1, 2), &["f32[N, 3]"]);
        check(expand("[2, 3]", 0, 1), &["f32[3]"]);
    }
}

#[test]
fn batch_normalisation() {
    for x in ["f32[N, 2]", "f32[N, 2, 3]", "f32[N, 2, T]", "f32[N, 3, 2, 2]"] {
        let channels = if x.starts_with("f32[N, 3") { "f32[3]" } else { "f32[2]" };
        let operands = [x, channels, channels, channels, channels];
        // An ε far from zero shows whether the gradient accounts for it.
        for epsilon in [1e-5, 0.3] {
            check_normalisation(&BatchNorm { epsilon, momentum: 0.1, epilogue: vec![] }.into(), &operands);
            check_normalisation(
                &BatchNormTraining { epsilon, momentum: 0.1, epilogue: vec![] }.into(),
                &operands,
            );
        }
    }
}

/// Like [`check`], with running statistics that are states and need no gradient.
#[track_caller]
fn check_normalisation(op: &Op, operands: &[&str; 5]) {
    let channels: Type = operands[1].parse().unwrap();
    let text = format!(
        r#"graph norm {{
            %0 = input {{name = "x", type = "{}"}}
            %1 = parameter {{name = "gamma", shape = "{shape}", init = {{constant = 1.0}}}}
            %2 = parameter {{name = "beta", shape = "{shape}", init = {{constant = 0.0}}}}
            %3 = state {{name = "mean", shape = "{shape}", init = {{constant = 0.0}}}}
            %4 = state {{name = "variance", shape = "{shape}", init = {{constant = 1.0}}}}
        }}"#,
        operands[0],
        shape = channels.shape,
    );
    let mut graph: Graph = text.parse().unwrap();
    let sources = ["x", "gamma", "beta", "mean", "variance"].map(|name| graph.source(name).unwrap());
    let results = graph.add(op.clone(), &sources, "").unwrap();
    let loss = weighted_sum(&mut graph, results[0]);
    let sizes = Sizes::from(BATCH).with("T".parse().unwrap(), 4);
    let mut bindings = spaced_bindings(&graph, &sizes);
    let variance = bindings["variance"].real().iter().map(|x| 1.5 + x).collect();
    bindings.insert("variance".to_owned(), Array::new(channels.shape.concrete(BATCH), variance));
    check_gradients(&graph, loss, sizes, bindings);
}

#[test]
fn dropout() {
    check(Dropout::new(0.5), &["f32[N, 4]"]);
    for unit in MaskUnit::ALL {
        check(DropoutTraining { rate: 0.4, stream: 3, unit }, &["f32[N, 4, 5]", "i32[2]"]);
    }
}

#[test]
fn the_gradient_of_dropout_has_the_mask_of_the_forward_pass() {
    let op = DropoutTraining::new(0.4, 3);
    let types = ["f32[N, 50]", "i32[2]"].map(|text| text.parse().unwrap());
    let (mut graph, sources, results) = operator(&op.into(), &types);
    let loss = weighted_sum(&mut graph, results[0]);
    let (graph, gradients) = windlass_compiler::autodiff::gradients(&graph, loss, &sources[..1]).unwrap();
    let outcome = outcome(&graph, BATCH, &spaced_bindings(&graph, BATCH));
    let dropped = |value| -> Vec<bool> { outcome.value(value).real().iter().map(|&x| x == 0.0).collect() };
    assert_eq!(dropped(results[0]), dropped(gradients[0]));
    assert!(dropped(results[0]).contains(&true) && dropped(results[0]).contains(&false));
}

#[test]
fn softmax() {
    for x in ["f32[N, 4]", "f32[N, 3, 2, 2]", "f32[N, 1, 2]"] {
        check(Softmax {}, &[x]);
        check(LogSoftmax {}, &[x]);
    }
}

#[test]
fn products_of_matrices() {
    for transpose_left in [false, true] {
        for transpose_right in [false, true] {
            let left = if transpose_left { "f32[3*N, 4, 2]" } else { "f32[3*N, 2, 4]" };
            let right = if transpose_right { "f32[3*N, 3, 4]" } else { "f32[3*N, 4, 3]" };
            check(Matmul { transpose_left, transpose_right }, &[left, right]);
        }
    }
}

#[test]
fn masks_and_positions() {
    check(Mask { masked: Masked::Causal, fill: Fill::Zero }, &["f32[N, 3, 4]"]);
    check(Mask { masked: Masked::Lengths, fill: Fill::Zero }, &["f32[N, 2, 4]", "i32[N]"]);
    check(AddPositions {}, &["f32[N, 3, 4]"]);
}

#[test]
fn losses() {
    check(CrossEntropy {}, &["f32[N, 4]", "i32[N]"]);
    check(MeanSquaredError {}, &["f32[N, 2, 3]", "f32[N, 2, 3]"]);
}

/// Labels with repeats, padded with what is no class; a sample with the fewest steps, and one without labels.
#[test]
fn sequences_of_labels() {
    for per_label in [false, true] {
        let op = Ctc { blank: 1, per_label, zero_infinity: false };
        let types = ["f32[N, T, 4]", "i32[N, S]", "i32[N]", "i32[N]"].map(|text| text.parse().unwrap());
        let (mut graph, _, results) = operator(&op.into(), &types);
        let loss = weighted_sum(&mut graph, results[0]);
        let sizes = Sizes::from(4).with("T".parse().unwrap(), 5).with("S".parse().unwrap(), 3);
        let mut bindings = spaced_bindings(&graph, &sizes);
        let labels = vec![0, 2, 0, 3, 3, -1, 2, 9, 9, 1, 1, 1];
        bindings.insert("operand1".to_owned(), Array::ints([4, 3], labels));
        bindings.insert("operand2".to_owned(), Array::ints([4], vec![3, 2, 1, 0]));
        bindings.insert("operand3".to_owned(), Array::ints([4], vec![5, 3, 4, 2]));
        check_gradients(&graph, loss, sizes, bindings);
    }
}

#[test]
fn rows_of_tables() {
    for indices in ["i32[N]", "i32[N, 2]", "i32[N, T]", "i32[N*T]", "i32[N, T, 2]"] {
        let gather = Gather { rows: 4 };
        let types = ["f32[4, 3]", indices].map(|text| text.parse().unwrap());
        let g = gather.infer(&types).unwrap()[0].to_string();
        check(gather, &["f32[4, 3]", indices]);
        check(GatherGrad { rows: 4 }, &[&g, indices]);
    }
}

/// A graph in text form whose last value is the loss.
#[track_caller]
fn check_graph(nodes: &str) {
    let mut graph: Graph = format!("graph test {{\n{nodes}\n}}").parse().unwrap();
    let last = *graph.nodes().last().unwrap().results.last().unwrap();
    let loss = weighted_sum(&mut graph, last);
    let bindings = spaced_bindings(&graph, BATCH);
    check_gradients(&graph, loss, BATCH, bindings);
}

#[test]
fn a_value_used_more_than_once_sums_its_gradients() {
    check_graph(
        r#"%0 = input {name = "x", type = "f32[N, 4]"}
           %1 = unary(%0) {kind = "tanh"}
           %2 = binary(%1, %1) {kind = "multiply"}
           %3 = binary(%2, %0) {kind = "add"}
           %4 = binary(%3, %1) {kind = "subtract"}"#,
    );
}

#[test]
fn a_shared_weight_sums_its_gradients() {
    check_graph(
        r#"%0 = input {name = "x", type = "f32[N, 3]"}
           %1 = parameter {name = "w", shape = "[3, 3]", init = "xavier_uniform"}
           %2 = linear(%0, %1)
           %3 = unary(%2) {kind = "sigmoid"}
           %4 = linear(%3, %1)"#,
    );
}

#[test]
fn a_value_without_influence_has_a_gradient_of_zeros() {
    check_graph(
        r#"%0 = input {name = "unused", type = "f32[N, 2, 2]"}
           %1 = parameter {name = "idle", shape = "[3]", init = "xavier_uniform"}
           %2 = input {name = "x", type = "f32[N, 4]"}
           %3 = unary(%2) {kind = "exp"}"#,
    );
}
