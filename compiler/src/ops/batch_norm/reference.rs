//! Reference evaluation of batch normalisation and its gradient.

use super::{BatchNorm, BatchNormGrad, BatchNormTraining};
use crate::interp::{Array, Evaluate, Real, Total, channel_sizes};
use crate::ops::epilogue::EpilogueStep;

/// The flat indices of one channel's elements in `[N, C, …]`.
fn channel(sizes: &[usize], channel: usize) -> impl Iterator<Item = usize> + Clone + use<> {
    let [batch, channels, inner] = channel_sizes(sizes);
    (0..batch).flat_map(move |item| (0..inner).map(move |i| (item * channels + channel) * inner + i))
}

impl Evaluate for BatchNorm {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let x = operands[0].real();
        let mut y = vec![T::zero(); x.len()];
        for c in 0..results[0][1] {
            let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|operand| operands[operand].real()[c]);
            let inverse = T::one() / (variance + T::from_f64(self.epsilon)).sqrt();
            for i in channel(&results[0], c) {
                y[i] = (x[i] - mean) * inverse * gamma + beta;
            }
        }
        let y = Array::new(results[0].clone(), y);
        vec![EpilogueStep::apply_all(&self.epilogue, y, &operands[5..])]
    }
}

impl Evaluate for BatchNormTraining {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let x = operands[0].real();
        let mut y = vec![T::zero(); x.len()];
        let mut statistics: [Vec<T>; 4] = Default::default();
        let count = x.len() / results[0][1];
        let [elements, others, momentum, rest, epsilon] = [
            count as f64,
            // A single element has no unbiased variance; the result is its biased variance, 0.
            count.max(2) as f64 - 1.0,
            self.momentum,
            1.0 - self.momentum,
            self.epsilon,
        ]
        .map(T::from_f64);
        for c in 0..results[0][1] {
            let [gamma, beta, old_mean, old_variance] =
                [1, 2, 3, 4].map(|operand| operands[operand].real()[c]);
            let indices = channel(&results[0], c);
            // All in double precision: rounding the mean would affect the variance.
            let exact = indices.clone().map(|i| x[i].to_f64());
            let centre = Total::of(exact.clone()) / count as f64;
            let squares = T::from_f64(Total::of_products(exact.map(|x| (x - centre, x - centre))));
            let mean = T::from_f64(centre);
            let inverse = T::one() / (squares / elements + epsilon).sqrt();
            for i in indices {
                y[i] = (x[i] - mean) * inverse * gamma + beta;
            }
            let new_mean = rest * old_mean + momentum * mean;
            let new_variance = rest * old_variance + momentum * (squares / others);
            for (list, number) in statistics.iter_mut().zip([mean, inverse, new_mean, new_variance]) {
                list.push(number);
            }
        }
        let y = EpilogueStep::apply_all(&self.epilogue, Array::new(results[0].clone(), y), &operands[5..]);
        let statistics = statistics.into_iter().zip(&results[1..]);
        let statistics = statistics.map(|(values, sizes)| Array::new(sizes.clone(), values));
        std::iter::once(y).chain(statistics).collect()
    }
}

impl BatchNormGrad {
    /// The gradient to the normalised values.
    fn before_activation<T: Real>(&self, operands: &[&Array<T>]) -> Vec<T> {
        let (gradient, x) = (operands[0].real(), operands[1].real());
        let Some((kind, (slope, takes_result))) = self.activation.zip(self.slope().ok().flatten()) else {
            return gradient.to_vec();
        };
        let sizes = &operands[0].sizes;
        let mut result = gradient.to_vec();
        for c in 0..sizes[1] {
            let [gamma, mean, inverse, beta] = [2, 3, 4, 5].map(|operand| operands[operand].real()[c]);
            for i in channel(sizes, c) {
                let z = (x[i] - mean) * inverse * gamma + beta;
                result[i] = slope.apply(gradient[i], if takes_result { kind.apply(z) } else { z });
            }
        }
        result
    }
}

impl Evaluate for BatchNormGrad {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let x = operands[1].real();
        let gradient = self.before_activation(operands);
        let elements = T::from_f64((x.len() / results[0][1]) as f64);
        let mut to_x = vec![T::zero(); x.len()];
        let (mut to_gamma, mut to_beta) = (Vec::new(), Vec::new());
        for c in 0..results[0][1] {
            let [gamma, mean, inverse] = [2, 3, 4].map(|operand| operands[operand].real()[c]);
            let indices = channel(&results[0], c);
            let normalised = |i: usize| (x[i] - mean) * inverse;
            let gradient_sum = Total::of(indices.clone().map(|i| gradient[i]));
            let product_sum = Total::of_products(indices.clone().map(|i| (gradient[i], normalised(i))));
            for i in indices {
                let centred = gradient[i] - gradient_sum / elements - normalised(i) * product_sum / elements;
                to_x[i] = gamma * inverse * centred;
            }
            to_gamma.push(product_sum);
            to_beta.push(gradient_sum);
        }
        let values = [to_x, to_gamma, to_beta];
        values.into_iter().zip(results).map(|(values, sizes)| Array::new(sizes.clone(), values)).collect()
    }
}
