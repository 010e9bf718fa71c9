//! Compares layers, forward and backward, with PyTorch, through the file that `tests/golden/layers.py` writes.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use support::{WEIGHTS, check_gradients, spaced_bindings, weighted_sum};
use windlass_compiler::autodiff::gradients;
use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::graph::{Builder, Graph, Interpolation, Layer, PaddingMode, rules};
use windlass_compiler::interp::{Array, Bindings, Real, run};
use windlass_compiler::ops::window::Window;

/// An array in the script's format.
#[derive(Deserialize)]
struct Golden {
    sizes: Vec<usize>,
    values: Vec<f64>,
}

impl Golden {
    fn array<T: Real>(&self) -> Array<T> {
        Array::new(self.sizes.clone(), self.values.clone()).convert()
    }
}

/// A layer with its operands and results.
#[derive(Deserialize)]
struct Case {
    layer: Layer,
    x: Golden,
    parameters: BTreeMap<String, Golden>,
    y: Golden,
    gradient: Golden,
    x_gradient: Golden,
    gradients: BTreeMap<String, Golden>,
}

/// A layer in a graph with the weighted sum of its result.
struct Built {
    graph: Graph,
    x: ValueId,
    y: ValueId,
    loss: ValueId,
}

impl Case {
    fn built(&self) -> Built {
        let mut builder = Builder::new("layer");
        let x = builder.input("x", &self.x.sizes[1..]).unwrap();
        let y =
            builder.layer("l", &self.layer, x).unwrap_or_else(|error| panic!("{:?}: {error}", self.layer));
        builder.output("y", y).unwrap();
        let mut graph = builder.finish().unwrap();
        let loss = weighted_sum(&mut graph, y);
        Built { graph, x, y, loss }
    }

    /// The largest difference is relative to the largest element.
    fn check<T: Real>(&self, what: &str, got: &Array<T>, expected: &Golden) {
        let tolerance = match self.layer {
            _ if Real::to_f64(T::epsilon()) > 1e-10 => 1e-5,
            // Its weights are constants in single precision.
            Layer::Upsample { .. } => 1e-7,
            // So is the scale of scores.
            Layer::MultiHeadAttention { .. } => 1e-7,
            _ => 1e-9,
        };
        assert_eq!(got.sizes, expected.sizes, "{:?}, {what}", self.layer);
        let scale = expected.values.iter().fold(1.0, |scale: f64, value| scale.max(value.abs()));
        for (index, (&got, expected)) in got.real().iter().zip(&expected.values).enumerate() {
            let error = (Real::to_f64(got) - expected).abs();
            assert!(
                error <= tolerance * scale,
                "{:?}, {what}, element {index}: {got:?}, PyTorch has {expected}",
                self.layer
            );
        }
    }

    fn run<T: Real>(&self) {
        let Built { graph, x, y, loss } = self.built();
        let parameters: Vec<(ValueId, String)> =
            graph.parameters().map(|(value, parameter)| (value, parameter.name.clone())).collect();
        let names: BTreeSet<String> = parameters.iter().map(|(_, name)| name[2..].to_owned()).collect();
        assert_eq!(names, self.parameters.keys().cloned().collect(), "{:?}", self.layer);
        let towards: Vec<ValueId> =
            [x].into_iter().chain(parameters.iter().map(|(value, _)| *value)).collect();
        let (graph, found) = gradients(&graph, loss, &towards).unwrap();
        let mut bindings: Bindings<T> = Bindings::new();
        bindings.insert("x".to_owned(), self.x.array());
        for (name, value) in &self.parameters {
            bindings.insert(format!("l.{name}"), value.array());
        }
        let mut weights = self.gradient.array();
        weights.sizes = graph.ty(graph.source(WEIGHTS).unwrap()).shape.concrete(self.x.sizes[0]);
        bindings.insert(WEIGHTS.to_owned(), weights);
        let outcome = run(&graph, self.x.sizes[0], &bindings).unwrap();
        self.check("result", outcome.value(y), &self.y);
        self.check("gradient towards x", outcome.value(found[0]), &self.x_gradient);
        for ((_, name), gradient) in parameters.iter().zip(&found[1..]) {
            let what = format!("gradient towards {name}");
            self.check(&what, outcome.value(*gradient), &self.gradients[&name[2..]]);
        }
    }
}

fn cases() -> Vec<Case> {
    let files =
        [include_str!("../../tests/golden/layers.json"), include_str!("../../tests/golden/recurrent.json")];
    files.iter().flat_map(|file| serde_json::from_str::<Vec<Case>>(file).unwrap()).collect()
}

#[test]
fn layers_agree_with_pytorch() {
    for case in cases() {
        case.run::<f64>();
        case.run::<f32>();
    }
}

#[test]
fn gradients_agree_with_central_differences() {
    for case in cases() {
        let Built { graph, loss, .. } = case.built();
        let mut bindings = spaced_bindings(&graph, 2);
        if matches!(case.layer, Layer::LpPool { .. }) {
            // Logarithms of squares, away from zero.
            let values = bindings["x"].real().iter().map(|x| 1.5 + x).collect();
            let sizes = bindings["x"].sizes.clone();
            bindings.insert("x".to_owned(), Array::new(sizes, values));
        }
        check_gradients(&graph, loss, 2, bindings);
    }
}

/// A bilinear form of two vectors with its results.
#[derive(Deserialize)]
struct Form {
    x: Golden,
    y: Golden,
    parameters: BTreeMap<String, Golden>,
    z: Golden,
    gradient: Golden,
    x_gradient: Golden,
    y_gradient: Golden,
    gradients: BTreeMap<String, Golden>,
}

#[test]
fn bilinear_forms_agree_with_pytorch_and_central_differences() {
    let forms: Vec<Form> = serde_json::from_str(include_str!("../../tests/golden/bilinear.json")).unwrap();
    for form in forms {
        let mut builder = Builder::new("form");
        let [x, y] = [("x", &form.x), ("y", &form.y)]
            .map(|(name, golden)| builder.input(name, &golden.sizes[1..]).unwrap());
        let bias = form.parameters.contains_key("bias");
        let z = builder.bilinear("l", [x, y], form.z.sizes[1], bias, Initializer::XavierUniform).unwrap();
        builder.output("z", z).unwrap();
        let mut graph = builder.finish().unwrap();
        let loss = weighted_sum(&mut graph, z);
        check_gradients(&graph, loss, 2, spaced_bindings(&graph, 2));

        let parameters: Vec<(ValueId, String)> =
            graph.parameters().map(|(value, own)| (value, own.name[2..].to_owned())).collect();
        let towards: Vec<ValueId> =
            [x, y].into_iter().chain(parameters.iter().map(|(value, _)| *value)).collect();
        let (graph, found) = gradients(&graph, loss, &towards).unwrap();
        let named =
            [("x".to_owned(), &form.x), ("y".to_owned(), &form.y), (WEIGHTS.to_owned(), &form.gradient)];
        let own = form.parameters.iter().map(|(name, value)| (format!("l.{name}"), value));
        let bindings: Bindings<f64> =
            named.into_iter().chain(own).map(|(name, golden)| (name, golden.array())).collect();
        let outcome = run(&graph, form.x.sizes[0], &bindings).unwrap();
        let expected = [&form.x_gradient, &form.y_gradient]
            .into_iter()
            .chain(parameters.iter().map(|(_, name)| &form.gradients[name]));
        for (value, expected) in [z].into_iter().chain(found).zip([&form.z].into_iter().chain(expected)) {
            let got = outcome.value(value);
            assert_eq!(got.sizes, expected.sizes);
            let scale = expected.values.iter().fold(1.0, |scale: f64, value| scale.max(value.abs()));
            for (got, expected) in got.real().iter().zip(&expected.values) {
                assert!((got - expected).abs() < 1e-9 * scale, "{got} instead of {expected}");
            }
        }
    }
}

/// Arguments whose products overflow are errors.
#[test]
fn hostile_arguments_are_refused() {
    const HUGE: usize = usize::MAX / 2;
    for layer in [
        Layer::LpPool { kernel_size: vec![HUGE, HUGE], stride: vec![1, 1], power: 2.0 },
        Layer::Subsample { kernel_size: vec![HUGE, HUGE] },
        Layer::AdaptiveAvgPool { output_size: vec![HUGE, 1] },
        Layer::PixelShuffle { factor: HUGE },
        Layer::ChannelShuffle { groups: HUGE },
        Layer::GroupNorm { groups: HUGE, epsilon: 0.1, affine: true },
        Layer::LocalResponseNorm { size: HUGE, alpha: 1.0, beta: 1.0, k: 1.0 },
        Layer::Slice { start: HUGE, length: HUGE, axis: 0 },
        Layer::Slice { start: 0, length: 1, axis: HUGE },
        Layer::Mean { axes: vec![HUGE] },
        Layer::Permute { order: vec![HUGE, 0, 1] },
        Layer::Reshape { sizes: vec![HUGE, HUGE] },
        Layer::Upsample { factor: vec![HUGE, 1], mode: Interpolation::Linear },
        Layer::Pad { padding: vec![HUGE.into(); 2], mode: PaddingMode::Zeros },
        Layer::MultiHeadAttention { heads: HUGE, bias: true, causal: false, init: Initializer::ZEROS },
        Layer::Rbf { out_features: HUGE, trainable: true, init: Initializer::Signs },
        Layer::Conv {
            out_channels: 4,
            window: Window::square(HUGE, 1, HUGE),
            groups: 1,
            bias: true,
            init: Initializer::ZEROS,
            rotated: true,
            connections: Vec::new(),
        },
        Layer::Conv {
            out_channels: 2,
            window: Window::square(3, 1, 1),
            groups: 1,
            bias: true,
            init: Initializer::ZEROS,
            rotated: false,
            connections: vec![vec![0], vec![HUGE]],
        },
        Layer::ConvTranspose {
            out_channels: 4,
            window: Window { stride: vec![HUGE; 2], ..Window::square(HUGE, 1, HUGE) },
            output_padding: vec![0; 2],
            groups: 1,
            bias: true,
            init: Initializer::ZEROS,
        },
    ] {
        let mut builder = Builder::new("hostile");
        let x = builder.input("x", &[4, 6, 6]).unwrap();
        let error = builder.layer("l", &layer, x).expect_err(layer.name());
        assert!(!error.to_string().is_empty());
    }
}

/// Layers that PyTorch has as operators are in the other golden files; dropout draws other masks.
#[test]
fn every_layer_is_compared() {
    let compared: BTreeSet<&str> = cases().iter().map(|case| case.layer.name()).collect();
    let missing: Vec<&str> =
        rules::LAYERS.iter().map(|rule| rule.name).filter(|name| !compared.contains(name)).collect();
    let elsewhere = [
        "max_pool3d",
        "avg_pool1d",
        "lp_pool3d",
        "subsample1d",
        "subsample3d",
        "adaptive_max_pool3d",
        "global_avg_pool2d",
        "global_avg_pool3d",
        "global_max_pool1d",
        "global_max_pool3d",
        "linear",
        "embedding",
        "flatten",
        "dropout",
        "channel_dropout",
        "stochastic_depth",
        "batch_norm",
        "relu",
        "sigmoid",
        "tanh",
        "relu6",
        "leaky_relu",
        "elu",
        "selu",
        "gelu",
        "silu",
        "hard_swish",
        "hard_sigmoid",
        "softplus",
        "scaled_tanh",
        "prelu",
        "maxout",
        "huber",
        "abs",
        "erf",
        "floor",
        "ceil",
        "round",
        "exp",
        "log",
        "sqrt",
        "square",
        "negate",
        "softmax",
        "log_softmax",
    ];
    assert_eq!(missing, elsewhere);
}
