//! The rule by which numbers agree; the README of this crate argues it.

use std::fmt;

use windlass_compiler::autodiff::names;

/// The largest relative error of one rounding to `f32`.
pub const UNIT: f64 = 1.0 / (1 << 24) as f64;

/// How many times the sampled deviation a result may be off.
pub const FACTOR: f64 = 16.0;

/// The same where a convolution is by Winograd's method.
pub const WINOGRAD_FACTOR: f64 = 64.0;

/// How many roundings of its tensor's largest element a result may be off besides.
pub const FLOOR: f64 = 8.0;

/// What the interpreter may be off in double precision, relative to its tensor's largest element.
pub const INTERPRETER: f64 = 1e-9;

/// What scales deviations from single to double precision.
pub const TO_DOUBLE: f64 = f64::EPSILON / f32::EPSILON as f64;

/// A tensor is judged loosely where more than this part of its scale would pass: of its largest element, or of [`WHOLE`] of
/// the largest among all tensors of its kind, where that is more.
pub const LOOSE: f64 = 0.01;

/// The part that the largest element among all tensors of a kind counts for: the gradient of a bias before batch
/// normalisation is zero but for rounding, and must be small beside other gradients only.
pub const WHOLE: f64 = 1.0 / 64.0;

/// The precision that a result was computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Compiled code.
    Single,
    /// Compiled code with a convolution by Winograd's method.
    Winograd,
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

/// The largest magnitude in a tensor.
pub fn largest(elements: &[f64]) -> f64 {
    elements.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()))
}

/// What is measured by the same scale in a step: all parameters, and each kind of the optimiser's states; any other result is
/// of a kind of its own.
pub fn kind(result: &str) -> &str {
    match result.strip_prefix(names::OPTIMIZER_PREFIX) {
        Some(state) => state.split_once('.').map_or(state, |(kind, _)| kind),
        None if result.contains('.') && !result.contains(".running_") => "parameter",
        None => result,
    }
}

impl Bound {
    /// The bound of a tensor that sampled rounding to its precision moves by `deviation`; `whole` is the largest magnitude among all tensors of
    /// its [`kind`].
    pub fn of(expected: &[f64], deviation: f64, precision: Precision, whole: f64) -> Self {
        let largest = largest(expected);
        let bound = match precision {
            Precision::Single => FACTOR * deviation + FLOOR * UNIT * largest,
            Precision::Winograd => WINOGRAD_FACTOR * deviation + FLOOR * UNIT * largest,
            Precision::Double => FACTOR * deviation + INTERPRETER * largest,
        };
        let is_loose = bound > LOOSE * largest.max(WHOLE * whole);
        // Smaller numbers than the least normal one may be taken for zero.
        Bound { bound: bound.max(f64::from(f32::MIN_POSITIVE)), is_loose }
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
        let bound = Bound::of(&expected, 1e-7, Precision::Single, 4.0);
        assert!(!bound.is_loose);
        assert!(bound.judge(&[1.000_002, -4.0], &expected).unwrap() > 0.3);
        assert_eq!(bound.judge(&[1.0, -4.000_01], &expected).unwrap_err().index, 1);
        assert_eq!(bound.judge(&[f64::NAN, -4.0], &expected).unwrap_err().index, 0);
        let double = Bound::of(&expected, 1e-7 * TO_DOUBLE, Precision::Double, 4.0);
        assert_eq!(double.judge(&[1.0, -4.000_000_01], &expected).unwrap_err().index, 1);
    }

    #[test]
    fn what_rounding_moves_by_much_is_judged_loosely() {
        assert!(Bound::of(&[1.0], 1e-2, Precision::Single, 1.0).is_loose);
        // A gradient that is zero but for rounding is measured by the others.
        assert!(Bound::of(&[1e-17], 1e-9, Precision::Single, 1e-17).is_loose);
        assert!(!Bound::of(&[1e-17], 1e-9, Precision::Single, 1.0).is_loose);
    }

    #[test]
    fn tensors_of_a_kind() {
        assert_eq!(kind("optimizer.velocity.l1.weight"), "velocity");
        assert_eq!(kind("l1.weight"), "parameter");
        assert_eq!(kind("l1.running_mean"), "l1.running_mean");
        assert_eq!(kind("loss"), "loss");
    }
}
