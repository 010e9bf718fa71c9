//! Softmax and its logarithm over the channel axis, and their gradients. The number of channels may be open in batches of
//! vectors `[N, C]`.

#[cfg(feature = "codegen")]
mod lower;

mod gradient;
mod reference;

pub(crate) use reference::shifted_sum;
use serde::{Deserialize, Serialize};

use super::facts::{Facts, Reach, Role, never_rewritten};
use super::{Cost, Operator, expect_arity, expect_float, expect_type};
use crate::error::ShapeError;
use crate::shape::Type;

/// The least exponent whose exponential softmax computes: `e^-80 ≈ 1.8e-35`. Smaller ones are zero, because products with
/// subnormal numbers, such as the probabilities of masked positions, take a hundred times as long.
const LEAST_EXPONENT: f64 = -80.0;

/// `e^(x − max) / Σ e^(x − max)` over the channels of `[N, C, …]`. Exponentials below `e^-80` are zero.
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

/// Checks that a value is a batch of values with channels, whose number may be open if they are all of an item.
fn expect_channels(x: &Type) -> Result<(), ShapeError> {
    if x.shape.has_open_item() && x.shape.rank() > 2 {
        return Err(ShapeError::OpenSize { shape: x.shape.clone() });
    }
    super::expect_channels(x).map(|_| ())
}

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
                true
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

#[cfg(test)]
mod tests {
    use super::{LogSoftmaxGrad, Softmax};
    use crate::error::ShapeError;
    use crate::ops::{Op, Operator};
    use crate::shape::Type;

    #[test]
    fn only_vectors_have_open_channels() {
        for (text, fits) in [("f32[N*T, T]", true), ("f32[N, S]", true), ("f32[N, 3, T]", false)] {
            let ty: Type = text.parse().unwrap();
            for (op, count) in [(Op::from(Softmax {}), 1), (LogSoftmaxGrad {}.into(), 2)] {
                let got = op.infer(&vec![ty.clone(); count]);
                match fits {
                    true => assert_eq!(got, Ok(vec![ty.clone()])),
                    false => assert!(matches!(got, Err(ShapeError::OpenSize { .. })), "{text}"),
                }
            }
        }
    }
}
