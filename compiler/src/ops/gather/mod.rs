//! Rows of a table by index, and the sum of gradients into the rows.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use serde::{Deserialize, Serialize};

use super::facts::{Facts, Indices, Reach, Role, Rows, never_rewritten};
use super::{Cost, Operator, expect_arity, expect_float};
use crate::error::ShapeError;
use crate::shape::{DType, Dim, Shape, Type};

/// Rows of a table: operands `table` (`[rows, F]`) and `indices` (`i32`, any batched shape, such as `[N]`, `[N, T]` or
/// `[N*T]`); the result has the shape of the indices with `F` appended. The row of an index outside the table is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gather {
    /// The number of rows of the table.
    pub rows: usize,
}

/// Gradient of [`Gather`] with respect to the table: operands `g` and `indices`; each row of the result, `[rows, F]`, is
/// the sum of the gradients at its index, in the order of their positions. Indices outside the table add nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatherGrad {
    /// The number of rows of the table.
    pub rows: usize,
}

never_rewritten!(Gather, GatherGrad);

/// Checks that the indices are a batch of integers, and that there are rows for them.
fn check_indices(indices: &Type, rows: usize) -> Result<(), ShapeError> {
    if rows == 0 {
        return Err(ShapeError::ZeroArgument { argument: "rows" });
    }
    if i32::try_from(rows - 1).is_err() {
        return Err(ShapeError::TooLarge { shape: Shape::fixed(&[rows]) });
    }
    if indices.dtype != DType::I32 {
        let expected = "32-bit integers".to_owned();
        return Err(ShapeError::Operand { operand: "indices", expected, got: indices.clone() });
    }
    if !indices.shape.is_batched() {
        let (expected, got) = ("a batch of indices".to_owned(), indices.shape.clone());
        return Err(ShapeError::Rank { expected, got });
    }
    Ok(())
}

impl Operator for Gather {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        let (table, indices) = (&operands[0], &operands[1]);
        expect_float("table", table)?;
        check_indices(indices, self.rows)?;
        match table.shape.dims() {
            [Dim::Fixed(rows), Dim::Fixed(features)] if *rows == self.rows => {
                let dims = indices.shape.dims().iter().cloned().chain([Dim::Fixed(*features)]);
                Ok(vec![Type::f32(Shape::new(dims.collect::<Vec<_>>()))])
            }
            _ => Err(ShapeError::Rank {
                expected: format!("a table of {} rows", self.rows),
                got: table.shape.clone(),
            }),
        }
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Place, indices: Some(Indices::Below(self.rows)) }
    }

    fn rows(&self) -> Rows {
        Rows::Apart
    }

    fn cost(&self, _: &[Type], _: &[Type]) -> Cost {
        Cost::default()
    }
}

impl Operator for GatherGrad {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        let (g, indices) = (&operands[0], &operands[1]);
        expect_float("gradient", g)?;
        check_indices(indices, self.rows)?;
        match g.shape.dims().split_last() {
            Some((Dim::Fixed(features), positions)) if positions == indices.shape.dims() => {
                Ok(vec![Type::f32(Shape::fixed(&[self.rows, *features]))])
            }
            _ => Err(ShapeError::Rank {
                expected: format!("a row for each index of {}", indices.shape),
                got: g.shape.clone(),
            }),
        }
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Everywhere, indices: Some(Indices::Below(self.rows)) }
    }

    fn rows(&self) -> Rows {
        Rows::Summed
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        Cost::elementwise(&operands[0], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Gather, GatherGrad};
    use crate::error::ShapeError;
    use crate::ops::Operator;
    use crate::shape::Type;

    fn types(texts: &[&str]) -> Vec<Type> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn gathered(table: &str, indices: &str) -> Result<String, ShapeError> {
        Gather { rows: 7 }.infer(&types(&[table, indices])).map(|results| results[0].to_string())
    }

    #[test]
    fn features_follow_the_axes_of_the_indices() {
        for (indices, result) in [
            ("i32[N]", "f32[N, 5]"),
            ("i32[N, 3]", "f32[N, 3, 5]"),
            ("i32[N, T]", "f32[N, T, 5]"),
            ("i32[N*T]", "f32[N*T, 5]"),
            ("i32[N, T, 2]", "f32[N, T, 2, 5]"),
        ] {
            assert_eq!(gathered("f32[7, 5]", indices).unwrap(), result);
            let table = GatherGrad { rows: 7 }.infer(&types(&[result, indices])).unwrap();
            assert_eq!(table, types(&["f32[7, 5]"]));
        }
    }

    #[test]
    fn tables_and_indices_that_do_not_fit_are_refused() {
        let told = |table, indices| gathered(table, indices).unwrap_err().to_string();
        assert_eq!(told("f32[7, 5]", "f32[N]"), "needs 32-bit integers for its indices but receives f32[N]");
        assert_eq!(told("f32[7, 5]", "i32[3]"), "needs a batch of indices but receives [3]");
        assert_eq!(told("f32[6, 5]", "i32[N]"), "needs a table of 7 rows but receives [6, 5]");
        assert_eq!(told("f32[7]", "i32[N]"), "needs a table of 7 rows but receives [7]");
        assert_eq!(told("i32[7, 5]", "i32[N]"), "needs f32 numbers for its table but receives i32[7, 5]");
        let rows = |rows, texts: &[&str]| GatherGrad { rows }.infer(&types(texts)).unwrap_err();
        assert_eq!(rows(0, &["f32[N, 5]", "i32[N]"]), ShapeError::ZeroArgument { argument: "rows" });
        assert!(matches!(rows(1 << 40, &["f32[N, 5]", "i32[N]"]), ShapeError::TooLarge { .. }));
        let error = rows(7, &["f32[N, 3, 5]", "i32[N]"]).to_string();
        assert_eq!(error, "needs a row for each index of [N] but receives [3, 5]");
    }
}
