//! Input values of networks, and comparisons of bits.

use ndarray::ArrayD;
use windlass::{AnyNetwork, Model};

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Pseudorandom numbers between −1 and 1.
pub(crate) fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

pub(crate) fn bits(values: &ArrayD<f32>) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

pub(crate) fn all_bits<N: AnyNetwork>(model: &Model<N>) -> Vec<(String, Vec<u32>)> {
    model.parameters().to_named().into_iter().map(|(name, tensor)| (name, bits(&tensor))).collect()
}
