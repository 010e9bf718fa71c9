//! The interpreter: its inputs, and special cases of operators that golden files do not cover (NaN, signed zero, argmax
//! indices in the padding, masks).

use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::interp::{Array, Bindings, InterpError, run};
use windlass_compiler::ops::window::{Window, fixed_sizes};
use windlass_compiler::ops::{Op, pool, source};
use windlass_compiler::shape::{DType, Shape, Type};

fn bind<const N: usize>(values: [(&str, Array<f32>); N]) -> Bindings<f32> {
    values.map(|(name, array)| (name.to_owned(), array)).into()
}

fn graph(nodes: &str) -> Graph {
    format!("graph test {{\n{nodes}\n}}").parse().unwrap()
}

fn cross_entropy() -> Graph {
    graph(
        r#"%0 = input {name = "x", type = "f32[N, 3]"}
           %1 = input {name = "labels", type = "i32[N]"}
           %2 = cross_entropy(%0, %1)
           output "loss" = %2"#,
    )
}

#[track_caller]
fn rejects(batch: usize, bindings: &Bindings<f32>, expected: InterpError) {
    assert_eq!(run(&cross_entropy(), batch, bindings).unwrap_err(), expected);
}

#[test]
fn wrong_bindings_are_named() {
    let labels = || ("labels", Array::ints([2], vec![0, 1]));
    let x = || ("x", Array::zeros([2, 3]));
    rejects(0, &bind([x(), labels()]), InterpError::EmptyBatch);
    rejects(
        2,
        &bind([labels()]),
        InterpError::MissingBinding { kind: "input", name: "x".into(), sizes: vec![2, 3] },
    );
    rejects(
        3,
        &bind([x(), labels()]),
        InterpError::WrongSizes { name: "x".into(), expected: vec![3, 3], got: vec![2, 3] },
    );
    rejects(
        2,
        &bind([x(), ("labels", Array::zeros([2]))]),
        InterpError::WrongDType { name: "labels".into(), expected: DType::I32, got: DType::F32 },
    );
    rejects(
        2,
        &bind([("x", Array::new([2, 3], vec![0.0; 5])), labels()]),
        InterpError::WrongElementCount { name: "x".into(), sizes: vec![2, 3], expected: 6, got: 5 },
    );
    for label in [3, -1] {
        rejects(
            2,
            &bind([x(), ("labels", Array::ints([2], vec![0, label]))]),
            InterpError::LabelOutOfRange { item: 1, label, classes: 3 },
        );
    }
}

#[test]
fn every_value_can_be_looked_at() {
    let graph = cross_entropy();
    let bindings = bind([("x", Array::zeros([1, 3])), ("labels", Array::ints([1], vec![2]))]);
    let outcome = run(&graph, 1, &bindings).unwrap();
    assert_eq!(outcome.value(graph.source("labels").unwrap()).int(), [2]);
    assert_eq!(*outcome.value(graph.outputs()[0].value), outcome.outputs["loss"]);
    assert!((outcome.outputs["loss"].real()[0] - 3f32.ln()).abs() < 1e-6);
}

#[test]
fn relu_and_its_gradient_pass_nan_and_negative_zero() {
    let graph = graph(
        r#"%0 = input {name = "x", type = "f32[N, 4]"}
           %1 = unary(%0) {kind = "relu"}
           %2 = input {name = "g", type = "f32[N, 4]"}
           %3 = binary(%2, %1) {kind = "relu_grad"}
           output "y" = %1
           output "gx" = %3"#,
    );
    let x = Array::new([1, 4], vec![f32::NAN, -0.0, -1.0, f32::INFINITY]);
    let outcome =
        run(&graph, 1, &bind([("x", x), ("g", Array::new([1, 4], vec![1.0, 2.0, f32::NAN, 3.0]))])).unwrap();
    let y = outcome.outputs["y"].real();
    assert!(y[0].is_nan());
    assert_eq!(
        y[1..].iter().map(|y| y.to_bits()).collect::<Vec<_>>(),
        [(-0f32).to_bits(), 0f32.to_bits(), f32::INFINITY.to_bits()]
    );
    assert_eq!(outcome.outputs["gx"].real(), [1.0, 0.0, 0.0, 3.0]);
}

/// One pooled row: values, argmax indices, and the gradient of the values' sum.
fn max_pool(window: Window, x: &[f32]) -> (Vec<f32>, Vec<i32>, Vec<f32>) {
    let mut graph = Graph::new("pool");
    let mut add = |op: Op, operands: &[_]| graph.add(op, operands, "").unwrap();
    let input = |name: &str, length| source::Input {
        name: name.to_owned(),
        role: source::InputRole::Data,
        ty: Type::f32(Shape::batched(&[1, length])),
    };
    let outputs = window.output_sizes(&[x.len()])[0];
    let source = add(input("x", x.len()).into(), &[])[0];
    let pooled = add(pool::MaxPool { window: window.clone() }.into(), &[source]);
    let ones = add(input("g", outputs).into(), &[])[0];
    let gradient =
        add(pool::MaxPoolGrad { window, input_sizes: fixed_sizes(&[x.len()]) }.into(), &[ones, pooled[1]])[0];
    let bindings = bind([
        ("x", Array::new([1, 1, x.len()], x.to_vec())),
        ("g", Array::new([1, 1, outputs], vec![1.0; outputs])),
    ]);
    let outcome = run(&graph, 1, &bindings).unwrap();
    (
        outcome.value(pooled[0]).real().to_vec(),
        outcome.value(pooled[1]).int().to_vec(),
        outcome.value(gradient).real().to_vec(),
    )
}

#[test]
fn max_pooling_at_the_corners() {
    let row = |kernel_size, stride, padding: usize, dilation| Window {
        kernel_size: vec![kernel_size],
        stride: vec![stride],
        padding: vec![padding.into()],
        dilation: vec![dilation],
    };
    // The first of equal values is the maximum, and overlapping windows add up.
    assert_eq!(
        max_pool(row(3, 1, 0, 1), &[1.0, 2.0, 2.0, 0.0]),
        (vec![2.0, 2.0], vec![1, 0], vec![0.0, 2.0, 0.0, 0.0])
    );
    // A NaN is the maximum, the last of several; numbers after it are not.
    let (values, places, gradient) = max_pool(row(4, 4, 0, 1), &[f32::NAN, 1.0, f32::NAN, 9.0]);
    assert!(values[0].is_nan());
    assert_eq!((places, gradient), (vec![2], vec![0.0, 0.0, 1.0, 0.0]));
    // A window wholly in the padding, and one of only −∞, whose argmax 0 is in the padding: the gradient is dropped.
    let low = f32::NEG_INFINITY;
    assert_eq!(max_pool(row(2, 1, 1, 2), &[5.0]), (vec![low], vec![0], vec![0.0]));
    assert_eq!(max_pool(row(2, 2, 1, 1), &[low, 3.0]), (vec![low, 3.0], vec![0, 0], vec![0.0, 1.0]));
}

#[test]
fn dropout_keeps_its_share_and_scales_it() {
    let graph = graph(
        r#"%0 = input {name = "x", type = "f32[N, 1000]"}
           %1 = input {name = "seed", type = "i32[2]"}
           %2 = dropout_training(%0, %1) {rate = 0.25, stream = 0}
           %3 = dropout_training(%0, %1) {rate = 0.25, stream = 1}
           output "a" = %2
           output "b" = %3"#,
    );
    let masks = |seed, step| {
        let x = Array::new([10, 1000], vec![3.0; 10_000]);
        let outcome =
            run(&graph, 10, &bind([("x", x), ("seed", Array::ints([2], vec![seed, step]))])).unwrap();
        ["a", "b"].map(|name| outcome.outputs[name].real().to_vec())
    };
    let [a, b] = masks(-7, 0);
    let kept = a.iter().filter(|&&y| y != 0.0).count();
    // Six standard deviations of a binomial of 10000 at 3/4 are 260.
    assert!((7240..=7760).contains(&kept), "{kept}");
    assert!(a.iter().all(|&y| y == 0.0 || y == 3.0 * (1.0f64 / 0.75) as f32));
    assert_eq!(masks(-7, 0)[0], a);
    for other in [&b, &masks(-7, 1)[0], &masks(8, 0)[0]] {
        let agreeing = a.iter().zip(other).filter(|(a, b)| a == b).count();
        // Independent masks agree with probability 10/16; six standard deviations are 290.
        assert!((5960..=6540).contains(&agreeing), "{agreeing}");
    }
}

#[test]
fn epilogues_run_in_order() {
    let graph = graph(
        r#"%0 = input {name = "x", type = "f32[N, 2]"}
           %1 = parameter {name = "w", shape = "[2, 2]", init = "xavier_uniform"}
           %2 = parameter {name = "b", shape = "[2]", init = "xavier_uniform"}
           %3 = linear(%0, %1, %2, %0) {epilogue = ["relu", "bias", "add"]}
           output "y" = %3"#,
    );
    let bindings = bind([
        ("x", Array::new([1, 2], vec![1.0, 2.0])),
        ("w", Array::new([2, 2], vec![1.0, 0.0, 0.0, -1.0])),
        ("b", Array::new([2], vec![10.0, -20.0])),
    ]);
    assert_eq!(run(&graph, 1, &bindings).unwrap().outputs["y"].real(), [12.0, -18.0]);
}

/// Each element of the input is spread over its window of the result, followed by the epilogue; a position that no
/// window covers is an empty sum.
#[test]
fn a_transposed_convolution_has_an_epilogue() {
    let graph = graph(
        r#"%0 = input {name = "g", type = "f32[N, 1, 2]"}
           %1 = input {name = "skip", type = "f32[N, 2, 6]"}
           %2 = parameter {name = "w", shape = "[1, 2, 2]", init = "xavier_uniform"}
           %3 = parameter {name = "b", shape = "[2]", init = "xavier_uniform"}
           %4 = conv_grad_input(%0, %2, %3, %1) {kernel_size = [2], stride = [3], padding = [0], dilation = [1], groups = 1, input_sizes = [6], epilogue = ["bias", "relu", "add"]}
           output "y" = %4"#,
    );
    let bindings = bind([
        ("g", Array::new([1, 1, 2], vec![3.0, -5.0])),
        ("skip", Array::new([1, 2, 6], (0..12u8).map(|i| f32::from(i) * 100.0).collect())),
        ("w", Array::new([1, 2, 2], vec![1.0, 2.0, -1.0, 4.0])),
        ("b", Array::new([2], vec![1.0, -2.0])),
    ]);
    assert_eq!(
        run(&graph, 1, &bindings).unwrap().outputs["y"].real(),
        [4.0, 107.0, 201.0, 300.0, 400.0, 501.0, 600.0, 710.0, 800.0, 903.0, 1000.0, 1100.0]
    );
}

#[test]
fn a_network_runs_in_both_precisions() {
    let mut builder = Builder::new("net");
    let x = builder.input("x", &[1, 4, 4]).unwrap();
    let x = builder.layer("c", &Layer::conv(2, Window::square(3, 1, 1)), x).unwrap();
    let x = builder.layer("p", &Layer::avg_pool(Window::square(2, 2, 0)), x).unwrap();
    let x = builder.layer("f", &Layer::Flatten, x).unwrap();
    builder.output("y", x).unwrap();
    let graph = builder.finish().unwrap();
    let bindings = bind([
        ("x", Array::new([1, 1, 4, 4], (0..16u8).map(f32::from).collect())),
        ("c.weight", Array::new([2, 1, 3, 3], (0..18u8).map(|i| f32::from(i) - 9.0).collect())),
        ("c.bias", Array::new([2], vec![1.0, -1.0])),
    ]);
    let wide = bindings.iter().map(|(name, array)| (name.clone(), array.convert::<f64>())).collect();
    let y = &run(&graph, 1, &bindings).unwrap().outputs["y"];
    assert_eq!(y.sizes, [1, 8]);
    assert_eq!(y.convert::<f64>(), run(&graph, 1, &wide).unwrap().outputs["y"]);
}
