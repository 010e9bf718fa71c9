//! Builder methods for losses: a number for each sample, step or pixel.

use super::Builder;
use crate::autodiff::class_axis;
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::ops::elementwise::{Activation, Binary, BinaryKind, Unary, UnaryKind};
use crate::ops::loss::OneHot;
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::ops::softmax::LogSoftmax;
use crate::ops::structure::{Reshape, Transpose};
use crate::shape::{DType, Shape, Type};

impl Builder {
    /// The cross-entropy of logits against labels, one for each row of classes: of logits `[N, C]` and labels `[N]` the result
    /// is `[N]`, of a sequence `[N, T, C]` and labels `[N, T]` it is `[N, T]`, and of images `[N, C, H, W]` it is
    /// `[N, H, W]`.
    ///
    /// ```
    /// use windlass_compiler::graph::Builder;
    /// use windlass_compiler::shape::DType;
    ///
    /// let mut builder = Builder::new("loss");
    /// let logits = builder.input("class", &[10])?;
    /// let labels = builder.input_of("label", DType::I32, [])?;
    /// let loss = builder.cross_entropy("", logits, labels)?;
    /// assert_eq!(builder.graph().ty(loss).to_string(), "f32[N]");
    /// # Ok::<(), windlass_compiler::error::GraphError>(())
    /// ```
    ///
    /// # Errors
    /// [`GraphError::Shape`] for labels of another shape or that are no indices, and for an open number of classes.
    pub fn cross_entropy(
        &mut self,
        label: &str,
        logits: ValueId,
        labels: ValueId,
    ) -> Result<ValueId, GraphError> {
        self.expect_values("cross_entropy", &[logits, labels])?;
        let at = |error| GraphError::Shape { at: "cross_entropy".to_owned(), error };
        let [of_logits, of_labels] = [logits, labels].map(|value| self.graph().ty(value).clone());
        if of_logits.dtype != DType::F32 {
            return Err(at(ShapeError::NeedsNumbers { got: of_logits.shape }));
        }
        if of_labels.dtype != DType::I32 {
            return Err(at(ShapeError::NeedsIndices { got: of_labels.shape }));
        }
        let shape = of_logits.shape;
        let (axis, last) = (class_axis(&shape), shape.rank().saturating_sub(1));
        let classes = shape.dims().get(axis).and_then(|dim| dim.fixed());
        let Some(classes) = classes.filter(|_| shape.is_batched() && last > 0) else {
            return Err(at(ShapeError::Rank {
                expected: "a fixed number of classes".to_owned(),
                got: shape,
            }));
        };
        let mut others: Vec<usize> = (0..shape.rank()).filter(|other| *other != axis).collect();
        let positions = Shape::new(others.iter().map(|&axis| shape.dims()[axis].clone()).collect::<Vec<_>>());
        if of_labels.shape != positions {
            let expected = Type::i32(positions);
            let (operand, expected) = ("labels", format!("{} of index", expected.shape.display_item()));
            return Err(at(ShapeError::Operand { operand, expected, got: of_labels }));
        }
        let mut rows = logits;
        if axis < last {
            others.push(axis);
            rows = self.op(Transpose { order: others }, &[rows], label)?;
        }
        let (rows, flat) = (self.fold(label, rows, last)?, self.fold(label, labels, last)?);
        let logarithms = self.op(LogSoftmax {}, &[rows], label)?;
        let chosen = self.op(OneHot { classes }, &[flat], label)?;
        // Selects, because 0 times an infinite logarithm would be NaN.
        let own = self.op(Binary { kind: BinaryKind::ReluGrad }, &[logarithms, chosen], label)?;
        let sums = self.op(Reduce { kind: ReduceKind::Sum, axis: 1, count: 1 }, &[own], label)?;
        let negative = self.op(Unary { kind: UnaryKind::Negate }, &[sums], label)?;
        match self.graph().ty(negative).shape == positions {
            true => Ok(negative),
            false => self.op(Reshape { shape: positions }, &[negative], label),
        }
    }

    /// The binary cross-entropy of logits against probabilities of the same shape, one for each element:
    /// `t·softplus(−y) + (1 − t)·softplus(y)`.
    ///
    /// ```
    /// use windlass_compiler::graph::Builder;
    ///
    /// let mut builder = Builder::new("loss");
    /// let (logits, target) = (builder.input("mask", &[1, 8, 8])?, builder.input("target", &[1, 8, 8])?);
    /// let loss = builder.binary_cross_entropy("", logits, target)?;
    /// assert_eq!(builder.item(loss), [1, 8, 8]);
    /// # Ok::<(), windlass_compiler::error::GraphError>(())
    /// ```
    ///
    /// # Errors
    /// [`GraphError::Shape`] if the shapes differ.
    pub fn binary_cross_entropy(
        &mut self,
        label: &str,
        logits: ValueId,
        target: ValueId,
    ) -> Result<ValueId, GraphError> {
        self.expect_values("binary_cross_entropy", &[logits, target])?;
        let at = |error| GraphError::Shape { at: "binary_cross_entropy".to_owned(), error };
        let [left, right] = [logits, target].map(|value| self.graph().ty(value).clone());
        if let Some(Type { shape: got, .. }) = [&left, &right].into_iter().find(|ty| ty.dtype == DType::I32) {
            return Err(at(ShapeError::NeedsNumbers { got: got.clone() }));
        }
        if left != right {
            return Err(at(ShapeError::UnequalShapes { left: left.shape, right: right.shape }));
        }
        let softplus = UnaryKind::Activation(Activation::Softplus);
        let mut unary = |kind, x| self.op(Unary { kind }, &[x], label);
        let negative = unary(UnaryKind::Negate, logits)?;
        let (if_true, if_false) = (unary(softplus, negative)?, unary(softplus, logits)?);
        let one = self.number(-1.0)?;
        let mut binary = |kind, a, b| self.op(Binary { kind }, &[a, b], label);
        // Both terms have one sign, so that nothing cancels.
        let rest = binary(BinaryKind::Add, target, one)?;
        let first = binary(BinaryKind::Multiply, target, if_true)?;
        let second = binary(BinaryKind::Multiply, rest, if_false)?;
        binary(BinaryKind::Subtract, first, second)
    }

    fn expect_values(&self, user: &str, values: &[ValueId]) -> Result<(), GraphError> {
        let count = self.graph().value_count();
        match values.iter().find(|value| value.index() >= count) {
            Some(&value) => Err(GraphError::UnknownValue { user: user.to_owned(), value, values: count }),
            None => Ok(()),
        }
    }

    /// A value with its first `axes` axes folded into one.
    fn fold(&mut self, label: &str, value: ValueId, axes: usize) -> Result<ValueId, GraphError> {
        if axes < 2 {
            return Ok(value);
        }
        let shape = self.graph().ty(value).shape.with_first_folded(axes);
        self.op(Reshape { shape }, &[value], label)
    }
}
