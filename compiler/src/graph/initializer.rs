//! Distributions of initial values. The runtime draws the values.

use serde::{Deserialize, Serialize};

use crate::error::ShapeError;

/// A distribution of initial values. Fan-in and fan-out follow PyTorch: for a weight `[O, I, kernel…]` they are
/// `I·∏kernel` and `O·∏kernel`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Initializer {
    /// All elements equal.
    Constant(f64),
    /// Uniform between two bounds.
    Uniform(f64, f64),
    /// Normal with a mean and a standard deviation.
    Normal(f64, f64),
    /// Uniform within `±√(6 / (fan_in + fan_out))` (Glorot and Bengio 2010).
    XavierUniform,
    /// Normal with deviation `√(2 / (fan_in + fan_out))` (Glorot and Bengio 2010).
    XavierNormal,
    /// Uniform within `±√(6 / fan_in)` (He et al. 2015, arXiv:1502.01852).
    KaimingUniform,
    /// Normal with deviation `√(2 / fan_in)` (He et al. 2015, arXiv:1502.01852).
    KaimingNormal,
    /// −1 or 1 with equal probability, as for the prototypes of LeNet-5 (LeCun et al. 1998).
    Signs,
}

impl Initializer {
    /// All zeros.
    pub const ZEROS: Initializer = Initializer::Constant(0.0);
    /// All ones.
    pub const ONES: Initializer = Initializer::Constant(1.0);

    /// Checks that the numbers are finite and define a distribution.
    ///
    /// # Errors
    /// [`ShapeError::NumberOutOfRange`].
    pub fn check(self) -> Result<(), ShapeError> {
        let (value, holds, range) = match self {
            Initializer::Constant(value) => (value, value.is_finite(), "finite"),
            Initializer::Uniform(low, high) => {
                (high, (high - low).is_finite() && low <= high, "a bound not below the lower one")
            }
            Initializer::Normal(mean, deviation) => {
                let holds = mean.is_finite() && deviation.is_finite() && deviation >= 0.0;
                (deviation, holds, "a deviation of 0 or more from a finite mean")
            }
            Initializer::XavierUniform
            | Initializer::XavierNormal
            | Initializer::KaimingUniform
            | Initializer::KaimingNormal
            | Initializer::Signs => return Ok(()),
        };
        if holds { Ok(()) } else { Err(ShapeError::NumberOutOfRange { argument: "init", value, range }) }
    }

    /// Fan-in and fan-out of a weight of these sizes; both 1 for a scalar, both the length for a vector.
    pub fn fans(sizes: &[usize]) -> (usize, usize) {
        match sizes {
            [] => (1, 1),
            [length] => (*length, *length),
            [outputs, inputs, kernel @ ..] => {
                let receptive: usize = kernel.iter().product();
                (inputs * receptive, outputs * receptive)
            }
        }
    }
}
