//! The rule by which numbers agree; the README of this crate argues it.

use std::fmt;

/// The largest relative error of one rounding to `f32`.
pub const UNIT: f64 = 1.0 / (1 << 24) as f64;

/// How many times the sampled deviation a result may be off.
pub const FACTOR: f64 = 32.0;

/// How many roundings of its tensor's largest element a result may be off besides.
pub const FLOOR: f64 = 16.0;

/// What the interpreter may be off in double precision, relative to its tensor's largest element.
pub const INTERPRETER: f64 = 1e-9;

/// A tensor is judged loosely where more than this part of its largest element would pass.
pub const LOOSE: f64 = 0.01;

/// The precision that a result was computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Compiled code.
    Single,
    /// The interpreter.
    Double,
}

/// What a tensor's elements may be off by.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The bound.
    pub bound: f64,
    /// Whether it says little: rounding alone moves the tensor by much.
    pub is_loose: bool,
}

/// An element that is off by more than its bound.
#[derive(Clone, Copy, Debug)]
pub struct Mismatch {
    /// The element.
    pub index: usize,
    /// Its value here.
    pub got: f64,
    /// PyTorch's.
    pub expected: f64,
    /// What it may be off by.
    pub bound: f64,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { index, got, expected, bound } = self;
        let off = (got - expected).abs();
        write!(
            f,
            "element {index} is {got:?}, in PyTorch {expected:?}: off by {off:.3e}, allowed {bound:.3e}"
        )
    }
}

impl Bound {
    /// The bound of a tensor that sampled rounding moves by `deviation`.
    pub fn of(expected: &[f64], deviation: f64, precision: Precision) -> Self {
        let largest = expected.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
        let bound = match precision {
            Precision::Single => FACTOR * deviation + FLOOR * UNIT * largest,
            Precision::Double => {
                FACTOR * deviation * (f64::EPSILON / f64::from(f32::EPSILON)) + INTERPRETER * largest
            }
        };
        // Smaller numbers than the least normal one may be taken for zero.
        Bound { bound: bound.max(f64::from(f32::MIN_POSITIVE)), is_loose: bound > LOOSE * largest }
    }

    /// The worst element of a result, if it is off by more than the bound; else the part of the bound it takes.
    ///
    /// # Errors
    /// The [`Mismatch`].
    pub fn judge(&self, got: &[f64], expected: &[f64]) -> Result<f64, Mismatch> {
        let mut worst = 0.0;
        for (index, (&got, &expected)) in got.iter().zip(expected).enumerate() {
            let part = (got - expected).abs() / self.bound;
            // A NaN is no agreement.
            if part.is_nan() || part > 1.0 {
                return Err(Mismatch { index, got, expected, bound: self.bound });
            }
            worst = f64::max(worst, part);
        }
        Ok(worst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_rounding_pass_and_others_do_not() {
        let expected = [1.0, -4.0];
        let bound = Bound::of(&expected, 1e-7, Precision::Single);
        assert!(!bound.is_loose);
        assert!(bound.judge(&[1.000_003, -4.0], &expected).unwrap() > 0.3);
        assert_eq!(bound.judge(&[1.0, -4.000_02], &expected).unwrap_err().index, 1);
        assert_eq!(bound.judge(&[f64::NAN, -4.0], &expected).unwrap_err().index, 0);
        let double = Bound::of(&expected, 1e-7, Precision::Double);
        assert_eq!(double.judge(&[1.0, -4.000_000_01], &expected).unwrap_err().index, 1);
    }

    #[test]
    fn what_rounding_moves_by_much_is_judged_loosely() {
        assert!(Bound::of(&[1.0], 1e-2, Precision::Single).is_loose);
    }
}
