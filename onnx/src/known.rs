//! Tensors whose elements are known when a model is imported: initialisers, constants, and what follows from shapes.

use std::sync::Arc;

use windlass_compiler::shape::Polynomial;

use crate::decode::ElementType;

/// The elements of a known tensor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Elements {
    /// Floats; those of other widths are rounded to 32 bits.
    Floats(Arc<[f32]>),
    /// Integers of any width.
    Integers(Arc<[i64]>),
    /// Integers that depend on open sizes.
    Sizes(Arc<[Polynomial]>),
    /// Truth values.
    Booleans(Arc<[bool]>),
}

/// A known tensor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    pub(crate) dims: Vec<usize>,
    pub(crate) elements: Elements,
    /// The name of the initialiser that it is. It becomes a parameter where an operator computes with it.
    pub(crate) name: Option<Arc<str>>,
    /// The type in the file, if it is a tensor of the file.
    pub(crate) element: Option<ElementType>,
}

impl Known {
    pub(crate) fn new(dims: Vec<usize>, elements: Elements) -> Self {
        Known { dims, elements, name: None, element: None }
    }

    pub(crate) fn floats(dims: Vec<usize>, values: Vec<f32>) -> Self {
        Known::new(dims, Elements::Floats(values.into()))
    }

    pub(crate) fn integers(dims: Vec<usize>, values: Vec<i64>) -> Self {
        Known::new(dims, Elements::Integers(values.into()))
    }

    pub(crate) fn booleans(dims: Vec<usize>, values: Vec<bool>) -> Self {
        Known::new(dims, Elements::Booleans(values.into()))
    }

    /// Integers that may depend on open sizes.
    pub(crate) fn sizes(dims: Vec<usize>, values: Vec<Polynomial>) -> Self {
        let numbers: Option<Vec<i64>> = values.iter().map(Polynomial::as_number).collect();
        match numbers {
            Some(numbers) => Known::integers(dims, numbers),
            None => Known::new(dims, Elements::Sizes(values.into())),
        }
    }

    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        match &self.elements {
            Elements::Floats(values) => values.len(),
            Elements::Integers(values) => values.len(),
            Elements::Sizes(values) => values.len(),
            Elements::Booleans(values) => values.len(),
        }
    }

    /// Whether the elements are stored once for both.
    pub(crate) fn shares_elements(&self, other: &Known) -> bool {
        match (&self.elements, &other.elements) {
            (Elements::Floats(a), Elements::Floats(b)) => Arc::ptr_eq(a, b),
            (Elements::Integers(a), Elements::Integers(b)) => Arc::ptr_eq(a, b),
            (Elements::Sizes(a), Elements::Sizes(b)) => Arc::ptr_eq(a, b),
            (Elements::Booleans(a), Elements::Booleans(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// The elements as floats; none if some depend on open sizes.
    pub(crate) fn to_floats(&self) -> Option<Vec<f32>> {
        match &self.elements {
            Elements::Floats(values) => Some(values.to_vec()),
            Elements::Integers(values) => Some(values.iter().map(|&value| value as f32).collect()),
            Elements::Sizes(_) => None,
            Elements::Booleans(values) => {
                Some(values.iter().map(|&value| f32::from(u8::from(value))).collect())
            }
        }
    }

    /// The elements of a tensor of integers that depend on no open size.
    pub(crate) fn to_integers(&self) -> Option<Vec<i64>> {
        match &self.elements {
            Elements::Integers(values) => Some(values.to_vec()),
            _ => None,
        }
    }

    /// The elements of a tensor of integers.
    pub(crate) fn to_sizes(&self) -> Option<Vec<Polynomial>> {
        match &self.elements {
            Elements::Integers(values) => Some(values.iter().map(|&value| Polynomial::from(value)).collect()),
            Elements::Sizes(values) => Some(values.to_vec()),
            _ => None,
        }
    }

    /// The elements of a tensor of truth values.
    pub(crate) fn to_booleans(&self) -> Option<Vec<bool>> {
        match &self.elements {
            Elements::Booleans(values) => Some(values.to_vec()),
            _ => None,
        }
    }

    /// Whether the elements are floats.
    pub(crate) fn is_float(&self) -> bool {
        matches!(self.elements, Elements::Floats(_))
    }

    /// The same elements with other sizes of the same product.
    pub(crate) fn with_dims(&self, dims: Vec<usize>) -> Self {
        Known { dims, elements: self.elements.clone(), name: None, element: self.element }
    }

    /// A tensor of `dims` whose element `i` is the element `place(i)` of this one.
    pub(crate) fn moved(&self, dims: Vec<usize>, place: impl Fn(&[usize]) -> usize) -> Self {
        // A range of known length, so that elements are written where they stay.
        let count = dims.iter().product();
        let mut index = vec![0; dims.len()];
        let places = (0..count).map(|_| {
            let at = place(&index);
            advance(&mut index, &dims);
            at
        });
        let elements = match &self.elements {
            Elements::Floats(values) => Elements::Floats(places.map(|at| values[at]).collect()),
            Elements::Integers(values) => Elements::Integers(places.map(|at| values[at]).collect()),
            Elements::Sizes(values) => Elements::Sizes(places.map(|at| values[at].clone()).collect()),
            Elements::Booleans(values) => Elements::Booleans(places.map(|at| values[at]).collect()),
        };
        let moved = Known::new(dims, elements);
        match &moved.elements {
            // A part may have no open sizes.
            Elements::Sizes(values) => Known::sizes(moved.dims, values.to_vec()),
            _ => moved,
        }
    }

    /// The same tensor repeated along axes of size 1, and along new axes before the first.
    pub(crate) fn broadcast(&self, dims: &[usize]) -> Self {
        let own = strides(&self.dims);
        let missing = dims.len() - self.dims.len();
        self.moved(dims.to_vec(), |index| {
            let axes = index[missing..].iter().zip(&self.dims).zip(&own);
            axes.map(|((&at, &size), &stride)| if size == 1 { 0 } else { at * stride }).sum()
        })
    }
}

/// The distance between neighbouring indices of each axis, row-major.
pub(crate) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}

/// Calls a function with every index of a tensor, row-major.
pub(crate) fn each_index(dims: &[usize], mut function: impl FnMut(&[usize])) {
    if dims.contains(&0) {
        return;
    }
    let mut index = vec![0; dims.len()];
    loop {
        function(&index);
        if !advance(&mut index, dims) {
            return;
        }
    }
}

/// Moves to the next index, and returns whether there is one.
fn advance(index: &mut [usize], dims: &[usize]) -> bool {
    for (at, &size) in index.iter_mut().zip(dims).rev() {
        *at += 1;
        if *at < size {
            return true;
        }
        *at = 0;
    }
    false
}
