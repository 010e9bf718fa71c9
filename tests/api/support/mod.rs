//! Common parts of the tests of models and trainers: networks, input values, and comparisons of bits.

pub(crate) mod arm64;
pub(crate) mod numbers;
pub(crate) mod pair;
pub(crate) mod sequences;

use ndarray::{Array, Array4};
use numbers::noise;
use windlass::{Options, network};

network! {
    pub(crate) network Images(image: [2, 6, 6]) -> [3] {
        c1: conv2d(4, kernel_size = 3, padding = 1); n1: batch_norm; relu; max_pool2d(2);
        c2: conv2d(3, kernel_size = 3); relu; flatten; dropout(0.25);
        f3: linear(3)
    }

    pub(crate) network Points(point: [2]) -> [2] {
        f1: linear(16); tanh;
        f2: linear(2)
    }
}

pub(crate) fn serial() -> Options {
    Options::default().threads(1)
}

pub(crate) fn images(count: usize, seed: u32) -> Array4<f32> {
    Array::from(noise(count * 72, seed)).into_shape_with_order((count, 2, 6, 6)).expect("72 numbers an image")
}

pub(crate) fn labels(count: usize) -> Vec<i32> {
    (0..count).map(|item| (item * 7 % 3) as i32).collect()
}
