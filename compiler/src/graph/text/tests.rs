use crate::error::GraphError;
use crate::graph::{Builder, Graph, Layer};
use crate::ops::window::Window;

fn lenet() -> Result<Graph, GraphError> {
    let mut b = Builder::new("lenet");
    let x = b.input("image", &[1, 28, 28])?;
    let x = b.layer("c1", &Layer::conv2d(6, Window::square(5, 1, 2)), x)?;
    let x = b.layer("c1", &Layer::Sigmoid, x)?;
    let x = b.layer("p2", &Layer::MaxPool2d(Window::square(2, 2, 0)), x)?;
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
