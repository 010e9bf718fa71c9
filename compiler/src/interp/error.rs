//! What can be wrong with the values a graph is run on.

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
    /// A value has other sizes than its source declares.
    #[error("`{name}` needs the sizes {expected:?} but receives {got:?}")]
    WrongSizes {
        /// The source.
        name: String,
        /// Its sizes at this batch size.
        expected: Vec<usize>,
        /// The sizes of the array.
        got: Vec<usize>,
    },
    /// An array holds more or fewer elements than its sizes say.
    #[error("`{name}` has the sizes {sizes:?}, which take {expected} elements, but holds {got}")]
    WrongElementCount {
        /// The source.
        name: String,
        /// The sizes of the array.
        sizes: Vec<usize>,
        /// Their product.
        expected: usize,
        /// How many elements there are.
        got: usize,
    },
    /// A value has another element type than its source declares.
    #[error("`{name}` needs {expected} elements but receives {got}")]
    WrongDType {
        /// The source.
        name: String,
        /// The type it declares.
        expected: DType,
        /// The type of the array.
        got: DType,
    },
    /// A batch without items, of which no mean can be taken.
    #[error("the batch is empty; run at least one item")]
    EmptyBatch,
    /// An open size without a value, or with 0.
    #[error("the input `{input}` needs a size of at least 1 for {size}")]
    OpenSize {
        /// The input.
        input: String,
        /// The size.
        size: Symbol,
    },
    /// A batch that no memory can hold.
    #[error("a batch of {batch} items is too large: run fewer at a time")]
    BatchTooLarge {
        /// The items.
        batch: usize,
    },
    /// A label that names no class.
    #[error("item {item} has label {label}, but there are {classes} classes: labels are 0..{classes}")]
    LabelOutOfRange {
        /// The item of the batch, counted from 0.
        item: usize,
        /// Its label.
        label: i32,
        /// The number of classes.
        classes: usize,
    },
}
