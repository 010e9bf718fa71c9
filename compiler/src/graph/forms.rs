//! Builder methods that split values, reverse axes, and combine two vectors.

use super::Builder;
use super::initializer::Initializer;
use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::ops::elementwise::{Bias, Binary, BinaryKind};
use crate::ops::linear::Linear;
use crate::ops::reduce::{Expand, Reduce, ReduceKind};
use crate::shape::{Dim, Shape};

impl Builder {
    /// The parts of an axis with the given sizes, in order.
    ///
    /// ```
    /// use windlass::Builder;
    ///
    /// let mut builder = Builder::new("net");
    /// let x = builder.input("x", &[5, 4, 4])?;
    /// let parts = builder.split("parts", x, 1, &[2, 3])?;
    /// assert_eq!(builder.item(parts[1]), [3, 4, 4]);
    /// assert!(builder.split("parts", x, 1, &[2, 2]).is_err());
    /// # Ok::<(), windlass::GraphError>(())
    /// ```
    ///
    /// # Errors
    /// [`GraphError::Shape`] for sizes that are zero or whose sum is not the size of the axis.
    pub fn split(
        &mut self,
        label: &str,
        x: ValueId,
        axis: usize,
        sizes: &[usize],
    ) -> Result<Vec<ValueId>, GraphError> {
        let shape = self.graph().ty(x).shape.clone();
        let total = sizes.iter().fold(0usize, |total, &size| total.saturating_add(size));
        if shape.dims().get(axis).and_then(Dim::fixed) != Some(total) || sizes.contains(&0) {
            let error = ShapeError::Split { sizes: sizes.to_vec(), axis, shape };
            return Err(GraphError::Shape { at: label.to_owned(), error });
        }
        let mut start = 0;
        let parts = sizes.iter().map(|&size| {
            let part = self.slice(label, x, axis, start, size);
            start += size;
            part
        });
        parts.collect()
    }

    /// The elements along an axis in the opposite order. They are moved one by one: this is for short axes, such as those
    /// of a kernel.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for the batch axis, one that does not exist, or one of open size.
    pub fn reverse(&mut self, label: &str, x: ValueId, axis: usize) -> Result<ValueId, GraphError> {
        let shape = self.graph().ty(x).shape.clone();
        let Some(size) = shape.dims().get(axis).and_then(Dim::fixed) else {
            return Err(GraphError::Shape { at: label.to_owned(), error: ShapeError::Axis { axis, shape } });
        };
        if size == 1 {
            return Ok(x);
        }
        let parts: Result<Vec<ValueId>, GraphError> =
            (0..size).rev().map(|index| self.slice(label, x, axis, index, 1usize)).collect();
        self.concat_along(label, axis, &parts?)
    }

    /// A bilinear form of two vectors for each of `out_features` results, `Σ xᵢ·wₒᵢⱼ·yⱼ`, plus a bias (`Bilinear` in
    /// PyTorch). The weight has the shape `[out_features, length of x, length of y]`.
    ///
    /// ```
    /// use windlass::{Builder, Initializer};
    ///
    /// let mut builder = Builder::new("net");
    /// let (x, y) = (builder.input("x", &[3])?, builder.input("y", &[4])?);
    /// let z = builder.bilinear("z", [x, y], 2, true, Initializer::XavierUniform)?;
    /// assert_eq!(builder.item(z), [2]);
    /// # Ok::<(), windlass::GraphError>(())
    /// ```
    ///
    /// # Errors
    /// [`GraphError::Shape`] for values that are no vectors of fixed length.
    pub fn bilinear(
        &mut self,
        label: &str,
        [x, y]: [ValueId; 2],
        out_features: usize,
        bias: bool,
        init: Initializer,
    ) -> Result<ValueId, GraphError> {
        let at = |error| GraphError::Shape { at: label.to_owned(), error };
        let mut lengths = [0; 2];
        for (length, value) in lengths.iter_mut().zip([x, y]) {
            let shape = &self.graph().ty(value).shape;
            *length = match shape.item_dims() {
                [own] if shape.is_batched() => own.fixed(),
                _ => None,
            }
            .ok_or_else(|| at(ShapeError::Rank { expected: "a vector".to_owned(), got: shape.clone() }))?;
        }
        if out_features == 0 {
            return Err(at(ShapeError::ZeroArgument { argument: "out_features" }));
        }
        let [inputs, others] = lengths;
        let weight = self.parameter(label, "weight", &[out_features, inputs, others], init)?;
        let rows = out_features.saturating_mul(inputs);
        let weight = self.reshape(label, weight, Shape::fixed(&[rows, others]))?;
        let product = self.op(Linear { epilogue: Vec::new() }, &[y, weight], label)?;
        let shape = self.graph().ty(x).shape.with_item(&[out_features, inputs]);
        let product = self.reshape(label, product, shape.clone())?;
        let copies = self.op(Expand { shape, axis: 1, count: 1, divided: false }, &[x], label)?;
        let terms = self.op(Binary { kind: BinaryKind::Multiply }, &[product, copies], label)?;
        let z = self.op(Reduce { kind: ReduceKind::Sum, axis: 2, count: 1 }, &[terms], label)?;
        if !bias {
            return Ok(z);
        }
        let bias = self.parameter(label, "bias", &[out_features], Initializer::ZEROS)?;
        self.op(Bias {}, &[z, bias], label)
    }
}
