//! Reference evaluation of sources: a constant is its own value; the interpreter looks up the others.

use super::{Constant, Input, Parameter, State};
use crate::interp::{Array, Evaluate, Real};

impl Evaluate for Constant {
    fn evaluate<T: Real>(&self, _: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let values = self.values.iter().map(|&value| T::from_f64(f64::from(value))).collect();
        vec![Array::new(results[0].clone(), values)]
    }
}

macro_rules! looked_up {
    ($($source:ident),*) => {$(
        impl Evaluate for $source {
            fn evaluate<T: Real>(&self, _: &[&Array<T>], _: &[Vec<usize>]) -> Vec<Array<T>> {
                Vec::new()
            }
        }
    )*};
}

looked_up!(Input, Parameter, State);
