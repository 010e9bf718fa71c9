use crate::error::GraphError;
use crate::graph::{Builder, Graph, Layer};
use crate::ops::softmax::Softmax;
use crate::ops::source::{Constant, Input, InputRole};
use crate::ops::window::Window;
use crate::shape::{Shape, Type};

fn lenet() -> Result<Graph, GraphError> {
    let mut b = Builder::new("lenet");
    let x = b.input("image", &[1, 28, 28])?;
    let x = b.layer("c1", &Layer::conv(6, Window::square(5, 1, 2)), x)?;
    let x = b.layer("c1", &Layer::Sigmoid, x)?;
    let x = b.layer("p2", &Layer::max_pool(Window::square(2, 2, 0)), x)?;
    let x = b.layer("bn", &Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 }, x)?;
    let x = b.layer("d", &Layer::Dropout { rate: 0.1 }, x)?;
    let x = b.layer("flat", &Layer::Flatten, x)?;
    let x = b.layer("f5", &Layer::linear(10), x)?;
    b.output("logits", x)?;
    b.finish()
}

#[test]
fn prints_and_parses_back() {
    let graph = lenet().unwrap();
    let text = graph.to_string();
    assert_eq!(text.parse::<Graph>().unwrap(), graph, "{text}");
}

#[test]
fn serde_round_trip() {
    let graph = lenet().unwrap();
    let json = serde_json::to_string(&graph).unwrap();
    assert_eq!(serde_json::from_str::<Graph>(&json).unwrap(), graph);
}

#[track_caller]
fn rejects(text: &str, expected: &str) {
    let error = text.parse::<Graph>().unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn broken_text_names_its_line() {
    rejects("", "line 1: expected `graph name {`");
    rejects("graph g {\n  %0 = nothing\n}", "line 2: there is no operator `nothing`");
    rejects("graph g {\n  %0 = relu(%1)\n}", "line 2: %1 is used before it is defined");
    rejects("graph g {", "the closing brace is missing");
    rejects(
        "graph g {\n  %0 = input {name = \"x\", type = \"f32[N, 4]\"} : f32[N, 5]\n}",
        "line 2: `input` produces f32[N, 4]",
    );
    rejects("graph g {\n  %0 = input {name = 7}\n}", "line 2: `input`:");
    rejects("graph g {\n  output \"y\" = %0\n}", "line 2: %0 is used before it is defined");
}

#[test]
fn a_comment_ends_a_line_outside_strings() {
    let text = "graph g {\n  %0 = input {name = \"a;b\", type = \"f32[N, 4]\"} ; the input\n}";
    let graph: Graph = text.parse().unwrap();
    assert!(graph.source("a;b").is_some());
}

#[test]
fn deep_nesting_is_an_error() {
    for opening in ["{a = ", "[", "{a = ["] {
        let deep = |count: usize| format!("graph g {{\n  %0 = input {{name = {}\n}}", opening.repeat(count));
        rejects(&deep(20_000), "line 2: lists are at most 32 deep");
        rejects(
            &format!("graph g {{\n  output {} = %0\n}}", opening.repeat(20_000)),
            "line 2: expected a string",
        );
        let json = format!("{{\"name\": {}", opening.replace("a =", "\"a\":").repeat(20_000));
        let error = serde_json::from_str::<Graph>(&json).unwrap_err().to_string();
        assert!(error.contains("invalid type"), "{error}");
        let json = format!(
            "{{\"name\": \"g\", \"nodes\": [{{\"op\": {{\"deep\": {}",
            opening.replace("a =", "\"a\":").repeat(20_000)
        );
        let error = serde_json::from_str::<Graph>(&json).unwrap_err().to_string();
        assert!(error.contains("recursion limit exceeded"), "{error}");
    }
}

#[test]
fn an_attribute_is_given_once() {
    rejects("graph g {\n  %0 = input {name = \"x\", name = \"y\"}\n}", "line 2: `name` is given twice");
}

fn constant(values: &[f32]) -> Graph {
    let mut graph = Graph::new("g");
    let shape = Shape::fixed(&[values.len()]);
    let value = graph.add_single(Constant { shape, values: values.to_vec() }, &[], "").unwrap();
    graph.add_output("y", value).unwrap();
    graph
}

#[test]
fn constants_print_and_parse_to_the_same_bits() {
    let special = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN, f32::from_bits(0x7f80_0001), -0.0];
    let graph = constant(
        &[&special[..], &[0.1, f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1), 16_777_217.0]].concat(),
    );
    assert_eq!(graph.to_string().parse::<Graph>().unwrap(), graph, "{graph}");
    assert_eq!(serde_json::from_str::<Graph>(&serde_json::to_string(&graph).unwrap()).unwrap(), graph);
    assert_ne!(constant(&[0.0]), constant(&[-0.0]));
    // As people write them.
    let text =
        "graph g {\n  %0 = constant {shape = \"[4]\", values = [inf, -inf, nan, 3]}\n  output \"y\" = %0\n}";
    assert_eq!(text.parse::<Graph>().unwrap(), constant(&[f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 3.0]));
}

#[test]
fn numbers_beyond_floats_are_errors() {
    for (value, expected) in [
        ("3.6e38", "beyond the largest float"),
        ("-1e300", "beyond the largest float"),
        ("1e999", "is not a value"),
        ("\"large\"", "`large` is no number"),
        ("nan.00000001", "`nan.00000001` is not a value"),
        ("true", "expected a number"),
    ] {
        let text = format!("graph g {{\n  %0 = constant {{shape = \"[1]\", values = [{value}]}}\n}}");
        rejects(&text, expected);
    }
    let text =
        "graph g {\n  %0 = parameter {name = \"w\", shape = \"[1]\", init = {uniform = [2.0, 1.0]}}\n}";
    rejects(text, "`init`");
}

/// Any characters in the names of a network, a source, a layer and an output.
#[test]
fn names_of_any_characters_print_and_parse_to_the_same() {
    let mut random = fastrand::Rng::with_seed(5);
    let pieces = [
        "c",
        "1",
        " ",
        ";",
        "\"",
        "\\",
        "@",
        "{",
        "}",
        "%",
        "=",
        ":",
        ",",
        "\n",
        "\r",
        "\t",
        "\u{0}",
        "é",
        "\u{2028}",
        "\u{feff}",
        "\u{1f600}",
        "graph ",
        "\\n",
        "'",
        "[",
        ".",
    ];
    for case in 0..2_000 {
        let mut name =
            || -> String { (0..random.usize(..6)).map(|_| pieces[random.usize(..pieces.len())]).collect() };
        let mut graph = Graph::new(name());
        let ty = Type::f32(Shape::batched(&[2]));
        let input = Input { name: name(), role: InputRole::Data, ty };
        let x = graph.add_single(input, &[], &name()).unwrap();
        let y = graph.add_single(Softmax {}, &[x], &name()).unwrap();
        graph.add_output(&name(), y).unwrap();
        let text = graph.to_string();
        assert_eq!(text.parse::<Graph>().as_ref(), Ok(&graph), "case {case}: {text}");
        let json = serde_json::to_string(&graph).unwrap();
        assert_eq!(serde_json::from_str::<Graph>(&json).unwrap(), graph, "case {case}: {json}");
    }
}
