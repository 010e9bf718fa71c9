//! Exported models: names, sizes and files, and what cannot be exported.

use prost::Message;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{Array, Bindings, run};
use windlass_compiler::ops::elementwise::UnaryKind;
use windlass_compiler::shape::Sizes;

use super::{ExportError, ExportOptions, export};
use crate::{ImportOptions, import, import_bytes, proto};

fn graph(lines: &[&str]) -> Graph {
    format!("graph net {{\n{}\n}}", lines.join("\n")).parse().unwrap()
}

/// The numbers 0.5, −0.25, … of a parameter of any length.
const VALUES: [f32; 512] = {
    let mut values = [0.5; 512];
    let mut index = 0;
    while index < 512 {
        values[index] -= 0.75 * (index % 3) as f32 + 0.001 * index as f32;
        index += 1;
    }
    values
};

fn exported(graph: &Graph) -> Result<Vec<u8>, ExportError> {
    let count = |name: &str| graph.ty(graph.source(name).unwrap()).shape.item_elements();
    Ok(export(graph, |name| VALUES.get(..count(name)), &ExportOptions::new())?.model)
}

/// Exports a graph and imports it again: both have the same outputs for the same inputs of 2 samples and 3 steps.
#[track_caller]
fn returns(graph: &Graph) -> Graph {
    let imported = import_bytes(&exported(graph).unwrap(), &ImportOptions::new()).unwrap();
    let sizes = ["T", "S"].iter().fold(Sizes::from(2), |sizes, name| sizes.with(name.parse().unwrap(), 3));
    let mut bindings = Bindings::<f32>::new();
    for (_, input) in graph.inputs() {
        let dims = input.ty.shape.concrete(sizes.clone());
        let count = dims.iter().product();
        bindings.insert(input.name.clone(), Array::new(dims, VALUES[..count].to_vec()));
    }
    let mut again = bindings.clone();
    for tensor in &imported.tensors {
        again.insert(tensor.name.clone(), Array::new(tensor.dims.clone(), tensor.values.clone()));
    }
    for (_, parameter) in graph.parameters() {
        let dims = parameter.shape.item();
        let count = dims.iter().product();
        bindings.insert(parameter.name.clone(), Array::new(dims, VALUES[..count].to_vec()));
    }
    let expected = run(graph, sizes.clone(), &bindings).unwrap();
    let found = run(&imported.graph, sizes, &again).unwrap();
    let outputs = graph.outputs().iter().zip(imported.graph.outputs());
    for (output, own) in outputs {
        let (expected, found) = (&expected.outputs[&output.name], &found.outputs[&own.name]);
        assert_eq!(expected.sizes, found.sizes, "{}", output.name);
        for (a, b) in expected.real().iter().zip(found.real()) {
            let is_close = (a - b).abs() <= 1e-6 * a.abs().max(1.0) || a.is_nan() && b.is_nan();
            assert!(is_close, "{}: {a} and {b}", output.name);
        }
    }
    imported.graph
}

#[test]
fn every_function_of_one_element_returns() {
    for kind in UnaryKind::ALL {
        let mut own = Graph::new("net");
        let ty = "f32[N, 4]".parse().unwrap();
        let input =
            windlass_compiler::ops::source::Input { name: "x".to_owned(), role: Default::default(), ty };
        let x = own.add_single(input, &[], "").unwrap();
        let y = own.add_single(windlass_compiler::ops::elementwise::Unary { kind }, &[x], "").unwrap();
        own.add_output("y", y).unwrap();
        returns(&own);
    }
}

#[test]
fn operators_on_elements_and_axes_return() {
    for lines in [
        // Functions of two elements.
        &[
            r#"%0 = input {name = "x", type = "f32[N, 2, 3]"}"#,
            r#"%1 = input {name = "z", type = "f32[N, 2, 3]"}"#,
            r#"%2 = binary(%0, %1) {kind = "at_most"}"#,
            r#"%3 = binary(%2, %1) {kind = "relu_grad"}"#,
            r#"%4 = binary(%3, %0) {kind = "maximum"}"#,
            r#"%5 = binary(%4, %1) {kind = "minimum"}"#,
            r#"%6 = binary(%5, %1) {kind = "divide"}"#,
            r#"output "y" = %6"#,
        ][..],
        // Values of channels, of samples, and of steps.
        &[
            r#"%0 = input {name = "x", type = "f32[N, 2, 3]"}"#,
            r#"%1 = parameter {name = "b", shape = "[2]", init = "xavier_uniform"}"#,
            r#"%2 = parameter {name = "s", shape = "[2, 3]", init = "xavier_uniform"}"#,
            r#"%3 = bias(%0, %1)"#,
            r#"%4 = scale(%3, %2) {axis = 1, count = 2}"#,
            r#"%5 = scale(%4, %1) {axis = 1}"#,
            r#"%6 = reduce(%5) {kind = "max", axis = 1, count = 2}"#,
            r#"%7 = scale(%5, %6) {axis = 0}"#,
            r#"output "y" = %7"#,
        ],
        // Reductions and expansions, also of open sizes.
        &[
            r#"%0 = input {name = "x", type = "f32[N, T, 4]"}"#,
            r#"%1 = reduce(%0) {kind = "mean", axis = 1, count = 1}"#,
            r#"%2 = expand(%1) {shape = "[N, T, 4]", axis = 1, count = 1}"#,
            r#"%3 = slice(%2) {axis = 2, start = 1, length = 2}"#,
            r#"%4 = concat(%3, %0) {axis = 2}"#,
            r#"%5 = transpose(%4) {order = [0, 2, 1]}"#,
            r#"output "y" = %5"#,
            r#"output "z" = %3"#,
        ],
        // Padding by open sizes.
        &[
            r#"%0 = input {name = "x", type = "f32[N, T, 4]"}"#,
            r#"%1 = pad(%0) {axis = 1, before = "T", behind = 2}"#,
            r#"%2 = pad(%1) {axis = 2, before = 1, behind = 1}"#,
            r#"output "y" = %2"#,
        ],
        // Shapes with several open sizes are computed.
        &[
            r#"%0 = input {name = "x", type = "f32[N, T, 4]"}"#,
            r#"%1 = input {name = "z", type = "f32[N, S, 4]"}"#,
            r#"%2 = fold_steps(%0)"#,
            r#"%3 = unary(%2) {kind = "exp"}"#,
            r#"%4 = unfold_steps(%3) {shape = "[N, T, 4]"}"#,
            r#"%5 = matmul(%4, %1) {transpose_right = true}"#,
            r#"%6 = reshape(%5) {shape = "[N*T, S]"}"#,
            r#"%7 = softmax(%6)"#,
            r#"%8 = reshape(%7) {shape = "[N, T, S]"}"#,
            r#"%9 = fill {shape = "[N, T, S]", value = 2}"#,
            r#"%10 = binary(%8, %9) {kind = "multiply"}"#,
            r#"output "y" = %10"#,
        ],
    ] {
        returns(&graph(lines));
    }
}

#[test]
fn names_and_axes_are_those_of_the_network() {
    let own = graph(&[
        r#"%0 = input {name = "x", type = "f32[N, T, 4]"}"#,
        r#"%1 = parameter {name = "w", shape = "[2, 4]", init = "xavier_uniform"}"#,
        r#"%2 = parameter {name = "b", shape = "[2]", init = "xavier_uniform"}"#,
        r#"%3 = reduce(%0) {kind = "max", axis = 1, count = 1}"#,
        r#"%4 = linear(%3, %1) @f"#,
        r#"%5 = bias(%4, %2) @f"#,
        r#"output "x" = %5"#,
        r#"output "same" = %5"#,
        r#"output "given" = %0"#,
    ]);
    let model = proto::Model::decode(&exported(&own).unwrap()[..]).unwrap();
    let written = model.graph.unwrap();
    let names = |infos: &[proto::ValueInfo]| infos.iter().map(|info| info.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&written.inputs), ["x"]);
    // An input and an output of one name are two values.
    assert_eq!(names(&written.outputs), ["x.2", "same", "given"]);
    let axes = &written.inputs[0].ty.as_ref().unwrap().tensor.as_ref().unwrap().shape.as_ref().unwrap().axes;
    let axes: Vec<_> = axes.iter().map(|axis| (axis.name.as_deref(), axis.value)).collect();
    assert_eq!(axes, [(Some("batch"), None), (Some("T"), None), (None, Some(4))]);
    assert_eq!(
        written.initializers.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(),
        ["w", "b"]
    );
    // A dense layer is one node, with its bias and its label.
    let dense = written.nodes.iter().find(|node| node.operator == "Gemm").unwrap();
    assert_eq!((dense.name.as_str(), dense.inputs.len()), ("f", 3));
    assert_eq!(returns(&own).parameters().count(), 2);
}

#[test]
fn everything_that_onnx_lacks_is_listed() {
    let own = graph(&[
        r#"%0 = input {name = "x", type = "f32[N, 4, 6, 6]"}"#,
        r#"%1, %2 = max_pool(%0) {kernel_size = [2, 2], stride = [2, 2], padding = [0, 0], dilation = [1, 1]} @p"#,
        r#"%3 = max_pool_grad(%1, %2) {kernel_size = [2, 2], stride = [2, 2], padding = [0, 0], dilation = [1, 1], input_sizes = [6, 6]} @back"#,
        r#"%4 = binary(%0, %0) {kind = "tanh_grad"} @t"#,
        r#"%5 = binary(%3, %4) {kind = "add"}"#,
        r#"output "y" = %5"#,
    ]);
    let error = exported(&own).unwrap_err();
    let ExportError::Operators { problems } = &error else { panic!("{error}") };
    let labels: Vec<_> = problems.iter().map(|problem| (&*problem.label, &*problem.operator)).collect();
    assert_eq!(labels, [("p", "max_pool"), ("t", "binary")]);
    let text = error.to_string();
    assert!(text.starts_with(
        "2 operators of the network cannot be exported:\n  `max_pool` of the layer `p`: its indices"
    ));
}

#[test]
fn parameters_need_their_values() {
    let own = graph(&[
        r#"%0 = input {name = "x", type = "f32[N, 4]"}"#,
        r#"%1 = parameter {name = "w", shape = "[300, 4]", init = "xavier_uniform"}"#,
        r#"%2 = linear(%0, %1)"#,
        r#"output "y" = %2"#,
    ]);
    let told = |values: Option<&'static [f32]>| {
        export(&own, |_| values, &ExportOptions::new()).unwrap_err().to_string()
    };
    assert_eq!(told(None), "the parameter `w` needs 1200 values but has none");
    assert_eq!(told(Some(&VALUES)), "the parameter `w` needs 1200 values but has 512");
}

#[test]
fn weights_are_in_a_second_file_if_it_is_named() {
    let own = graph(&[
        r#"%0 = input {name = "x", type = "f32[N, 4]"}"#,
        r#"%1 = parameter {name = "w", shape = "[100, 4]", init = "xavier_uniform"}"#,
        r#"%2 = parameter {name = "b", shape = "[100]", init = "xavier_uniform"}"#,
        r#"%3 = parameter {name = "v", shape = "[3, 100]", init = "xavier_uniform"}"#,
        r#"%4 = linear(%0, %1)"#,
        r#"%5 = bias(%4, %2)"#,
        r#"%6 = linear(%5, %3)"#,
        r#"output "y" = %6"#,
    ]);
    let folder = tempfile::tempdir().unwrap();
    let count = |name: &str| own.ty(own.source(name).unwrap()).shape.item_elements();
    let exported =
        export(&own, |name| VALUES.get(..count(name)), &ExportOptions::new().external("net.data")).unwrap();
    assert!(exported.has_external() && exported.model.len() < 2000);
    let mut file = Vec::new();
    exported.write_external(&mut file).unwrap();
    // The second tensor begins at a page; the bias is small.
    assert_eq!(file.len(), 4096 + 4 * 300);
    std::fs::write(folder.path().join("net.onnx"), &exported.model).unwrap();
    std::fs::write(folder.path().join("net.data"), &file).unwrap();
    let imported = import(folder.path().join("net.onnx"), &ImportOptions::new()).unwrap();
    assert_eq!(imported.tensors.len(), 3);
    for tensor in imported.tensors {
        assert_eq!(tensor.values, VALUES[..count(&tensor.name)], "{}", tensor.name);
    }
}
