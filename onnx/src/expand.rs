//! Values repeated along axes of size 1.

use windlass_compiler::entity::ValueId;
use windlass_compiler::ops::reduce::Expand;
use windlass_compiler::shape::{Dim, Shape};

use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::movement::{fixed, small};
use crate::value::{Batch, Data, Meaning, Value, Weight};

impl Importer<'_> {
    /// Repeated along axes of size 1 and along new axes before the first.
    pub(crate) fn expand(&mut self, value: &Value, dims: &[Dim]) -> Result<Value, Reason> {
        if value.dims() == dims {
            return Ok(value.clone());
        }
        match value {
            Value::Known(known) if known.name.is_none() && fixed(dims).is_some() => {
                let sizes = small(dims)?;
                check_broadcast(&value.dims(), dims)?;
                Ok(known.broadcast(&sizes).into())
            }
            Value::Known(_) | Value::Weight(_) => {
                check_broadcast(&value.dims(), dims)?;
                let weight = self.weight(value)?;
                let Some(sizes) = fixed(dims) else {
                    return unsupported("parameters cannot be repeated for an open size");
                };
                let missing = sizes.len() - weight.dims.len();
                let own: Vec<usize> =
                    std::iter::repeat_n(1, missing).chain(weight.dims.iter().copied()).collect();
                let kept: Vec<bool> = own.iter().zip(&sizes).map(|(own, size)| own == size).collect();
                let value = self.expand_axes(weight.value, &Shape::fixed(&sizes), &kept)?;
                Ok(Weight::new(value, sizes).into())
            }
            Value::Data(data) => {
                check_broadcast(&data.dims, dims)?;
                Ok(self.expand_data(data, dims)?.into())
            }
            Value::Empty(_) => Ok(Value::Empty(dims.to_vec())),
            Value::Absent => Err(Reason::Missing { index: 0 }),
        }
    }

    pub(crate) fn expand_data(&mut self, data: &Data, dims: &[Dim]) -> Result<Data, Reason> {
        if data.dims == dims {
            return Ok(data.clone());
        }
        if data.meaning == Meaning::Index {
            return unsupported("integers that are inputs cannot be repeated");
        }
        let missing = dims.len() - data.dims.len();
        let (data, batch) = match data.batch {
            Batch::Axis(axis) if self.open_batch => (data.clone(), Batch::Axis(axis + missing)),
            Batch::Axis(0) if missing == 0 && data.dims.first() == dims.first() => {
                (data.clone(), Batch::Axis(0))
            }
            _ => (self.spread(data)?, Batch::Outside),
        };
        let own: Vec<Dim> =
            std::iter::repeat_n(Dim::Fixed(1), missing).chain(data.dims.iter().cloned()).collect();
        let result = Data { batch, ..data.with(data.value, dims.to_vec()) };
        let rank = result.shape().rank();
        let mut kept = vec![true; rank];
        for (axis, (own, size)) in own.iter().zip(dims).enumerate() {
            kept[result.axis(axis)] = own == size;
        }
        if !kept[0] {
            return unsupported("a value that is the same for all samples cannot be repeated for each");
        }
        let value = self.expand_axes(data.value, &result.shape(), &kept)?;
        Ok(Data { value, ..result })
    }

    /// Repeats a value along the axes of a shape that it does not have.
    fn expand_axes(&mut self, value: ValueId, shape: &Shape, kept: &[bool]) -> Result<ValueId, Reason> {
        let axes = shape.dims();
        let own: Vec<Dim> =
            axes.iter().zip(kept).filter(|(_, kept)| **kept).map(|(dim, _)| dim.clone()).collect();
        let mut current = own.clone();
        let mut value = self.shaped(value, Shape::new(own))?;
        let mut axis = 0;
        while axis < axes.len() {
            if kept[axis] {
                axis += 1;
                continue;
            }
            let end = (axis..axes.len()).find(|&other| kept[other]).unwrap_or(axes.len());
            current.splice(axis..axis, axes[axis..end].iter().cloned());
            let shape = Shape::new(current.clone());
            value = self.op(Expand { shape, axis, count: end - axis, divided: false }, &[value])?;
            axis = end;
        }
        Ok(value)
    }
}

/// Checks that a shape can be repeated to another.
pub(crate) fn check_broadcast(own: &[Dim], target: &[Dim]) -> Result<(), Reason> {
    let list = |dims: &[Dim]| Shape::new(dims.to_vec()).to_string();
    let fits = own.len() <= target.len()
        && own
            .iter()
            .rev()
            .zip(target.iter().rev())
            .all(|(own, target)| own == target || own.fixed() == Some(1));
    match fits {
        true => Ok(()),
        false => unsupported(format!("{} cannot be repeated to {}", list(own), list(target))),
    }
}
