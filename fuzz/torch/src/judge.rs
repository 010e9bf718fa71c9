//! The comparison; the README of this crate justifies it.

use std::fmt;

use windlass_compiler::autodiff::names;

/// The maximum relative error of one rounding to `f32`.
pub const UNIT: f64 = 1.0 / (1 << 24) as f64;

/// The maximum error as a multiple of the sampled deviation.
pub const FACTOR: f64 = 16.0;

/// The same with Winograd's algorithm.
pub const WINOGRAD_FACTOR: f64 = 64.0;

/// The additional error, in roundings of the tensor's largest element.
pub const FLOOR: f64 = 8.0;

/// The additional error of the interpreter in double precision, relative to the tensor's largest element.
pub const INTERPRETER: f64 = 1e-9;

/// The scale of deviations from single to double precision.
pub const TO_DOUBLE: f64 = f64::EPSILON / f32::EPSILON as f64;

/// A tensor is judged loosely if its bound is more than this part of its scale: of its largest element, or of [`WHOLE`]
/// of the largest among all tensors of its kind, if that is more.
pub const LOOSE: f64 = 0.01;

/// The weight of the largest element among all tensors of a kind: the gradient of a bias before batch normalisation is
/// zero except for rounding, and need only be small relative to other gradients.
pub const WHOLE: f64 = 1.0 / 64.0;

/// The precision of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Compiled code.
    Single,
    /// Compiled code with Winograd's algorithm.
    Winograd,
    /// The interpreter.
    Double,
}

/// The bound for a tensor's elements.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The bound.
    pub bound: f64,
    /// Whether the bound is loose: rounding alone changes the tensor by much.
    pub is_loose: bool,
}

/// An element whose error exceeds its bound.
#[derive(Clone, Copy, Debug)]
pub struct Mismatch {
    /// The element.
    pub index: usize,
    /// Its value here.
    pub got: f64,
    /// PyTorch's.
    pub expected: f64,
    /// Its bound.
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

/// The kind of tensors that are measured on the same scale in a step: all parameters, and each kind of optimiser state;
/// every other result has its own kind.
pub fn kind(result: &str) -> &str {
    match result.strip_prefix(names::OPTIMIZER_PREFIX) {
        Some(state) => state.split_once('.').map_or(state, |(kind, _)| kind),
        None if result.contains('.') && !result.contains(".running_") => "parameter",
        None => result,
    }
}

impl Bound {
    /// The bound of a tensor for which sampled rounding gives `deviation`; `whole` is the largest magnitude among all
    /// tensors of its [`kind`].
    pub fn of(expected: &[f64], deviation: f64, precision: Precision, whole: f64) -> Self {
        let largest = largest(expected);
        let bound = match precision {
            Precision::Single => FACTOR * deviation + FLOOR * UNIT * largest,
            Precision::Winograd => WINOGRAD_FACTOR * deviation + FLOOR * UNIT * largest,
            Precision::Double => FACTOR * deviation + INTERPRETER * largest,
        };
        let is_loose = bound > LOOSE * largest.max(WHOLE * whole);
        // Numbers smaller than the least normal one may be flushed to zero.
        Bound { bound: bound.max(f64::from(f32::MIN_POSITIVE)), is_loose }
    }

    /// The worst element of a result, if its error exceeds the bound; otherwise the part of the bound that it uses.
    ///
    /// # Errors
    /// The [`Mismatch`].
    pub fn judge(&self, got: &[f64], expected: &[f64]) -> Result<f64, Mismatch> {
        let mut worst = 0.0;
        for (index, (&got, &expected)) in got.iter().zip(expected).enumerate() {
            let part = (got - expected).abs() / self.bound;
            // NaN never agrees.
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
        // A gradient that is zero except for rounding is measured by the others.
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
