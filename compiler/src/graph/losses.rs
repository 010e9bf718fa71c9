//! Builder methods for losses: a number for each sample, step or pixel.

use super::{Builder, Graph};
use crate::autodiff::class_axis;
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::ops::elementwise::{Activation, Binary, BinaryKind, Unary, UnaryKind};
use crate::ops::loss::OneHot;
use crate::ops::reduce::{Reduce, ReduceKind};
use crate::ops::softmax::LogSoftmax;
use crate::ops::source::Constant;
use crate::ops::structure::{Reshape, Transpose};
use crate::shape::{DType, Shape, Type};

impl Builder {
    /// The cross-entropy of logits against labels, one for each row of classes: of logits `[N, C]` and labels `[N]` the result
    /// is `[N]`, of a sequence `[N, T, C]` and labels `[N, T]` it is `[N, T]`, and of images `[N, C, H, W]` it is
    /// `[N, H, W]`.
    ///
    /// ```
    /// use windlass::{Builder, DType};
    ///
    /// let mut builder = Builder::new("loss");
    /// let logits = builder.input("class", &[10])?;
    /// let labels = builder.input_of("label", DType::I32, [])?;
    /// let loss = builder.cross_entropy("", logits, labels)?;
    /// assert_eq!(builder.graph().ty(loss).to_string(), "f32[N]");
    /// # Ok::<(), windlass::GraphError>(())
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
        let last = shape.rank().saturating_sub(1);
        let classes = shape.dims().get(class_axis(&shape)).and_then(|dim| dim.fixed());
        let Some(classes) = classes.filter(|_| shape.is_batched() && last > 0) else {
            return Err(at(ShapeError::Rank {
                expected: "a fixed number of classes".to_owned(),
                got: shape,
            }));
        };
        let positions = positions(&shape);
        if of_labels.shape != positions {
            let expected = Type::i32(positions);
            let (operand, expected) = ("labels", format!("{} of index", expected.shape.display_item()));
            return Err(at(ShapeError::Operand { operand, expected, got: of_labels }));
        }
        let [rows, flat] = class_rows(self.graph_mut(), label, [logits, labels])?;
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
    /// use windlass::Builder;
    ///
    /// let mut builder = Builder::new("loss");
    /// let (logits, target) = (builder.input("mask", &[1, 8, 8])?, builder.input("target", &[1, 8, 8])?);
    /// let loss = builder.binary_cross_entropy("", logits, target)?;
    /// assert_eq!(builder.item(loss), [1, 8, 8]);
    /// # Ok::<(), windlass::GraphError>(())
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
        binary_cross_entropy(self.graph_mut(), label, [logits, target])
    }

    fn expect_values(&self, user: &str, values: &[ValueId]) -> Result<(), GraphError> {
        let count = self.graph().value_count();
        match values.iter().find(|value| value.index() >= count) {
            Some(&value) => Err(GraphError::UnknownValue { user: user.to_owned(), value, values: count }),
            None => Ok(()),
        }
    }
}

/// Adds `t·softplus(−y) + (1 − t)·softplus(y)` for each element of logits `y` and probabilities `t`. Both terms have one sign,
/// so that nothing cancels.
pub(crate) fn binary_cross_entropy(
    graph: &mut Graph,
    label: &str,
    [logits, target]: [ValueId; 2],
) -> Result<ValueId, GraphError> {
    let softplus = UnaryKind::Activation(Activation::Softplus);
    let mut unary = |kind, x| graph.add_single(Unary { kind }, &[x], label);
    let negative = unary(UnaryKind::Negate, logits)?;
    let (if_true, if_false) = (unary(softplus, negative)?, unary(softplus, logits)?);
    let one = graph.add_single(Constant { shape: Shape::scalar(), values: vec![-1.0] }, &[], label)?;
    let mut binary = |kind, a, b| graph.add_single(Binary { kind }, &[a, b], label);
    let rest = binary(BinaryKind::Add, target, one)?;
    let first = binary(BinaryKind::Multiply, target, if_true)?;
    let second = binary(BinaryKind::Multiply, rest, if_false)?;
    binary(BinaryKind::Subtract, first, second)
}

/// The shape of the labels of an output: its own without the classes.
pub(crate) fn positions(output: &Shape) -> Shape {
    let axis = class_axis(output);
    let others = output.dims().iter().enumerate().filter(|(other, _)| *other != axis);
    Shape::new(others.map(|(_, dim)| dim.clone()).collect::<Vec<_>>())
}

/// The rows of classes of an output, and the label of each.
pub(crate) fn class_rows(
    graph: &mut Graph,
    label: &str,
    [output, labels]: [ValueId; 2],
) -> Result<[ValueId; 2], GraphError> {
    let shape = &graph.ty(output).shape;
    let (axis, last) = (class_axis(shape), shape.rank().saturating_sub(1));
    let mut rows = output;
    if axis < last {
        let order = (0..=last).filter(|other| *other != axis).chain([axis]).collect();
        rows = graph.add_single(Transpose { order }, &[rows], label)?;
    }
    Ok([fold(graph, label, rows, last)?, fold(graph, label, labels, last)?])
}

/// A value with its first `axes` axes folded into one.
pub(crate) fn fold(
    graph: &mut Graph,
    label: &str,
    value: ValueId,
    axes: usize,
) -> Result<ValueId, GraphError> {
    if axes < 2 {
        return Ok(value);
    }
    let shape = graph.ty(value).shape.with_first_folded(axes);
    graph.add_single(Reshape { shape }, &[value], label)
}
