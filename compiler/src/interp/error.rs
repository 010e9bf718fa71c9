//! Errors in the values a graph is run on.

use thiserror::Error;

use crate::shape::{DType, Symbol};

/// Why a graph cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InterpError {
    /// An input, parameter or state has no value.
    #[error("no value is given for the {kind} `{name}`; bind an array of sizes {sizes:?} to it")]
    MissingBinding {
        /// "input", "parameter" or "state".
        kind: &'static str,
        /// Its name.
        name: String,
        /// The sizes it needs.
        sizes: Vec<usize>,
    },
    /// The array's sizes differ from those its source declares.
    #[error("`{name}` needs the sizes {expected:?} but receives {got:?}")]
    WrongSizes {
        /// The source.
        name: String,
        /// Its sizes at this batch size.
        expected: Vec<usize>,
        /// The sizes of the array.
        got: Vec<usize>,
    },
    /// The number of elements does not match the sizes.
    #[error("`{name}` has the sizes {sizes:?}, which take {expected} elements, but holds {got}")]
    WrongElementCount {
        /// The source.
        name: String,
        /// The sizes of the array.
        sizes: Vec<usize>,
        /// Their product.
        expected: usize,
        /// The number of elements.
        got: usize,
    },
    /// The array's element type differs from the one its source declares.
    #[error("`{name}` needs {expected} elements but receives {got}")]
    WrongDType {
        /// The source.
        name: String,
        /// The type it declares.
        expected: DType,
        /// The type of the array.
        got: DType,
    },
    /// An empty batch, which has no mean.
    #[error("the batch is empty; run at least one sample")]
    EmptyBatch,
    /// An open size that is missing or 0.
    #[error("the input `{input}` needs a size of at least 1 for {size}")]
    OpenSize {
        /// The input.
        input: String,
        /// The size.
        size: Symbol,
    },
    /// A batch that is too large for memory.
    #[error("a batch of {batch} samples is too large: run fewer at a time")]
    BatchTooLarge {
        /// The number of samples.
        batch: usize,
    },
    /// A label outside the range of classes.
    #[error("sample {item} has label {label}, but there are {classes} classes: labels are 0..{classes}")]
    LabelOutOfRange {
        /// The sample in the batch, counted from 0.
        item: usize,
        /// Its label.
        label: i32,
        /// The number of classes.
        classes: usize,
    },
}
