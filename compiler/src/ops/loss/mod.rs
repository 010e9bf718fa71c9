//! Losses, which are the mean over a batch's items, and their gradients; and labels as rows of zeros and ones, from which
//! other losses are built (`autodiff/losses.rs`).

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use serde::{Deserialize, Serialize};

use super::facts::{Facts, Indices, Reach, Role, never_rewritten};
use super::{Cost, Operator, expect_arity, expect_float, expect_type};
use crate::error::ShapeError;
use crate::shape::{Shape, Type};

/// Mean over the batch of `−log_softmax(logits)[label]`: operands `logits` `[N, C]` and `labels` (`i32[N]`, each below
/// C); result a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrossEntropy {}

/// Gradient of [`CrossEntropy`]: operands `g` (a scalar), `logits`, `labels`; `(softmax(logits) − onehot) · g / N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrossEntropyGrad {}

/// Mean over batch and elements of `(prediction − target)²`: two operands with the same batched shape; result a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeanSquaredError {}

/// Gradient of [`MeanSquaredError`]: operands `g` (a scalar), `prediction`, `target`; `(p − t) · 2 (g / elements)`. The
/// factor 2 does not multiply the difference, which may be near the largest f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeanSquaredErrorGrad {}

/// 1 at each label's class and 0 elsewhere: operand `labels` (`i32[N]`); result `[N, classes]`. The row of a label that
/// is no class is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneHot {
    /// The number of classes.
    pub classes: usize,
}

fn scalar() -> Type {
    Type::f32(Shape::scalar())
}

fn check_logits(logits: &Type, labels: &Type) -> Result<(), ShapeError> {
    expect_float("logits", logits)?;
    if !logits.shape.is_batched() || logits.shape.rank() != 2 {
        return Err(ShapeError::Rank {
            expected: "a vector of logits".to_owned(),
            got: logits.shape.clone(),
        });
    }
    expect_type("labels", labels, &Type::i32(logits.shape.with_item(&[])))
}

fn check_pair(prediction: &Type, target: &Type) -> Result<(), ShapeError> {
    expect_float("prediction", prediction)?;
    expect_float("target", target)?;
    if !prediction.shape.is_batched() {
        return Err(ShapeError::Rank { expected: "a batch".to_owned(), got: prediction.shape.clone() });
    }
    if prediction.shape != target.shape {
        return Err(ShapeError::UnequalShapes {
            left: prediction.shape.clone(),
            right: target.shape.clone(),
        });
    }
    Ok(())
}

never_rewritten!(CrossEntropy, CrossEntropyGrad, MeanSquaredError, MeanSquaredErrorGrad, OneHot);

impl Operator for CrossEntropy {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        check_logits(&operands[0], &operands[1])?;
        Ok(vec![scalar()])
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Everywhere, indices: Some(Indices::Channels) }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        Cost::elementwise(&operands[0], 7)
    }
}

impl Operator for OneHot {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        if self.classes == 0 {
            return Err(ShapeError::ZeroArgument { argument: "classes" });
        }
        let shape = &operands[0].shape;
        if !shape.is_batched() || shape.rank() != 1 {
            return Err(ShapeError::Rank { expected: "one label per item".to_owned(), got: shape.clone() });
        }
        expect_type("labels", &operands[0], &Type::i32(shape.clone()))?;
        Ok(vec![Type::f32(shape.with_item(&[self.classes]))])
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Everywhere, indices: Some(Indices::Below(self.classes)) }
    }

    fn cost(&self, _: &[Type], results: &[Type]) -> Cost {
        Cost::elementwise(&results[0], 1)
    }
}

impl Operator for CrossEntropyGrad {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 3)?;
        expect_type("gradient", &operands[0], &scalar())?;
        check_logits(&operands[1], &operands[2])?;
        Ok(vec![operands[1].clone()])
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::LossGradient, reach: Reach::Everywhere, indices: Some(Indices::Channels) }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        Cost::elementwise(&operands[1], 9)
    }
}

impl Operator for MeanSquaredError {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        check_pair(&operands[0], &operands[1])?;
        Ok(vec![scalar()])
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Everywhere, indices: None }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        Cost::elementwise(&operands[0], 3)
    }
}

impl Operator for MeanSquaredErrorGrad {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 3)?;
        expect_type("gradient", &operands[0], &scalar())?;
        check_pair(&operands[1], &operands[2])?;
        Ok(vec![operands[1].clone()])
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::LossGradient, reach: Reach::Everywhere, indices: None }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        Cost::elementwise(&operands[1], 2)
    }
}
