//! Loops: what becomes a scan, what is unrolled, and what cannot be imported.

use windlass_compiler::interp::{Array, Bindings, run};
use windlass_compiler::ops::Op;
use windlass_compiler::shape::Sizes;

use crate::tests::{floats, graph_attribute, import, node, port, reason};
use crate::{Imported, proto};

fn info(name: &str) -> proto::ValueInfo {
    proto::ValueInfo { name: name.to_owned(), ..Default::default() }
}

fn ints(name: &str, values: &[i64]) -> proto::Attribute {
    proto::Attribute { name: name.to_owned(), ints: values.to_vec(), ..Default::default() }
}

fn int(name: &str, value: i64) -> proto::Attribute {
    proto::Attribute { name: name.to_owned(), int: Some(value), ..Default::default() }
}

fn body(inputs: &[&str], nodes: Vec<proto::Node>, outputs: &[&str]) -> proto::Graph {
    proto::Graph {
        nodes,
        inputs: inputs.iter().map(|name| info(name)).collect(),
        outputs: outputs.iter().map(|name| info(name)).collect(),
        ..Default::default()
    }
}

/// An input `[T, batch, 2]`, or one of another shape.
fn sequence(name: &str, axes: &[Option<&str>]) -> proto::ValueInfo {
    let axis = |axis: &Option<&str>| match axis {
        Some(name) => proto::Axis { name: Some((*name).to_owned()), value: None },
        None => proto::Axis { name: None, value: Some(2) },
    };
    let shape = proto::TensorShape { axes: axes.iter().map(axis).collect() };
    let tensor = proto::TensorType { element: 1, shape: Some(shape) };
    proto::ValueInfo { name: name.to_owned(), ty: Some(proto::Type { tensor: Some(tensor) }) }
}

const STEPS_FIRST: [Option<&str>; 3] = [Some("T"), Some("batch"), None];

fn model(inputs: Vec<proto::ValueInfo>, nodes: Vec<proto::Node>, outputs: &[&str]) -> proto::Model {
    let graph = proto::Graph {
        nodes,
        initializers: vec![floats("w", &[2], &[0.5, -1.0])],
        inputs,
        outputs: outputs.iter().map(|name| info(name)).collect(),
        ..Default::default()
    };
    let opset = proto::OperatorSet { domain: String::new(), version: 20 };
    proto::Model { opset_import: vec![opset], graph: Some(graph), ..Default::default() }
}

/// `h' = h·w + x`, collected.
fn decay() -> proto::Graph {
    let nodes = vec![
        node("Mul", &["h", "w"], &["kept"]),
        node("Add", &["kept", "step"], &["new"]),
        node("Identity", &["new"], &["all"]),
    ];
    body(&["h", "step"], nodes, &["new", "all"])
}

fn scan(attributes: Vec<proto::Attribute>, operands: &[&str]) -> proto::Node {
    let own = [graph_attribute("body", decay()), int("num_scan_inputs", 1)];
    proto::Node {
        attributes: own.into_iter().chain(attributes).collect(),
        ..node("Scan", operands, &["last", "all"])
    }
}

/// The outputs for a sequence of 3 steps of 2 samples, with the batch first, and a state `h`.
fn outputs(imported: &Imported, x: [f32; 12], h: [f32; 4]) -> Vec<Vec<f32>> {
    let mut bindings = Bindings::<f32>::new();
    bindings.insert("x".to_owned(), Array::new([2, 3, 2], x.to_vec()));
    bindings.insert("h0".to_owned(), Array::new([2, 2], h.to_vec()));
    for tensor in &imported.tensors {
        bindings.insert(tensor.name.clone(), Array::new(tensor.dims.clone(), tensor.values.clone()));
    }
    let sizes = Sizes::from(2).with("T".parse().unwrap(), 3);
    let outcome = run(&imported.graph, sizes, &bindings).unwrap();
    let outputs = imported.graph.outputs().iter();
    outputs.map(|output| outcome.outputs[&output.name].real().to_vec()).collect()
}

const X: [f32; 12] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -1.0, 0.0, 0.5, 2.0, 8.0, -4.0];
const H: [f32; 4] = [4.0, 1.0, -2.0, 0.0];

/// The states after each step, `[N, T, 2]`, and the last ones.
fn expected(reverse: bool) -> [Vec<f32>; 2] {
    let (mut all, mut last) = (vec![0.0; 12], H.to_vec());
    for sample in 0..2 {
        for index in 0..3 {
            let step = if reverse { 2 - index } else { index };
            for (unit, factor) in [0.5, -1.0].into_iter().enumerate() {
                let place = (sample * 3 + step) * 2 + unit;
                let state = &mut last[sample * 2 + unit];
                *state = *state * factor + X[place];
                all[place] = *state;
            }
        }
    }
    [last, all]
}

fn scans(imported: &Imported) -> usize {
    imported.graph.nodes().iter().filter(|node| matches!(node.op, Op::Scan(_))).count()
}

#[test]
fn scans_see_parameters_of_the_graph_around() {
    let inputs = || vec![port("h0", &[2]), sequence("x", &STEPS_FIRST)];
    let imported = import(&model(inputs(), vec![scan(Vec::new(), &["h0", "x"])], &["last", "all"])).unwrap();
    assert_eq!(scans(&imported), 1);
    assert_eq!(imported.graph.parameters().count(), 1);
    // The batch comes first in the network.
    assert_eq!(outputs(&imported, X, H), expected(false));
}

#[test]
fn directions_and_axes_are_those_of_the_attributes() {
    let inputs = vec![port("h0", &[2]), sequence("x", &[Some("batch"), Some("T"), None])];
    let attributes = vec![
        ints("scan_input_axes", &[1]),
        ints("scan_output_axes", &[-2]),
        ints("scan_input_directions", &[1]),
        ints("scan_output_directions", &[1]),
    ];
    let imported = import(&model(inputs, vec![scan(attributes, &["h0", "x"])], &["last", "all"])).unwrap();
    assert_eq!(outputs(&imported, X, H), expected(true));
    let inputs = vec![port("h0", &[2]), sequence("x", &[Some("batch"), Some("T"), None])];
    let along_batch = model(inputs, vec![scan(Vec::new(), &["h0", "x"])], &["last", "all"]);
    assert!(reason(&along_batch).to_string().contains("which is the batch"), "{}", reason(&along_batch));
}

/// A loop over all steps of `x`, whose body takes the one of its number.
fn counted(nodes: Vec<proto::Node>, condition: &str) -> proto::Model {
    let step = proto::Node { attributes: vec![int("axis", 0)], ..node("Gather", &["x", "i"], &["step"]) };
    let nodes = [vec![step], decay().nodes, nodes].concat();
    let graph = body(&["i", "go", "h"], nodes, &[condition, "new", "all"]);
    let size =
        proto::Node { attributes: vec![int("start", 0), int("end", 1)], ..node("Shape", &["x"], &["steps"]) };
    let repeated = proto::Node {
        attributes: vec![graph_attribute("body", graph)],
        ..node("Loop", &["steps", "", "h0"], &["last", "all_steps"])
    };
    model(vec![port("h0", &[2]), sequence("x", &STEPS_FIRST)], vec![size, repeated], &["last", "all_steps"])
}

#[test]
fn loops_over_a_sequence_are_scans() {
    let imported = import(&counted(Vec::new(), "go")).unwrap();
    assert_eq!(scans(&imported), 1);
    assert_eq!(outputs(&imported, X, H), expected(false));
}

#[test]
fn conditions_of_data_are_refused() {
    let sum = proto::Node { attributes: vec![int("keepdims", 0)], ..node("ReduceSum", &["new"], &["sum"]) };
    let nodes = vec![sum, node("Less", &["sum", "sum"], &["still"])];
    let problem = reason(&counted(nodes, "still")).to_string();
    assert!(problem.contains("batch") || problem.contains("computed from data"), "{problem}");
    let nodes = vec![node("Less", &["new", "h"], &["still"])];
    let problem = reason(&counted(nodes, "still")).to_string();
    assert!(problem.contains("its condition is computed from data"), "{problem}");
    let problem = reason(&counted(vec![node("Cast", &["i"], &["number"])], "number")).to_string();
    assert!(problem.contains("number of the step"), "{problem}");
}

#[test]
fn short_loops_that_compute_with_the_number_of_the_step_are_unrolled() {
    // h' = h + i·h for i = 0, 1, 2: h·1·2·3.
    let nodes = vec![
        proto::Node { attributes: vec![int("to", 1)], ..node("Cast", &["i"], &["number"]) },
        node("Mul", &["h", "number"], &["more"]),
        node("Add", &["h", "more"], &["new"]),
        node("Identity", &["new"], &["all"]),
    ];
    let graph = body(&["i", "go", "h"], nodes, &["go", "new", "all"]);
    let repeated = proto::Node {
        attributes: vec![graph_attribute("body", graph)],
        ..node("Loop", &["count", "", "h0"], &["last", "all_steps"])
    };
    let mut whole =
        model(vec![port("h0", &[2]), sequence("x", &STEPS_FIRST)], vec![repeated], &["last", "all_steps"]);
    let count = proto::Tensor { name: "count".to_owned(), element: 7, int64s: vec![3], ..Default::default() };
    whole.graph.as_mut().unwrap().initializers.push(count);
    let imported = import(&whole).unwrap();
    assert_eq!(scans(&imported), 0);
    let [last, all] = &outputs(&imported, X, H)[..] else { panic!("two outputs") };
    assert_eq!(last[..], H.map(|h| 6.0 * h));
    assert_eq!(all[..6], [4.0, 1.0, 8.0, 2.0, 24.0, 6.0]);
}

/// A loop of `count` steps around another graph, whose number and condition it passes on.
fn repeated(count: &str, first: usize, depth: usize) -> proto::Node {
    let names = [format!("i{depth}"), format!("go{depth}"), format!("h{depth}"), format!("y{depth}")];
    let [i, go, h, y] = names.each_ref().map(String::as_str);
    let before = if depth == first { "zero".to_owned() } else { format!("h{}", depth - 1) };
    let (nodes, last) = match depth {
        4 => (Vec::new(), h.to_owned()),
        _ => (vec![repeated(count, first, depth + 1)], format!("y{}", depth + 1)),
    };
    let graph = body(&[i, go, h], nodes, &[go, &last]);
    proto::Node {
        attributes: vec![graph_attribute("body", graph)],
        ..node("Loop", &[count, "", &before], &[y])
    }
}

/// Loops whose bodies do nothing, around one another: each has a known state, so that it is unrolled.
fn nothing(count: i64, depth: usize) -> proto::Model {
    let inputs = vec![port("h0", &[2]), sequence("x", &STEPS_FIRST)];
    let mut whole = model(
        inputs,
        vec![repeated("count", 4 - depth, 4 - depth), node("Add", &["h0", "w"], &["sum"])],
        &["sum"],
    );
    let graph = whole.graph.as_mut().unwrap();
    for (name, value) in [("count", count), ("zero", 0)] {
        let number =
            proto::Tensor { name: name.to_owned(), element: 7, int64s: vec![value], ..Default::default() };
        graph.initializers.push(number);
    }
    whole
}

#[test]
fn loops_that_do_nothing_are_bounded() {
    // Too many to be unrolled, and a counter is no state of a scan.
    for depth in [0, 4] {
        let problem = reason(&nothing(1 << 62, depth)).to_string();
        assert!(problem.contains("depends on an input"), "{problem}");
    }
    // 256 steps are few; 256 × 256 × 256 × 256 × 256 of them are not.
    assert!(import(&nothing(256, 0)).is_ok());
    let problem = reason(&nothing(256, 4)).to_string();
    assert!(problem.contains("more than 262144 nodes"), "{problem}");
}
