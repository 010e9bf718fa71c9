//! The dense layer `y = x·Wᵀ` and its two gradients.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
#[cfg(feature = "codegen")]
mod packed;
mod reference;
#[cfg(feature = "codegen")]
mod weight_gradient;

use serde::{Deserialize, Serialize};

use super::epilogue::EpilogueStep;
use super::facts::{Facts, Product, Reach, Role, Rows, never_rewritten, takes_epilogue};
use super::{Cost, Operator, expect_arity, expect_float, expect_type};
use crate::error::ShapeError;
use crate::shape::{Shape, Type};

/// Dense layer: operands `x` `[N, I]`, `weight` `[O, I]`, then one for each epilogue step that takes an operand; result
/// `[N, O]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Linear {
    /// Steps fused into the product.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epilogue: Vec<EpilogueStep>,
}

/// Gradient of a dense layer with respect to its input: operands `g` `[N, O]`, `weight` `[O, I]`; result `g·W`
/// `[N, I]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinearGradInput {}

/// Gradient of a dense layer with respect to its weight: operands `g` `[N, O]`, `x` `[N, I]`; result `gᵀ·x` `[O, I]`.
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

/// The cost of multiplying every item of a batch by a weight.
fn product_cost(items: &Type, weight: &Type) -> Cost {
    let each = Type::f32(items.shape.with_item(&[]));
    Cost::elementwise(&each, 2 * weight.shape.item_elements() as u64)
}

never_rewritten!(LinearGradInput, LinearGradWeight);
takes_epilogue!(Linear);

impl Operator for Linear {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        if operands.len() < 2 {
            return Err(ShapeError::Arity { expected: "at least 2".to_owned(), got: operands.len() });
        }
        let length = vector_length(&operands[0])?;
        let [outputs, _] = matrix(&operands[1])?;
        expect_type("weight", &operands[1], &Type::f32(Shape::fixed(&[outputs, length])))?;
        let result = Type::f32(operands[0].shape.with_item(&[outputs]));
        EpilogueStep::check_all(&self.epilogue, &operands[2..], &result)?;
        Ok(vec![result])
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Product(Product::ByRows), reach: Reach::Everywhere, indices: None }
    }

    fn rows(&self) -> Rows {
        Rows::Apart
    }

    fn cost(&self, operands: &[Type], results: &[Type]) -> Cost {
        let steps = Cost::elementwise(&results[0], EpilogueStep::flops(&self.epilogue));
        product_cost(&operands[0], &operands[1]).plus(&steps)
    }
}

impl Operator for LinearGradInput {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        let length = vector_length(&operands[0])?;
        let [_, inputs] = matrix(&operands[1])?;
        expect_type("weight", &operands[1], &Type::f32(Shape::fixed(&[length, inputs])))?;
        Ok(vec![Type::f32(operands[0].shape.with_item(&[inputs]))])
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Product(Product::Other), reach: Reach::Everywhere, indices: None }
    }

    fn rows(&self) -> Rows {
        Rows::Apart
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        product_cost(&operands[0], &operands[1])
    }
}

impl Operator for LinearGradWeight {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        let outputs = vector_length(&operands[0])?;
        let inputs = vector_length(&operands[1])?;
        Ok(vec![Type::f32(Shape::fixed(&[outputs, inputs]))])
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Product(Product::Other), reach: Reach::Everywhere, indices: None }
    }

    fn rows(&self) -> Rows {
        Rows::Summed
    }

    fn cost(&self, operands: &[Type], results: &[Type]) -> Cost {
        product_cost(&operands[0], &results[0])
    }
}
