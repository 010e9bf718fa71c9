//! Random networks of layers with branches, for inference and as whole training steps.

use std::collections::BTreeSet;

use fastrand::Rng;
use windlass_compiler::autodiff::{
    Loss, Optimizer, ParameterGroup, TrainingOptions, training_graph, training_mode,
};
use windlass_compiler::entity::ValueId;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::graph::{Builder, Graph, Interpolation, Layer, PaddingMode};
use windlass_compiler::ops::elementwise::Activation;
use windlass_compiler::ops::window::{Sides, Window};
use windlass_compiler::pass::Mode;
use windlass_compiler::shape::DType;

use super::recurrent;
use super::sizes::{self, pick};

/// The maximum number of multiply-adds of a layer per sample.
const MAX_PRODUCTS: usize = 40_000;

/// A network, or its training step.
pub(super) fn draw(numbers: &mut Rng) -> (Graph, Mode) {
    let is_recurrent = numbers.u8(..4) == 0;
    let graph = if is_recurrent { recurrent::network(numbers) } else { network(numbers) };
    let graph = graph.expect("layers are chosen to fit");
    if numbers.u8(..3) == 0 {
        return (graph, Mode::Inference);
    }
    if numbers.u8(..10) == 0 {
        return (training_mode(&graph).expect("a network has a training mode"), Mode::Training);
    }
    let options = training(numbers, &graph);
    // If the loss depends on no parameter, there is nothing to train.
    match training_graph(&graph, &options) {
        Ok(step) => (step, Mode::Training),
        Err(_) => (graph, Mode::Inference),
    }
}

fn training(numbers: &mut Rng, graph: &Graph) -> TrainingOptions {
    let weight_decay = pick(numbers, &[0.0, 0.0, 0.25, 0.01]);
    let (beta1, beta2) = pick(numbers, &[(0.9, 0.999), (0.5, 0.9)]);
    let epsilon = pick(numbers, &[1e-3, 1e-8]);
    let optimizer = match numbers.u8(..10) {
        0..3 => {
            let momentum = pick(numbers, &[0.0, 0.0, 0.5, 0.9]);
            Optimizer::Sgd { momentum, nesterov: momentum > 0.0 && numbers.bool(), weight_decay }
        }
        3 => Optimizer::Adam { beta1, beta2, epsilon, weight_decay },
        4 | 5 => Optimizer::AdamW { beta1, beta2, epsilon, weight_decay },
        6 => {
            let momentum = pick(numbers, &[0.0, 0.9]);
            Optimizer::RmsProp { alpha: beta2, epsilon, momentum, centered: numbers.bool(), weight_decay }
        }
        7 => Optimizer::Adagrad { epsilon, weight_decay },
        8 => Optimizer::Adadelta { rho: beta1, epsilon, weight_decay },
        _ => Optimizer::Lion { beta1, beta2, weight_decay },
    };
    let mut groups = Vec::new();
    if numbers.u8(..4) == 0
        && let Some((_, parameter)) = graph.parameters().next()
    {
        let group = ParameterGroup::new(&parameter.name).rate(pick(numbers, &[0.5, 3.0]));
        groups.push(if numbers.bool() { group } else { group.weight_decay(0.1) });
    }
    let mut frozen = BTreeSet::new();
    if numbers.u8(..3) == 0 {
        frozen.extend(
            graph.parameters().filter(|_| numbers.u8(..3) == 0).map(|(_, parameter)| parameter.name.clone()),
        );
    }
    TrainingOptions::default()
        .loss(loss(numbers))
        .losses(Vec::new())
        .optimizer(optimizer)
        .groups(groups)
        .average(numbers.u8(..5) == 0)
        .clip_value(pick(numbers, &[None, None, None, Some(0.05)]))
        .clip_norm(pick(numbers, &[None, None, Some(0.1), Some(1e6)]))
        .frozen(frozen)
        .output("y")
        .recompute(None)
}

fn loss(numbers: &mut Rng) -> Loss {
    match numbers.u8(..10) {
        0..3 => Loss::CrossEntropy,
        3..6 => Loss::MeanSquaredError,
        6 => Loss::CrossEntropyWith { label_smoothing: pick(numbers, &[0.0, 0.1]), weights: Vec::new() },
        7 => Loss::BinaryCrossEntropy,
        8 => Loss::MeanAbsoluteError,
        _ => Loss::Huber { delta: pick(numbers, &[0.5, 1.0]) },
    }
}

fn network(numbers: &mut Rng) -> Result<Graph, GraphError> {
    let mut builder = Builder::new("network");
    let channels = sizes::channels(numbers);
    let item = match numbers.u8(..5) {
        0 => vec![channels],
        _ => [vec![channels], sizes::spatial(numbers, 2, channels)].concat(),
    };
    // Numbers, or rows of a table, which are the innermost axis.
    let x = match item.split_last() {
        Some((&features, indices)) if numbers.u8(..8) == 0 => {
            let tokens = builder.input_of("x", DType::I32, indices.iter().map(|&size| size.into()))?;
            builder.layer("rows", &Layer::embedding(sizes::channels(numbers), features), tokens)?
        }
        _ => builder.input("x", &item)?,
    };
    let mut values = vec![x];
    for index in 0..1 + numbers.usize(..6) {
        let last = values[values.len() - 1];
        let label = format!("l{index}");
        let item = builder.item(last);
        let next = match numbers.u8(..10) {
            0 => pick(numbers, &values),
            1 => {
                let same: Vec<ValueId> =
                    values.iter().copied().filter(|&other| builder.item(other) == item).collect();
                builder.add(&label, last, pick(numbers, &same))?
            }
            2 if item[0] <= 40 => {
                let mates: Vec<ValueId> = values
                    .iter()
                    .copied()
                    .filter(|&other| {
                        let other = builder.item(other);
                        other.len() == item.len() && other[1..] == item[1..]
                    })
                    .collect();
                builder.concat(&label, &[pick(numbers, &mates), last])?
            }
            _ => {
                let layer = layer(numbers, &item);
                builder.layer(&label, &layer, last)?
            }
        };
        values.push(next);
    }
    let last = values[values.len() - 1];
    let flat = builder.layer("end", &Layer::Flatten, last)?;
    builder.output("y", flat)?;
    if numbers.bool() {
        builder.output("between", pick(numbers, &values))?;
    }
    builder.finish()
}

fn layer(numbers: &mut Rng, item: &[usize]) -> Layer {
    let is_image = item.len() == 3;
    match numbers.u8(..16) {
        0..6 if is_image => conv(numbers, item),
        6 if is_image => Layer::max_pool(sizes::window(numbers, &item[1..], true)),
        7 if is_image => Layer::avg_pool(sizes::window(numbers, &item[1..], true)),
        8 if is_image => Layer::GlobalAvgPool { axes: 2 },
        14 if is_image && numbers.bool() => spatial(numbers, item),
        0..9 if !is_image => linear(numbers, item),
        9 if is_image => Layer::Flatten,
        10 => Layer::BatchNorm { epsilon: pick(numbers, &[0.1, 1e-3]), momentum: pick(numbers, &[0.1, 0.5]) },
        11 if numbers.bool() => Layer::ChannelDropout { rate: pick(numbers, &[0.0, 0.3, 0.5]) },
        11 => Layer::Dropout { rate: pick(numbers, &[0.0, 0.3, 0.5]) },
        12 if numbers.bool() => Layer::Softmax,
        12 => Layer::LogSoftmax,
        13 if numbers.bool() => Layer::Activation(pick(numbers, &Activation::ALL)),
        13 if numbers.bool() => Layer::Prelu { shared: numbers.bool(), init: Initializer::ZEROS },
        13 if item[0].is_multiple_of(2) && numbers.bool() => Layer::Maxout { pieces: 2 },
        13 => Layer::Sigmoid,
        14 => Layer::Tanh,
        _ => Layer::Relu,
    }
}

/// A layer that enlarges, pads or cuts images, or normalises them without a batch.
fn spatial(numbers: &mut Rng, item: &[usize]) -> Layer {
    let is_small = item.iter().product::<usize>() < MAX_PRODUCTS / 64;
    let mode = pick(numbers, &[PaddingMode::Zeros, PaddingMode::Reflect, PaddingMode::Replicate]);
    match numbers.u8(..5) {
        0 if is_small => Layer::Upsample {
            factor: vec![pick(numbers, &[1, 2, 3]), pick(numbers, &[1, 2])],
            mode: pick(numbers, &[Interpolation::Nearest, Interpolation::Linear]),
        },
        1 if is_small => {
            let window = Window::square(pick(numbers, &[2, 3, 4]), 2, 0);
            let (out_channels, bias) = (sizes::channels(numbers).min(16), numbers.bool());
            let output_padding = vec![numbers.usize(..2); 2];
            Layer::ConvTranspose {
                out_channels,
                window,
                output_padding,
                groups: 1,
                bias,
                init: Initializer::ZEROS,
            }
        }
        2 if item[1] > 1 && item[2] > 1 => {
            let padding = vec![Sides { before: numbers.usize(..2), after: 1 }, Sides { before: 1, after: 0 }];
            Layer::Pad { padding, mode }
        }
        3 => Layer::InstanceNorm { epsilon: pick(numbers, &[0.1, 1e-2]), affine: numbers.bool() },
        _ => Layer::Slice { start: item[0] / 2, length: item[0].div_ceil(2), axis: 0 },
    }
}

fn linear(numbers: &mut Rng, item: &[usize]) -> Layer {
    let most = (MAX_PRODUCTS / 8 / item[0]).max(1);
    Layer::Linear {
        out_features: sizes::channels(numbers).min(most),
        bias: numbers.u8(..3) > 0,
        init: Initializer::ZEROS,
    }
}

fn conv(numbers: &mut Rng, item: &[usize]) -> Layer {
    let window: Window = sizes::window(numbers, &item[1..], false);
    let groups = match numbers.u8(..6) {
        0 => item[0],
        1 if item[0].is_multiple_of(2) => 2,
        _ => 1,
    };
    let work = window.output_sizes(&item[1..]).iter().product::<usize>().max(8) * window.elements();
    let most = (MAX_PRODUCTS / (work * item[0] / groups)).max(1);
    let out_channels = match groups {
        1 => sizes::channels(numbers).min(most),
        _ => groups * numbers.usize(1..=(most / groups).clamp(1, 3)),
    };
    Layer::Conv {
        out_channels,
        window,
        groups,
        bias: numbers.u8(..3) > 0,
        init: Initializer::ZEROS,
        rotated: false,
        connections: Vec::new(),
    }
}
