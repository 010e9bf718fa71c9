//! Passes on whole networks: with any switches, a network computes the same as declared.

mod agreement;

use agreement::{Agreement, assert_same_results};
use windlass_compiler::autodiff::{Loss, Optimizer, TrainingOptions, training_graph};
use windlass_compiler::entity::ValueId;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::{Builder, Graph, Layer, verify};
use windlass_compiler::ops::Op;
use windlass_compiler::ops::epilogue::EpilogueStep;
use windlass_compiler::ops::source::Constant;
use windlass_compiler::ops::structure::Concat;
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::{Mode, PassOptions, optimize};
use windlass_compiler::passes;
use windlass_compiler::shape::Shape;

const NORM: Layer = Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 };

/// Adds layers in sequence, each with the given label.
fn stack(b: &mut Builder, mut x: ValueId, layers: &[(&str, Layer)]) -> Result<ValueId, GraphError> {
    for (label, layer) in layers {
        x = b.layer(label, layer, x)?;
    }
    Ok(x)
}

fn conv(channels: usize, kernel_size: usize) -> Layer {
    Layer::conv(channels, Window::square(kernel_size, 1, kernel_size / 2))
}

/// A convolution, a pool and two dense layers, with dropout.
fn plain() -> Result<Graph, GraphError> {
    let mut b = Builder::new("plain");
    let x = b.input("image", &[1, 8, 8])?;
    let layers = [
        ("c1", conv(4, 5)),
        ("c1", Layer::Sigmoid),
        ("p2", Layer::avg_pool(Window::square(2, 2, 0))),
        ("flat", Layer::Flatten),
        ("f3", Layer::linear(12)),
        ("f3", Layer::Relu),
        ("d", Layer::Dropout { rate: 0.5 }),
        ("f4", Layer::linear(5)),
        ("f4", Layer::LogSoftmax),
    ];
    let y = stack(&mut b, x, &layers)?;
    b.output("y", y)?;
    b.finish()
}

/// Two residual blocks, normalised, the second with a convolution on its shortcut.
fn residual() -> Result<Graph, GraphError> {
    let mut b = Builder::new("residual");
    let image = b.input("image", &[3, 8, 8])?;
    let stem = stack(&mut b, image, &[("stem", conv(4, 3)), ("norm0", NORM), ("relu0", Layer::Relu)])?;
    let body =
        [("a1", conv(4, 3)), ("norm1", NORM), ("relu1", Layer::Relu), ("a2", conv(4, 3)), ("norm2", NORM)];
    let body = stack(&mut b, stem, &body)?;
    let sum = b.add("sum1", stem, body)?;
    let first = b.layer("relu2", &Layer::Relu, sum)?;
    let body = stack(&mut b, first, &[("b1", conv(6, 3)), ("norm3", NORM)])?;
    let short = stack(&mut b, first, &[("short", conv(6, 1)), ("norm4", NORM)])?;
    let sum = b.add("sum2", body, short)?;
    let end = [
        ("relu3", Layer::Relu),
        ("pool", Layer::GlobalAvgPool { axes: 2 }),
        ("flat", Layer::Flatten),
        ("f", Layer::linear(5)),
    ];
    let y = stack(&mut b, sum, &end)?;
    b.output("y", y)?;
    b.finish()
}

/// Parallel paths, concatenated along channels, with a grouped convolution among them.
fn inception() -> Result<Graph, GraphError> {
    let mut b = Builder::new("inception");
    let x = b.input("image", &[4, 7, 7])?;
    let grouped = Layer::Conv {
        out_channels: 6,
        window: Window::square(3, 1, 1),
        groups: 2,
        bias: false,
        init: windlass_compiler::graph::initializer::Initializer::XavierUniform,
        rotated: false,
        connections: Vec::new(),
    };
    let paths = [
        stack(&mut b, x, &[("path1", conv(3, 1)), ("path1", Layer::Tanh)])?,
        stack(&mut b, x, &[("path2", grouped), ("path2.norm", NORM), ("path2", Layer::Relu)])?,
        stack(&mut b, x, &[("path3", Layer::max_pool(Window::square(3, 1, 1)))])?,
    ];
    let y = b.concat("join", &paths)?;
    b.output("y", y)?;
    b.finish()
}

/// Rectified convolutions, each followed by a max pool, overlapping and not, with dropout after the second.
fn pooled() -> Result<Graph, GraphError> {
    let mut b = Builder::new("pooled");
    let x = b.input("image", &[2, 9, 9])?;
    let layers = [
        ("c1", conv(4, 3)),
        ("c1", Layer::Relu),
        ("p1", Layer::max_pool(Window::square(3, 2, 1))),
        ("c2", conv(5, 3)),
        ("c2", Layer::Relu),
        ("p2", Layer::max_pool(Window::square(2, 2, 0))),
        ("d", Layer::Dropout { rate: 0.25 }),
        ("flat", Layer::Flatten),
        ("f", Layer::linear(3)),
    ];
    let y = stack(&mut b, x, &layers)?;
    b.output("y", y)?;
    b.finish()
}

fn networks() -> [Graph; 4] {
    [plain, residual, inception, pooled].map(|network| network().unwrap())
}

#[test]
fn every_set_of_switches_keeps_the_results() {
    for graph in networks() {
        for bits in 0..64u8 {
            let on = |bit: u8| bits & (1 << bit) != 0;
            let options = PassOptions::default()
                .constant_fold(on(0))
                .cse(on(1))
                .dce(on(2))
                .fuse(on(3))
                .fold_batch_norm(on(4))
                .pool_first(on(5))
                .fuse_elementwise(on(3))
                .scans(on(1))
                .fuse_norm_grad(true)
                .release_relu(true)
                .relu_bits(true)
                .verify(true);
            let after = optimize(&graph, Mode::Inference, &options, &mut |_| {}).unwrap();
            // No network has an average pool that moves.
            let rounds = options.fold_batch_norm;
            assert_same_results(
                &graph,
                &after,
                if rounds { Agreement::Within(1e-9) } else { Agreement::Exact },
            );
        }
    }
}

/// Training steps of the networks, with every optimiser and with clipping.
fn training_steps() -> [Graph; 4] {
    let [plain, residual, inception, pooled] = networks();
    let step = |graph: &Graph, options: &TrainingOptions| training_graph(graph, options).unwrap();
    let momentum = Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.1 };
    [
        step(&plain, &TrainingOptions::default().clip_norm(1.0)),
        step(&residual, &TrainingOptions::default().optimizer(momentum)),
        step(
            &inception,
            &TrainingOptions::default().loss(Loss::MeanSquaredError).optimizer(Optimizer::adam()),
        ),
        step(&pooled, &TrainingOptions::default()),
    ]
}

#[test]
fn training_steps_keep_their_results_bit_for_bit() {
    for graph in training_steps() {
        let options = PassOptions::default().verify(true);
        let after = optimize(&graph, Mode::Training, &options, &mut |_| {}).unwrap();
        assert!(after.nodes().len() < graph.nodes().len());
        assert_same_results(&graph, &after, Agreement::Exact);
    }
}

#[test]
fn what_max_pools_and_dropout_were_given_is_not_kept() {
    let [plain, .., pooled] = training_steps();
    for graph in [plain, pooled] {
        let after = optimize(&graph, Mode::Training, &PassOptions::default(), &mut |_| {}).unwrap();
        let is_rectified = |op: &Op| match op {
            Op::Conv(conv) => conv.epilogue.last() == Some(&EpilogueStep::Relu),
            Op::Linear(linear) => linear.epilogue.last() == Some(&EpilogueStep::Relu),
            _ => false,
        };
        let rectified: Vec<ValueId> =
            after.nodes().iter().filter(|node| is_rectified(&node.op)).map(|node| node.results[0]).collect();
        assert!(!rectified.is_empty());
        for value in rectified {
            let users: Vec<&str> = after
                .nodes()
                .iter()
                .filter(|node| node.operands.contains(&value))
                .map(|node| node.op.name())
                .collect();
            assert!(matches!(users[..], ["max_pool" | "dropout_training"]), "{users:?}\n{after}");
        }
    }
}

#[test]
fn a_bit_is_kept_where_gradients_of_rectifiers_alone_look() {
    let [_, residual, ..] = training_steps();
    let after = optimize(&residual, Mode::Training, &PassOptions::default(), &mut |_| {}).unwrap();
    let labels_of = |name: &str| -> Vec<&str> {
        let nodes = after.nodes().iter().filter(|node| node.op.name() == name);
        nodes.map(|node| node.label.as_str()).collect()
    };
    // The others are operands of convolutions, whose weight gradients need them in full.
    assert_eq!(labels_of("sign_mask"), ["relu3"], "{after}");
    assert_eq!(labels_of("masked_select"), ["relu3"], "{after}");
}

#[test]
fn products_take_their_bias_and_activation_in_training_too() {
    let [plain, ..] = training_steps();
    let after = optimize(&plain, Mode::Training, &PassOptions::default(), &mut |_| {}).unwrap();
    let epilogues: Vec<(&str, &[EpilogueStep])> = after
        .nodes()
        .iter()
        .filter_map(|node| match &node.op {
            Op::Conv(conv) => Some((node.label.as_str(), &conv.epilogue[..])),
            Op::Linear(linear) => Some((node.label.as_str(), &linear.epilogue[..])),
            _ => None,
        })
        .collect();
    use EpilogueStep::{Bias, Relu, Sigmoid};
    assert_eq!(epilogues, [("c1", &[Bias, Sigmoid][..]), ("f3", &[Bias, Relu]), ("f4", &[Bias])], "{after}");
}

#[test]
fn a_pass_finds_nothing_more_to_do_after_itself() {
    for graph in networks().into_iter().chain(training_steps()) {
        for (name, pass) in passes::ALL {
            let once = pass(&graph).unwrap();
            verify(&once).unwrap();
            assert_eq!(pass(&once).unwrap(), once, "{name} on {}", graph.name());
        }
    }
}

#[test]
fn a_residual_network_is_left_with_products_pools_and_what_prepares_them() {
    let graph = residual().unwrap();
    let after = optimize(&graph, Mode::Inference, &PassOptions::default(), &mut |_| {}).unwrap();
    let batched: Vec<&str> = after
        .nodes()
        .iter()
        .filter(|node| after.ty(node.results[0]).shape.is_batched())
        .map(|node| node.op.name())
        .collect();
    assert_eq!(
        batched,
        ["input", "conv", "conv", "conv", "conv", "conv", "avg_pool", "reshape", "linear"],
        "{after}"
    );
}

#[test]
fn the_signature_survives() {
    for graph in networks() {
        let after = optimize(&graph, Mode::Inference, &PassOptions::default(), &mut |_| {}).unwrap();
        let names = |graph: &Graph| -> Vec<String> {
            let inputs = graph.inputs().map(|(_, input)| input.name.clone());
            let parameters = graph.parameters().map(|(_, parameter)| parameter.name.clone());
            let states = graph.states().map(|(_, state)| state.name.clone());
            let outputs = graph.outputs().iter().map(|output| output.name.clone());
            inputs.chain(parameters).chain(states).chain(outputs).collect()
        };
        assert_eq!(names(&after), names(&graph));
    }
}

#[test]
fn large_constants_are_not_made() {
    let mut graph = Graph::new("large");
    let shape = Shape::fixed(&[40_000]);
    let constant = Constant { shape, values: vec![1.0; 40_000] };
    let constant = graph.add_single(constant, &[], "").unwrap();
    let joined = graph.add_single(Concat { axis: 0 }, &[constant, constant], "").unwrap();
    graph.add_output("y", joined).unwrap();
    let after = passes::constant_fold(&graph).unwrap();
    assert!(matches!(after.producer(after.outputs()[0].value).op, Op::Concat(_)));
}

#[test]
fn constants_that_are_no_numbers_merge_by_their_bits() {
    let mut graph = Graph::new("bits");
    let values = [f32::NAN, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    for (index, value) in values.into_iter().enumerate() {
        let constant = Constant { shape: Shape::scalar(), values: vec![value] };
        let constant = graph.add_single(constant, &[], "").unwrap();
        graph.add_output(&format!("y{index}"), constant).unwrap();
    }
    let after = passes::cse(&graph).unwrap();
    let outputs: Vec<ValueId> = after.outputs().iter().map(|output| output.value).collect();
    assert_eq!(outputs, [0, 0, 1, 2].map(ValueId::new));
}
