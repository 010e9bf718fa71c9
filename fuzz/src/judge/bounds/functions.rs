//! The errors of functions of one element, and of their slopes.

use windlass_compiler::ops::elementwise::{Activation, UnaryKind};

use super::U;

/// Errors at `x` in units in the last place, as in the documentation of each function.
fn ulps(kind: UnaryKind, x: f64) -> f64 {
    match kind {
        UnaryKind::Relu | UnaryKind::Negate => 0.0,
        UnaryKind::Square | UnaryKind::Sqrt => 0.5,
        UnaryKind::Log => 0.8,
        UnaryKind::Exp => 1.1,
        UnaryKind::Tanh => 1.3,
        UnaryKind::Rsqrt => 1.5,
        UnaryKind::Sigmoid => 2.3,
        UnaryKind::Activation(activation) => match activation {
            Activation::Relu6
            | Activation::Abs
            | Activation::Floor
            | Activation::Ceil
            | Activation::Round => 0.0,
            Activation::LeakyRelu(_) | Activation::HardSigmoid => 1.5,
            Activation::HardSwish => 2.0,
            Activation::Huber(_) => 2.5,
            Activation::Elu(_) | Activation::Selu => 3.5,
            Activation::Silu | Activation::Softplus | Activation::ScaledTanh | Activation::Erf => 4.0,
            Activation::Gelu => 8.0,
            // The exponent is rounded.
            Activation::GeluTanh => 4.0 + 3.0 * (x * (1.6 + 0.0714 * x * x)).abs(),
        },
    }
}

/// The error of a function's value `y` at `x`, as a part of which rounding of the magnitude counts.
pub(super) fn of_function(kind: UnaryKind, x: f64, y: f64) -> f64 {
    match 2.0 * ulps(kind, x) * U * y.abs() {
        // Far out, where the value is 0.
        error if error.is_nan() => 0.0,
        error => error,
    }
}

/// The largest slope of a function of an epilogue.
fn steepest(kind: UnaryKind) -> f64 {
    match kind {
        UnaryKind::Sigmoid => 0.25,
        UnaryKind::Activation(activation) => match activation {
            Activation::LeakyRelu(slope) | Activation::Elu(slope) => slope.get().max(1.0),
            Activation::Huber(delta) => delta.get(),
            Activation::Selu => 1.76,
            Activation::HardSwish => 1.5,
            Activation::ScaledTanh => 1.15,
            Activation::Erf => 1.13,
            Activation::Gelu | Activation::GeluTanh | Activation::Silu => 1.13,
            Activation::HardSigmoid => 1.0 / 6.0,
            Activation::Relu6 | Activation::Softplus | Activation::Abs => 1.0,
            // Between jumps, which `passed` adds.
            Activation::Floor | Activation::Ceil | Activation::Round => 0.0,
        },
        _ => 1.0,
    }
}

/// What an error of the argument `x` of a function of an epilogue adds to the error of its value.
pub(super) fn passed(kind: UnaryKind, x: f64, error: f64) -> f64 {
    match kind {
        // The jumps between the smallest and the largest argument.
        UnaryKind::Activation(activation) if activation.is_rounding() => {
            activation.value(x + error) - activation.value(x - error)
        }
        UnaryKind::Sigmoid | UnaryKind::Tanh => (steepest(kind) * error).min(1.0),
        _ => steepest(kind) * error,
    }
}

/// The error of an activation's slope.
pub(super) fn of_slope(activation: Activation, at: f64) -> f64 {
    let slope = activation.slope(at).abs();
    let error = match activation {
        Activation::Relu6 | Activation::Abs | Activation::Floor | Activation::Ceil | Activation::Round => 0.0,
        Activation::LeakyRelu(_) | Activation::HardSigmoid => slope,
        Activation::Elu(limit) => 2.0 * (at.abs() + limit.get()),
        Activation::Selu => 2.0 * (at.abs() + 1.76),
        // Φ and x·φ, which share the tail's factors.
        Activation::Gelu => slope + 16.0 * (-0.5 * at * at).exp() * (0.5 + 0.4 * at.abs()),
        // σ and the rise times σ·(1 − σ), whose exponent is rounded.
        Activation::GeluTanh | Activation::Silu => {
            let (exponent, rise) = match activation {
                Activation::Silu => (at, at),
                _ => (at * (1.6 + 0.0714 * at * at), at * (1.6 + 0.2141 * at * at)),
            };
            let of_exponent = if activation == Activation::Silu { 0.0 } else { 6.0 * exponent.abs() };
            let decay = (-exponent.abs()).exp();
            let sigmoid = if at < 0.0 { decay } else { 1.0 };
            (12.0 + of_exponent) * (sigmoid + rise.abs() * decay)
        }
        Activation::HardSwish => 2.0 * (at.abs() / 3.0 + 0.5).min(2.0),
        Activation::Softplus => 5.0 * slope,
        Activation::ScaledTanh => 4.0 * (1.15 + 0.39 * at * at),
        Activation::Huber(_) => slope,
        // The exponent is rounded.
        Activation::Erf => (4.0 + 4.0 * at * at) * slope,
    };
    if error.is_nan() { 0.0 } else { U * error }
}
