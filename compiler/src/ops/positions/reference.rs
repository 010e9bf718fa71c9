//! Reference evaluation of the encoding of positions.

use super::{AddPositions, angle};
use crate::interp::{Array, Evaluate, Real};

impl Evaluate for AddPositions {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let sizes = &results[0];
        let (steps, features) = (sizes[sizes.len() - 2], sizes[sizes.len() - 1]);
        let encoding = |index: usize| {
            let (step, feature) = (index / features % steps, index % features);
            let angle = step as f64 * angle(feature, features);
            T::from_f64(if feature.is_multiple_of(2) { angle.sin() } else { angle.cos() })
        };
        let x = operands[0].real().iter().enumerate();
        vec![Array::new(sizes.clone(), x.map(|(index, &x)| x + encoding(index)).collect())]
    }
}
