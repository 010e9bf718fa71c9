//! What a training step gives: its outputs, in memory that is kept from one step to the next.

use ndarray::{Dimension, IxDyn};
use windlass_compiler::plan::Slot;

use crate::available;
use crate::error::Error;

/// An output of the training step, kept from one step to the next.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) slot: usize,
    /// Empty before the first step.
    pub(super) elements: Vec<f32>,
    /// The sizes of the last batch.
    pub(super) sizes: IxDyn,
    is_batched: bool,
}

impl Output {
    pub(super) fn new(place: usize, slot: &Slot) -> Self {
        let shape = &slot.ty.shape;
        Output {
            name: slot.name.clone(),
            slot: place,
            elements: Vec::new(),
            sizes: IxDyn(&shape.concrete(0)),
            is_batched: shape.is_batched(),
        }
    }

    /// Makes room for a batch.
    pub(super) fn resize(&mut self, batch: usize) -> Result<(), Error> {
        let mut sizes = self.sizes.clone();
        if self.is_batched {
            sizes[0] = batch;
        }
        let count = sizes.slice().iter().fold(1usize, |product, &size| product.saturating_mul(size));
        let what = || format!("the output `{}` of a batch of {batch}", self.name);
        available::grow(&mut self.elements, count, what)?;
        self.sizes = sizes;
        Ok(())
    }
}
