//! Epilogues: fused steps that an operator applies to each element of its first result before it stores the element.

#[cfg(feature = "codegen")]
mod lower;

use serde::{Deserialize, Serialize};

#[cfg(feature = "codegen")]
pub(crate) use lower::{FusedSteps, sums_over};

use super::elementwise::{Activation, UnaryKind, along_axis};
use super::{expect_arity, expect_type};
use crate::autodiff::AutodiffError;
use crate::error::ShapeError;
use crate::graph::Node;
use crate::interp::{Array, Real};
use crate::shape::{Shape, Type};

/// A step that an operator applies to each element of its first result before storing it. Steps run in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(
    rename_all = "snake_case",
    expecting = "expected one of `bias`, `add`, `relu`, `sigmoid`, `tanh`, `relu6`, `selu`, `gelu`, `gelu_tanh`, `silu`, \
                 `hard_swish`, `hard_sigmoid`, `softplus`, `scaled_tanh`, `abs`, `{leaky_relu = 0.01}`, `{elu = 1.0}` or \
                 `{huber = 1.0}`"
)]
pub enum EpilogueStep {
    /// Adds one value per output channel; takes one operand, `[C]`.
    Bias,
    /// Adds a value of the result's shape; takes one operand.
    Add,
    /// Applies ReLU.
    Relu,
    /// Applies the sigmoid function.
    Sigmoid,
    /// Applies the hyperbolic tangent.
    Tanh,
    /// Applies another activation.
    #[serde(untagged)]
    Activation(Activation),
}

impl EpilogueStep {
    /// The step that applies an activation; `None` for functions that are not activations.
    pub fn activation(kind: UnaryKind) -> Option<Self> {
        match kind {
            UnaryKind::Relu => Some(EpilogueStep::Relu),
            UnaryKind::Sigmoid => Some(EpilogueStep::Sigmoid),
            UnaryKind::Tanh => Some(EpilogueStep::Tanh),
            UnaryKind::Activation(activation) => Some(EpilogueStep::Activation(activation)),
            UnaryKind::Exp
            | UnaryKind::Log
            | UnaryKind::Sqrt
            | UnaryKind::Rsqrt
            | UnaryKind::Negate
            | UnaryKind::Square => None,
        }
    }

    /// The function of one element that it applies; `None` for a step that takes an operand.
    pub fn unary(self) -> Option<UnaryKind> {
        match self {
            EpilogueStep::Relu => Some(UnaryKind::Relu),
            EpilogueStep::Sigmoid => Some(UnaryKind::Sigmoid),
            EpilogueStep::Tanh => Some(UnaryKind::Tanh),
            EpilogueStep::Activation(activation) => Some(UnaryKind::Activation(activation)),
            EpilogueStep::Bias | EpilogueStep::Add => None,
        }
    }

    /// Whether it takes an operand.
    pub fn takes_operand(self) -> bool {
        self.unary().is_none()
    }

    /// Checks the operands that follow an operator's own operands.
    ///
    /// # Errors
    /// [`ShapeError`] for a wrong number of operands, or an operand whose type does not match its step.
    pub(crate) fn check_all(
        steps: &[EpilogueStep],
        operands: &[Type],
        result: &Type,
    ) -> Result<(), ShapeError> {
        steps.iter().filter_map(|step| step.unary()).try_for_each(UnaryKind::check)?;
        let taking = steps.iter().filter(|step| step.takes_operand());
        expect_arity(operands, taking.clone().count())?;
        for (step, operand) in taking.zip(operands) {
            match step {
                EpilogueStep::Bias => {
                    let channels = result.shape.item()[0];
                    expect_type("bias", operand, &Type::f32(Shape::fixed(&[channels])))?;
                }
                _ => expect_type("addend", operand, result)?,
            }
        }
        Ok(())
    }

    /// Floating-point operations for each element.
    pub(crate) fn flops(steps: &[EpilogueStep]) -> u64 {
        steps.iter().map(|step| step.unary().map_or(1, UnaryKind::flops)).sum()
    }

    /// Applies the steps to a product's result; `operands` are those of the steps that take one.
    pub(crate) fn apply_all<T: Real>(
        steps: &[EpilogueStep],
        mut y: Array<T>,
        operands: &[&Array<T>],
    ) -> Array<T> {
        let mut operands = operands.iter();
        let mut operand = || operands.next().expect("the shape rule counts the operands");
        for step in steps {
            if let Some(kind) = step.unary() {
                y = y.map(|y| kind.apply(y));
                continue;
            }
            y = match step {
                EpilogueStep::Bias => along_axis(&y, 1, operand().real(), |y, bias| y + bias),
                _ => {
                    let sums = y.real().iter().zip(operand().real()).map(|(&y, &addend)| y + addend);
                    Array::new(y.sizes.clone(), sums.collect())
                }
            };
        }
        y
    }

    /// Returns an error for an operator with fused steps, because their intermediate values do not exist.
    pub(crate) fn refuse(steps: &[EpilogueStep], node: &Node) -> Result<(), AutodiffError> {
        if steps.is_empty() {
            return Ok(());
        }
        Err(AutodiffError::FusedEpilogue { op: node.op.name(), label: node.label.clone() })
    }
}
