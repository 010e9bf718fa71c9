//! Compares the interpreter, the gradients and the optimisers with PyTorch, through golden files written by
//! `tests/golden/make.py` and the scripts beside it.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use support::{WEIGHTS, operator, weighted_sum};
use windlass_compiler::autodiff::{Loss, TrainingOptions, gradients, names, training_graph};
use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::graph::{Builder, Graph, Layer as Layers};
use windlass_compiler::interp::{Array, Bindings, Real, run};
use windlass_compiler::ops::Op;
use windlass_compiler::ops::elementwise::Bias;
use windlass_compiler::shape::{DType, Shape, Sizes, Type};

/// An array in the script's format.
#[derive(Deserialize)]
struct Golden {
    sizes: Vec<usize>,
    #[serde(deserialize_with = "numbers")]
    values: Vec<f64>,
    integers: bool,
}

/// Numbers, and the names of those that JSON lacks: `nan`, `inf`, `-inf`.
fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Finite(f64),
        Named(String),
    }
    let numbers = Vec::<Number>::deserialize(deserializer)?.into_iter();
    let number = |number| match number {
        Number::Finite(value) => Ok(value),
        Number::Named(name) => name.parse().map_err(serde::de::Error::custom),
    };
    numbers.map(number).collect()
}

impl Golden {
    fn array(&self) -> Array<f64> {
        if self.integers {
            Array::ints(self.sizes.clone(), self.values.iter().map(|&value| value as i32).collect())
        } else {
            Array::new(self.sizes.clone(), self.values.clone())
        }
    }

    fn ty(&self, batched: bool) -> Type {
        let shape = if batched { Shape::batched(&self.sizes[1..]) } else { Shape::fixed(&self.sizes) };
        Type { dtype: if self.integers { DType::I32 } else { DType::F32 }, shape }
    }
}

/// One operator, forward and backward.
#[derive(Deserialize)]
struct Layer {
    name: String,
    op: Op,
    /// The operands whose first axis is the batch.
    batched: Vec<usize>,
    operands: Vec<Golden>,
    results: Vec<Golden>,
    /// The incoming gradient of the first result.
    gradient: Golden,
    /// The gradients with respect to the operands that PyTorch computes.
    gradients: Vec<Option<Golden>>,
}

/// A few training steps of a small network.
#[derive(Deserialize)]
struct Training {
    name: String,
    graph: String,
    options: TrainingOptions,
    learning_rate: f64,
    #[serde(default)]
    average_decay: Option<f64>,
    x: Golden,
    target: Golden,
    parameters: BTreeMap<String, Golden>,
    steps: Vec<TrainingStep>,
}

#[derive(Deserialize)]
struct TrainingStep {
    loss: f64,
    gradient_norm: Option<f64>,
    parameters: BTreeMap<String, Golden>,
}

fn read<T: DeserializeOwned>(file: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(file);
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_reader(BufReader::new(file))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Compares element by element: in double precision with the files, in single precision within its rounding, both
/// relative to the largest element.
#[track_caller]
fn check<T: Real>(what: &str, got: &Array<T>, expected: &Golden) {
    let tolerance = if Real::to_f64(T::epsilon()) < 1e-10 { 1e-10 } else { 1e-5 };
    assert_eq!(got.sizes, expected.sizes, "{what}");
    let scale = expected.values.iter().fold(1.0, |scale: f64, value| scale.max(value.abs()));
    for (index, (&got, expected)) in got.real().iter().zip(&expected.values).enumerate() {
        let error = (Real::to_f64(got) - expected).abs();
        assert!(error <= tolerance * scale, "{what}, element {index}: {got:?}, PyTorch has {expected}");
    }
}

/// Compares single precision with single precision, element by element: NaN matches NaN, infinities are equal, numbers
/// agree within a relative bound of themselves and of 1. Only if `floor` is zero are small numbers compared relative to
/// their own magnitude, and the signs of zeros compared.
#[track_caller]
fn check_edges(what: &str, got: &Array<f32>, expected: &Golden, floor: f64, zeros: bool) {
    assert_eq!(got.sizes, expected.sizes, "{what}");
    for (index, (&got, &expected)) in got.real().iter().zip(&expected.values).enumerate() {
        let single = expected as f32;
        let agrees = if single.is_nan() {
            got.is_nan()
        } else if single.is_infinite() || (single == 0.0 && floor == 0.0) {
            got == single && (got.is_sign_negative() == single.is_sign_negative() || !zeros)
        } else {
            // The smallest denormals are no denser.
            (f64::from(got) - expected).abs() <= 2e-6 * expected.abs() + floor + 2e-45
        };
        assert!(agrees, "{what}, element {index}: {got:?}, PyTorch has {single:?}");
    }
}

impl Layer {
    /// The operator with its gradients: the graph, its results, and the operands with their gradients.
    fn graph(&self) -> (Graph, Vec<ValueId>, Vec<(usize, ValueId)>) {
        let types: Vec<Type> = self
            .operands
            .iter()
            .enumerate()
            .map(|(index, operand)| operand.ty(self.batched.contains(&index)))
            .collect();
        let (mut graph, sources, results) = operator(&self.op, &types);
        let loss = weighted_sum(&mut graph, results[0]);
        let differentiated: Vec<usize> =
            (0..self.operands.len()).filter(|&operand| self.gradients[operand].is_some()).collect();
        let towards: Vec<ValueId> = differentiated.iter().map(|&operand| sources[operand]).collect();
        let (graph, gradients) =
            gradients(&graph, loss, &towards).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        (graph, results, differentiated.into_iter().zip(gradients).collect())
    }

    fn check<T: Real>(&self) {
        self.run::<T>(|_, what, got, expected| check(what, got, expected));
    }

    /// Runs the layer and its gradients; calls `compare` with whether it is a gradient, its description, the result,
    /// and PyTorch's.
    fn run<T: Real>(&self, compare: impl Fn(bool, &str, &Array<T>, &Golden)) {
        let (graph, results, gradients) = self.graph();
        let batch = self.operands[self.batched[0]].sizes[0];
        let mut bindings: Bindings<T> = self
            .operands
            .iter()
            .enumerate()
            .map(|(index, operand)| (format!("operand{index}"), operand.array().convert()))
            .collect();
        // A result without a batch is weighted once for every sample: the first has the gradient, the others zero.
        for name in [WEIGHTS, "anchor"] {
            if let Some(source) = graph.source(name) {
                let mut array = Array::<f64>::zeros(graph.ty(source).shape.concrete(batch)).real().to_vec();
                if name == WEIGHTS {
                    array[..self.gradient.values.len()].copy_from_slice(&self.gradient.values);
                }
                let sizes = graph.ty(source).shape.concrete(batch);
                bindings.insert(name.to_owned(), Array::new(sizes, array).convert());
            }
        }
        let outcome = run(&graph, batch, &bindings).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        for (index, (&result, expected)) in results.iter().zip(&self.results).enumerate() {
            compare(false, &format!("{}, result {index}", self.name), outcome.value(result), expected);
        }
        for (operand, gradient) in gradients {
            if let Some(expected) = &self.gradients[operand] {
                let what = format!("{}, gradient towards operand {operand}", self.name);
                compare(true, &what, outcome.value(gradient), expected);
            }
        }
    }
}

#[track_caller]
fn check_layers(file: &str) {
    for layer in read::<Vec<Layer>>(file) {
        layer.check::<f64>();
        layer.check::<f32>();
    }
}

#[test]
fn convolution() {
    check_layers("conv.json");
}

#[test]
fn pooling() {
    check_layers("pool.json");
}

#[test]
fn normalisation_and_softmax() {
    check_layers("normalisation.json");
}

#[test]
fn elements() {
    check_layers("elements.json");
}

#[test]
fn axes() {
    check_layers("axes.json");
}

#[test]
fn embeddings() {
    check_layers("embedding.json");
}

#[test]
fn activations() {
    check_layers("activations.json");
}

#[test]
fn roundings() {
    check_layers("rounding.json");
}

#[test]
fn losses() {
    check_layers("loss.json");
}

#[test]
fn connectionist_temporal_classification() {
    check_layers("ctc.json");
}

/// The loss of sequences of labels by `x·wᵀ`.
#[derive(Deserialize)]
struct TrainedCtc {
    loss: Loss,
    x: Golden,
    w: Golden,
    labels: Golden,
    label_lengths: Golden,
    step_lengths: Golden,
    value: f64,
    gradient: Golden,
}

impl TrainedCtc {
    fn graph(&self) -> Graph {
        let mut builder = Builder::new("net");
        let x = builder.input("x", &self.x.sizes[1..]).unwrap();
        let (out_features, init) = (self.w.sizes[0], Initializer::ZEROS);
        let y = builder.layer("f", &Layers::Linear { out_features, bias: false, init }, x).unwrap();
        builder.output("y", y).unwrap();
        let options = TrainingOptions::default().loss(self.loss.clone());
        training_graph(&builder.finish().unwrap(), &options).unwrap()
    }

    fn check<T: Real>(&self) {
        let graph = self.graph();
        let values = [
            ("x", &self.x),
            ("f.weight", &self.w),
            (names::LABELS, &self.labels),
            (names::LABEL_LENGTHS, &self.label_lengths),
            (names::STEP_LENGTHS, &self.step_lengths),
        ];
        let mut bindings: Bindings<T> =
            values.into_iter().map(|(name, value)| (name.to_owned(), value.array().convert())).collect();
        bindings.insert(names::LEARNING_RATE.to_owned(), Array::scalar(T::one()));
        let sizes = Sizes::from(self.x.sizes[0]).with("S".parse().unwrap(), self.labels.sizes[1]);
        let outcome = run(&graph, sizes, &bindings).unwrap();
        let what = format!("{:?} of {:?}", self.loss, self.x.sizes);
        let value = Golden { sizes: Vec::new(), values: vec![self.value], integers: false };
        check(&what, &outcome.outputs[names::LOSS], &value);
        let before = self.w.array();
        let moved = outcome.updates["f.weight"].real().iter().zip(before.real());
        let gradient = moved.map(|(&new, &old)| T::from_f64(old - Real::to_f64(new))).collect();
        check(&what, &Array::new(self.w.sizes.clone(), gradient), &self.gradient);
    }
}

#[test]
fn connectionist_temporal_classification_in_training() {
    for loss in read::<Vec<TrainedCtc>>("ctc_loss.json") {
        loss.check::<f64>();
        loss.check::<f32>();
    }
}

/// A loss of `x + p`, with a parameter for each class.
#[derive(Deserialize)]
struct TrainedLoss {
    loss: Loss,
    x: Golden,
    p: Golden,
    target: Golden,
    value: f64,
    gradient: Golden,
}

impl TrainedLoss {
    fn graph(&self) -> Graph {
        let mut builder = Builder::new("net");
        let x = builder.input("x", &self.x.sizes[1..]).unwrap();
        let p = builder.parameter("p", "weight", &self.p.sizes, Initializer::ZEROS).unwrap();
        let y = builder.op(Bias {}, &[x, p], "sum").unwrap();
        builder.output("y", y).unwrap();
        let options = TrainingOptions::default().loss(self.loss.clone());
        training_graph(&builder.finish().unwrap(), &options).unwrap()
    }

    fn check<T: Real>(&self) {
        let graph = self.graph();
        let target = if self.loss.takes_labels() { names::LABELS } else { names::TARGET };
        let mut bindings: Bindings<T> = Bindings::new();
        let values = [("x", &self.x), ("p.weight", &self.p), (target, &self.target)];
        bindings.extend(values.map(|(name, value)| (name.to_owned(), value.array().convert())));
        bindings.insert(names::LEARNING_RATE.to_owned(), Array::scalar(T::one()));
        let outcome = run(&graph, self.x.sizes[0], &bindings).unwrap();
        let what = format!("{:?} of {:?}", self.loss, self.x.sizes);
        let value = Golden { sizes: Vec::new(), values: vec![self.value], integers: false };
        check(&what, &outcome.outputs[names::LOSS], &value);
        // At rate 1, plain gradient descent subtracts the gradient.
        let before = self.p.array();
        let moved = outcome.updates["p.weight"].real().iter().zip(before.real());
        let gradient = moved.map(|(&new, &old)| T::from_f64(old - Real::to_f64(new))).collect();
        check(&what, &Array::new(self.p.sizes.clone(), gradient), &self.gradient);
    }
}

#[test]
fn losses_in_training() {
    for loss in read::<Vec<TrainedLoss>>("trained_loss.json") {
        loss.check::<f64>();
        loss.check::<f32>();
    }
}

/// NaN, infinities, signed zeros, denormals and numbers near the largest, with PyTorch's results.
#[test]
fn numbers_at_the_edge() {
    for layer in read::<Vec<Layer>>("edge.json") {
        // Differences of numbers near 1: not relative to the difference.
        let floor = match &layer.op {
            Op::Softmax(_) | Op::LogSoftmax(_) | Op::CrossEntropy(_) => 1e-6,
            _ => 0.0,
        };
        layer.run::<f32>(|is_gradient, what, got, expected| {
            check_edges(what, got, expected, floor, !is_gradient);
        });
    }
}

impl Training {
    fn graph(&self) -> Graph {
        let graph: Graph = self.graph.parse().unwrap();
        training_graph(&graph, &self.options).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn check<T: Real>(&self) {
        let graph = self.graph();
        let mut bindings: Bindings<T> =
            self.parameters.iter().map(|(name, value)| (name.clone(), value.array().convert())).collect();
        bindings.insert("x".to_owned(), self.x.array().convert());
        bindings.insert(names::TARGET.to_owned(), self.target.array().convert());
        bindings.insert(names::LEARNING_RATE.to_owned(), Array::scalar(T::from_f64(self.learning_rate)));
        for (value, state) in graph.states() {
            bindings.insert(state.name.clone(), Array::zeros(graph.ty(value).shape.concrete(1)));
        }
        for (index, step) in self.steps.iter().enumerate() {
            if let Some(correction) = self.options.optimizer.correction(index as u64 + 1) {
                let correction = correction.map(T::from_f64).to_vec();
                bindings.insert(names::CORRECTION.to_owned(), Array::new([2], correction));
            }
            if let Some(decay) = self.average_decay {
                let share = if index == 0 { 1.0 } else { 1.0 - decay };
                bindings.insert(names::AVERAGE_SHARE.to_owned(), Array::scalar(T::from_f64(share)));
            }
            let outcome = run(&graph, self.x.sizes[0], &bindings)
                .unwrap_or_else(|error| panic!("{}: {error}", self.name));
            let what = format!("{}, step {index}", self.name);
            let single = |value| Golden { sizes: Vec::new(), values: vec![value], integers: false };
            check(&format!("{what}, loss"), &outcome.outputs[names::LOSS], &single(step.loss));
            assert_eq!(outcome.outputs.contains_key(names::GRADIENT_NORM), step.gradient_norm.is_some());
            if let Some(norm) = step.gradient_norm {
                let got = &outcome.outputs[names::GRADIENT_NORM];
                check(&format!("{what}, gradient norm"), got, &single(norm));
            }
            for (name, expected) in &step.parameters {
                check(&format!("{what}, {name}"), &outcome.updates[name], expected);
            }
            bindings.extend(outcome.updates);
        }
    }
}

#[test]
fn optimizers() {
    for file in ["optimizer.json", "adaptive.json"] {
        for training in read::<Vec<Training>>(file) {
            training.check::<f64>();
            training.check::<f32>();
        }
    }
}

/// Gradient operators count if the gradient of a layer contains them.
#[test]
fn every_operator_is_compared() {
    let files = ["conv", "pool", "normalisation", "elements", "loss", "axes", "embedding", "ctc"];
    let layers = files
        .map(|file| format!("{file}.json"))
        .into_iter()
        .flat_map(|file| read::<Vec<Layer>>(&file))
        .map(|layer| layer.graph().0);
    let trainings = ["optimizer.json", "adaptive.json"].into_iter().flat_map(read::<Vec<Training>>);
    let trainings = trainings.map(|training| training.graph());
    let losses = read::<Vec<TrainedLoss>>("trained_loss.json").into_iter().map(|loss| loss.graph());
    let compared: BTreeSet<&str> = layers
        .chain(trainings)
        .chain(losses)
        .flat_map(|graph| graph.nodes().iter().map(|node| node.op.name()).collect::<Vec<_>>())
        .collect();
    let missing: BTreeSet<&str> = Op::NAMES.iter().copied().filter(|name| !compared.contains(name)).collect();
    // The pass `relu_bits` introduces sign masks, and its file tests compare them with the gradient of ReLUs; dropout's
    // masks come from another generator than PyTorch's, which has its own known answers. Products of two values, masks and
    // positions are compared as parts of attention, in `attention.rs` and `layers.rs`, and scans as recurrent layers. A pass
    // introduces fused functions.
    let attention = ["matmul", "mask", "add_positions"];
    let recurrent = ["scan", "fold_steps", "unfold_steps", "fill"];
    let others = ["sign_mask", "masked_select", "dropout_training", "fused"];
    let elsewhere = attention.into_iter().chain(recurrent).chain(others);
    assert_eq!(missing, elsewhere.collect());
}
