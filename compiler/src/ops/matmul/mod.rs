//! The product of two matrices for each item of a batch. Both are data, unlike the weight of a dense layer, and all their
//! sizes may be open.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use serde::{Deserialize, Serialize};

use super::facts::{Facts, Product, Reach, Role, never_rewritten};
use super::{Cost, Operator, expect_arity, expect_float};
use crate::error::ShapeError;
use crate::shape::{Dim, Shape, Type};

/// `left·right` for each item: operands `left` `[N, M, K]` and `right` `[N, K, P]`; result `[N, M, P]`. The first axis is
/// any batch, for example `8*N` if eight heads are folded into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matmul {
    /// Whether `left` is transposed: `[N, K, M]`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transpose_left: bool,
    /// Whether `right` is transposed: `[N, P, K]`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transpose_right: bool,
}

never_rewritten!(Matmul);

/// The sizes `[first, second]` of the matrices of an operand, the second and third axis of its shape, in the order of the
/// product.
fn matrices(operand: &'static str, ty: &Type, transposed: bool) -> Result<[Dim; 2], ShapeError> {
    expect_float(operand, ty)?;
    match ty.shape.item_dims() {
        [first, second] if ty.shape.is_batched() => {
            let (first, second) = (first.clone(), second.clone());
            Ok(if transposed { [second, first] } else { [first, second] })
        }
        _ => Err(ShapeError::Operand {
            operand,
            expected: "a batch of matrices [rows, columns]".to_owned(),
            got: ty.clone(),
        }),
    }
}

impl Operator for Matmul {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        let [rows, steps] = matrices("left factor", &operands[0], self.transpose_left)?;
        let [own, columns] = matrices("right factor", &operands[1], self.transpose_right)?;
        let batch = operands[0].shape.dims()[0].clone();
        if own != steps || operands[1].shape.dims()[0] != batch {
            let sizes = if self.transpose_right { [columns, steps] } else { [steps, columns] };
            let expected = Type::f32(Shape::new([vec![batch], sizes.to_vec()].concat()));
            return Err(ShapeError::Operand {
                operand: "right factor",
                expected: expected.to_string(),
                got: operands[1].clone(),
            });
        }
        Ok(vec![Type::f32(Shape::new([batch, rows, columns]))])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Product(Product::Other), reach: Reach::Everywhere, indices: None }
    }

    fn cost(&self, operands: &[Type], results: &[Type]) -> Cost {
        let steps = &operands[0].shape.dims()[if self.transpose_left { 1 } else { 2 }];
        Cost { flops: results[0].shape.count().times(&steps.polynomial()).scaled(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::Matmul;
    use crate::error::ShapeError;
    use crate::ops::Operator;
    use crate::shape::Type;

    fn of(
        left: &str,
        right: &str,
        [transpose_left, transpose_right]: [bool; 2],
    ) -> Result<String, ShapeError> {
        let operands = [left, right].map(|text| text.parse::<Type>().unwrap());
        Ok(Matmul { transpose_left, transpose_right }.infer(&operands)?[0].to_string())
    }

    #[test]
    fn results_have_the_rows_of_the_left_and_the_columns_of_the_right() {
        let result = Ok("f32[N, 2, 5]".to_owned());
        assert_eq!(of("f32[N, 2, 3]", "f32[N, 3, 5]", [false, false]), result);
        assert_eq!(of("f32[N, 3, 2]", "f32[N, 3, 5]", [true, false]), result);
        assert_eq!(of("f32[N, 2, 3]", "f32[N, 5, 3]", [false, true]), result);
        assert_eq!(of("f32[N, 3, 2]", "f32[N, 5, 3]", [true, true]), result);
        assert_eq!(of("f32[4*N, T, 8]", "f32[4*N, S, 8]", [false, true]).unwrap(), "f32[N*4, T, S]");
        assert_eq!(of("f32[N*U, T, S]", "f32[N*U, S, 8]", [false, false]).unwrap(), "f32[N*U, T, 8]");
    }

    #[test]
    fn unequal_sizes_name_the_expected_factor() {
        let error = of("f32[N, T, 8]", "f32[N, S, 7]", [false, true]).unwrap_err();
        let message = "needs f32[N, S, 8] for its right factor but receives f32[N, S, 7]";
        assert_eq!(error.to_string(), message);
        assert!(of("f32[N, 2, 3]", "f32[4*N, 3, 5]", [false, false]).is_err());
        assert!(of("f32[N, T, S]", "f32[N, T, S]", [false, false]).is_err());
        assert!(of("f32[N, 6]", "f32[N, 6, 5]", [false, false]).is_err());
        assert!(of("f32[2, 3]", "f32[3, 5]", [false, false]).is_err());
        assert!(of("i32[N, 2, 3]", "f32[N, 3, 5]", [false, false]).is_err());
    }

    #[test]
    fn costs_count_every_open_size() {
        let operands = ["f32[N, T, 8]", "f32[N, S, 8]"].map(|text| text.parse::<Type>().unwrap());
        let op = Matmul { transpose_left: false, transpose_right: true };
        let cost = op.cost(&operands, &op.infer(&operands).unwrap());
        assert_eq!(cost.flops, "16*N*S*T".parse().unwrap());
    }
}
