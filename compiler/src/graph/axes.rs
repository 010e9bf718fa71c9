//! Builder methods that work along axes, whose sizes may be open. Axes are numbered as in shapes: the batch is axis 0.

use super::Builder;
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::ops::elementwise::{Binary, BinaryKind, Unary, UnaryKind};
use crate::ops::reduce::{Expand, Reduce, ReduceKind};
use crate::ops::softmax::Softmax;
use crate::ops::source::Constant;
use crate::ops::structure::{Concat, Pad, Reshape, Slice, Transpose};
use crate::shape::{Polynomial, Shape};

impl Builder {
    /// The same elements with another shape: `[N, T, 40]` as `[N, T*40]`.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for a shape with another number of elements.
    pub fn reshape(&mut self, label: &str, x: ValueId, shape: Shape) -> Result<ValueId, GraphError> {
        self.op(Reshape { shape }, &[x], label)
    }

    /// Permutes axes: axis `i` of the result is axis `order[i]` of `x`. The batch stays first.
    ///
    /// ```
    /// use windlass::{Builder, DType, Dim, Symbol};
    ///
    /// let mut builder = Builder::new("net");
    /// let steps: Symbol = "T".parse()?;
    /// let frames = builder.input_of("frames", DType::F32, [Dim::from(steps), Dim::from(40)])?;
    /// let features_first = builder.transpose("t1", frames, &[0, 2, 1])?;
    /// assert_eq!(builder.graph().ty(features_first).to_string(), "f32[N, 40, T]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`GraphError::Shape`] for an order that does not name every axis once, or moves the batch.
    pub fn transpose(&mut self, label: &str, x: ValueId, order: &[usize]) -> Result<ValueId, GraphError> {
        self.op(Transpose { order: order.to_vec() }, &[x], label)
    }

    /// Concatenates several values along an axis. Their sizes along all other axes are equal.
    ///
    /// # Errors
    /// [`GraphError::Shape`] when they differ in another axis.
    pub fn concat_along(
        &mut self,
        label: &str,
        axis: usize,
        parts: &[ValueId],
    ) -> Result<ValueId, GraphError> {
        self.op(Concat { axis }, parts, label)
    }

    /// `length` indices of an axis, starting at `start`: all steps except the last are `0` and `T - 1`.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for indices that may be out of range for some open sizes.
    pub fn slice(
        &mut self,
        label: &str,
        x: ValueId,
        axis: usize,
        start: impl Into<Polynomial>,
        length: impl Into<Polynomial>,
    ) -> Result<ValueId, GraphError> {
        self.op(Slice { axis, start: start.into(), length: length.into() }, &[x], label)
    }

    /// Pads an axis with zeros before and after its elements.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for an axis that does not exist, or a negative number of zeros.
    pub fn pad(
        &mut self,
        label: &str,
        x: ValueId,
        axis: usize,
        before: impl Into<Polynomial>,
        behind: impl Into<Polynomial>,
    ) -> Result<ValueId, GraphError> {
        self.op(Pad { axis, before: before.into(), behind: behind.into() }, &[x], label)
    }

    /// Sum, mean or maximum over some axes, which the result does not have.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for the batch axis, one that does not exist, or one named twice.
    pub fn reduce(
        &mut self,
        label: &str,
        x: ValueId,
        kind: ReduceKind,
        axes: &[usize],
    ) -> Result<ValueId, GraphError> {
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            let error = ShapeError::Axis { axis: twice[0], shape: self.graph().ty(x).shape.clone() };
            return Err(GraphError::Shape { at: label.to_owned(), error });
        }
        // The last axis first, so that the others keep their numbers. A mean of means is the mean, because all rows
        // have the same length.
        sorted.iter().rev().try_fold(x, |x, &axis| self.op(Reduce { kind, axis, count: 1 }, &[x], label))
    }

    /// Softmax along an axis: `exp(x) / Σ exp(x)`.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for the batch axis, or an axis that does not exist.
    pub fn softmax_along(&mut self, label: &str, x: ValueId, axis: usize) -> Result<ValueId, GraphError> {
        self.along_last(label, x, axis, |builder, x| builder.op(Softmax {}, &[x], label))
    }

    /// Normalises along an axis: `(x − mean) / √(variance + ε)` (layer normalisation without scale and shift; Ba, Kiros
    /// and Hinton 2016, arXiv:1607.06450).
    ///
    /// # Errors
    /// [`GraphError::Shape`] for the batch axis, an axis that does not exist, or an ε that is not positive.
    pub fn normalize_along(
        &mut self,
        label: &str,
        x: ValueId,
        axis: usize,
        epsilon: f64,
    ) -> Result<ValueId, GraphError> {
        if !(epsilon > 0.0 && epsilon.is_finite()) {
            let error =
                ShapeError::NumberOutOfRange { argument: "epsilon", value: epsilon, range: "above 0" };
            return Err(GraphError::Shape { at: label.to_owned(), error });
        }
        let mean = Reduce { kind: ReduceKind::Mean, axis, count: 1 };
        let means = self.op(mean, &[x], label)?;
        let expand = Expand { shape: self.graph().ty(x).shape.clone(), axis, count: 1, divided: false };
        let means = self.op(expand.clone(), &[means], label)?;
        let centred = self.op(Binary { kind: BinaryKind::Subtract }, &[x, means], label)?;
        let squares = self.op(Unary { kind: UnaryKind::Square }, &[centred], label)?;
        let variances = self.op(mean, &[squares], label)?;
        let epsilon = Constant { shape: Shape::scalar(), values: vec![epsilon as f32] };
        let epsilon = self.op(epsilon, &[], label)?;
        let shifted = self.op(Binary { kind: BinaryKind::Add }, &[variances, epsilon], label)?;
        let scales = self.op(Unary { kind: UnaryKind::Rsqrt }, &[shifted], label)?;
        let scales = self.op(expand, &[scales], label)?;
        self.op(Binary { kind: BinaryKind::Multiply }, &[centred, scales], label)
    }

    /// Applies an operator on batches of vectors along an axis: that axis becomes the last, and all others part of the
    /// batch.
    fn along_last(
        &mut self,
        label: &str,
        x: ValueId,
        axis: usize,
        apply: impl FnOnce(&mut Self, ValueId) -> Result<ValueId, GraphError>,
    ) -> Result<ValueId, GraphError> {
        let rank = self.graph().ty(x).shape.rank();
        if axis == 0 || axis >= rank {
            let error = ShapeError::Axis { axis, shape: self.graph().ty(x).shape.clone() };
            return Err(GraphError::Shape { at: label.to_owned(), error });
        }
        let order: Vec<usize> = (0..rank).filter(|&other| other != axis).chain([axis]).collect();
        let mut back = vec![0; rank];
        order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
        let is_last = axis + 1 == rank;
        let last = if is_last { x } else { self.transpose(label, x, &order)? };
        let shape = self.graph().ty(last).shape.clone();
        let folded = self.reshape(label, last, shape.with_first_folded(rank - 1))?;
        let y = apply(self, folded)?;
        let unfolded = self.reshape(label, y, shape)?;
        if is_last { Ok(unfolded) } else { self.transpose(label, unfolded, &back) }
    }
}
