//! One value for each example of a data set.

use ndarray::{Array, ArrayView, Dimension, IxDyn};

use crate::network::Feed;
use crate::trainer::Target;

/// A value for each example. Arrays convert to it, with the examples along the first axis, and so do vectors.
///
/// The values of a vector have no shape: it holds as many for each example as fit.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    values: Values,
    /// The shape of all values, the number of examples first; `None` for a vector.
    pub(super) shape: Option<IxDyn>,
}

/// The elements of a column.
#[derive(Clone, Debug, PartialEq)]
enum Values {
    Numbers(Vec<f32>),
    Indices(Vec<i32>),
}

impl From<Vec<f32>> for Column {
    fn from(values: Vec<f32>) -> Self {
        Column { values: Values::Numbers(values), shape: None }
    }
}

impl From<Vec<i32>> for Column {
    fn from(values: Vec<i32>) -> Self {
        Column { values: Values::Indices(values), shape: None }
    }
}

impl<D: Dimension> From<Array<f32, D>> for Column {
    fn from(array: Array<f32, D>) -> Self {
        let shape = Some(IxDyn(array.shape()));
        Column { values: Values::Numbers(contiguous(array)), shape }
    }
}

impl<D: Dimension> From<Array<i32, D>> for Column {
    fn from(array: Array<i32, D>) -> Self {
        let shape = Some(IxDyn(array.shape()));
        Column { values: Values::Indices(contiguous(array)), shape }
    }
}

/// The elements of an array with the last axis contiguous; moved if they are in this order.
fn contiguous<E: Copy, D: Dimension>(array: Array<E, D>) -> Vec<E> {
    if array.is_standard_layout() {
        let (elements, offset) = array.into_raw_vec_and_offset();
        if offset.unwrap_or(0) == 0 {
            return elements;
        }
        return elements[offset.unwrap_or(0)..].to_vec();
    }
    array.iter().copied().collect()
}

impl Column {
    /// A column without elements, like this one.
    pub(super) fn empty(&self) -> Self {
        let values = match self.values {
            Values::Numbers(_) => Values::Numbers(Vec::new()),
            Values::Indices(_) => Values::Indices(Vec::new()),
        };
        Column { values, shape: self.shape.clone() }
    }

    /// The elements, if they are indices.
    pub(super) fn indices(&self) -> Option<&[i32]> {
        match &self.values {
            Values::Numbers(_) => None,
            Values::Indices(values) => Some(values),
        }
    }

    pub(super) fn elements(&self) -> usize {
        match &self.values {
            Values::Numbers(values) => values.len(),
            Values::Indices(values) => values.len(),
        }
    }

    /// Replaces the elements by those of some examples of a column of `examples`, reusing memory.
    pub(super) fn take(&mut self, from: &Column, examples: usize, indices: &[usize]) {
        fn copy<E: Copy>(to: &mut Vec<E>, from: &[E], examples: usize, indices: &[usize]) {
            let length = from.len() / examples;
            to.clear();
            to.reserve(indices.len() * length);
            for &index in indices {
                to.extend_from_slice(&from[index * length..(index + 1) * length]);
            }
        }
        match (&mut self.values, &from.values) {
            (Values::Numbers(to), Values::Numbers(from)) => copy(to, from, examples, indices),
            (Values::Indices(to), Values::Indices(from)) => copy(to, from, examples, indices),
            (to, from) => {
                *to = from.clone();
            }
        }
        if let Some(shape) = &mut self.shape {
            shape.slice_mut()[0] = indices.len();
        }
    }

    /// The elements as an input.
    pub(super) fn feed(&self) -> Feed<'_> {
        fn feed<'a, E>(elements: &'a [E], shape: Option<&IxDyn>) -> Feed<'a>
        where
            Feed<'a>: From<&'a [E]> + From<ArrayView<'a, E, IxDyn>>,
        {
            match shape.map(|shape| ArrayView::from_shape(shape.clone(), elements)) {
                Some(Ok(view)) => Feed::from(view),
                _ => Feed::from(elements),
            }
        }
        match &self.values {
            Values::Numbers(elements) => feed(elements, self.shape.as_ref()),
            Values::Indices(elements) => feed(elements, self.shape.as_ref()),
        }
    }

    /// The elements as a target: indices are labels.
    pub(super) fn target(&self) -> Target<'_> {
        match self.feed() {
            Feed::Numbers(values) => Target::Values(values),
            Feed::Indices(labels) => Target::Labels(labels),
        }
    }
}
