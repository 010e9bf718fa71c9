//! Reference evaluation of the dense layer and its gradients.

use super::{Linear, LinearGradInput, LinearGradWeight};
use crate::interp::{Array, Evaluate, Real, Total};
use crate::ops::epilogue::EpilogueStep;

/// Calls `product(input, weight, output)` with the flat indices of every triple of elements that `x·Wᵀ` multiplies.
fn for_each_product([batch, inputs, outputs]: [usize; 3], mut product: impl FnMut(usize, usize, usize)) {
    for item in 0..batch {
        for output in 0..outputs {
            for input in 0..inputs {
                product(item * inputs + input, output * inputs + input, item * outputs + output);
            }
        }
    }
}

impl Evaluate for Linear {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (x, weight) = (operands[0], operands[1]);
        let mut y = vec![Total::default(); results[0].iter().product()];
        for_each_product([x.sizes[0], x.sizes[1], results[0][1]], |i, w, o| {
            y[o].add_product(x.real()[i], weight.real()[w]);
        });
        let y = Array::new(results[0].clone(), Total::round_all(y));
        vec![EpilogueStep::apply_all(&self.epilogue, y, &operands[2..])]
    }
}

impl Evaluate for LinearGradInput {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (gradient, weight) = (operands[0], operands[1]);
        let mut x = vec![Total::default(); results[0].iter().product()];
        for_each_product([results[0][0], results[0][1], gradient.sizes[1]], |i, w, o| {
            x[i].add_product(gradient.real()[o], weight.real()[w]);
        });
        vec![Array::new(results[0].clone(), Total::round_all(x))]
    }
}

impl Evaluate for LinearGradWeight {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (gradient, x) = (operands[0], operands[1]);
        let mut weight = vec![Total::default(); results[0].iter().product()];
        for_each_product([x.sizes[0], x.sizes[1], gradient.sizes[1]], |i, w, o| {
            weight[w].add_product(gradient.real()[o], x.real()[i]);
        });
        vec![Array::new(results[0].clone(), Total::round_all(weight))]
    }
}
