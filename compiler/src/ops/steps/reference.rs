//! Reference evaluation of folding and unfolding steps.

use super::{FoldSteps, UnfoldSteps};
use crate::interp::{Array, Data, Evaluate, Real};

/// The rows of `outer · inner`, with the two axes exchanged.
fn exchanged<T: Clone>(values: &[T], outer: usize, inner: usize) -> Vec<T> {
    let elements = values.len() / (outer * inner);
    let row = |index: usize| &values[index * elements..(index + 1) * elements];
    (0..inner).flat_map(|b| (0..outer).flat_map(move |a| row(a * inner + b).iter().cloned())).collect()
}

fn exchange<T: Real>(x: &Array<T>, outer: usize, inner: usize, sizes: &[usize]) -> Array<T> {
    let data = match &x.data {
        Data::Real(values) => Data::Real(exchanged(values, outer, inner)),
        Data::Int(values) => Data::Int(exchanged(values, outer, inner)),
    };
    Array { sizes: sizes.to_vec(), data }
}

impl Evaluate for FoldSteps {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let x = operands[0];
        vec![exchange(x, x.sizes[0], x.sizes[1], &results[0])]
    }
}

impl Evaluate for UnfoldSteps {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        vec![exchange(operands[0], results[0][1], results[0][0], &results[0])]
    }
}
