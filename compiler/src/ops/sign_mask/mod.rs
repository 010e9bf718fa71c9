//! Which elements a ReLU lets through, a bit each: all that the gradient of a ReLU has to know of its result.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use serde::{Deserialize, Serialize};

use super::facts::{Elementwise, Facts, Indices, Reach, Role, never_rewritten};
use super::{Cost, Operator, expect_arity, expect_float, expect_type};
use crate::error::ShapeError;
use crate::shape::Type;

/// Which elements are not at or below zero: operand `x` `[N, …]` of `n` elements an item; result `i32[N, b + r]` of numbers from 0
/// to 255, where `b` is `n / 8` rounded down and `r` the rest. Bit `k` of number `j < b` is set where element `k·b + j` of
/// the item is above zero or NaN, bit 0 of number `b + j` where element `8·b + j` is. Elements are counted row by row.
///
/// So neighbouring numbers hold neighbouring elements, and vectors need not move bits between lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SignMask {}

/// Elements whose bit is set, and zero in place of the others: operands `g` `[N, …]` and the bits that [`SignMask`] makes
/// of a value of as many elements; result as `g`. The gradient of a ReLU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MaskedSelect {}

/// The type of the bits of a value's elements.
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
