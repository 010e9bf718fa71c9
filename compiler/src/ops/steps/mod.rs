//! The steps of sequences as a batch, and back: scans read and write sequences in time-major order.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use serde::{Deserialize, Serialize};

use super::facts::{Facts, Move, Reach, Role, never_rewritten};
use super::{Cost, Operator, expect_arity};
use crate::error::ShapeError;
use crate::shape::{Shape, Type};

/// `[N, T, …]` → `[N·T, …]` in time-major order: row `t·N + n` is step `t` of sample `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldSteps {}

/// The inverse of [`FoldSteps`]: `[N·T, …]` in time-major order → `[N, T, …]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfoldSteps {
    /// The shape of the result.
    pub shape: Shape,
}

never_rewritten!(FoldSteps, UnfoldSteps);

/// Checks that a shape is that of sequences.
fn expect_steps(shape: &Shape) -> Result<(), ShapeError> {
    if shape.is_batched() && shape.rank() >= 2 {
        return Ok(());
    }
    Err(ShapeError::Rank { expected: "a sequence [steps, …]".to_owned(), got: shape.clone() })
}

impl Operator for FoldSteps {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        expect_steps(&operands[0].shape)?;
        Ok(vec![Type { dtype: operands[0].dtype, shape: operands[0].shape.with_first_folded(2) }])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Move(Move::Copy), reach: Reach::Everywhere, indices: None }
    }

    fn cost(&self, _: &[Type], _: &[Type]) -> Cost {
        Cost::default()
    }
}

impl Operator for UnfoldSteps {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        expect_steps(&self.shape)?;
        self.shape.check()?;
        let from = &operands[0].shape;
        if self.shape.with_first_folded(2) != *from {
            return Err(ShapeError::ElementsDiffer { from: from.clone(), to: self.shape.clone() });
        }
        Ok(vec![Type { dtype: operands[0].dtype, shape: self.shape.clone() }])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Move(Move::Copy), reach: Reach::Everywhere, indices: None }
    }

    fn cost(&self, _: &[Type], _: &[Type]) -> Cost {
        Cost::default()
    }
}
