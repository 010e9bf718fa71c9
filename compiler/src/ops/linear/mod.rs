//! The dense layer `y = x·Wᵀ` and its two gradients.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use serde::{Deserialize, Serialize};

use super::epilogue::EpilogueStep;
use super::{Cost, Operator, expect_arity, expect_float, expect_type};
use crate::error::ShapeError;
use crate::shape::{Shape, Type};

/// Dense layer: operands `x` `[N, I]`, `weight` `[O, I]`, then one per epilogue step that takes one; result `[N, O]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// Steps fused behind the product.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epilogue: Vec<EpilogueStep>,
}

/// Gradient of a dense layer to its input: operands `g` `[N, O]`, `weight` `[O, I]`; result `g·W` `[N, I]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinearGradInput {}

/// Gradient of a dense layer to its weight: operands `g` `[N, O]`, `x` `[N, I]`; result `gᵀ·x` `[O, I]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinearGradWeight {}

fn vector_length(got: &Type) -> Result<usize, ShapeError> {
    expect_float("input", got)?;
    match got.shape.item()[..] {
        [length] if got.shape.is_batched() => Ok(length),
        _ => Err(ShapeError::Rank { expected: "a vector".to_owned(), got: got.shape.clone() }),
    }
}

fn matrix(got: &Type) -> Result<[usize; 2], ShapeError> {
    expect_float("weight", got)?;
    match got.shape.item()[..] {
        [rows, columns] if !got.shape.is_batched() => Ok([rows, columns]),
        _ => Err(ShapeError::Operand {
            operand: "weight",
            expected: "a matrix [outputs, inputs]".to_owned(),
            got: got.clone(),
        }),
    }
}

impl Operator for Linear {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        if operands.len() < 2 {
            return Err(ShapeError::Arity { expected: "at least 2".to_owned(), got: operands.len() });
        }
        let length = vector_length(&operands[0])?;
        let [outputs, _] = matrix(&operands[1])?;
        expect_type("weight", &operands[1], &Type::f32(Shape::fixed(&[outputs, length])))?;
        let result = Type::f32(Shape::batched(&[outputs]));
        EpilogueStep::check_all(&self.epilogue, &operands[2..], &result)?;
        Ok(vec![result])
    }

    fn cost(&self, operands: &[Type], results: &[Type]) -> Cost {
        let outputs = results[0].shape.item_elements() as u64;
        let products = 2 * operands[1].shape.item_elements() as u64;
        Cost { flops_per_item: products + EpilogueStep::flops(&self.epilogue) * outputs, flops_fixed: 0 }
    }
}

impl Operator for LinearGradInput {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        let length = vector_length(&operands[0])?;
        let [_, inputs] = matrix(&operands[1])?;
        expect_type("weight", &operands[1], &Type::f32(Shape::fixed(&[length, inputs])))?;
        Ok(vec![Type::f32(Shape::batched(&[inputs]))])
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        Cost { flops_per_item: 2 * operands[1].shape.item_elements() as u64, flops_fixed: 0 }
    }
}

impl Operator for LinearGradWeight {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        let outputs = vector_length(&operands[0])?;
        let inputs = vector_length(&operands[1])?;
        Ok(vec![Type::f32(Shape::fixed(&[outputs, inputs]))])
    }

    fn cost(&self, _: &[Type], results: &[Type]) -> Cost {
        Cost { flops_per_item: 2 * results[0].shape.item_elements() as u64, flops_fixed: 0 }
    }
}
