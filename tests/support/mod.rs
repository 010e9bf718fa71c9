//! What the tests of models and of trainers share: networks, numbers to run them on, and bits to compare.

use ndarray::{Array, Array4, ArrayD};
use windlass::{Model, Network, Options, network};

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

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

pub(crate) fn serial() -> Options {
    Options::default().threads(1)
}

/// Numbers between −1 and 1 without a pattern that a network could share.
pub(crate) fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

pub(crate) fn images(count: usize, seed: u32) -> Array4<f32> {
    Array::from(noise(count * 72, seed)).into_shape_with_order((count, 2, 6, 6)).expect("72 numbers an image")
}

pub(crate) fn labels(count: usize) -> Vec<i32> {
    (0..count).map(|item| (item * 7 % 3) as i32).collect()
}

pub(crate) fn bits(values: &ArrayD<f32>) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

pub(crate) fn all_bits<N: Network>(model: &Model<N>) -> Vec<(String, Vec<u32>)> {
    model.parameters().to_named().into_iter().map(|(name, tensor)| (name, bits(&tensor))).collect()
}
