//! Operators that move elements without computing: reshape, concat, slice, pad, transpose.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::epilogue::EpilogueStep;
use super::facts::{Facts, InTraining, Move, Reach, Rewrite, Role, Rows, never_rewritten};
use super::{Cost, Operator, expect_arity};
use crate::error::ShapeError;
use crate::shape::{Dim, Polynomial, Shape, Sizes, Type};

/// The same elements with another shape; `flatten` is a reshape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reshape {
    /// The result's shape.
    pub shape: Shape,
}

/// Concatenates values along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concat {
    /// The axis; the batch axis is axis 0, and may not be concatenated.
    pub axis: usize,
}

/// A part of an axis. The gradient of [`Concat`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// The axis; the batch axis is axis 0, and may not be sliced.
    pub axis: usize,
    /// The first index.
    pub start: Polynomial,
    /// The number of indices.
    pub length: Polynomial,
}

/// Adds zeros before and after the indices of an axis. The gradient of [`Slice`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pad {
    /// The axis; the batch axis is axis 0, and may not be padded.
    pub axis: usize,
    /// The number of indices of zeros before the operand.
    pub before: Polynomial,
    /// The number of indices of zeros after the operand.
    pub behind: Polynomial,
}

/// The same elements with the axes in another order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transpose {
    /// The operand's axis for each axis of the result. The batch axis, 0, stays first.
    pub order: Vec<usize>,
}

impl Slice {
    /// `length` indices of an axis, starting with `start`.
    pub fn new(axis: usize, start: usize, length: usize) -> Self {
        Slice { axis, start: start.into(), length: length.into() }
    }
}

/// The size of an axis that is not the batch axis.
fn size_of_axis(shape: &Shape, axis: usize) -> Result<Polynomial, ShapeError> {
    match shape.dims().get(axis) {
        Some(dim) if axis > 0 || !shape.is_batched() => Ok(dim.polynomial()),
        Some(_) | None => Err(ShapeError::Axis { axis, shape: shape.clone() }),
    }
}

fn with_axis(ty: &Type, axis: usize, size: &Polynomial) -> Type {
    let mut dims = ty.shape.dims().to_vec();
    dims[axis] = Dim::from(size.clone());
    Type { dtype: ty.dtype, shape: Shape::new(dims) }
}

/// The size in a run, as a constant polynomial.
fn number(size: &Polynomial, sizes: &Sizes) -> Polynomial {
    Polynomial::from(size.at(sizes))
}

impl Rewrite for Slice {
    fn epilogue(&self) -> Option<&[EpilogueStep]> {
        None
    }

    fn epilogue_mut(&mut self) -> Option<&mut Vec<EpilogueStep>> {
        None
    }

    fn at(&self, sizes: &Sizes) -> Cow<'_, Self> {
        let (start, length) = (number(&self.start, sizes), number(&self.length, sizes));
        Cow::Owned(Slice { axis: self.axis, start, length })
    }

    fn in_training(&self, _: u32) -> Option<InTraining> {
        None
    }
}

impl Rewrite for Pad {
    fn epilogue(&self) -> Option<&[EpilogueStep]> {
        None
    }

    fn epilogue_mut(&mut self) -> Option<&mut Vec<EpilogueStep>> {
        None
    }

    fn at(&self, sizes: &Sizes) -> Cow<'_, Self> {
        let (before, behind) = (number(&self.before, sizes), number(&self.behind, sizes));
        Cow::Owned(Pad { axis: self.axis, before, behind })
    }

    fn in_training(&self, _: u32) -> Option<InTraining> {
        None
    }
}

never_rewritten!(Reshape, Concat, Transpose);

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

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Move(Move::Reshape), reach: Reach::Place, indices: None }
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
        let (mut size, one) = (Polynomial::default(), Polynomial::from(1usize));
        for operand in operands {
            size = size.plus(&size_of_axis(&operand.shape, self.axis)?);
            if operand.shape.rank() != first.shape.rank()
                || operand.dtype != first.dtype
                || with_axis(operand, self.axis, &one) != with_axis(first, self.axis, &one)
            {
                return Err(ShapeError::ConcatMismatch {
                    axis: self.axis,
                    left: first.shape.clone(),
                    right: operand.shape.clone(),
                });
            }
        }
        Ok(vec![with_axis(first, self.axis, &size)])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Move(Move::Join { axis: self.axis }), reach: Reach::Place, indices: None }
    }

    fn rows(&self) -> Rows {
        if self.axis == 0 { Rows::Mixed } else { Rows::Apart }
    }

    fn cost(&self, _: &[Type], _: &[Type]) -> Cost {
        Cost::default()
    }
}

impl Operator for Slice {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        let size = size_of_axis(&operands[0].shape, self.axis)?;
        let end = self.start.plus(&self.length);
        if !self.start.is_never_negative() || !size.minus(&end).is_never_negative() {
            return Err(ShapeError::SliceOutOfRange {
                start: self.start.clone(),
                end,
                axis: self.axis,
                shape: operands[0].shape.clone(),
            });
        }
        Ok(vec![with_axis(&operands[0], self.axis, &self.length)])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Move(Move::Part { axis: self.axis }), reach: Reach::Place, indices: None }
    }

    fn rows(&self) -> Rows {
        if self.axis == 0 { Rows::Mixed } else { Rows::Apart }
    }

    fn cost(&self, _: &[Type], _: &[Type]) -> Cost {
        Cost::default()
    }
}

impl Operator for Pad {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        let size = size_of_axis(&operands[0].shape, self.axis)?;
        for (argument, zeros) in [("before", &self.before), ("behind", &self.behind)] {
            if !zeros.is_never_negative() {
                let (value, range) =
                    (zeros.at(&Sizes::new()) as f64, "at least 0, whatever the open sizes are");
                return Err(ShapeError::NumberOutOfRange { argument, value, range });
            }
        }
        let size = size.plus(&self.before).plus(&self.behind);
        Ok(vec![with_axis(&operands[0], self.axis, &size)])
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

impl Operator for Transpose {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        let Type { dtype, shape } = &operands[0];
        let mut sorted = self.order.clone();
        sorted.sort_unstable();
        let moves_batch = shape.is_batched() && self.order.first() != Some(&0);
        if moves_batch || !sorted.into_iter().eq(0..shape.rank()) {
            return Err(ShapeError::Order { order: self.order.clone(), shape: shape.clone() });
        }
        let dims: Vec<Dim> = self.order.iter().map(|&axis| shape.dims()[axis].clone()).collect();
        Ok(vec![Type { dtype: *dtype, shape: Shape::new(dims) }])
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
