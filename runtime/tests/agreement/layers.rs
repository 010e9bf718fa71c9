//! Layers that consist of several operators: inference and whole training steps, in both layouts.

use windlass_compiler::autodiff::Optimizer;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::graph::{Builder, Combination, Graph, Interpolation, Layer, PaddingMode};
use windlass_compiler::ops::window::{Sides, Window};
use windlass_compiler::pass::Mode;

use crate::check::{Agreement, Expectation};
use crate::graphs::{network, training};
use crate::numbers::{Numbers, Values};

fn conv(channels: usize, kernel_size: usize) -> Layer {
    Layer::conv(channels, Window::square(kernel_size, 1, kernel_size / 2))
}

fn transposed(out_channels: usize, window: Window, output_padding: usize, groups: usize) -> Layer {
    let output_padding = vec![output_padding; window.axes()];
    Layer::ConvTranspose {
        out_channels,
        window,
        output_padding,
        groups,
        bias: true,
        init: Initializer::XavierUniform,
    }
}

/// Inference and a training step, under options that are drawn anew for each graph: together they cover every path.
fn check(graph: &Graph, batches: &[usize], what: &str) {
    let mut numbers =
        Numbers::new(what.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into())));
    Expectation::new(graph, batches, Values::Reals, Agreement::Within(1e-5)).check_some(
        Mode::Inference,
        &mut numbers,
        what,
    );
    let step = training(graph, Optimizer::sgd());
    let step = Expectation::new(&step, batches, Values::Reals, Agreement::Within(1e-5));
    for _ in 0..2 {
        step.check_some(Mode::Training, &mut numbers, what);
    }
}

/// Each layer between products, so that its input and result are stored in the layout of their channels.
fn check_layers(item: &[usize], channels: &[usize], layers: &[Layer]) {
    for &count in channels {
        for layer in layers {
            let axes = item.len();
            let product = |channels| Layer::conv(channels, Window::cube(axes, 1, 1, 0));
            let sizes = [&[3], item].concat();
            let layers = [product(count), layer.clone(), product(4)];
            check(&network(&sizes, &layers), &[1, 3], &format!("{count} channels of {item:?}, {layer:?}"));
        }
    }
}

#[test]
fn transposed_convolutions() {
    let layers = [
        transposed(5, Window::square(2, 2, 0), 0, 1),
        transposed(12, Window::square(4, 2, 1), 0, 1),
        transposed(8, Window::square(3, 2, 1), 1, 2),
        transposed(12, Window { dilation: vec![2, 1], ..Window::square(3, 3, 1) }, 2, 1),
    ];
    check_layers(&[5, 3], &[4, 12], &layers);
    check_layers(&[7], &[4, 16], &[transposed(9, Window::cube(1, 4, 2, 1), 0, 1)]);
    check_layers(&[2, 3, 2], &[4, 8], &[transposed(8, Window::cube(3, 2, 2, 0), 0, 1)]);
}

#[test]
fn unequal_padding() {
    let padded = |stride: usize, sides: [(usize, usize); 2]| Window {
        padding: sides.map(|(before, after)| Sides { before, after }).to_vec(),
        ..Window::square(3, stride, 0)
    };
    let mut layers = Vec::new();
    for window in [padded(1, [(0, 2), (1, 0)]), padded(2, [(0, 1), (0, 1)]), padded(2, [(2, 0), (0, 2)])] {
        layers.push(Layer::conv(12, window.clone()));
        layers.push(Layer::Conv {
            out_channels: 12,
            window: window.clone(),
            groups: 4,
            bias: true,
            init: Initializer::XavierUniform,
            rotated: false,
            connections: Vec::new(),
        });
        layers.push(Layer::max_pool(window.clone()));
        layers.push(Layer::AvgPool { window, ceil_mode: true, count_include_pad: false });
    }
    check_layers(&[7, 6], &[4, 12], &layers);
}

#[test]
fn pools() {
    let pool = |ceil_mode, count_include_pad| Layer::AvgPool {
        window: Window::square(3, 2, 1),
        ceil_mode,
        count_include_pad,
    };
    let layers = [
        Layer::MaxPool { window: Window::square(3, 2, 0), ceil_mode: true },
        pool(false, false),
        pool(true, true),
        Layer::Subsample { kernel_size: vec![2, 2] },
        Layer::AdaptiveAvgPool { output_size: vec![3, 4] },
        Layer::AdaptiveMaxPool { output_size: vec![2, 3] },
        Layer::AdaptiveMaxPool { output_size: vec![3, 2] },
        Layer::GlobalMaxPool { axes: 2 },
    ];
    check_layers(&[6, 6], &[4, 17], &layers);
    // A window of zeros has no gradient: its norm has a kink there.
    let norm = Layer::LpPool { kernel_size: vec![2, 2], stride: vec![2, 2], power: 2.0 };
    check_layers(&[4, 4], &[4, 12], &[norm]);
}

#[test]
fn pixels_and_channels() {
    let upsample = |factor: [usize; 2], mode| Layer::Upsample { factor: factor.to_vec(), mode };
    let pad = |mode| Layer::Pad {
        padding: vec![Sides { before: 1, after: 2 }, Sides { before: 2, after: 0 }],
        mode,
    };
    let layers = [
        upsample([2, 2], Interpolation::Nearest),
        upsample([3, 1], Interpolation::Nearest),
        upsample([2, 2], Interpolation::Linear),
        upsample([3, 2], Interpolation::Linear),
        pad(PaddingMode::Zeros),
        pad(PaddingMode::Reflect),
        pad(PaddingMode::Replicate),
        Layer::PixelShuffle { factor: 2 },
        Layer::ChannelShuffle { groups: 4 },
        Layer::Slice { start: 1, length: 2, axis: 0 },
        Layer::Slice { start: 1, length: 2, axis: 1 },
        Layer::Permute { order: vec![0, 2, 1] },
    ];
    check_layers(&[4, 3], &[4, 16], &layers);
}

#[test]
fn norms() {
    let layers = [
        Layer::LayerNorm { epsilon: 0.1, affine: true },
        Layer::GroupNorm { groups: 2, epsilon: 0.1, affine: true },
        Layer::GroupNorm { groups: 4, epsilon: 0.1, affine: false },
        Layer::InstanceNorm { epsilon: 0.1, affine: true },
        Layer::LocalResponseNorm { size: 3, alpha: 0.5, beta: 0.75, k: 1.0 },
    ];
    check_layers(&[3, 5], &[4, 16], &layers);
    let vectors = [Layer::linear(9), Layer::LayerNorm { epsilon: 0.1, affine: true }, Layer::linear(3)];
    check(&network(&[5], &vectors), &[1, 2, 7], "vectors");
}

/// Differences, and products with factors that channels or samples share.
#[test]
fn combinations() {
    for channels in [4, 16] {
        for (gate, is_flat) in [(channels, false), (channels, true), (1, false), (1, true)] {
            let mut builder = Builder::new("gated");
            let image = builder.input("image", &[3, 5, 4]).unwrap();
            let x = builder.layer("c1", &conv(channels, 3), image).unwrap();
            let mean = builder.layer("m", &Layer::GlobalAvgPool { axes: 2 }, x).unwrap();
            let mut factors = builder.layer("c2", &conv(gate, 1), mean).unwrap();
            factors = builder.layer("s", &Layer::Sigmoid, factors).unwrap();
            if is_flat {
                factors = builder.layer("f", &Layer::Flatten, factors).unwrap();
            }
            let y = builder.combine("gated", Combination::Multiply, x, factors).unwrap();
            let y = builder.combine("rest", Combination::Subtract, x, y).unwrap();
            let y = builder.layer("end", &conv(4, 1), y).unwrap();
            builder.output("y", y).unwrap();
            let what = format!("{channels} channels, {gate} factors, flat: {is_flat}");
            check(&builder.finish().unwrap(), &[1, 3], &what);
        }
    }
}

/// A convolution and a batch normalisation that are applied to two values.
#[test]
fn shared_parameters() {
    for channels in [4, 16] {
        let mut builder = Builder::new("shared");
        let image = builder.input("image", &[3, 5, 4]).unwrap();
        let mut x = builder.layer("start", &conv(channels, 1), image).unwrap();
        for label in ["a", "b", "c"] {
            if label != "a" {
                builder.share(label, "a");
            }
            x = builder.layer(&format!("{label}.conv"), &conv(channels, 3), x).unwrap();
            let norm = Layer::BatchNorm { epsilon: 0.1, momentum: 0.3 };
            x = builder.layer(&format!("{label}.norm"), &norm, x).unwrap();
            x = builder.layer("", &Layer::Relu, x).unwrap();
        }
        builder.output("y", x).unwrap();
        check(&builder.finish().unwrap(), &[2, 3], &format!("shared parameters of {channels} channels"));
    }
}

/// Rotated kernels, and kernels for some connections only, whose weights are assembled before the convolution.
#[test]
fn rotated_and_connected_convolutions() {
    let convolution = |out_channels, window: Window, groups, rotated, connections: &[&[usize]]| Layer::Conv {
        out_channels,
        window,
        groups,
        bias: true,
        init: Initializer::XavierUniform,
        rotated,
        connections: connections.iter().map(|list| list.to_vec()).collect(),
    };
    let some: &[&[usize]] = &[&[0, 2], &[1], &[0, 1, 2, 3], &[3]];
    let layers = [
        convolution(5, Window::square(3, 1, 1), 1, true, &[]),
        convolution(12, Window { kernel_size: vec![2, 3], ..Window::square(1, 2, 1) }, 4, true, &[]),
        convolution(4, Window::square(3, 1, 1), 1, false, some),
        convolution(4, Window { dilation: vec![2, 1], ..Window::square(2, 1, 1) }, 1, true, some),
    ];
    check_layers(&[5, 4], &[4, 16], &layers);
    check_layers(&[7], &[4, 8], &[convolution(8, Window::cube(1, 3, 1, 1), 1, true, &[])]);
    check_layers(&[2, 3, 3], &[4], &[convolution(4, Window::cube(3, 2, 1, 1), 1, true, some)]);
}

#[test]
fn distances_and_bilinear_forms() {
    for (inputs, outputs) in [(5, 3), (16, 17)] {
        for trainable in [true, false] {
            let rbf = Layer::Rbf { out_features: outputs, trainable, init: Initializer::Signs };
            let layers = [Layer::linear(inputs), rbf, Layer::linear(2)];
            check(
                &network(&[6], &layers),
                &[1, 2, 7],
                &format!("{outputs} distances, trainable: {trainable}"),
            );
        }
        let mut builder = Builder::new("bilinear");
        let x = builder.input("x", &[6]).unwrap();
        let left = builder.layer("left", &Layer::linear(inputs), x).unwrap();
        let right = builder.layer("right", &Layer::linear(4), x).unwrap();
        let z = builder.bilinear("z", [left, right], outputs, true, Initializer::XavierUniform).unwrap();
        builder.output("z", z).unwrap();
        check(&builder.finish().unwrap(), &[1, 3], &format!("{outputs} bilinear forms of {inputs}"));
    }
}
