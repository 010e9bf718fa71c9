//! Reference evaluation of reductions and of expansion.

use super::{Expand, Reduce, ReduceKind};
use crate::interp::{Array, Evaluate, Real, Total};

/// The numbers of indices before some neighbouring axes, along them, and behind them.
fn around(sizes: &[usize], axis: usize, count: usize) -> [usize; 3] {
    let product = |sizes: &[usize]| sizes.iter().product();
    [product(&sizes[..axis]), product(&sizes[axis..axis + count]), product(&sizes[axis + count..])]
}

impl Evaluate for Reduce {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let x = operands[0].real();
        let [outer, size, inner] = around(&operands[0].sizes, self.axis, self.count);
        let elements = |result: usize| {
            let (row, column) = (result / inner, result % inner);
            (0..size).map(move |index| x[(row * size + index) * inner + column])
        };
        let values = (0..outer * inner).map(|result| match self.kind {
            ReduceKind::Sum => sum(elements(result)),
            ReduceKind::Mean => sum::<T>(elements(result)) / T::from_f64(size as f64),
            ReduceKind::Max => elements(result).fold(T::neg_infinity(), |largest, x| {
                // Propagates NaN.
                if x > largest || x.is_nan() { x } else { largest }
            }),
        });
        vec![Array::new(results[0].clone(), values.collect())]
    }
}

fn sum<T: Real>(elements: impl Iterator<Item = T>) -> T {
    let mut total = Total::default();
    elements.for_each(|x| total.add(x));
    total.round()
}

impl Evaluate for Expand {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let x = operands[0].real();
        let [outer, size, inner] = around(&results[0], self.axis, self.count);
        let values = (0..outer * size * inner).map(|result| {
            let x = x[result / (size * inner) * inner + result % inner];
            if self.divided { x / T::from_f64(size as f64) } else { x }
        });
        vec![Array::new(results[0].clone(), values.collect())]
    }
}
