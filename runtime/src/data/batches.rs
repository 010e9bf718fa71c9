//! What training and evaluation read: the batches of a data set, epoch by epoch.

use std::ops::ControlFlow;

use crate::error::Error;
use crate::network::DynamicInputs;
use crate::trainer::Target;

/// The inputs and the target of a batch.
#[derive(Clone, Debug)]
pub struct Minibatch<'a> {
    /// The inputs: a single one, or several by name.
    pub inputs: DynamicInputs<'a>,
    /// The target.
    pub target: Target<'a>,
}

impl<'a> Minibatch<'a> {
    /// A batch of anything that converts to inputs and to a target, as for [`Trainer::step`](crate::Trainer::step) of a
    /// [`Dynamic`](crate::Dynamic) network.
    pub fn new(inputs: impl Into<DynamicInputs<'a>>, target: impl Into<Target<'a>>) -> Self {
        Minibatch { inputs: inputs.into(), target: target.into() }
    }
}

/// The batches of a data set, epoch by epoch: what [`Trainer::fit`](crate::Trainer::fit) and
/// [`Model::evaluate`](crate::Model::evaluate) read.
///
/// `DataLoader` has those of images, `TensorLoader` those of arrays, and [`from_fn`] those of an
/// iterator. `()` has none: `trainer.fit(&train, &(), options)` trains without validation.
pub trait Batches {
    /// The number of batches of an epoch.
    fn count(&self) -> usize;

    /// Calls `visit` with each batch of an epoch, counted from 0, until it breaks. The same number always gives the same
    /// batches, so that training can resume at any epoch.
    ///
    /// # Errors
    /// Those of reading the data.
    fn visit(&self, epoch: u64, visit: &mut dyn FnMut(Minibatch<'_>) -> ControlFlow<()>)
    -> Result<(), Error>;
}

impl<T: Batches + ?Sized> Batches for &T {
    fn count(&self) -> usize {
        (**self).count()
    }

    fn visit(
        &self,
        epoch: u64,
        visit: &mut dyn FnMut(Minibatch<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        (**self).visit(epoch, visit)
    }
}

/// No data.
impl Batches for () {
    fn count(&self) -> usize {
        0
    }

    fn visit(&self, _: u64, _: &mut dyn FnMut(Minibatch<'_>) -> ControlFlow<()>) -> Result<(), Error> {
        Ok(())
    }
}

/// What holds the inputs and the target of a batch: a `Batch` of images, or a pair of arrays.
pub trait AsMinibatch {
    /// The inputs and the target.
    fn as_minibatch(&self) -> Minibatch<'_>;
}

impl<X, Y> AsMinibatch for (X, Y)
where
    for<'a> &'a X: Into<DynamicInputs<'a>>,
    for<'a> &'a Y: Into<Target<'a>>,
{
    fn as_minibatch(&self) -> Minibatch<'_> {
        Minibatch::new(&self.0, &self.1)
    }
}

/// The batches of an iterator that a function makes for each epoch.
#[derive(Clone, Copy, Debug)]
pub struct FromFn<F> {
    count: usize,
    epoch: F,
}

/// Batches that are made as they are needed: `epoch` gives an iterator over the `count` batches of an epoch. The same
/// number must always give the same batches, or training cannot resume with the same bits.
///
/// ```
/// use ndarray::Array2;
/// use windlass::data::{Batches, from_fn};
///
/// // Random points, and whether the first coordinate is the larger one.
/// let batches = from_fn(10, |epoch| {
///     (0..10).map(move |batch| {
///         let number = |(row, column)| ((epoch * 10 + batch) * 64 + row as u64 * 2 + column as u64) as f32 * 0.618 % 1.0;
///         let points = Array2::from_shape_fn((32, 2), number);
///         let labels: Vec<i32> = points.rows().into_iter().map(|point| i32::from(point[0] > point[1])).collect();
///         (points, labels)
///     })
/// });
/// assert_eq!(batches.count(), 10);
/// ```
pub fn from_fn<F, I>(count: usize, epoch: F) -> FromFn<F>
where
    F: Fn(u64) -> I,
    I: IntoIterator,
    I::Item: AsMinibatch,
{
    FromFn { count, epoch }
}

impl<F, I> Batches for FromFn<F>
where
    F: Fn(u64) -> I,
    I: IntoIterator,
    I::Item: AsMinibatch,
{
    fn count(&self) -> usize {
        self.count
    }

    fn visit(
        &self,
        epoch: u64,
        visit: &mut dyn FnMut(Minibatch<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        for batch in (self.epoch)(epoch).into_iter().take(self.count) {
            if visit(batch.as_minibatch()).is_break() {
                break;
            }
        }
        Ok(())
    }
}
