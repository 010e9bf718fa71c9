//! Reference evaluation of sign masks.

use super::{MaskedSelect, SignMask};
use crate::interp::{Array, Evaluate, Real};

/// For each element of an item in order, its number and its bit in that number.
fn places(elements: usize) -> impl Iterator<Item = (usize, usize)> {
    let numbers = elements / 8;
    (0..elements).map(move |element| match element {
        _ if element < 8 * numbers => (element % numbers, element / numbers),
        _ => (element - 7 * numbers, 0),
    })
}

impl Evaluate for SignMask {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let x = operands[0];
        let elements: usize = x.sizes[1..].iter().product();
        let mut bits = Vec::new();
        for item in x.real().chunks(elements) {
            let mut numbers = vec![0; results[0][1]];
            for (&x, (number, bit)) in item.iter().zip(places(elements)) {
                numbers[number] |= i32::from(x > T::zero() || x.is_nan()) << bit;
            }
            bits.extend(numbers);
        }
        vec![Array::ints(results[0].clone(), bits)]
    }
}

impl Evaluate for MaskedSelect {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (g, bits) = (operands[0], operands[1]);
        let elements: usize = g.sizes[1..].iter().product();
        let mut kept = Vec::new();
        for (item, numbers) in g.real().chunks(elements).zip(bits.int().chunks(bits.sizes[1])) {
            let is_set = |(number, bit): (usize, usize)| numbers[number] >> bit & 1 == 1;
            let places = item.iter().zip(places(elements));
            kept.extend(places.map(|(&g, place)| if is_set(place) { g } else { T::zero() }));
        }
        vec![Array::new(results[0].clone(), kept)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_has_its_bit_and_zeros_have_none() {
        let x = Array::new([1, 4], vec![f32::NAN, -0.0, 0.0, f32::INFINITY]);
        let bits = SignMask {}.evaluate(&[&x], &[vec![1, 4]]).remove(0);
        assert_eq!(bits.int(), [1, 0, 0, 1]);
    }

    #[test]
    fn bits_lie_a_run_apart() {
        let x: Vec<f32> =
            (0..19).map(|element| if [0, 2, 3, 15, 17].contains(&element) { 1.0 } else { -1.0 }).collect();
        let x = Array::new([1, 19], x);
        let bits = SignMask {}.evaluate(&[&x], &[vec![1, 5]]).remove(0);
        // Even elements are in the first number, odd ones in the second, then come the three remaining elements.
        assert_eq!(bits.int(), [0b11, 0b1000_0010, 0, 1, 0]);
        let g = x.map(|x| x + 3.0);
        let kept = MaskedSelect {}.evaluate(&[&g, &bits], &[vec![1, 19]]).remove(0);
        let expected: Vec<f32> = x.real().iter().map(|&x| if x > 0.0 { 4.0 } else { 0.0 }).collect();
        assert_eq!(kept.real(), expected);
    }
}
