//! Functions of one number, for operators, kernels and generated code.

mod activation;
mod erf;
#[cfg(feature = "codegen")]
pub(crate) mod formula;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::ShapeError;
pub use activation::{Activation, Number};

/// A function of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(
    rename_all = "snake_case",
    expecting = "expected one of `relu`, `sigmoid`, `tanh`, `exp`, `log`, `sqrt`, `rsqrt`, `negate`, `square`, `relu6`, \
                 `selu`, `gelu`, `gelu_tanh`, `silu`, `hard_swish`, `hard_sigmoid`, `softplus`, `scaled_tanh`, `abs`, `erf`, \
                 `floor`, `ceil`, `round`, `{leaky_relu = 0.01}`, `{elu = 1.0}` or `{huber = 1.0}`"
)]
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
    /// One of the activations that are composed of other functions.
    #[serde(untagged)]
    Activation(Activation),
}

impl UnaryKind {
    const PLAIN: [UnaryKind; 9] = [
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

    /// Every kind; those with parameters have usual ones.
    pub const ALL: [UnaryKind; Self::PLAIN.len() + Activation::ALL.len()] = {
        let mut all = [UnaryKind::Relu; Self::PLAIN.len() + Activation::ALL.len()];
        let mut index = 0;
        while index < all.len() {
            all[index] = match index.checked_sub(Self::PLAIN.len()) {
                None => Self::PLAIN[index],
                Some(index) => UnaryKind::Activation(Activation::ALL[index]),
            };
            index += 1;
        }
        all
    };

    /// The name in texts, without parameters.
    pub fn name(self) -> &'static str {
        match self {
            UnaryKind::Relu => "relu",
            UnaryKind::Sigmoid => "sigmoid",
            UnaryKind::Tanh => "tanh",
            UnaryKind::Exp => "exp",
            UnaryKind::Log => "log",
            UnaryKind::Sqrt => "sqrt",
            UnaryKind::Rsqrt => "rsqrt",
            UnaryKind::Negate => "negate",
            UnaryKind::Square => "square",
            UnaryKind::Activation(activation) => activation.name(),
        }
    }

    /// Checks the parameter of an activation.
    ///
    /// # Errors
    /// [`ShapeError::NumberOutOfRange`] with the allowed range.
    pub fn check(self) -> Result<(), ShapeError> {
        match self {
            UnaryKind::Activation(activation) => activation.check(),
            _ => Ok(()),
        }
    }

    /// Nominal operations per element, as profilers count them.
    pub fn flops(self) -> u64 {
        match self {
            UnaryKind::Relu | UnaryKind::Negate | UnaryKind::Square | UnaryKind::Sqrt => 1,
            UnaryKind::Rsqrt => 2,
            UnaryKind::Sigmoid | UnaryKind::Tanh | UnaryKind::Exp | UnaryKind::Log => 4,
            UnaryKind::Activation(activation) => activation.flops(),
        }
    }
}

/// Prints the name, with the parameter if there is one: `relu`, `leaky_relu(0.01)`.
impl fmt::Display for UnaryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnaryKind::Activation(activation) => write!(f, "{activation}"),
            plain => f.write_str(plain.name()),
        }
    }
}
