//! The two forms of a value of fixed sizes: with the batch before all axes, or with the first axis folded into the batch.

use windlass_compiler::entity::ValueId;
use windlass_compiler::ops::elementwise::Scale;
use windlass_compiler::ops::fill::Fill;
use windlass_compiler::ops::structure::Reshape;
use windlass_compiler::shape::{Dim, Shape};

use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::value::{Batch, Data, Meaning, Value, Weight};

impl Importer<'_> {
    /// The same elements in another shape; nothing if it has that shape.
    pub(crate) fn shaped(&mut self, value: ValueId, shape: Shape) -> Result<ValueId, Reason> {
        if self.builder.graph().ty(value).shape == shape {
            return Ok(value);
        }
        self.op(Reshape { shape }, &[value])
    }

    /// The other form of a value, which is only a reshape.
    fn converted(&mut self, data: &Data, batch: Batch) -> Result<Data, Reason> {
        let result = Data { batch, ..data.clone() };
        let value = match self.forms.get(&data.value) {
            Some(&value) if self.builder.graph().ty(value).shape == result.shape() => value,
            _ => {
                let value = self.shaped(data.value, result.shape())?;
                self.forms.insert(data.value, value);
                self.forms.insert(value, data.value);
                value
            }
        };
        Ok(Data { value, ..result })
    }

    /// With the first axis folded into the batch, or as it is if the batch is an axis of the model.
    pub(crate) fn folded(&mut self, data: &Data) -> Result<Data, Reason> {
        match data.batch {
            Batch::Outside if !data.dims.is_empty() => self.converted(data, Batch::Axis(0)),
            _ => Ok(data.clone()),
        }
    }

    /// With the batch before all axes, unless it is an axis of the model.
    pub(crate) fn spread(&mut self, data: &Data) -> Result<Data, Reason> {
        match data.batch {
            Batch::Axis(0) if !self.open_batch => self.converted(data, Batch::Outside),
            _ => Ok(data.clone()),
        }
    }

    /// A form in which none of some axes is the batch.
    pub(crate) fn with_axes(&mut self, data: &Data, axes: &[usize]) -> Result<Data, Reason> {
        match data.batch {
            Batch::Axis(axis) if axes.contains(&axis) => {
                if self.open_batch {
                    return Err(Reason::BatchAxis { axis });
                }
                self.spread(data)
            }
            _ => Ok(data.clone()),
        }
    }

    /// Values of the same axes in the same form.
    pub(crate) fn alike(&mut self, values: &[Data]) -> Result<Vec<Data>, Reason> {
        if let Some(first) = values.first()
            && values.iter().all(|data| data.batch == first.batch)
        {
            return Ok(values.to_vec());
        }
        if self.open_batch {
            return unsupported("its operands have the batch at different axes");
        }
        values.iter().map(|data| self.folded(data)).collect()
    }

    /// A batch of images or vectors `[N, C, …]`.
    pub(crate) fn images(&mut self, value: &Value) -> Result<Data, Reason> {
        let data = self.data(value)?;
        let folded = self.folded(&data)?;
        match folded.batch {
            Batch::Axis(0) if folded.dims.len() > 1 => Ok(folded),
            Batch::Axis(axis) if axis > 0 => {
                unsupported(format!("its batch is axis {axis}, but must be axis 0"))
            }
            _ => unsupported(format!("it needs a batch of images, but receives {} axes", folded.dims.len())),
        }
    }

    /// A value that depends on inputs: others are repeated for each sample.
    pub(crate) fn data(&mut self, value: &Value) -> Result<Data, Reason> {
        match value {
            Value::Data(data) => Ok(data.clone()),
            Value::Known(_) | Value::Weight(_) => {
                let weight = self.weight(value)?;
                self.lifted(&weight)
            }
            Value::Empty(_) => unsupported("it computes with a value without elements"),
            Value::Absent => Err(Reason::Missing { index: 0 }),
        }
    }

    /// A parameter repeated for each sample.
    pub(crate) fn lifted(&mut self, weight: &Weight) -> Result<Data, Reason> {
        if self.open_batch {
            return unsupported(
                "it needs a value that depends on an input, but receives parameters or constants only",
            );
        }
        let dims: Vec<Dim> = weight.dims.iter().map(|&size| Dim::Fixed(size)).collect();
        let shape = Shape::batch_of(dims.iter().cloned());
        let value = match dims.len() {
            0 => {
                // A scalar times ones.
                let ones = self.op(Fill { shape, value: 1.0 }, &[])?;
                self.binary_op(windlass_compiler::ops::elementwise::BinaryKind::Multiply, ones, weight.value)?
            }
            count => {
                let ones = self.op(Fill { shape, value: 1.0 }, &[])?;
                self.op(Scale { axis: 1, count }, &[ones, weight.value])?
            }
        };
        Ok(Data { value, dims, batch: Batch::Outside, meaning: Meaning::Float, input: None })
    }
}

impl Importer<'_> {
    /// One number for every element of a shape whose axis `axis` is the batch.
    pub(crate) fn constant_batch(
        &mut self,
        axis: usize,
        dims: Vec<Dim>,
        number: f32,
    ) -> Result<Data, Reason> {
        let batch = Batch::Axis(axis);
        let shape = crate::value::shape(batch, &dims);
        let value = self.op(Fill { shape: shape.clone(), value: 0.0 }, &[])?;
        let data = Data { value, dims, batch, meaning: Meaning::Float, input: None };
        let value = self.number_like(&data, number)?;
        Ok(Data { value, ..data })
    }
}
