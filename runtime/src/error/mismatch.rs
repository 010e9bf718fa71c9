//! Tensors of a checkpoint that do not fit a network.

use std::fmt;

/// One tensor of a checkpoint that does not fit the network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorMismatch {
    /// The network has it, but the file does not.
    Missing {
        /// The tensor.
        name: String,
        /// Its shape in the network.
        expected: Vec<usize>,
    },
    /// The file has it, but the network does not.
    Unexpected {
        /// The tensor.
        name: String,
        /// Its shape in the file.
        got: Vec<usize>,
    },
    /// Both have it, with different shapes.
    Shape {
        /// The tensor.
        name: String,
        /// Its shape in the network.
        expected: Vec<usize>,
        /// Its shape in the file.
        got: Vec<usize>,
    },
    /// Two tensors of the file have the same name after renaming.
    SameName {
        /// The new name.
        name: String,
        /// The two names in the file.
        in_file: [String; 2],
    },
    /// A rename that matches no tensor of the file.
    NothingToRename {
        /// The name to rename.
        name: String,
    },
    /// Its elements are not 32-bit floats.
    Type {
        /// The tensor.
        name: String,
        /// The element type in the file, as safetensors names it.
        got: String,
    },
}

impl fmt::Display for TensorMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TensorMismatch::Missing { name, expected } => {
                write!(f, "`{name}` {expected:?} is missing from the file")
            }
            TensorMismatch::Unexpected { name, got } => write!(f, "`{name}` {got:?} is not in the network"),
            TensorMismatch::Shape { name, expected, got } => {
                write!(f, "`{name}` is {got:?} in the file but {expected:?} in the network")
            }
            TensorMismatch::SameName { name, in_file: [first, second] } => {
                write!(f, "`{first}` and `{second}` are both renamed to `{name}`")
            }
            TensorMismatch::NothingToRename { name } => {
                write!(f, "`{name}` is to be renamed, but no tensor of the file has that name or layer")
            }
            TensorMismatch::Type { name, got } => {
                write!(f, "`{name}` has elements of type {got} where F32 is needed; convert the file")
            }
        }
    }
}
