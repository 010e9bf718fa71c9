//! How a model is imported.

use std::collections::BTreeMap;

use crate::known::{Elements, Known};

/// How a model is imported: which inputs are parameters or have a known value, and sizes that are fixed.
///
/// ```
/// use windlass::onnx::ImportOptions;
/// let options = ImportOptions::new().size("sequence", 128).integers("mask_shape", &[2], vec![1, 128]);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ImportOptions {
    pub(crate) values: BTreeMap<String, Known>,
    pub(crate) parameters: BTreeMap<String, Known>,
    pub(crate) sizes: BTreeMap<String, usize>,
    pub(crate) shapes: BTreeMap<String, Vec<usize>>,
}

impl ImportOptions {
    /// Every input of the model is an input of the network, and every axis with a name has an open size.
    pub fn new() -> Self {
        ImportOptions::default()
    }

    /// Fixes the size of the axes of a name, such as `batch` or `sequence`.
    #[must_use]
    pub fn size(mut self, name: &str, size: usize) -> Self {
        self.sizes.insert(name.to_owned(), size);
        self
    }

    /// Fixes all sizes of an input, whether its axes have names or not.
    #[must_use]
    pub fn shape(mut self, input: &str, sizes: &[usize]) -> Self {
        self.shapes.insert(input.to_owned(), sizes.to_vec());
        self
    }

    /// Makes an input a parameter with these values, row-major; for example the weight of a convolution.
    #[must_use]
    pub fn parameter(mut self, input: &str, dims: &[usize], values: Vec<f32>) -> Self {
        self.parameters.insert(input.to_owned(), given(dims, Elements::Floats(values.into())));
        self
    }

    /// Gives an input a known value of floats, row-major.
    #[must_use]
    pub fn value(mut self, input: &str, dims: &[usize], values: Vec<f32>) -> Self {
        self.values.insert(input.to_owned(), given(dims, Elements::Floats(values.into())));
        self
    }

    /// Gives an input a known value of integers, row-major. If the input has floats, they are converted.
    #[must_use]
    pub fn integers(mut self, input: &str, dims: &[usize], values: Vec<i64>) -> Self {
        self.values.insert(input.to_owned(), given(dims, Elements::Integers(values.into())));
        self
    }

    /// Gives an input a known value of truth values, row-major.
    #[must_use]
    pub fn booleans(mut self, input: &str, dims: &[usize], values: Vec<bool>) -> Self {
        self.values.insert(input.to_owned(), given(dims, Elements::Booleans(values.into())));
        self
    }
}

fn given(dims: &[usize], elements: Elements) -> Known {
    Known::new(dims.to_vec(), elements)
}
