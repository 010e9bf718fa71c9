//! Whole training steps: their gradients against central differences, their updates, and the errors of invalid ones.

mod losses;
mod recompute;
mod refused;
#[path = "../support/mod.rs"]
mod support;

use support::{check_derivative, outcome, spaced, spaced_bindings};
use windlass_compiler::autodiff::{
    AutodiffError, Loss, Optimizer, OutputLoss, ParameterGroup, TrainingOptions, loss_graph, names,
    training_graph, training_mode,
};
use windlass_compiler::graph::{Builder, Graph, Layer, verify};
use windlass_compiler::interp::{Array, Bindings};
use windlass_compiler::ops::Op;
use windlass_compiler::ops::source::InputRole;
use windlass_compiler::ops::window::Window;
use windlass_compiler::shape::Sizes;

/// A network with one output `y` after a sequence of layers, each labelled with its position.
fn network(item: &[usize], layers: &[Layer]) -> Graph {
    let mut builder = Builder::new("net");
    let mut x = builder.input("x", item).unwrap();
    for (index, layer) in layers.iter().enumerate() {
        x = builder.layer(&format!("l{index}"), layer, x).unwrap();
    }
    builder.output("y", x).unwrap();
    builder.finish().unwrap()
}

fn lenet() -> Graph {
    network(
        &[1, 8, 8],
        &[
            Layer::conv(3, Window::square(5, 1, 2)),
            Layer::Sigmoid,
            Layer::avg_pool(Window::square(2, 2, 0)),
            Layer::conv(4, Window::square(3, 1, 0)),
            Layer::Sigmoid,
            Layer::avg_pool(Window::square(2, 2, 0)),
            Layer::Flatten,
            Layer::linear(6),
            Layer::Sigmoid,
            Layer::linear(4),
        ],
    )
}

/// Parallel paths, a shortcut, batch normalisation and dropout.
fn branching() -> Graph {
    let mut b = Builder::new("branching");
    let x = b.input("x", &[2, 6, 6]).unwrap();
    let stem = b.layer("stem", &Layer::conv(4, Window::square(3, 1, 1)), x).unwrap();
    let stem = b.layer("norm", &Layer::BatchNorm { epsilon: 1e-3, momentum: 0.2 }, stem).unwrap();
    let stem = b.layer("stem", &Layer::Relu, stem).unwrap();
    let left = b.layer("left", &Layer::conv(1, Window::square(1, 1, 0)), stem).unwrap();
    let middle = b.layer("middle", &Layer::conv(2, Window::square(3, 1, 1)), stem).unwrap();
    let right = b.layer("right", &Layer::max_pool(Window::square(3, 1, 1)), stem).unwrap();
    let right = b.layer("right", &Layer::conv(1, Window::square(1, 1, 0)), right).unwrap();
    let joined = b.concat("join", &[left, middle, right]).unwrap();
    let sum = b.add("sum", joined, stem).unwrap();
    let x = b.layer("drop1", &Layer::Dropout { rate: 0.3 }, sum).unwrap();
    let x = b.layer("pool", &Layer::max_pool(Window::square(2, 2, 0)), x).unwrap();
    let x = b.layer("flatten", &Layer::Flatten, x).unwrap();
    let x = b.layer("drop2", &Layer::Dropout { rate: 0.2 }, x).unwrap();
    let x = b.layer("last", &Layer::linear(3), x).unwrap();
    b.output("y", x).unwrap();
    b.finish().unwrap()
}

fn options(loss: Loss, optimizer: Optimizer) -> TrainingOptions {
    TrainingOptions::default().loss(loss).optimizer(optimizer)
}

fn single(value: f64) -> Array<f64> {
    Array::scalar(value)
}

/// Values for a training graph, its learning rate 1 and its optimiser's states 0.
fn training_bindings(graph: &Graph, sizes: impl Into<Sizes>) -> Bindings<f64> {
    let sizes = sizes.into();
    let mut bindings = spaced_bindings(graph, &sizes);
    bindings.insert(names::LEARNING_RATE.to_owned(), single(1.0));
    for (value, state) in graph.states() {
        if state.name.starts_with(names::OPTIMIZER_PREFIX) {
            bindings.insert(state.name.clone(), Array::zeros(graph.ty(value).shape.concrete(&sizes)));
        }
        if state.name.ends_with("running_var") {
            let variances = bindings[&state.name].real().iter().map(|value| value.abs() + 0.5).collect();
            bindings
                .insert(state.name.clone(), Array::new(graph.ty(value).shape.concrete(&sizes), variances));
        }
    }
    bindings
}

/// Checks the gradient of every parameter in a training step: at learning rate 1, plain SGD subtracts it.
#[track_caller]
fn check_training(network: &Graph, loss: Loss, batch: usize) {
    check_training_with(network, &options(loss, Optimizer::sgd()), batch);
}

#[track_caller]
fn check_training_with(network: &Graph, options: &TrainingOptions, sizes: impl Into<Sizes>) {
    let sizes = sizes.into();
    let graph = training_graph(network, options).unwrap();
    verify(&graph).unwrap();
    assert_eq!(graph.to_string().parse::<Graph>().unwrap(), graph);
    let bindings = training_bindings(&graph, &sizes);
    check_step(&graph, options, &sizes, bindings);
}

/// Checks a training step on given values.
#[track_caller]
fn check_step(graph: &Graph, options: &TrainingOptions, sizes: &Sizes, mut bindings: Bindings<f64>) {
    let step = outcome(graph, sizes, &bindings);
    for (_, parameter) in graph.parameters() {
        let old = bindings[&parameter.name].real().to_vec();
        let Some(new) = step.updates.get(&parameter.name).map(Array::real) else {
            let mut layers = options.frozen.iter();
            assert!(layers.any(|layer| parameter.name.starts_with(layer.as_str())), "{}", parameter.name);
            continue;
        };
        let gradient: Vec<f64> = old.iter().zip(new).map(|(old, new)| old - new).collect();
        check_derivative(&mut bindings, &parameter.name, 0..gradient.len(), &gradient, |bindings| {
            outcome(graph, sizes, bindings).outputs[names::LOSS].real()[0]
        });
    }
}

#[test]
fn gradients_of_a_convolutional_network() {
    check_training(&lenet(), Loss::CrossEntropy, 2);
    check_training(&lenet(), Loss::MeanSquaredError, 2);
}

#[test]
fn gradients_of_a_network_with_branches() {
    check_training(&branching(), Loss::CrossEntropy, 3);
}

#[track_caller]
fn rejects(network: &Graph, options: &TrainingOptions, expected: &str) {
    assert_eq!(training_graph(network, options).unwrap_err().to_string(), expected);
}

fn freezing(names: &[&str]) -> TrainingOptions {
    TrainingOptions::default().frozen(names.iter().copied())
}

#[test]
fn gradients_through_frozen_batch_normalisation() {
    // Only statistics, so that scale and shift are trained; all of the layer; its parameters; and the layer before, to
    // whose weight the gradient goes through it in the others.
    for frozen in [
        &["norm.running_mean"][..],
        &["norm.running_var"],
        &["norm"],
        &["norm.weight", "norm.bias"],
        &["norm", "stem"],
    ] {
        check_training_with(&branching(), &freezing(frozen), 3);
    }
}

#[test]
fn frozen_batch_normalisation_computes_as_in_prediction_and_keeps_its_statistics() {
    let updates = |frozen: &[&str]| -> Vec<String> {
        let graph = training_graph(&branching(), &freezing(frozen)).unwrap();
        graph
            .updates()
            .iter()
            .map(|update| update.name.clone())
            .filter(|name| name.starts_with("norm"))
            .collect()
    };
    let statistics = ["norm.running_mean", "norm.running_var"];
    assert_eq!(updates(&[])[..2], statistics);
    assert_eq!(updates(&["norm.weight"]), [&statistics[..], &["norm.bias"]].concat());
    assert_eq!(updates(&["norm.running_mean"]), ["norm.weight", "norm.bias"]);
    assert!(updates(&["norm"]).is_empty());
    assert!(updates(&["norm.weight", "norm.bias"]).is_empty());

    let layers = [Layer::BatchNorm { epsilon: 1e-5, momentum: 0.25 }, Layer::linear(3)];
    let network = network(&[2], &layers);
    let graph = training_graph(&network, &freezing(&["l0"])).unwrap();
    let bindings = training_bindings(&graph, 3);
    assert_eq!(outcome(&graph, 3, &bindings).outputs["y"], outcome(&network, 3, &bindings).outputs["y"]);
}

#[test]
fn a_layer_is_frozen_by_its_name() {
    let network = network(&[3], &[Layer::linear(2), Layer::Tanh, Layer::linear(2)]);
    let graph = training_graph(&network, &freezing(&["l0"])).unwrap();
    let updates: Vec<&str> = graph.updates().iter().map(|update| update.name.as_str()).collect();
    assert_eq!(updates, ["l2.weight", "l2.bias"]);
    // A part of a name is not a layer.
    assert!(matches!(
        training_graph(&network, &freezing(&["l"])),
        Err(AutodiffError::UnknownFrozen { unknown, .. }) if unknown[0].name == "l"
    ));
}

#[test]
fn all_names_that_freeze_nothing_are_told_with_the_nearest() {
    rejects(
        &branching(),
        &freezing(&["left.wieght", "norm.runing_mean", "nrom", "x", "stem.bias"]),
        "`frozen` has names of no parameter, state or layer:\n  \
         - `left.wieght`; did you mean `left.weight`?\n  \
         - `norm.runing_mean`; did you mean the state `norm.running_mean`?\n  \
         - `nrom`; did you mean `norm`?\n  \
         - `x`\n  \
         parameters: stem.weight, stem.bias, norm.weight, norm.bias, left.weight, left.bias, middle.weight, middle.bias, \
         right.weight, right.bias, last.weight, last.bias\n  \
         states: norm.running_mean, norm.running_var",
    );
}

#[test]
fn the_cross_entropy_takes_logits_of_two_classes_or_more() {
    let defaults = TrainingOptions::default();
    for last in [&[][..], &[Layer::Flatten]] {
        let ending = |layer| network(&[3], &[&[Layer::linear(2), layer], last].concat());
        let (output, layer) = ("y".to_owned(), "l1".to_owned());
        let expected = AutodiffError::SoftmaxBeforeLoss { loss: "cross-entropy", output, layer };
        assert_eq!(training_graph(&ending(Layer::Softmax), &defaults), Err(expected));
        let squared = options(Loss::MeanSquaredError, Optimizer::sgd());
        assert!(training_graph(&ending(Layer::Softmax), &squared).is_ok());
        assert!(training_graph(&ending(Layer::LogSoftmax), &defaults).is_ok());
    }
    for last in [&[][..], &[Layer::Flatten]] {
        let ending = network(&[3], &[&[Layer::linear(2), Layer::Sigmoid], last].concat());
        let (output, layer) = ("y".to_owned(), "l1".to_owned());
        let binary = options(Loss::BinaryCrossEntropy, Optimizer::sgd());
        let expected = AutodiffError::SigmoidBeforeLoss { output, layer };
        assert_eq!(training_graph(&ending, &binary), Err(expected));
        let squared = options(Loss::MeanSquaredError, Optimizer::sgd());
        assert!(training_graph(&ending, &squared).is_ok());
    }
    let one = network(&[3], &[Layer::linear(1)]);
    let expected = AutodiffError::TooFewClasses { output: "y".to_owned(), classes: 1 };
    assert_eq!(training_graph(&one, &defaults), Err(expected));
    assert!(training_graph(&one, &options(Loss::MeanSquaredError, Optimizer::sgd())).is_ok());
}

#[test]
fn settings_are_checked_as_the_floats_they_are_used_as() {
    let network = network(&[3], &[Layer::linear(2)]);
    let adam = |beta2: f64, epsilon: f64| Optimizer::Adam { beta1: 0.9, beta2, epsilon, weight_decay: 0.0 };
    let sgd = |momentum, weight_decay| Optimizer::Sgd { momentum, nesterov: false, weight_decay };
    for (optimizer, wrong) in [
        (adam(0.999, 1e-50), "epsilon"),
        (adam(0.999, 1e-40), "epsilon"),
        (adam(0.999, 0.0), "epsilon"),
        (adam(0.999, 1e39), "epsilon"),
        (adam(0.999_999_999, 1e-8), "beta2"),
        (sgd(0.999_999_999, 0.0), "momentum"),
        (sgd(f64::NAN, 0.0), "momentum"),
        (sgd(0.9, 1e39), "weight_decay"),
        (sgd(0.9, -1.0), "weight_decay"),
    ] {
        let result = training_graph(&network, &options(Loss::CrossEntropy, optimizer));
        assert!(
            matches!(result, Err(AutodiffError::Setting { setting, .. }) if setting == wrong),
            "{optimizer:?}: {result:?}"
        );
    }
    for max_norm in [0.0, -1.0, f64::NAN, 1e-50, 1e39] {
        let options = TrainingOptions::default().clip_norm(max_norm);
        let result = training_graph(&network, &options);
        assert!(matches!(result, Err(AutodiffError::Setting { setting: "clip_norm", .. })), "{result:?}");
        let options = TrainingOptions::default().clip_value(max_norm);
        let result = training_graph(&network, &options);
        assert!(matches!(result, Err(AutodiffError::Setting { setting: "clip_value", .. })), "{result:?}");
    }
}

#[test]
fn steps_make_the_loss_smaller() {
    for optimizer in [
        Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.0 },
        Optimizer::adam(),
        Optimizer::adam_w(),
    ] {
        let network = network(&[4], &[Layer::linear(8), Layer::Tanh, Layer::linear(3)]);
        let graph = training_graph(&network, &options(Loss::CrossEntropy, optimizer)).unwrap();
        let mut bindings = training_bindings(&graph, 6);
        bindings.insert(names::LEARNING_RATE.to_owned(), single(0.05));
        let mut losses = Vec::new();
        for step in 1..=100 {
            if let Some(correction) = optimizer.correction(step) {
                bindings.insert(names::CORRECTION.to_owned(), Array::new([2], correction.to_vec()));
            }
            let outcome = outcome(&graph, 6, &bindings);
            losses.push(outcome.outputs[names::LOSS].real()[0]);
            bindings.extend(outcome.updates);
        }
        assert!(losses[99] < 0.1 * losses[0], "{optimizer:?}: {losses:?}");
    }
}

#[test]
fn inference_is_untouched_by_training_mode_of_deterministic_layers() {
    let network = lenet();
    assert_eq!(training_mode(&network).unwrap(), network);
}

#[test]
fn training_mode_is_reached_once() {
    let once = training_mode(&branching()).unwrap();
    verify(&once).unwrap();
    assert_eq!(training_mode(&once).unwrap(), once);
    let streams: Vec<u32> = once
        .nodes()
        .iter()
        .filter_map(|node| match &node.op {
            Op::DropoutTraining(dropout) => Some(dropout.stream),
            _ => None,
        })
        .collect();
    assert_eq!(streams, [0, 1]);
    let roles: Vec<(&str, InputRole)> =
        once.inputs().map(|(_, input)| (input.name.as_str(), input.role)).collect();
    assert_eq!(roles, [("x", InputRole::Data), (names::SEED, InputRole::Control)]);
    let updates: Vec<&str> = once.updates().iter().map(|update| update.name.as_str()).collect();
    assert_eq!(updates, ["norm.running_mean", "norm.running_var"]);
}

#[test]
fn running_statistics_follow_the_batches() {
    let layers = [Layer::BatchNorm { epsilon: 1e-5, momentum: 0.25 }];
    let graph = training_mode(&network(&[2], &layers)).unwrap();
    let mut bindings = spaced_bindings(&graph, 2);
    for (name, values) in [
        ("l0.running_mean", vec![0.0, 4.0]),
        ("l0.running_var", vec![1.0, 1.0]),
        ("x", vec![1.0, 0.0, 3.0, 0.0]),
    ] {
        let sizes = graph.ty(graph.source(name).unwrap()).shape.concrete(2);
        bindings.insert(name.to_owned(), Array::new(sizes, values));
    }
    // Channel 0 holds 1 and 3: mean 2, unbiased variance 2. Channel 1 holds 0 and 0.
    let two = outcome(&graph, 2, &bindings);
    assert_eq!(two.updates["l0.running_mean"].real(), [0.5, 3.0]);
    assert_eq!(two.updates["l0.running_var"].real(), [1.25, 0.75]);
    // A single value has no unbiased variance; its biased one is 0.
    bindings.insert("x".to_owned(), Array::new([1, 2], vec![8.0, 4.0]));
    let one = outcome(&graph, 1, &bindings);
    assert_eq!(one.updates["l0.running_mean"].real(), [2.0, 4.0]);
    assert_eq!(one.updates["l0.running_var"].real(), [0.75, 0.75]);
}

#[test]
fn a_step_updates_what_it_says() {
    let network = network(&[3], &[Layer::linear(2), Layer::Tanh, Layer::linear(2)]);
    let options = TrainingOptions::default()
        .optimizer(Optimizer::Sgd { momentum: 0.9, nesterov: false, weight_decay: 0.0 })
        .clip_norm(1.0)
        .frozen(["l0.weight"]);
    let graph = training_graph(&network, &options).unwrap();
    let updates: Vec<&str> = graph.updates().iter().map(|update| update.name.as_str()).collect();
    assert_eq!(
        updates,
        [
            "l0.bias",
            "optimizer.velocity.l0.bias",
            "l2.weight",
            "optimizer.velocity.l2.weight",
            "l2.bias",
            "optimizer.velocity.l2.bias",
        ]
    );
    let outputs: Vec<&str> = graph.outputs().iter().map(|output| output.name.as_str()).collect();
    assert_eq!(outputs, ["y", names::LOSS, names::GRADIENT_NORM]);
    // There is no path to the input or the frozen weight, and the remaining nodes are named after their layer.
    assert!(
        !graph.nodes().iter().any(|node| matches!(node.op, Op::LinearGradInput(_)) && node.label == "l0")
    );
    let weight_gradients: Vec<&str> = graph
        .nodes()
        .iter()
        .filter(|node| matches!(node.op, Op::LinearGradWeight(_)))
        .map(|node| node.label.as_str())
        .collect();
    assert_eq!(weight_gradients, ["l2"]);
}

#[test]
fn clipping_bounds_the_step() {
    let network = network(&[3], &[Layer::linear(2)]);
    let options = TrainingOptions::default().clip_norm(0.01);
    let graph = training_graph(&network, &options).unwrap();
    let bindings = training_bindings(&graph, 2);
    let step = outcome(&graph, 2, &bindings);
    let moved: f64 = ["l0.weight", "l0.bias"]
        .iter()
        .flat_map(|&name| bindings[name].real().iter().zip(step.updates[name].real()))
        .map(|(old, new)| (old - new).powi(2))
        .sum();
    let norm = step.outputs[names::GRADIENT_NORM].real()[0];
    assert!(norm > 0.01);
    assert!((moved.sqrt() - 0.01 * norm / (norm + 1e-6)).abs() < 1e-12);
}

#[test]
fn clipping_by_value_limits_each_element() {
    let network = network(&[3], &[Layer::linear(2)]);
    let plain = training_graph(&network, &TrainingOptions::default()).unwrap();
    let options = TrainingOptions::default().clip_value(0.05);
    let clipped = training_graph(&network, &options).unwrap();
    let bindings = training_bindings(&clipped, 2);
    let [plain, clipped] = [&plain, &clipped].map(|graph| outcome(graph, 2, &bindings));
    let rate = bindings[names::LEARNING_RATE].real()[0];
    let mut limited = 0;
    for name in ["l0.weight", "l0.bias"] {
        let old = bindings[name].real();
        let [plain, clipped] = [&plain, &clipped].map(|outcome| outcome.updates[name].real());
        for ((old, plain), clipped) in old.iter().zip(plain).zip(clipped) {
            let gradient = (old - plain) / rate;
            limited += usize::from(gradient.abs() > 0.05);
            assert!(((old - clipped) / rate - gradient.clamp(-0.05, 0.05)).abs() < 1e-9);
        }
    }
    assert!(limited > 0);
    assert!(!clipped.outputs.contains_key(names::GRADIENT_NORM));
}

#[test]
fn the_loss_alone_is_that_of_the_step() {
    let network = network(&[3], &[Layer::linear(2), Layer::Tanh, Layer::linear(4)]);
    for loss in [Loss::CrossEntropy, Loss::MeanSquaredError, Loss::Huber { delta: 0.5 }] {
        let options = options(loss, Optimizer::sgd());
        let step = training_graph(&network, &options).unwrap();
        let mut bindings = training_bindings(&step, 3);
        let whole = outcome(&step, 3, &bindings);
        let alone = loss_graph(&network, &options).unwrap();
        bindings.insert(names::evaluated("y"), whole.outputs["y"].clone());
        let loss = outcome(&alone, 3, &bindings);
        assert_eq!(loss.outputs[names::LOSS].real(), whole.outputs[names::LOSS].real());
        assert!(loss.updates.is_empty());
    }
    let softmax = self::network(&[3], &[Layer::linear(2), Layer::Softmax]);
    let error = loss_graph(&softmax, &TrainingOptions::default()).unwrap_err();
    assert!(matches!(error, AutodiffError::SoftmaxBeforeLoss { .. }), "{error}");
}

#[test]
fn groups_need_parameters_and_settings_in_range() {
    let network = network(&[3], &[Layer::linear(2)]);
    let refused = |group: ParameterGroup| {
        let options = TrainingOptions::default().groups([group]);
        training_graph(&network, &options).unwrap_err()
    };
    assert!(matches!(refused(ParameterGroup::new("l1")), AutodiffError::EmptyGroup { .. }));
    assert!(matches!(refused(ParameterGroup::new("l0").rate(-1.0)), AutodiffError::Setting { .. }));
    assert!(matches!(
        refused(ParameterGroup::new("l0").weight_decay(f64::NAN)),
        AutodiffError::Setting { .. }
    ));
}

#[test]
fn options_are_data() {
    let options = TrainingOptions::default()
        .loss(Loss::MeanSquaredError)
        .optimizer(Optimizer::adam_w())
        .losses([OutputLoss::new("y", Loss::Huber { delta: 0.5 })])
        .groups([ParameterGroup::new("*.bias").weight_decay(0.0), ParameterGroup::new("a").rate(2.0)])
        .average(true)
        .clip_value(0.25)
        .clip_norm(2.0)
        .frozen(["a.weight"])
        .recompute(4);
    let text = serde_json::to_string(&options).unwrap();
    assert_eq!(serde_json::from_str::<TrainingOptions>(&text).unwrap(), options);
    assert_eq!(serde_json::from_str::<TrainingOptions>("{}").unwrap(), TrainingOptions::default());
}

#[test]
fn spaced_numbers_keep_away_from_kinks() {
    let mut numbers = spaced(101, 5);
    numbers.sort_by(f64::total_cmp);
    assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] > 0.01));
    assert!(numbers.iter().all(|number| number.abs() > 0.001 && number.abs() <= 1.0));
}
