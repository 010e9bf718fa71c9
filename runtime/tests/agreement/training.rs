//! Whole networks and whole training steps.

use windlass_compiler::autodiff::{
    Loss, Optimizer, TrainingOptions, gradients, training_graph, training_mode,
};
use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::ops::dropout::{Dropout, DropoutTraining, MaskUnit};
use windlass_compiler::ops::elementwise::{Binary, BinaryKind, SumChannels};
use windlass_compiler::ops::source::{Input, InputRole};
use windlass_compiler::ops::structure::Reshape;
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::Mode;
use windlass_compiler::shape::{DType, Dim, Shape, Type};

use crate::check::{Agreement, Expectation, interpreted};
use crate::graphs::{Ops, network, training};
use crate::numbers::{Values, sources};

const NORM: Layer = Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 };

fn conv(channels: usize, kernel_size: usize, stride: usize, padding: usize) -> Layer {
    Layer::conv(channels, Window::square(kernel_size, stride, padding))
}

fn lenet(image: usize) -> Graph {
    network(
        &[1, image, image],
        &[
            conv(6, 5, 1, 2),
            Layer::Relu,
            Layer::max_pool(Window::square(2, 2, 0)),
            conv(16, 5, 1, 0),
            Layer::Relu,
            Layer::max_pool(Window::square(2, 2, 0)),
            Layer::Flatten,
            Layer::linear(120),
            Layer::Relu,
            Layer::linear(84),
            Layer::Relu,
            Layer::linear(10),
        ],
    )
}

/// The sum of a graph's first output times an input `weights`, and the gradients of that sum with respect to all
/// parameters and to `x`, each as an output.
fn with_gradients(graph: &Graph) -> Graph {
    let mut graph = graph.clone();
    let y = graph.outputs()[0].value;
    let ty = graph.ty(y).clone();
    let elements = ty.shape.item_elements();
    let mut op =
        |op: windlass_compiler::ops::Op, operands: &[ValueId]| graph.add_single(op, operands, "").unwrap();
    let weights = op(Input { name: "weights".to_owned(), role: InputRole::Data, ty }.into(), &[]);
    let products = op(Binary { kind: BinaryKind::Multiply }.into(), &[y, weights]);
    let row = Shape::new([Dim::batch(), Dim::Fixed(1), Dim::Fixed(elements)]);
    let row = op(Reshape { shape: row }.into(), &[products]);
    let sum = op(SumChannels {}.into(), &[row]);
    let sum = op(Reshape { shape: Shape::scalar() }.into(), &[sum]);
    let mut of: Vec<(String, ValueId)> =
        graph.parameters().map(|(value, parameter)| (parameter.name.clone(), value)).collect();
    of.push(("x".to_owned(), graph.source("x").unwrap()));
    let values: Vec<ValueId> = of.iter().map(|(_, value)| *value).collect();
    let (mut graph, found) = gradients(&graph, sum, &values).unwrap();
    graph.add_output("sum", sum).unwrap();
    for ((name, _), gradient) in of.iter().zip(found) {
        graph.add_output(&format!("to {name}"), gradient).unwrap();
    }
    graph
}

#[test]
fn lenet_forward_and_backward_is_exact() {
    let graph = with_gradients(&lenet(28));
    for batch in [1, 3] {
        let sources = sources(&graph, batch, Values::Sparse, 5);
        let (single, double) =
            (interpreted::<f32>(&graph, batch, &sources), interpreted::<f64>(&graph, batch, &sources));
        assert_eq!(single, double, "the numbers are not small enough to be exact");
        assert!(single["to l0.weight"].iter().any(|&gradient| gradient != 0.0), "nothing flows back");
        let expectation = Expectation::on(&graph, batch, sources, Agreement::Exact);
        expectation.check_variants(Mode::Inference, "LeNet");
    }
}

#[test]
fn branches_forward_and_backward_are_exact() {
    let mut builder = Builder::new("branches");
    let x = builder.input("x", &[3, 9, 8]).unwrap();
    let a = builder.layer("a", &conv(4, 3, 1, 1), x).unwrap();
    let a = builder.layer("a", &Layer::Relu, a).unwrap();
    let b = builder.layer("b", &conv(4, 1, 1, 0), x).unwrap();
    let sum = builder.add("sum", a, b).unwrap();
    let pooled = builder.layer("pool", &Layer::max_pool(Window::square(3, 1, 1)), x).unwrap();
    let joined = builder.concat("join", &[sum, pooled, a]).unwrap();
    let c = builder.layer("c", &conv(5, 2, 2, 0), joined).unwrap();
    let c = builder.layer("c", &Layer::Relu, c).unwrap();
    let c = builder.layer("c", &Layer::GlobalAvgPool { axes: 2 }, c).unwrap();
    let flat = builder.layer("end", &Layer::Flatten, c).unwrap();
    builder.output("y", flat).unwrap();
    let graph = with_gradients(&builder.finish().unwrap());
    // The means are over 16 positions.
    Expectation::new(&graph, &[1, 2], Values::Sparse, Agreement::Exact)
        .check_variants(Mode::Training, "branches");
}

/// Layers of every kind after a product: whole steps agree with the f64 interpreter within rounding.
#[test]
fn a_step_of_every_layer() {
    let layers: Vec<Vec<Layer>> = vec![
        vec![Layer::Relu],
        vec![Layer::Sigmoid],
        vec![Layer::Tanh],
        vec![Layer::Softmax],
        vec![Layer::LogSoftmax],
        vec![NORM],
        vec![NORM, Layer::Relu],
        vec![Layer::Dropout { rate: 0.3 }],
        vec![Layer::Tanh, Layer::Dropout { rate: 0.5 }, Layer::Sigmoid],
        vec![Layer::max_pool(Window::square(3, 2, 1))],
        vec![Layer::avg_pool(Window::square(2, 1, 1))],
        vec![Layer::GlobalAvgPool { axes: 2 }],
    ];
    for layers in layers {
        let spatial = matches!(
            layers[0],
            Layer::MaxPool { .. } | Layer::AvgPool { .. } | Layer::GlobalAvgPool { axes: 2 }
        );
        for (item, product) in [
            (vec![7], Layer::linear(5)),
            (vec![3, 5, 6], conv(5, 3, 1, 1)),
            (vec![2, 3, 3], conv(17, 2, 1, 0)),
        ] {
            if spatial && item.len() == 1 {
                continue;
            }
            let layers = [vec![product], layers.clone()].concat();
            let what = format!("{item:?} {layers:?}");
            let graph = network(&item, &layers);
            Expectation::new(&graph, &[1, 2, 7], Values::Reals, Agreement::Within(1e-5))
                .check_variants(Mode::Inference, &what);
            let step = training(&graph, Optimizer::sgd());
            // With one value per channel in the batch, the variance is zero, which magnifies every rounding error.
            let batches: &[usize] = if layers.contains(&NORM) { &[5, 7] } else { &[1, 2, 7] };
            Expectation::new(&step, batches, Values::Reals, Agreement::Within(1e-5))
                .check_variants(Mode::Training, &what);
        }
    }
}

#[test]
fn every_optimizer() {
    let sgd = |momentum, nesterov, weight_decay| Optimizer::Sgd { momentum, nesterov, weight_decay };
    let adam = Optimizer::Adam { beta1: 0.8, beta2: 0.99, epsilon: 1e-3, weight_decay: 0.1 };
    let adam_w = Optimizer::AdamW { beta1: 0.8, beta2: 0.99, epsilon: 1e-3, weight_decay: 0.1 };
    for optimizer in [
        sgd(0.0, false, 0.0),
        sgd(0.0, false, 0.1),
        sgd(0.9, false, 0.0),
        sgd(0.9, false, 0.1),
        sgd(0.9, true, 0.1),
        Optimizer::adam(),
        Optimizer::adam_w(),
        adam,
        adam_w,
    ] {
        for loss in [Loss::MeanSquaredError, Loss::CrossEntropy] {
            for clip_norm in [None, Some(0.01), Some(1e6)] {
                let loss = loss.clone();
                let options = TrainingOptions::default().loss(loss).optimizer(optimizer).clip_norm(clip_norm);
                let graph =
                    network(&[2, 5, 5], &[conv(3, 3, 2, 1), Layer::Tanh, Layer::Flatten, Layer::linear(7)]);
                let step = training_graph(&graph, &options).unwrap();
                let what = format!("{options:?}");
                Expectation::new(&step, &[1, 3], Values::Reals, Agreement::Within(1e-5))
                    .check_variants(Mode::Training, &what);
            }
        }
    }
}

#[test]
fn every_loss() {
    let weights = vec![0.5, 2.0, 1.0, 0.25, 0.0];
    let labelled = [
        Loss::CrossEntropy,
        Loss::CrossEntropyWith { label_smoothing: 0.1, weights: Vec::new() },
        Loss::CrossEntropyWith { label_smoothing: 0.2, weights: weights.clone() },
        Loss::NegativeLogLikelihood { weights },
    ];
    let others = [
        Loss::BinaryCrossEntropy,
        Loss::MeanSquaredError,
        Loss::MeanAbsoluteError,
        Loss::Huber { delta: 0.5 },
    ];
    for loss in labelled.into_iter().chain(others) {
        // A vector, pixels and steps of classes.
        for (item, layer) in
            [(&[3][..], Layer::linear(5)), (&[2, 4, 5], conv(5, 3, 1, 1)), (&[6, 3], Layer::linear(5))]
        {
            let mut builder = Builder::new("net");
            let x = builder.input("x", item).unwrap();
            let y = builder.layer("l0", &layer, x).unwrap();
            builder.output("y", y).unwrap();
            let options = TrainingOptions::default().loss(loss.clone());
            let step = training_graph(&builder.finish().unwrap(), &options).unwrap();
            Expectation::new(&step, &[1, 3], Values::Reals, Agreement::Within(1e-5))
                .check_variants(Mode::Training, &format!("{loss:?} of {item:?}"));
        }
    }
}

#[test]
fn cross_entropy_of_every_number_of_classes() {
    for classes in [2, 3, 4, 5, 10, 17, 33, 1000] {
        let graph = network(&[3], &[Layer::linear(classes)]);
        let step = training_graph(&graph, &TrainingOptions::default()).unwrap();
        Expectation::new(&step, &[1, 2, 7, 33], Values::Reals, Agreement::Within(1e-5))
            .check_variants(Mode::Training, &format!("{classes} classes"));
    }
}

#[test]
fn dropout_masks_are_the_interpreters() {
    for item in [vec![1], vec![7], vec![3, 5, 5], vec![64], vec![20, 5, 5], vec![33, 2, 9]] {
        for (rate, stream) in [(0.0, 0), (0.1, 1), (0.5, 2), (0.999, 3)] {
            let mut ops = Ops::new();
            let x = ops.input("x", &item);
            let seed = Input {
                name: "seed".to_owned(),
                role: InputRole::Control,
                ty: Type { dtype: DType::I32, shape: Shape::fixed(&[2]) },
            };
            let seed = ops.op(seed, &[]);
            let off = ops.op(Dropout::new(rate), &[x]);
            let masked = MaskUnit::ALL.map(|unit| ops.op(DropoutTraining { rate, stream, unit }, &[x, seed]));
            let mut ops = ops.output("off", off);
            for (unit, y) in MaskUnit::ALL.into_iter().zip(masked) {
                ops = ops.output(&format!("{unit:?}"), y);
            }
            let graph = ops.finish();
            Expectation::new(&graph, &[1, 2, 7, 33], Values::Reals, Agreement::Exact)
                .check_variants(Mode::Training, &format!("{item:?} at {rate}"));
        }
    }
}

#[test]
fn a_step_through_frozen_batch_normalisation() {
    for (item, product) in [(vec![7], Layer::linear(5)), (vec![3, 5, 6], conv(9, 3, 1, 1))] {
        let graph = network(&item, &[product.clone(), NORM, Layer::Relu, product]);
        // Freezes only its statistics, so that its scale and shift are trained; then the whole layer.
        for frozen in ["l1.running_mean", "l1"] {
            let options = TrainingOptions::default().loss(Loss::MeanSquaredError).frozen([frozen]);
            let step = training_graph(&graph, &options).unwrap();
            Expectation::new(&step, &[1, 2, 7], Values::Reals, Agreement::Within(1e-5))
                .check_variants(Mode::Training, &format!("{item:?}, {frozen} frozen"));
        }
    }
}

#[test]
fn training_mode_alone_runs_too() {
    let graph = network(&[3, 4, 4], &[conv(5, 3, 1, 1), NORM, Layer::Relu, Layer::Dropout { rate: 0.25 }]);
    let graph = training_mode(&graph).unwrap();
    Expectation::new(&graph, &[2, 7], Values::Reals, Agreement::Within(1e-5))
        .check_variants(Mode::Training, "forward");
}
