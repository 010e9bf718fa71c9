//! Reference evaluation of dropout.

use super::threefry::threefry2x32;
use super::{Dropout, DropoutTraining};
use crate::interp::{Array, Evaluate, Real};

impl Evaluate for Dropout {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], _: &[Vec<usize>]) -> Vec<Array<T>> {
        vec![operands[0].clone()]
    }
}

impl DropoutTraining {
    /// Whether the mask keeps the unit with this flat index in the batch.
    pub fn keeps(&self, seed: u32, step: u32, unit: u32) -> bool {
        threefry2x32([seed, self.stream], [unit, step])[0] >= self.threshold()
    }

    /// The factor of kept elements: `1 / (1 − rate)`.
    pub fn scale(&self) -> f64 {
        1.0 / (1.0 - self.rate)
    }
}

impl Evaluate for DropoutTraining {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (x, seed) = (operands[0].real(), operands[1].int());
        let [seed, step] = [seed[0], seed[1]].map(i32::cast_unsigned);
        let scale = T::from_f64(self.scale());
        let unit = self.unit.elements(&results[0]);
        let values = x.iter().enumerate().map(|(element, &x)| {
            if self.keeps(seed, step, (element / unit) as u32) { x * scale } else { T::zero() }
        });
        vec![Array::new(results[0].clone(), values.collect())]
    }
}
