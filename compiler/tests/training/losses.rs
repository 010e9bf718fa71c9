//! Every loss: gradients by central differences, several outputs, and settings that are refused.

use windlass_compiler::autodiff::{
    AutodiffError, Loss, Optimizer, OutputLoss, TrainingOptions, names, training_graph,
};
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::interp::Array;
use windlass_compiler::ops::window::Window;
use windlass_compiler::shape::{DType, Dim, Sizes, Symbol};

use super::{check_step, check_training_with, network, options, outcome, rejects, training_bindings};

fn smoothed(label_smoothing: f64, weights: &[f32]) -> Loss {
    Loss::CrossEntropyWith { label_smoothing, weights: weights.to_vec() }
}

fn likelihood(weights: &[f32]) -> Loss {
    Loss::NegativeLogLikelihood { weights: weights.to_vec() }
}

/// Losses of an output with three classes.
fn losses() -> Vec<Loss> {
    vec![
        Loss::CrossEntropy,
        smoothed(0.1, &[]),
        smoothed(0.0, &[0.5, 2.0, 1.0]),
        smoothed(0.2, &[0.5, 2.0, 0.0]),
        likelihood(&[]),
        likelihood(&[0.5, 2.0, 1.0]),
        Loss::BinaryCrossEntropy,
        Loss::MeanSquaredError,
        Loss::MeanAbsoluteError,
        Loss::Huber { delta: 0.3 },
        Loss::KlDivergence,
    ]
}

/// An image with classes per pixel, and steps with classes, of fixed and open number.
fn per_position() -> [Graph; 3] {
    let image = network(&[2, 3, 4], &[Layer::conv(3, Window::square(3, 1, 1))]);
    let fixed = network(&[5, 2], &[Layer::linear(3)]);
    let mut builder = Builder::new("open");
    let steps: Symbol = "T".parse().unwrap();
    let x = builder.input_of("x", DType::F32, [Dim::from(steps), Dim::from(2)]).unwrap();
    let y = builder.layer("l0", &Layer::linear(3), x).unwrap();
    builder.output("y", y).unwrap();
    [image, fixed, builder.finish().unwrap()]
}

#[test]
fn gradients_of_every_loss() {
    let vector = network(&[4], &[Layer::linear(3)]);
    for loss in losses() {
        check_training_with(&vector, &options(loss.clone(), Optimizer::sgd()), 3);
        for graph in &per_position() {
            let sizes = Sizes::from(2).with("T".parse().unwrap(), 5);
            check_training_with(graph, &options(loss.clone(), Optimizer::sgd()), sizes);
        }
    }
}

/// A label for each token of texts of any length, and of the same length in the labels and the text.
#[test]
fn gradients_of_a_language_model() {
    for steps in [Dim::from("T".parse::<Symbol>().unwrap()), Dim::from(4)] {
        let mut builder = Builder::new("words");
        let tokens = builder.input_of("tokens", DType::I32, [steps]).unwrap();
        let x = builder.layer("words", &Layer::embedding(3, 4), tokens).unwrap();
        let x = builder.layer("f1", &Layer::linear(5), x).unwrap();
        let x = builder.layer("", &Layer::Tanh, x).unwrap();
        let x = builder.layer("f2", &Layer::linear(3), x).unwrap();
        builder.output("next", x).unwrap();
        let graph = builder.finish().unwrap();
        for loss in [Loss::CrossEntropy, smoothed(0.1, &[0.5, 2.0, 1.0])] {
            let sizes = Sizes::from(2).with("T".parse().unwrap(), 4);
            check_training_with(&graph, &options(loss, Optimizer::sgd()), sizes);
        }
    }
}

/// Sequences of labels for outputs of fixed and open length, among which are a network's own open sizes `S` and `T`.
#[test]
fn gradients_of_alignments() {
    for (steps, loss) in [
        (Dim::from("T".parse::<Symbol>().unwrap()), Loss::ctc()),
        (Dim::from("S".parse::<Symbol>().unwrap()), Loss::ctc()),
        (Dim::from(5), Loss::Ctc { blank: 2, per_label: false, zero_infinity: false }),
    ] {
        let mut builder = Builder::new("reader");
        let x = builder.input_of("x", DType::F32, [steps.clone(), Dim::from(2)]).unwrap();
        let y = builder.layer("f", &Layer::linear(4), x).unwrap();
        builder.output("y", y).unwrap();
        let graph = builder.finish().unwrap();
        let options = options(loss.clone(), Optimizer::sgd());
        let step = training_graph(&graph, &options).unwrap();
        let labels = step.source(names::LABELS).unwrap();
        let most = if steps == Dim::from("S".parse::<Symbol>().unwrap()) { "S1" } else { "S" };
        assert_eq!(step.ty(labels).to_string(), format!("i32[N, {most}]"));
        let five = |sizes: Sizes, name: &str| sizes.with(name.parse().unwrap(), 5);
        let sizes = five(five(Sizes::from(3), "T"), "S").with(most.parse().unwrap(), 3);
        let mut bindings = training_bindings(&step, &sizes);
        for (name, value) in [
            (names::LABELS, Array::ints([3, 3], vec![1, 3, 1, 3, 3, -1, 0, 0, 0])),
            (names::LABEL_LENGTHS, Array::ints([3], vec![3, 2, 0])),
            (names::STEP_LENGTHS, Array::ints([3], vec![5, 3, 4])),
        ] {
            bindings.insert(name.to_owned(), value);
        }
        check_step(&step, &options, &sizes, bindings);
    }
}

#[test]
fn networks_that_no_labels_align_with() {
    let ctc = |blank| options(Loss::Ctc { blank, per_label: true, zero_infinity: false }, Optimizer::sgd());
    rejects(
        &network(&[4], &[Layer::linear(3)]),
        &ctc(0),
        "the CTC loss needs an output of logits for each step, [T, classes], but `y` is [3]: give the network steps, or \
         transpose its output",
    );
    let steps = network(&[5, 2], &[Layer::linear(3)]);
    rejects(&steps, &ctc(3), "`blank` is 3e0 but must be a class of the output");
    let mut builder = Builder::new("net");
    let x = builder.input("x", &[5, 3]).unwrap();
    let y = builder.layer("f", &Layer::linear(3), x).unwrap();
    let y = builder.softmax_along("s", y, 2).unwrap();
    builder.output("y", y).unwrap();
    let refused = training_graph(&builder.finish().unwrap(), &ctc(0));
    assert!(matches!(refused, Err(AutodiffError::SoftmaxBeforeLoss { loss: "CTC loss", .. })), "{refused:?}");
    // A log-softmax is mapped to itself.
    assert!(training_graph(&steps, &ctc(2)).is_ok());
    let named: Loss = serde_json::from_str(r#"{"ctc": {"blank": 2}}"#).unwrap();
    assert_eq!(named, Loss::Ctc { blank: 2, per_label: true, zero_infinity: false });
}

fn two_outputs() -> Graph {
    let mut builder = Builder::new("two");
    let x = builder.input("x", &[4]).unwrap();
    let body = builder.layer("body", &Layer::linear(5), x).unwrap();
    let class = builder.layer("class", &Layer::linear(3), body).unwrap();
    let place = builder.layer("place", &Layer::linear(2), body).unwrap();
    builder.output("class", class).unwrap();
    builder.output("place", place).unwrap();
    builder.finish().unwrap()
}

fn listed(losses: &[OutputLoss]) -> TrainingOptions {
    TrainingOptions::default().losses(losses.to_vec())
}

#[test]
fn losses_of_several_outputs_are_weighted_and_summed() {
    let graph = two_outputs();
    let class = OutputLoss::new("class", Loss::CrossEntropy);
    let place = OutputLoss::new("place", Loss::MeanSquaredError).weighted(0.25);
    let both = listed(&[class, place]);
    check_training_with(&graph, &both, 2);
    let step = training_graph(&graph, &both).unwrap();
    let bindings = training_bindings(&step, 2);
    let loss = |options: &TrainingOptions| {
        let step = training_graph(&graph, options).unwrap();
        let mut bindings = bindings.clone();
        for (name, of) in
            [(names::LABELS, names::labels_of("class")), (names::TARGET, names::target_of("place"))]
        {
            let value = bindings[&of].clone();
            bindings.insert(name.to_owned(), value);
        }
        outcome(&step, 2, &bindings).outputs[names::LOSS].real()[0]
    };
    let of = |output: &str, loss| TrainingOptions::default().loss(loss).output(output);
    let expected = loss(&of("class", Loss::CrossEntropy)) + 0.25 * loss(&of("place", Loss::MeanSquaredError));
    assert!((loss(&both) - expected).abs() < 1e-12);
}

/// Logarithms of probabilities of 0 do not spoil a likelihood or a divergence that they do not count in.
#[test]
fn probabilities_of_zero() {
    let graph = network(&[3], &[Layer::linear(3)]);
    for (loss, expected) in [(likelihood(&[]), 0.5), (Loss::KlDivergence, 0.5)] {
        let step = training_graph(&graph, &options(loss, Optimizer::sgd())).unwrap();
        let mut bindings = training_bindings(&step, 1);
        bindings.insert("l0.weight".to_owned(), Array::zeros([3, 3]));
        bindings.insert("l0.bias".to_owned(), Array::new([3], vec![-0.5, -1e300, -2.0]));
        bindings.insert(names::LABELS.to_owned(), Array::ints([1], vec![0]));
        bindings.insert(names::TARGET.to_owned(), Array::new([1, 3], vec![1.0, 0.0, 0.0]));
        let loss = outcome(&step, 1, &bindings).outputs[names::LOSS].real()[0];
        assert!((loss - expected).abs() < 1e-12, "{loss}");
    }
}

#[test]
fn settings_of_losses_are_checked() {
    let graph = network(&[4], &[Layer::linear(3)]);
    let one = |loss| options(loss, Optimizer::sgd());
    rejects(&graph, &one(smoothed(1.0, &[])), "`label_smoothing` is 1e0 but must be at least 0 and below 1");
    rejects(
        &graph,
        &one(Loss::Huber { delta: 0.0 }),
        "`delta` is 0e0 but must be above 0, and finite and normal as an f32",
    );
    rejects(
        &graph,
        &one(likelihood(&[1.0, -1.0, 1.0])),
        "`weights` is -1e0 but must be at least 0 and finite",
    );
    for loss in [smoothed(0.0, &[1.0, 1.0]), likelihood(&[1.0, 1.0])] {
        let expected = AutodiffError::ClassWeights { output: "y".to_owned(), classes: 3, got: 2 };
        assert_eq!(training_graph(&graph, &one(loss)), Err(expected));
    }
}

#[test]
fn lists_of_losses_are_checked() {
    let graph = two_outputs();
    let class = OutputLoss::new("class", Loss::CrossEntropy);
    rejects(
        &graph,
        &listed(&[OutputLoss::new("clas", Loss::CrossEntropy)]),
        "the network has no output `clas`; it has [\"class\", \"place\"]",
    );
    rejects(
        &graph,
        &listed(&[class.clone(), class.clone()]),
        "the output `class` has several losses: give it one",
    );
    rejects(
        &graph,
        &listed(&[class.clone().weighted(-1.0)]),
        "`weight` is -1e0 but must be at least 0, and finite as an f32",
    );
    rejects(
        &graph,
        &listed(&[class]).output("class"),
        "the options choose the output `class` and list losses: leave one out, since each loss names its output",
    );
}
