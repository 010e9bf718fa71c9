//! Reshapes of values whose batch is an axis of the model behind others, as in `[T, N, F]`.
//!
//! The graph stores the batch first. A reshape that folds or unfolds axes around the batch therefore also moves elements,
//! so that they have the order of the model.

use windlass_compiler::ops::steps::UnfoldSteps;
use windlass_compiler::ops::structure::Transpose;
use windlass_compiler::shape::{Dim, Shape, Symbol};

use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::movement::{count, quotient};
use crate::value::{Batch, Data};

/// The axes around the batch: those before it without sizes of 1, how many times the batch the axis of the batch is, and
/// those behind it.
struct Parts {
    before: Vec<Dim>,
    times: Dim,
    behind: Vec<Dim>,
}

impl Parts {
    fn of(dims: &[Dim], axis: usize) -> Result<Self, Reason> {
        let before = dims[..axis].iter().filter(|dim| dim.fixed() != Some(1)).cloned().collect();
        let Some(times) = quotient(&dims[axis..=axis], &[Dim::batch()]) else {
            return unsupported(format!("the axis of size {} is no multiple of the batch", dims[axis]));
        };
        Ok(Parts { before, times, behind: dims[axis + 1..].to_vec() })
    }

    fn size_before(&self) -> Dim {
        Dim::from(count(&self.before))
    }
}

impl Importer<'_> {
    /// The same elements with other axes, one of which is the batch or a multiple of it.
    pub(crate) fn reshape_around_batch(&mut self, data: &Data, dims: &[Dim]) -> Result<Data, Reason> {
        let is_batched = |dim: &Dim| dim.polynomial().symbols().contains(&Symbol::BATCH);
        let Batch::Axis(own) = data.batch else { return unsupported("its batch is no axis") };
        let Some(place) = dims.iter().position(is_batched) else {
            return unsupported("the new shape has no axis for the batch");
        };
        let result = Data { batch: Batch::Axis(place), ..data.with(data.value, dims.to_vec()) };
        let (old, new) = (Parts::of(&data.dims, own)?, Parts::of(dims, place)?);
        let is_same = old.before == new.before;
        if is_same && (old.before.is_empty() || old.times == new.times) {
            let value = self.shaped(data.value, result.shape())?;
            return Ok(Data { value, ..result });
        }
        // `[N, before, times, behind]`
        let (batch, before) = (Dim::batch(), old.size_before());
        let rest =
            |parts: &Parts| Dim::from(count(&[std::slice::from_ref(&parts.times), &parts.behind].concat()));
        let value = match (old.before.is_empty(), old.times.fixed()) {
            (true, _) | (_, Some(1)) => data.value,
            _ => {
                let behind = Dim::from(count(&old.behind));
                let apart = Shape::new([batch.clone(), old.times.clone(), before.clone(), behind]);
                let apart = self.shaped(data.value, apart)?;
                self.op(Transpose { order: vec![0, 2, 1, 3] }, &[apart])?
            }
        };
        let value = if is_same {
            value
        } else if new.before.is_empty() {
            // The axes before the batch become a part of it, the outer one.
            let steps = self.shaped(value, Shape::new([batch.clone(), before, rest(&old)]))?;
            let folded = self.fold_steps(steps)?;
            let value = self.shaped(folded, result.shape())?;
            return Ok(Data { value, ..result });
        } else if old.before.is_empty() {
            // A part of the batch, the outer one, becomes axes before it.
            let Some(inner) = quotient(&data.dims, &[new.before.clone(), vec![batch.clone()]].concat())
            else {
                return unsupported("the new axes before the batch are no part of it");
            };
            let first = Dim::from(count(&[&new.before[..], std::slice::from_ref(&batch)].concat()));
            let folded = self.shaped(value, Shape::new([first, inner.clone()]))?;
            let shape = Shape::new([batch.clone(), new.size_before(), inner]);
            self.op(UnfoldSteps { shape }, &[folded])?
        } else {
            return unsupported("the reshape changes the axes before the batch");
        };
        // The other way round.
        let value = match new.times.fixed() {
            Some(1) => value,
            _ => {
                let behind = Dim::from(count(&new.behind));
                let apart = Shape::new([batch, new.size_before(), new.times.clone(), behind]);
                let apart = self.shaped(value, apart)?;
                self.op(Transpose { order: vec![0, 2, 1, 3] }, &[apart])?
            }
        };
        let value = self.shaped(value, result.shape())?;
        Ok(Data { value, ..result })
    }
}
