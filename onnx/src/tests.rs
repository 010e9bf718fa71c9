//! Small models that are made here: names, nesting and bounds.

use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{Array, Bindings, run};

use crate::decode::Decoder;
use crate::importer::Importer;
use crate::{ImportError, ImportOptions, Imported, Reason, proto};

pub(crate) fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> proto::Node {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    proto::Node {
        operator: operator.to_owned(),
        inputs: owned(inputs),
        outputs: owned(outputs),
        ..Default::default()
    }
}

pub(crate) fn floats(name: &str, dims: &[i64], values: &[f32]) -> proto::Tensor {
    proto::Tensor {
        name: name.to_owned(),
        element: 1,
        dims: dims.to_vec(),
        floats: values.to_vec(),
        ..Default::default()
    }
}

/// An input of floats whose first axis is the batch, or an output.
pub(crate) fn port(name: &str, sizes: &[i64]) -> proto::ValueInfo {
    let batch = proto::Axis { name: Some("batch".to_owned()), ..Default::default() };
    let rest = sizes.iter().map(|&size| proto::Axis { value: Some(size), ..Default::default() });
    let shape = proto::TensorShape { axes: std::iter::once(batch).chain(rest).collect() };
    let tensor = proto::TensorType { element: 1, shape: Some(shape) };
    proto::ValueInfo { name: name.to_owned(), ty: Some(proto::Type { tensor: Some(tensor) }) }
}

fn model(nodes: Vec<proto::Node>, initializers: Vec<proto::Tensor>) -> proto::Model {
    let graph = proto::Graph {
        nodes,
        initializers,
        inputs: vec![port("x", &[2])],
        outputs: vec![port("y", &[2])],
        ..Default::default()
    };
    let opset = proto::OperatorSet { domain: String::new(), version: 20 };
    proto::Model { opset_import: vec![opset], graph: Some(graph), ..Default::default() }
}

pub(crate) fn import(model: &proto::Model) -> Result<Imported, ImportError> {
    Importer::import(model, Decoder::default(), &ImportOptions::new())
}

#[track_caller]
pub(crate) fn reason(model: &proto::Model) -> Reason {
    import(model).unwrap_err().problems()[0].reason.clone()
}

fn outputs(imported: &Imported, x: [f32; 2]) -> Vec<f32> {
    let graph: &Graph = &imported.graph;
    let mut bindings = Bindings::<f32>::new();
    bindings.insert("x".to_owned(), Array::new([1, 2], x.to_vec()));
    for tensor in &imported.tensors {
        bindings.insert(tensor.name.clone(), Array::new(tensor.dims.clone(), tensor.values.clone()));
    }
    run(graph, 1, &bindings).unwrap().outputs["y"].real().to_vec()
}

pub(crate) fn graph_attribute(name: &str, graph: proto::Graph) -> proto::Attribute {
    proto::Attribute { name: name.to_owned(), graph: Some(graph), ..Default::default() }
}

#[test]
fn initialisers_of_branches_with_one_name_are_two_parameters() {
    let condition =
        proto::Tensor { int32s: vec![1], element: 9, name: "is".to_owned(), ..Default::default() };
    let branch = |result: &str, weight: f32| proto::Graph {
        nodes: vec![node("Mul", &["x", "w"], &[result])],
        initializers: vec![floats("w", &[2], &[weight, weight])],
        outputs: vec![port(result, &[2])],
        ..Default::default()
    };
    let choice = |output: &str, result: &str, weight: f32| {
        let mut choice = node("If", &["is"], &[output]);
        choice.attributes.push(graph_attribute("then_branch", branch(result, weight)));
        choice.attributes.push(graph_attribute("else_branch", branch(result, -1.0)));
        choice
    };
    let nodes =
        vec![choice("a", "first", 2.0), choice("b", "second", 10.0), node("Add", &["a", "b"], &["y"])];
    let imported = import(&model(nodes, vec![condition])).unwrap();
    assert_eq!(outputs(&imported, [1.0, 3.0]), [12.0, 36.0]);
    let names: Vec<&str> = imported.tensors.iter().map(|tensor| &*tensor.name).collect();
    assert_eq!(names, ["w", "w.1"]);
}

#[test]
fn a_shared_initialiser_is_one_parameter() {
    let nodes = vec![node("Mul", &["x", "w"], &["a"]), node("Add", &["a", "w"], &["y"])];
    let imported = import(&model(nodes, vec![floats("w", &[2], &[3.0, 4.0])])).unwrap();
    assert_eq!(imported.tensors.len(), 1);
    assert_eq!(outputs(&imported, [1.0, 2.0]), [6.0, 12.0]);
}

#[test]
fn functions_of_the_model_are_expanded() {
    let function = |name: &str, nodes: Vec<proto::Node>| proto::Function {
        name: name.to_owned(),
        domain: "own".to_owned(),
        inputs: vec!["a".to_owned()],
        outputs: vec!["b".to_owned()],
        nodes,
        ..Default::default()
    };
    let call = |name: &str, input: &str, output: &str| proto::Node {
        domain: "own".to_owned(),
        ..node(name, &[input], &[output])
    };
    let mut whole = model(vec![call("Twice", "x", "y")], Vec::new());
    whole.functions = vec![function("Twice", vec![node("Add", &["a", "a"], &["b"])])];
    assert_eq!(outputs(&import(&whole).unwrap(), [1.0, 3.0]), [2.0, 6.0]);
    // What a call does not pass is no default.
    let reference =
        proto::Attribute { name: "alpha".to_owned(), reference: "slope".to_owned(), ..Default::default() };
    let leaky = proto::Node { attributes: vec![reference], ..node("LeakyRelu", &["a"], &["b"]) };
    whole.functions = vec![function("Twice", vec![leaky])];
    assert!(reason(&whole).to_string().contains("the attribute `alpha` is not supported"));
    // A function that calls itself ends.
    whole.functions = vec![function("Twice", vec![call("Twice", "a", "b")])];
    assert!(reason(&whole).to_string().contains("nested more than"), "{}", reason(&whole));
    // Calls that double in each of 30 functions end too.
    let doubled = |index: usize| {
        let next = format!("F{}", index + 1);
        function(&format!("F{index}"), vec![call(&next, "a", "c"), call(&next, "c", "b")])
    };
    whole.functions = (0..30).map(doubled).collect();
    whole.functions.push(function("F30", vec![node("Relu", &["a"], &["b"])]));
    whole.graph.as_mut().unwrap().nodes = vec![call("F0", "x", "y")];
    assert!(import(&whole).is_err());
}

#[test]
fn broken_graphs_are_refused() {
    let told = |nodes: Vec<proto::Node>| import(&model(nodes, Vec::new())).unwrap_err().to_string();
    let error = told(vec![node("Relu", &["z"], &["y"])]);
    assert!(error.contains("Relu `y`: there is no value `z` before it"), "{error}");
    // A cycle is a use before the value.
    let error = told(vec![node("Add", &["x", "b"], &["a"]), node("Relu", &["a"], &["b"])]);
    assert!(error.contains("there is no value `b` before it"), "{error}");
    let error = told(vec![node("Relu", &["x"], &["y"]), node("Tanh", &["x"], &["y"])]);
    assert!(error.contains("another value is named `y`"), "{error}");
    let error = told(vec![node("Relu", &["x"], &["z"])]);
    assert_eq!(error, "the output `y` is computed by no node");
    let error =
        told(vec![node("Unfold", &["x"], &["a"]), node("Relu", &["a"], &["y"]), node("Fold", &[], &["b"])]);
    let expected = "2 nodes of the model cannot be imported:\n  Unfold `a`: the operator is not supported\n  \
                    Fold `b`: the operator is not supported";
    assert_eq!(error, expected);
    let mut strange = node("Relu", &["x"], &["y"]);
    strange.attributes.push(proto::Attribute { name: "beta".to_owned(), int: Some(1), ..Default::default() });
    assert!(told(vec![strange]).contains("the attribute `beta` is not supported"));
}

#[test]
fn samples_are_never_mixed() {
    let mut sum = node("ReduceSum", &["x"], &["y"]);
    sum.attributes.push(proto::Attribute { name: "keepdims".to_owned(), int: Some(1), ..Default::default() });
    assert_eq!(reason(&model(vec![sum], Vec::new())), Reason::BatchAxis { axis: 0 });
}

/// `x + scale`, where no size of `x` is known, and `scale` is an input.
fn of_unknown_sizes(size: Option<i64>) -> proto::Model {
    let unknown = |name: &str, axes: usize| {
        let mut port = port(name, &[]);
        let axes = vec![proto::Axis { value: size, ..Default::default() }; axes];
        let shape = proto::TensorShape { axes };
        port.ty = Some(proto::Type { tensor: Some(proto::TensorType { element: 1, shape: Some(shape) }) });
        port
    };
    let mut model = model(vec![node("Add", &["x", "scale"], &["y"])], Vec::new());
    if let Some(graph) = &mut model.graph {
        graph.inputs = vec![unknown("x", 2), unknown("scale", 0)];
    }
    model
}

#[test]
fn options_give_sizes_and_values() {
    // Some exporters write −1 for a size that they do not know.
    for model in [of_unknown_sizes(None), of_unknown_sizes(Some(-1))] {
        let import = |options: &ImportOptions| Importer::import(&model, Decoder::default(), options);
        let scale = ImportOptions::new().integers("scale", &[], vec![3]);
        let error = import(&scale.clone()).unwrap_err().to_string();
        assert!(
            error.contains("batch axis after the first axis") || error.contains("neither a size nor a name"),
            "{error}"
        );
        let imported = import(&scale.shape("x", &[1, 2])).unwrap();
        // The integer is converted to the input's floats.
        assert_eq!(outputs(&imported, [1.5, -2.0]), [4.5, 1.0]);
    }
    let error = import(&of_unknown_sizes(Some(-2))).unwrap_err().to_string();
    assert!(error.contains("an axis of size -2"), "{error}");
}

#[test]
fn zeros_are_quantised_to_zeros() {
    let quantize = node("DynamicQuantizeLinear", &["x"], &["q", "scale", "zero"]);
    let dequantize = node("DequantizeLinear", &["q", "scale", "zero"], &["y"]);
    let model = model(vec![quantize, dequantize], Vec::new());
    let options = ImportOptions::new().size("batch", 1);
    let imported = Importer::import(&model, Decoder::default(), &options).unwrap();
    assert_eq!(outputs(&imported, [0.0, 0.0]), [0.0, 0.0]);
    // The largest is 255 steps above 0.
    assert_eq!(outputs(&imported, [255.0, 64.25]), [255.0, 64.0]);
}

#[test]
fn tensors_without_elements_are_refused() {
    let empty = || vec![floats("e", &[0], &[])];
    let told = |nodes: Vec<proto::Node>| import(&model(nodes, empty())).unwrap_err().to_string();
    let error = told(vec![node("Range", &["e", "e", "e"], &["y"])]);
    assert!(error.contains("its bounds must be single numbers"), "{error}");
    for operator in ["ArgMax", "ArgMin", "Hardmax", "ReduceMax", "ReduceProd"] {
        let error = told(vec![node(operator, &["e"], &["y"])]);
        assert!(error.contains(operator), "{error}");
    }
    let one = proto::Tensor { name: "s".to_owned(), ..floats("s", &[1], &[2.0]) };
    let resize = node("Resize", &["e", "", "s"], &["y"]);
    assert!(import(&model(vec![resize], [empty(), vec![one]].concat())).is_err());
    // Sizes whose strides overflow, although another one is 0.
    let huge = proto::Tensor { dims: vec![0, 1 << 40, 1 << 40], ..floats("e", &[0], &[]) };
    let error = import(&model(vec![node("Transpose", &["e"], &["y"])], vec![huge])).unwrap_err().to_string();
    assert_eq!(error, "the tensor `e` has more elements than memory");
}

#[test]
fn states_of_another_rank_are_refused() {
    let weights =
        vec![floats("w", &[1, 1, 2], &[1.0; 2]), floats("r", &[1, 1, 1], &[1.0]), floats("h", &[1], &[1.0])];
    let mut axes = node("Unsqueeze", &["x"], &["sequence"]);
    axes.attributes.push(proto::Attribute { name: "axes".to_owned(), ints: vec![0], ..Default::default() });
    let rnn = node("RNN", &["sequence", "w", "r", "", "", "h"], &["", "y"]);
    let error = import(&model(vec![axes, rnn], weights)).unwrap_err().to_string();
    assert!(error.contains("RNN `y`"), "{error}");
}
