//! Reference evaluation of fused functions: step by step.

use super::{Fused, FusedStep};
use crate::interp::{Array, Evaluate, Real};

impl Evaluate for Fused {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let elements = operands[0].elements();
        // A scalar, or one element for each channel, is repeated.
        let mut values: Vec<Vec<T>> = operands
            .iter()
            .map(|operand| operand.real().iter().copied().cycle().take(elements).collect())
            .collect();
        for step in &self.steps {
            values.push(match *step {
                FusedStep::Unary(kind, x) => values[x].iter().map(|&x| kind.apply(x)).collect(),
                FusedStep::Binary(kind, left, right) => {
                    values[left].iter().zip(&values[right]).map(|(&a, &b)| kind.apply(a, b)).collect()
                }
            });
        }
        self.results
            .iter()
            .zip(results)
            .map(|(&value, sizes)| Array::new(sizes.clone(), values[value].clone()))
            .collect()
    }
}
