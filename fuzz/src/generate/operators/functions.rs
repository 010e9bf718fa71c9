//! Generators of functions of one and of two elements.

use windlass_compiler::ops::elementwise::{Activation, Binary, BinaryKind, Unary, UnaryKind};
use windlass_compiler::ops::fill::Fill;

use super::scalar;
use crate::generate::sizes::pick;
use crate::generate::sketch::Sketch;

/// An activation, often with an unusual parameter.
pub(super) fn activation(s: &mut Sketch<'_>) -> Activation {
    let activation = pick(s.numbers, &Activation::ALL);
    match s.numbers.bool() {
        true => activation.with_parameter(pick(s.numbers, &[0.125, 0.3, 0.7, 2.0])),
        false => activation,
    }
}

pub(super) fn unary(s: &mut Sketch<'_>) {
    let kind = match pick(s.numbers, &UnaryKind::ALL) {
        UnaryKind::Activation(_) => UnaryKind::Activation(activation(s)),
        kind => kind,
    };
    let x = match kind {
        UnaryKind::Log | UnaryKind::Sqrt | UnaryKind::Rsqrt => {
            let like = s.any_floats();
            s.positive(&s.ty(like))
        }
        // An exponential of exponentials overflows.
        UnaryKind::Exp => {
            let x = s.any_floats();
            s.op(Unary { kind: UnaryKind::Tanh }, &[x])[0]
        }
        UnaryKind::Relu
        | UnaryKind::Sigmoid
        | UnaryKind::Tanh
        | UnaryKind::Negate
        | UnaryKind::Square
        | UnaryKind::Activation(_) => s.any_floats(),
    };
    s.op(Unary { kind }, &[x]);
}

pub(super) fn binary(s: &mut Sketch<'_>) {
    let kind = match pick(s.numbers, &BinaryKind::ALL) {
        BinaryKind::ActivationGrad(_) => BinaryKind::ActivationGrad(activation(s)),
        kind => kind,
    };
    let a = s.any_floats();
    let ty = if s.chance(4) { scalar() } else { s.ty(a) };
    let b = match kind {
        BinaryKind::Divide => s.positive(&ty),
        BinaryKind::SigmoidGrad | BinaryKind::TanhGrad | BinaryKind::ReluGrad => {
            let kind = match kind {
                BinaryKind::SigmoidGrad => UnaryKind::Sigmoid,
                BinaryKind::TanhGrad => UnaryKind::Tanh,
                _ => UnaryKind::Relu,
            };
            let x = s.of_type(&ty);
            s.op(Unary { kind }, &[x])[0]
        }
        BinaryKind::ActivationGrad(activation) => {
            let x = s.of_type(&ty);
            match activation.slope_takes_result() {
                true => s.op(Unary { kind: UnaryKind::Activation(activation) }, &[x])[0],
                false => x,
            }
        }
        // Often the same value twice.
        BinaryKind::Add | BinaryKind::Subtract | BinaryKind::Multiply if s.chance(6) && ty == s.ty(a) => a,
        BinaryKind::Add
        | BinaryKind::Subtract
        | BinaryKind::Multiply
        | BinaryKind::Maximum
        | BinaryKind::Minimum => s.of_type(&ty),
        // Rounding must not decide a comparison.
        BinaryKind::AtMost => s.op(Fill { shape: ty.shape.clone(), value: 1e30 }, &[])[0],
    };
    s.op(Binary { kind }, &[a, b]);
}
