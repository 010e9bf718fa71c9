//! Sum, mean and maximum over neighbouring axes, and the expansion that is the gradient of sum and mean.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use serde::{Deserialize, Serialize};

use super::facts::{Facts, Reach, Role, never_rewritten};
use super::{Cost, Operator, expect_arity, expect_float};
use crate::error::ShapeError;
use crate::shape::{Dim, Polynomial, Shape, Type};

/// The function that reduces elements to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReduceKind {
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The maximum; a NaN is larger than every number.
    Max,
}

impl ReduceKind {
    /// Every kind.
    pub const ALL: [ReduceKind; 3] = [ReduceKind::Sum, ReduceKind::Mean, ReduceKind::Max];
}

/// Reduces neighbouring axes: operand `x`; the result has all other axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reduce {
    /// The function that reduces the elements.
    pub kind: ReduceKind,
    /// The first axis; the batch axis is axis 0, and may not be reduced.
    pub axis: usize,
    /// The number of axes.
    pub count: usize,
}

/// Repeats every element for all indices of new axes: operand `x`, with the axes of `shape` except the new ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expand {
    /// The result's shape.
    pub shape: Shape,
    /// The first new axis; the batch axis is axis 0, and may not be new.
    pub axis: usize,
    /// The number of new axes.
    pub count: usize,
    /// Whether elements are divided by the number of their copies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub divided: bool,
}

/// A shape without some neighbouring axes, and the number of elements of these axes.
fn without(shape: &Shape, axis: usize, count: usize) -> Result<(Shape, Polynomial), ShapeError> {
    let end = axis.saturating_add(count);
    let holds_batch = axis == 0 && shape.is_batched();
    if count == 0 || end > shape.rank() || holds_batch {
        return Err(ShapeError::Axis {
            axis: if holds_batch { 0 } else { end.saturating_sub(1) },
            shape: shape.clone(),
        });
    }
    let dims = shape.dims();
    let rest: Vec<Dim> = [&dims[..axis], &dims[end..]].concat();
    Ok((Shape::new(rest), Shape::new(&dims[axis..end]).count()))
}

never_rewritten!(Reduce, Expand);

impl Operator for Reduce {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        expect_float("input", &operands[0])?;
        let (rest, _) = without(&operands[0].shape, self.axis, self.count)?;
        Ok(vec![Type::f32(rest)])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Everywhere, indices: None }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        Cost::elementwise(&operands[0], 1)
    }
}

impl Operator for Expand {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        expect_float("input", &operands[0])?;
        self.shape.check()?;
        let (rest, _) = without(&self.shape, self.axis, self.count)?;
        super::expect_type("input", &operands[0], &Type::f32(rest))?;
        Ok(vec![Type::f32(self.shape.clone())])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Everywhere, indices: None }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        Cost::elementwise(&operands[0], u64::from(self.divided))
    }
}
