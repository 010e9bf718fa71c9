//! Softmax and its logarithm over the channel axis, and their gradients.

#[cfg(feature = "codegen")]
mod lower;

mod gradient;
mod reference;

pub(crate) use reference::shifted_sum;
use serde::{Deserialize, Serialize};

use super::facts::{Facts, Reach, Role, never_rewritten};
use super::{Cost, Operator, expect_arity, expect_channels, expect_float, expect_type};
use crate::error::ShapeError;
use crate::shape::Type;

/// `e^(x − max) / Σ e^(x − max)` over the channels of `[N, C, …]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Softmax {}

/// `x − max − ln Σ e^(x − max)` over the channels of `[N, C, …]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSoftmax {}

/// Gradient of softmax: operands `g` and the result `y`; `y · (g − Σ g·y)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SoftmaxGrad {}

/// Gradient of log-softmax: operands `g` and the result `y`; `g − eʸ · Σ g`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSoftmaxGrad {}

fn forward(operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
    expect_arity(operands, 1)?;
    expect_float("input", &operands[0])?;
    expect_channels(&operands[0])?;
    Ok(vec![operands[0].clone()])
}

fn backward(operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
    expect_arity(operands, 2)?;
    expect_float("gradient", &operands[0])?;
    expect_channels(&operands[0])?;
    expect_type("result", &operands[1], &operands[0])?;
    Ok(vec![operands[0].clone()])
}

macro_rules! softmax_operator {
    ($op:ident, $infer:ident, $reach:expr, $flops:literal) => {
        impl Operator for $op {
            fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
                $infer(operands)
            }

            fn takes_open_items(&self) -> bool {
                false
            }

            fn facts(&self) -> Facts<'_> {
                Facts { role: Role::Other, reach: $reach, indices: None }
            }

            fn cost(&self, _: &[Type], results: &[Type]) -> Cost {
                Cost::elementwise(&results[0], $flops)
            }
        }
    };
}

never_rewritten!(Softmax, LogSoftmax, SoftmaxGrad, LogSoftmaxGrad);

softmax_operator!(Softmax, forward, Reach::Place, 7);
softmax_operator!(LogSoftmax, forward, Reach::Place, 7);
softmax_operator!(SoftmaxGrad, backward, Reach::Everywhere, 4);
softmax_operator!(LogSoftmaxGrad, backward, Reach::Everywhere, 7);
