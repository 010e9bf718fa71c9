//! Reference evaluation of masks.

use super::{Mask, Masked};
use crate::interp::{Array, Evaluate, Real};

impl Evaluate for Mask {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let sizes = &results[0];
        let positions = sizes[sizes.len() - 1];
        let of_item: usize = sizes[1..].iter().product();
        let fill = match self.fill {
            super::Fill::Zero => T::zero(),
            super::Fill::Lowest => T::neg_infinity(),
        };
        let kept = |index: usize| match self.masked {
            Masked::Causal => index / positions % sizes[sizes.len() - 2] + 1,
            Masked::Lengths => usize::try_from(operands[1].int()[index / of_item]).unwrap_or(0),
        };
        let x = operands[0].real().iter().enumerate();
        let y = x.map(|(index, &x)| if index % positions < kept(index) { x } else { fill });
        vec![Array::new(sizes.clone(), y.collect())]
    }
}
