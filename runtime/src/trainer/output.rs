//! The outputs of a training step, in memory that is reused for every step.

use ndarray::{Dimension, IxDyn};
use windlass_compiler::plan::Slot;
use windlass_compiler::shape::{Shape, Sizes};

use crate::available;
use crate::error::Error;
use crate::forward::concrete;

/// An output of the training step, kept until the next step.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) slot: usize,
    /// Empty before the first step.
    pub(super) elements: Vec<f32>,
    /// The sizes of the last batch.
    pub(super) sizes: IxDyn,
    shape: Shape,
}

impl Output {
    pub(super) fn new(place: usize, slot: &Slot) -> Self {
        let shape = &slot.ty.shape;
        Output {
            name: slot.name.clone(),
            slot: place,
            elements: Vec::new(),
            sizes: IxDyn(&shape.concrete(0)),
            shape: shape.clone(),
        }
    }

    /// Makes room for the outputs of a run.
    pub(super) fn resize(&mut self, run: &Sizes) -> Result<(), Error> {
        let sizes = concrete(&self.shape, run);
        let count = sizes.slice().iter().fold(1usize, |product, &size| product.saturating_mul(size));
        let what = || format!("the output `{}` of a batch of {}", self.name, run.batch());
        available::grow(&mut self.elements, count, what)?;
        self.sizes = sizes;
        Ok(())
    }
}
