//! Element-wise operators that one kernel computes together. The pass
//! [`fuse_elementwise`](crate::passes::fuse_elementwise) makes them.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use serde::{Deserialize, Serialize};

use super::elementwise::{BinaryKind, UnaryKind};
use super::facts::{Elementwise, Facts, Reach, Role, Rows, never_rewritten};
use super::{Cost, Operator, expect_float};
use crate::error::ShapeError;
use crate::shape::{Shape, Type};

/// The maximum number of steps.
pub(crate) const MOST_STEPS: usize = 64;

/// One function. Values are numbered: first the operands, then the results of the steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FusedStep {
    /// A function of one value.
    Unary(UnaryKind, usize),
    /// A function of two values.
    Binary(BinaryKind, usize, usize),
}

impl FusedStep {
    /// Its approximate operations for each element: those of the formulas that compute transcendental functions.
    fn flops(self) -> u64 {
        match self {
            FusedStep::Unary(kind, _) => match kind {
                UnaryKind::Relu | UnaryKind::Negate | UnaryKind::Square | UnaryKind::Sqrt => 1,
                UnaryKind::Rsqrt => 2,
                UnaryKind::Exp
                | UnaryKind::Log
                | UnaryKind::Sigmoid
                | UnaryKind::Tanh
                | UnaryKind::Activation(_) => 20,
            },
            FusedStep::Binary(kind, ..) => match kind {
                BinaryKind::Add | BinaryKind::Subtract | BinaryKind::Multiply | BinaryKind::Divide => 1,
                BinaryKind::ReluGrad | BinaryKind::Maximum | BinaryKind::Minimum | BinaryKind::AtMost => 1,
                BinaryKind::SigmoidGrad | BinaryKind::TanhGrad => 3,
                BinaryKind::ActivationGrad(_) => 20,
            },
        }
    }

    /// The numbers of its operands.
    fn operands(self) -> impl Iterator<Item = usize> {
        let (first, second) = match self {
            FusedStep::Unary(_, x) => (x, None),
            FusedStep::Binary(_, left, right) => (left, Some(right)),
        };
        [first].into_iter().chain(second)
    }
}

/// Element-wise functions of operands of one shape. Other operands may be scalars, or have one element for each channel of
/// values `[N, C]`. Every step is rounded, as if it were an operator of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fused {
    /// The functions, in order.
    pub steps: Vec<FusedStep>,
    /// The numbers of the values that are results.
    pub results: Vec<usize>,
}

never_rewritten!(Fused);

impl Operator for Fused {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        let Some(first) = operands.first() else {
            return Err(ShapeError::Arity { expected: "at least 1".to_owned(), got: 0 });
        };
        expect_float("first operand", first)?;
        let channels = match first.shape.rank() {
            2 => Some(Shape::new(first.shape.dims()[1..].to_vec())),
            _ => None,
        };
        for operand in &operands[1..] {
            let is_shared = operand.shape == Shape::scalar() || channels.as_ref() == Some(&operand.shape);
            if operand != first && !(is_shared && operand.dtype == first.dtype) {
                let (left, right) = (first.shape.clone(), operand.shape.clone());
                return Err(ShapeError::UnequalShapes { left, right });
            }
        }
        let number = |value: usize, most: usize| match value < most {
            true => Ok(()),
            false => Err(ShapeError::NumberOutOfRange {
                argument: "steps",
                value: value as f64,
                range: "the number of an earlier value",
            }),
        };
        if self.steps.len() > MOST_STEPS || self.results.is_empty() {
            let value = self.steps.len() as f64;
            return Err(ShapeError::NumberOutOfRange {
                argument: "steps",
                value,
                range: "1 to 64, with a result",
            });
        }
        for (index, step) in self.steps.iter().enumerate() {
            step.operands().try_for_each(|value| number(value, operands.len() + index))?;
        }
        let all = operands.len() + self.steps.len();
        self.results.iter().try_for_each(|&value| number(value, all))?;
        Ok(vec![first.clone(); self.results.len()])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        let role = Role::Elementwise(Elementwise { step: None, neutral: None, in_any_shape: false });
        Facts { role, reach: Reach::Place, indices: None }
    }

    fn rows(&self) -> Rows {
        Rows::Apart
    }

    fn cost(&self, _: &[Type], results: &[Type]) -> Cost {
        Cost::elementwise(&results[0], self.steps.iter().map(|step| step.flops()).sum())
    }
}
