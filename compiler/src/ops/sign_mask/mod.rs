//! Sign masks, one bit for each element: all that the gradient of a ReLU needs from its result.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use serde::{Deserialize, Serialize};

use super::facts::{Elementwise, Facts, Indices, Reach, Role, never_rewritten};
use super::{Cost, Operator, expect_arity, expect_float, expect_type};
use crate::error::ShapeError;
use crate::shape::Type;

/// One bit for each element, set if it is above zero or NaN: operand `x` `[N, …]` with `n` elements per item; result
/// `i32[N, b + r]` of numbers from 0 to 255, where `b` is `n / 8` rounded down and `r` the remainder. Bit `k` of number
/// `j < b` stands for element `k·b + j` of the item, bit 0 of number `b + j` for element `8·b + j`. Elements are
/// counted in row-major order.
///
/// Neighbouring numbers therefore stand for neighbouring elements, and vector code moves no bits between lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SignMask {}

/// The elements whose bit is set, and zero for the others: operands `g` `[N, …]` and the [`SignMask`] of a value with
/// as many elements; result like `g`. The gradient of a ReLU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MaskedSelect {}

/// The type of the sign mask of a value.
fn bits_of(operand: &'static str, x: &Type) -> Result<Type, ShapeError> {
    expect_float(operand, x)?;
    if !x.shape.is_batched() {
        return Err(ShapeError::Rank { expected: "a batch of values".to_owned(), got: x.shape.clone() });
    }
    let elements = x.shape.item_elements();
    Ok(Type::i32(x.shape.with_item(&[elements / 8 + elements % 8])))
}

never_rewritten!(SignMask, MaskedSelect);

impl Operator for SignMask {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        Ok(vec![bits_of("input", &operands[0])?])
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Everywhere, indices: None }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        Cost::elementwise(&operands[0], 1)
    }
}

impl Operator for MaskedSelect {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        expect_type("bits", &operands[1], &bits_of("gradient", &operands[0])?)?;
        Ok(vec![operands[0].clone()])
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        let role = Role::Elementwise(Elementwise { step: None, neutral: None, in_any_shape: false });
        Facts { role, reach: Reach::Everywhere, indices: Some(Indices::Below(256)) }
    }

    fn cost(&self, _: &[Type], results: &[Type]) -> Cost {
        Cost::elementwise(&results[0], 1)
    }
}
