//! Reference evaluation of filling.

use super::Fill;
use crate::interp::{Array, Evaluate, Real};

impl Evaluate for Fill {
    fn evaluate<T: Real>(&self, _: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let elements = results[0].iter().product();
        vec![Array::new(results[0].clone(), vec![T::from_f64(f64::from(self.value)); elements])]
    }
}
