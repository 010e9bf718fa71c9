//! Activation functions that are composed of other functions, their exact values and their slopes.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::erf::{erf, erfc};
use crate::error::ShapeError;

/// The parameter of a function. Two are equal if their bits are.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Number(f64);

impl Number {
    /// The parameter with this value.
    pub const fn new(value: f64) -> Self {
        Number(value)
    }

    /// Its value.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Number {}

impl Hash for Number {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// A function of one element that is composed of other functions, with a slope of its own. NaN stays NaN.
///
/// The names and definitions are those of PyTorch; where a definition there is undefined at −∞, the value here is the
/// limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x`, or `slope·x` below zero. The slope is at least 0.
    LeakyRelu(Number),
    /// `x`, or `α·(eˣ − 1)` below zero. `α` is at least 0.
    Elu(Number),
    /// `λ·x`, or `λ·α·(eˣ − 1)` below zero, with the constants of Klambauer et al. (2017).
    Selu,
    /// `x·Φ(x)` with the distribution function `Φ` of the standard normal distribution.
    Gelu,
    /// The approximation `x·σ(2·√(2/π)·(x + 0.044715·x³))` of `gelu`, usually written with tanh.
    GeluTanh,
    /// `x·σ(x)`.
    Silu,
    /// `x·hard_sigmoid(x)`.
    HardSwish,
    /// `relu6(x + 3) / 6`.
    HardSigmoid,
    /// `ln(1 + eˣ)`.
    Softplus,
    /// `1.7159·tanh(2x/3)` (LeCun et al. 1998).
    ScaledTanh,
    /// `|x|`.
    Abs,
    /// The error function `2/√π · ∫₀ˣ e^(−t²) dt`.
    Erf,
    /// The largest integer of at most `x`. Its slope is 0 everywhere, like those of the other roundings.
    Floor,
    /// The smallest integer of at least `x`.
    Ceil,
    /// The integer nearest to `x`; halves go to the even one.
    Round,
    /// `x²/2` up to `|x| = δ`, `δ·(|x| − δ/2)` beyond. `δ` is above 0.
    Huber(Number),
}

/// The factor of `selu`.
pub(super) const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
/// The product of the factor and `α` of `selu`.
pub(super) const SELU_SCALED_ALPHA: f64 = 1.758_099_340_847_376_6;
/// The approximation of `gelu` is `x·σ(a·x + b·x³)`, with these `a` and `b`.
pub(super) const GELU_LINEAR: f64 = 1.595_769_121_605_730_7;
pub(super) const GELU_CUBIC: f64 = 0.071_354_816_272_600_25;
/// The amplitude of `scaled_tanh`.
pub(super) const TANH_SCALE: f64 = 1.7159;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `x` between two bounds. NaN stays NaN.
fn within(x: f64, low: f64, high: f64) -> f64 {
    if x < low {
        low
    } else if high < x {
        high
    } else {
        x
    }
}

impl Activation {
    /// Every activation, with the usual parameter.
    pub const ALL: [Activation; 17] = [
        Activation::Relu6,
        Activation::LeakyRelu(Number::new(0.01)),
        Activation::Elu(Number::new(1.0)),
        Activation::Selu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Silu,
        Activation::HardSwish,
        Activation::HardSigmoid,
        Activation::Softplus,
        Activation::ScaledTanh,
        Activation::Abs,
        Activation::Erf,
        Activation::Floor,
        Activation::Ceil,
        Activation::Round,
        Activation::Huber(Number::new(1.0)),
    ];

    /// `leaky_relu` with a slope below zero.
    pub const fn leaky_relu(slope: f64) -> Self {
        Activation::LeakyRelu(Number::new(slope))
    }

    /// `elu` with the limit `−alpha`.
    pub const fn elu(alpha: f64) -> Self {
        Activation::Elu(Number::new(alpha))
    }

    /// `huber`, quadratic up to `delta`.
    pub const fn huber(delta: f64) -> Self {
        Activation::Huber(Number::new(delta))
    }

    /// The name in texts, without the parameter.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Relu6 => "relu6",
            Activation::LeakyRelu(_) => "leaky_relu",
            Activation::Elu(_) => "elu",
            Activation::Selu => "selu",
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_tanh",
            Activation::Silu => "silu",
            Activation::HardSwish => "hard_swish",
            Activation::HardSigmoid => "hard_sigmoid",
            Activation::Softplus => "softplus",
            Activation::ScaledTanh => "scaled_tanh",
            Activation::Abs => "abs",
            Activation::Erf => "erf",
            Activation::Floor => "floor",
            Activation::Ceil => "ceil",
            Activation::Round => "round",
            Activation::Huber(_) => "huber",
        }
    }

    /// Whether it is constant between jumps.
    pub fn is_rounding(self) -> bool {
        matches!(self, Activation::Floor | Activation::Ceil | Activation::Round)
    }

    /// The parameter, if there is one.
    pub fn parameter(self) -> Option<f64> {
        match self {
            Activation::LeakyRelu(number) | Activation::Elu(number) | Activation::Huber(number) => {
                Some(number.get())
            }
            _ => None,
        }
    }

    /// The same function with another parameter, if it has one.
    #[must_use]
    pub fn with_parameter(self, value: f64) -> Self {
        match self {
            Activation::LeakyRelu(_) => Activation::leaky_relu(value),
            Activation::Elu(_) => Activation::elu(value),
            Activation::Huber(_) => Activation::huber(value),
            plain => plain,
        }
    }

    /// Checks the parameter.
    ///
    /// # Errors
    /// [`ShapeError::NumberOutOfRange`] with the allowed range.
    pub fn check(self) -> Result<(), ShapeError> {
        const LARGEST: f64 = f32::MAX as f64;
        let at_least_zero = "a number of at least 0";
        let (argument, value, is_allowed, range) = match self {
            Activation::LeakyRelu(Number(slope)) => ("slope", slope, slope >= 0.0, at_least_zero),
            Activation::Elu(Number(alpha)) => ("alpha", alpha, alpha >= 0.0, at_least_zero),
            Activation::Huber(Number(delta)) => ("delta", delta, delta > 0.0, "a number above 0"),
            _ => return Ok(()),
        };
        match is_allowed && value <= LARGEST {
            true => Ok(()),
            false => Err(ShapeError::NumberOutOfRange { argument, value, range }),
        }
    }

    /// Nominal operations per element, as profilers count them.
    pub fn flops(self) -> u64 {
        match self {
            Activation::Abs | Activation::Floor | Activation::Ceil | Activation::Round => 1,
            Activation::Relu6 | Activation::LeakyRelu(_) => 2,
            Activation::HardSwish | Activation::HardSigmoid | Activation::Huber(_) => 4,
            Activation::Elu(_)
            | Activation::Selu
            | Activation::Silu
            | Activation::Softplus
            | Activation::ScaledTanh => 6,
            Activation::Gelu | Activation::GeluTanh | Activation::Erf => 10,
        }
    }

    /// The value at `x`.
    pub fn value(self, x: f64) -> f64 {
        let elu = |x: f64, scale: f64, limit: f64| if x < 0.0 { limit * x.exp_m1() } else { scale * x };
        match self {
            Activation::Relu6 => within(x, 0.0, 6.0),
            Activation::LeakyRelu(slope) => {
                if x < 0.0 {
                    slope.get() * x
                } else {
                    x
                }
            }
            Activation::Elu(alpha) => elu(x, 1.0, alpha.get()),
            Activation::Selu => elu(x, SELU_SCALE, SELU_SCALED_ALPHA),
            Activation::Gelu | Activation::GeluTanh | Activation::Silu if x == f64::NEG_INFINITY => 0.0,
            Activation::Gelu => x * (0.5 * erfc(-x * FRAC_1_SQRT_2)),
            Activation::GeluTanh => x * sigmoid(x * (GELU_LINEAR + GELU_CUBIC * x * x)),
            Activation::Silu => x * sigmoid(x),
            Activation::HardSwish => x.max(-3.0) * Activation::HardSigmoid.value(x),
            Activation::HardSigmoid => within(x + 3.0, 0.0, 6.0) / 6.0,
            Activation::Softplus => within(x, 0.0, f64::INFINITY) + (-x.abs()).exp().ln_1p(),
            Activation::ScaledTanh => TANH_SCALE * (x * 2.0 / 3.0).tanh(),
            Activation::Abs => x.abs(),
            Activation::Erf => erf(x),
            Activation::Floor => x.floor(),
            Activation::Ceil => x.ceil(),
            Activation::Round => x.round_ties_even(),
            Activation::Huber(delta) => {
                let near = within(x.abs(), 0.0, delta.get());
                near * (x.abs() - 0.5 * near)
            }
        }
    }

    /// Whether the slope is a function of the result, not of the operand.
    pub fn slope_takes_result(self) -> bool {
        match self {
            Activation::Relu6
            | Activation::LeakyRelu(_)
            | Activation::Elu(_)
            | Activation::Selu
            | Activation::HardSigmoid
            | Activation::ScaledTanh => true,
            Activation::Gelu
            | Activation::GeluTanh
            | Activation::Silu
            | Activation::HardSwish
            | Activation::Softplus
            | Activation::Abs
            | Activation::Erf
            | Activation::Floor
            | Activation::Ceil
            | Activation::Round
            | Activation::Huber(_) => false,
        }
    }

    /// The slope, at a result or an operand: see [`Self::slope_takes_result`]. At a kink it is that of the left side,
    /// except for the middle at the kinks of `hard_swish`, and 0 for `abs` at 0. That of a rounding is 0, also at its jumps
    /// and at NaN.
    pub fn slope(self, at: f64) -> f64 {
        let elu = |y: f64, scale: f64, limit: f64| if 0.0 < y { scale } else { y + limit };
        match self {
            Activation::Relu6 if at < 6.0 => f64::from(u8::from(0.0 < at)),
            Activation::Relu6 => at - 6.0,
            Activation::LeakyRelu(_) if 0.0 < at => 1.0,
            Activation::LeakyRelu(slope) => slope.get(),
            Activation::Elu(alpha) => elu(at, 1.0, alpha.get()),
            Activation::Selu => elu(at, SELU_SCALE, SELU_SCALED_ALPHA),
            Activation::Gelu if at.is_infinite() => f64::from(u8::from(0.0 < at)),
            Activation::Gelu => {
                let density = (-0.5 * at * at).exp() / (2.0 * PI).sqrt();
                0.5 * erfc(-at * FRAC_1_SQRT_2) + at * density
            }
            Activation::GeluTanh => {
                let at = within(at, -100.0, 100.0);
                let s = sigmoid(at * (GELU_LINEAR + GELU_CUBIC * at * at));
                s + at * s * (1.0 - s) * (GELU_LINEAR + 3.0 * GELU_CUBIC * at * at)
            }
            Activation::Silu => {
                let at = within(at, -1000.0, 1000.0);
                let s = sigmoid(at);
                s + at * s * sigmoid(-at)
            }
            Activation::HardSwish if at < -3.0 => 0.0,
            Activation::HardSwish if 3.0 < at => 1.0,
            Activation::HardSwish => at / 3.0 + 0.5,
            Activation::HardSigmoid if at < 1.0 => f64::from(u8::from(0.0 < at)) / 6.0,
            Activation::HardSigmoid => at - 1.0,
            Activation::Softplus => sigmoid(at),
            Activation::ScaledTanh => 2.0 / 3.0 * (TANH_SCALE - at * at / TANH_SCALE),
            Activation::Abs if at < 0.0 => -1.0,
            Activation::Abs if 0.0 < at => 1.0,
            Activation::Abs => at,
            Activation::Erf => FRAC_2_SQRT_PI * (-at * at).exp(),
            Activation::Floor | Activation::Ceil | Activation::Round => 0.0,
            Activation::Huber(delta) => within(at, -delta.get(), delta.get()),
        }
    }
}

/// Prints the name, with the parameter if there is one: `gelu`, `leaky_relu(0.01)`.
impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parameter() {
            Some(parameter) => write!(f, "{}({parameter:?})", self.name()),
            None => f.write_str(self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Activation;

    #[test]
    fn slopes_are_differences_of_values() {
        for activation in Activation::ALL.into_iter().chain([Activation::elu(0.3), Activation::huber(0.7)]) {
            for step in -400..400 {
                // No kink is at one of these.
                let x = f64::from(step) * 0.0213 + 0.000_1;
                let difference = (activation.value(x + 1e-6) - activation.value(x - 1e-6)) / 2e-6;
                let at = if activation.slope_takes_result() { activation.value(x) } else { x };
                let slope = activation.slope(at);
                assert!((slope - difference).abs() < 1e-8, "{activation} at {x}: {slope}, not {difference}");
            }
        }
    }

    #[test]
    fn nothing_but_nan_gives_nan() {
        for activation in Activation::ALL {
            for x in [f64::INFINITY, f64::NEG_INFINITY, 1e30, -1e30, 0.0, -0.0, 1e-40] {
                let y = activation.value(x);
                assert!(!y.is_nan(), "{activation} at {x}");
                let at = if activation.slope_takes_result() { y } else { x };
                assert!(!activation.slope(at).is_nan(), "the slope of {activation} at {x}");
            }
            assert!(activation.value(f64::NAN).is_nan(), "{activation}");
            let is_constant = activation.is_rounding() || matches!(activation, Activation::LeakyRelu(_));
            assert!(is_constant || activation.slope(f64::NAN).is_nan(), "the slope of {activation}");
        }
    }

    #[test]
    fn parameters_are_checked() {
        for (activation, is_allowed) in [
            (Activation::leaky_relu(0.0), true),
            (Activation::leaky_relu(-0.1), false),
            (Activation::elu(f64::NAN), false),
            (Activation::elu(1e300), false),
            (Activation::huber(0.0), false),
            (Activation::huber(1e-3), true),
            (Activation::Gelu, true),
        ] {
            assert_eq!(activation.check().is_ok(), is_allowed, "{activation}");
        }
    }
}
