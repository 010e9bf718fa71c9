//! Operators that move elements without computing: reshape, concat, slice.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use serde::{Deserialize, Serialize};

use super::{Cost, Operator, expect_arity};
use crate::error::ShapeError;
use crate::shape::{Dim, Shape, Type};

/// The same elements under another shape: `flatten` is one of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reshape {
    /// The result's shape.
    pub shape: Shape,
}

/// Joins values along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concat {
    /// The axis, the batch axis counted as 0; it may not be the batch axis itself.
    pub axis: usize,
}

/// Part of an axis. The gradient of [`Concat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// The axis, the batch axis counted as 0; it may not be the batch axis itself.
    pub axis: usize,
    /// First index taken.
    pub start: usize,
    /// How many indices are taken.
    pub length: usize,
}

fn fixed_axis(shape: &Shape, axis: usize) -> Result<usize, ShapeError> {
    match shape.dims().get(axis) {
        Some(Dim::Fixed(size)) => Ok(*size),
        Some(Dim::Open(_)) | None => Err(ShapeError::Axis { axis, shape: shape.clone() }),
    }
}

fn with_axis(ty: &Type, axis: usize, size: usize) -> Type {
    let mut dims = ty.shape.dims().to_vec();
    dims[axis] = Dim::Fixed(size);
    Type { dtype: ty.dtype, shape: Shape::new(dims) }
}

impl Operator for Reshape {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        let from = &operands[0].shape;
        self.shape.check()?;
        if from.count() != self.shape.count() {
            return Err(ShapeError::ElementsDiffer { from: from.clone(), to: self.shape.clone() });
        }
        Ok(vec![Type { dtype: operands[0].dtype, shape: self.shape.clone() }])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn cost(&self, _: &[Type], _: &[Type]) -> Cost {
        Cost::default()
    }
}

impl Operator for Concat {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        let Some(first) = operands.first() else {
            return Err(ShapeError::Arity { expected: "at least 1".to_owned(), got: 0 });
        };
        let mut size = 0usize;
        for operand in operands {
            let part = fixed_axis(&operand.shape, self.axis)?;
            size = size
                .checked_add(part)
                .ok_or_else(|| ShapeError::TooLarge { shape: operand.shape.clone() })?;
            if operand.shape.rank() != first.shape.rank()
                || operand.dtype != first.dtype
                || with_axis(operand, self.axis, 1) != with_axis(first, self.axis, 1)
            {
                return Err(ShapeError::ConcatMismatch {
                    axis: self.axis,
                    left: first.shape.clone(),
                    right: operand.shape.clone(),
                });
            }
        }
        Ok(vec![with_axis(first, self.axis, size)])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn cost(&self, _: &[Type], _: &[Type]) -> Cost {
        Cost::default()
    }
}

impl Operator for Slice {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        let size = fixed_axis(&operands[0].shape, self.axis)?;
        let end = self.start.saturating_add(self.length);
        if end > size {
            return Err(ShapeError::SliceOutOfRange {
                start: self.start,
                end,
                axis: self.axis,
                shape: operands[0].shape.clone(),
            });
        }
        Ok(vec![with_axis(&operands[0], self.axis, self.length)])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn cost(&self, _: &[Type], _: &[Type]) -> Cost {
        Cost::default()
    }
}
