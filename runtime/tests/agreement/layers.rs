//! Every layer, forward and backward, on odd shapes.

use windlass_compiler::autodiff::{Loss, Optimizer, TrainingOptions, training_graph};
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::CompileOptions;

use crate::check::{Agreement, check};

fn options(threads: usize) -> CompileOptions {
    let mut options = CompileOptions::default();
    options.plan.threads = threads;
    options
}

/// A network of these layers, flattened at the end.
fn network(item: &[usize], layers: &[Layer]) -> Graph {
    let build = || -> Result<Graph, GraphError> {
        let mut builder = Builder::new("net");
        let mut x = builder.input("x", item)?;
        for (index, layer) in layers.iter().enumerate() {
            x = builder.layer(&format!("l{index}"), layer, x)?;
        }
        let x = builder.layer("end", &Layer::Flatten, x)?;
        builder.output("y", x)?;
        builder.finish()
    };
    build().unwrap()
}

fn training(graph: &Graph) -> Graph {
    let options = TrainingOptions {
        loss: Loss::MeanSquaredError,
        optimizer: Optimizer::sgd(),
        ..TrainingOptions::default()
    };
    training_graph(graph, &options).unwrap()
}

/// Forward in f32 exactly and near f64; backward near f64.
fn check_layers(item: &[usize], layers: &[Layer], exact: bool) {
    let graph = network(item, layers);
    let what = format!("{item:?} {layers:?}");
    for batch in [1, 2, 7] {
        for threads in [1, 2] {
            let options = options(threads);
            if exact {
                check(&graph, Mode::Inference, &options, batch, Agreement::Exact, &what);
            }
            check(&graph, Mode::Inference, &options, batch, Agreement::Within(1e-5), &what);
            if graph.parameters().next().is_some() {
                let training = training(&graph);
                check(&training, Mode::Training, &options, batch, Agreement::Within(1e-5), &what);
            }
        }
    }
}

#[test]
fn linear() {
    for (inputs, outputs) in [(1, 1), (3, 2), (5, 10), (17, 33), (400, 120)] {
        check_layers(&[inputs], &[Layer::linear(outputs)], true);
    }
}

#[test]
fn convolution() {
    for (channels, size, out, window) in [
        (1, 28, 6, Window::square(5, 1, 2)),
        (3, 7, 5, Window::square(3, 2, 1)),
        (16, 5, 17, Window::square(1, 1, 0)),
        (2, 37, 3, Window::square(11, 4, 1)),
    ] {
        check_layers(&[channels, size, size], &[Layer::conv2d(out, window)], true);
    }
}

#[test]
fn activations() {
    for layer in [Layer::Relu, Layer::Sigmoid, Layer::Tanh, Layer::Softmax, Layer::LogSoftmax] {
        let exact = layer == Layer::Relu;
        check_layers(&[7], &[Layer::linear(5), layer.clone()], exact);
        check_layers(&[3, 5, 5], &[Layer::conv2d(5, Window::square(3, 1, 1)), layer], exact);
    }
}

#[test]
fn pooling() {
    for window in
        [Window::square(2, 2, 0), Window::square(3, 2, 1), Window::square(3, 1, 1), Window::square(5, 3, 2)]
    {
        let conv = Layer::conv2d(3, Window::square(3, 1, 1));
        check_layers(&[2, 9, 9], &[conv.clone(), Layer::MaxPool2d(window.clone())], true);
        check_layers(&[2, 9, 9], &[conv, Layer::AvgPool2d(window)], true);
    }
}

#[test]
fn batch_norm_and_dropout() {
    let norm = Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 };
    check_layers(&[2, 5, 5], &[Layer::conv2d(3, Window::square(3, 1, 1)), norm.clone(), Layer::Relu], false);
    check_layers(&[9], &[Layer::linear(5), norm, Layer::Dropout { rate: 0.3 }], false);
}
