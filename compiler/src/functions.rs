//! Functions of one number, for operators, kernels and generated code.

use serde::{Deserialize, Serialize};

/// A function of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnaryKind {
    /// `x` if it is not below zero, else 0; NaN stays NaN.
    Relu,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `eˣ`.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// `1 / √x`.
    Rsqrt,
    /// `−x`.
    Negate,
    /// `x²`.
    Square,
}

impl UnaryKind {
    /// Every kind.
    pub const ALL: [UnaryKind; 9] = [
        UnaryKind::Relu,
        UnaryKind::Sigmoid,
        UnaryKind::Tanh,
        UnaryKind::Exp,
        UnaryKind::Log,
        UnaryKind::Sqrt,
        UnaryKind::Rsqrt,
        UnaryKind::Negate,
        UnaryKind::Square,
    ];

    /// Whether it is an activation that a product's epilogue can apply.
    pub fn is_activation(self) -> bool {
        matches!(self, UnaryKind::Relu | UnaryKind::Sigmoid | UnaryKind::Tanh)
    }

    /// Nominal operations per element, as profilers count them.
    pub fn flops(self) -> u64 {
        match self {
            UnaryKind::Relu | UnaryKind::Negate | UnaryKind::Square | UnaryKind::Sqrt => 1,
            UnaryKind::Rsqrt => 2,
            UnaryKind::Sigmoid | UnaryKind::Tanh | UnaryKind::Exp | UnaryKind::Log => 4,
        }
    }
}
