//! Reference evaluation of softmax, its logarithm and their gradients.

use super::{LEAST_EXPONENT, LogSoftmax, LogSoftmaxGrad, Softmax, SoftmaxGrad};
use crate::interp::{Array, Evaluate, Real, Total, channel_sizes};

/// The largest of some numbers, and the sum of `e^(x − largest)`, in which no exponential overflows. If a number is
/// NaN, the sum is NaN.
pub(crate) fn shifted_sum<T: Real>(values: impl Iterator<Item = T> + Clone) -> (T, T) {
    let largest = values.clone().fold(T::neg_infinity(), T::max);
    let sum = Total::of(values.map(|x| (x - largest).exp()));
    (largest, sum)
}

/// `eˣ` of a number that is not above 0, or zero below [`LEAST_EXPONENT`].
fn exponential<T: Real>(x: T) -> T {
    if x < T::from_f64(LEAST_EXPONENT) { T::zero() } else { x.exp() }
}

/// Calls `one` with the indices of the channels at each position of each item of `[N, C, …]`.
fn for_each_place(sizes: &[usize], mut one: impl FnMut(Vec<usize>)) {
    let [batch, channels, inner] = channel_sizes(sizes);
    for item in 0..batch {
        for place in 0..inner {
            one((0..channels).map(|channel| (item * channels + channel) * inner + place).collect());
        }
    }
}

impl Evaluate for Softmax {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let x = operands[0].real();
        let mut y = vec![T::zero(); x.len()];
        for_each_place(&results[0], |channels| {
            let (largest, _) = shifted_sum(channels.iter().map(|&i| x[i]));
            for &i in &channels {
                y[i] = exponential(x[i] - largest);
            }
            let sum = Total::of(channels.iter().map(|&i| y[i]));
            for &i in &channels {
                y[i] = y[i] / sum;
            }
        });
        vec![Array::new(results[0].clone(), y)]
    }
}

impl Evaluate for LogSoftmax {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let x = operands[0].real();
        let mut y = vec![T::zero(); x.len()];
        for_each_place(&results[0], |channels| {
            let (largest, sum) = shifted_sum(channels.iter().map(|&i| x[i]));
            for &i in &channels {
                y[i] = x[i] - largest - sum.ln();
            }
        });
        vec![Array::new(results[0].clone(), y)]
    }
}

impl Evaluate for SoftmaxGrad {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (gradient, y) = (operands[0].real(), operands[1].real());
        let mut x = vec![T::zero(); y.len()];
        for_each_place(&results[0], |channels| {
            let sum = Total::of_products(channels.iter().map(|&i| (gradient[i], y[i])));
            for &i in &channels {
                x[i] = y[i] * (gradient[i] - sum);
            }
        });
        vec![Array::new(results[0].clone(), x)]
    }
}

impl Evaluate for LogSoftmaxGrad {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (gradient, y) = (operands[0].real(), operands[1].real());
        let mut x = vec![T::zero(); y.len()];
        for_each_place(&results[0], |channels| {
            let sum = Total::of(channels.iter().map(|&i| gradient[i]));
            for &i in &channels {
                x[i] = gradient[i] - y[i].exp() * sum;
            }
        });
        vec![Array::new(results[0].clone(), x)]
    }
}
