//! Networks and settings that have no training step, and the errors that say so.

use windlass_compiler::autodiff::{AutodiffError, TrainingOptions, gradients, training_graph, training_mode};
use windlass_compiler::entity::ValueId;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::ops::epilogue::EpilogueStep;
use windlass_compiler::ops::linear::Linear;
use windlass_compiler::ops::window::Window;
use windlass_compiler::shape::Type;

use super::{freezing, network, rejects};

#[test]
fn unsuitable_networks_are_refused() {
    let defaults = TrainingOptions::default();
    let plain = || network(&[3], &[Layer::linear(2)]);
    let with_output = |output: &str| TrainingOptions::default().output(output);
    rejects(&plain(), &with_output("z"), r#"the network has no output `z`; it has ["y"]"#);
    let nothing = "there is nothing to train: the loss depends on no parameter that is not frozen";
    rejects(&plain(), &freezing(&["l0.weight", "l0.bias"]), nothing);
    rejects(&network(&[3], &[Layer::Relu]), &defaults, nothing);
    rejects(
        &network(&[3, 2, 2], &[Layer::conv(1, Window::square(1, 1, 0))]),
        &defaults,
        "the cross-entropy needs at least 2 classes, but the output `y` has 1: give the last layer 2 for a choice \
         between two, or use the mean squared error",
    );
    let negative = TrainingOptions::default().clip_norm(-1.0);
    rejects(&plain(), &negative, "`clip_norm` is -1e0 but must be above 0, and finite and normal as an f32");

    let mut several = plain();
    several.add_output("x", ValueId::new(0)).unwrap();
    let expected =
        r#"the loss needs one output, but the network has ["y", "x"]; name one in the training options"#;
    rejects(&several, &defaults, expected);
    assert!(training_graph(&several, &with_output("y")).is_ok());
}

#[test]
fn reserved_names_are_refused() {
    let defaults = TrainingOptions::default();
    for name in [
        "labels",
        "target",
        "label_lengths",
        "step_lengths",
        "seed",
        "learning_rate",
        "correction",
        "optimizer.x",
    ] {
        let mut builder = Builder::new("net");
        let x = builder.input(name, &[3]).unwrap();
        let y = builder.layer("f", &Layer::linear(2), x).unwrap();
        builder.output("y", y).unwrap();
        let expected = AutodiffError::ReservedName { kind: "input", name: name.to_owned() };
        assert_eq!(training_graph(&builder.finish().unwrap(), &defaults), Err(expected));
    }
    let mut builder = Builder::new("net");
    let x = builder.input("x", &[3]).unwrap();
    let y = builder.layer("optimizer.velocity", &Layer::linear(2), x).unwrap();
    builder.output("y", y).unwrap();
    let name = "optimizer.velocity.weight".to_owned();
    let expected = AutodiffError::ReservedName { kind: "parameter", name };
    assert_eq!(training_graph(&builder.finish().unwrap(), &defaults), Err(expected));
    for name in ["loss", "gradient_norm"] {
        let mut network = network(&[3], &[Layer::linear(2)]);
        network.add_output(name, ValueId::new(0)).unwrap();
        let expected = AutodiffError::ReservedName { kind: "output", name: name.to_owned() };
        assert_eq!(training_graph(&network, &defaults), Err(expected));
    }
}

#[test]
fn a_source_named_seed_collides_with_dropout() {
    let mut builder = Builder::new("net");
    let x = builder.input("seed", &[3]).unwrap();
    builder.layer("d", &Layer::Dropout { rate: 0.5 }, x).unwrap();
    let expected = GraphError::DuplicateName { name: "seed".to_owned() };
    assert_eq!(training_mode(&builder.finish().unwrap()), Err(expected));
}

fn value(graph: &Graph, name: &str) -> ValueId {
    graph.source(name).unwrap()
}

#[test]
fn gradients_that_do_not_exist_are_refused() {
    let graph: Graph = r#"graph g {
        %0 = input {name = "x", type = "f32[N, 2]"}
        %1 = input {name = "labels", type = "i32[N]"}
        %2 = cross_entropy(%0, %1)
        %3 = parameter {name = "w", shape = "[]", init = {constant = 1.0}}
        %4 = cross_entropy_grad(%3, %0, %1)
        %5 = cross_entropy(%4, %1)
    }"#
    .parse()
    .unwrap();
    let (x, labels, w) = (value(&graph, "x"), value(&graph, "labels"), value(&graph, "w"));
    let [first, twice] = [2, 5].map(|node| graph.nodes()[node].results[0]);
    let ty: Type = "f32[N, 2]".parse().unwrap();
    let missing = ValueId::new(77);
    for (of, towards, expected) in [
        (x, x, AutodiffError::NotScalar { value: x, ty }),
        (first, labels, AutodiffError::TowardsIntegers { value: labels }),
        (first, missing, AutodiffError::UnknownValue { value: missing }),
        (missing, x, AutodiffError::UnknownValue { value: missing }),
        (
            twice,
            w,
            AutodiffError::NotDifferentiable {
                op: "cross_entropy_grad",
                label: String::new(),
                towards: "its operands: gradients of gradients are not supported",
            },
        ),
    ] {
        assert_eq!(gradients(&graph, of, &[towards]).unwrap_err(), expected);
    }
}

#[test]
fn fused_operators_are_refused() {
    let mut graph: Graph = r#"graph g {
        %0 = input {name = "x", type = "f32[N, 3]"}
        %1 = parameter {name = "w", shape = "[2, 3]", init = {constant = 1.0}}
    }"#
    .parse()
    .unwrap();
    let operands = [value(&graph, "x"), value(&graph, "w")];
    let y = graph.add_single(Linear { epilogue: vec![EpilogueStep::Relu] }, &operands, "f1").unwrap();
    graph.add_output("y", y).unwrap();
    rejects(
        &graph,
        &TrainingOptions::default(),
        "`linear` at `f1` has a fused epilogue; differentiate the graph before fusing it",
    );
}

#[test]
fn fused_transposed_convolutions_are_refused() {
    let graph: Graph = r#"graph g {
        %0 = input {name = "g", type = "f32[N, 1, 2]"}
        %1 = parameter {name = "w", shape = "[1, 2, 2]", init = {constant = 1.0}}
        %2 = conv_grad_input(%0, %1) {kernel_size = [2], stride = [2], padding = [0], dilation = [1], groups = 1, input_sizes = [4], epilogue = ["relu"]} @up
        %3 = reshape(%2) {shape = "[N, 8]"}
        output "y" = %3
    }"#
    .parse()
    .unwrap();
    rejects(
        &graph,
        &TrainingOptions::default(),
        "`conv_grad_input` at `up` has a fused epilogue; differentiate the graph before fusing it",
    );
}
