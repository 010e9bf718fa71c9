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
    /// Layers that are to be loaded in order, but have no numbers in the file.
    NoOrder {
        /// The layer in the file.
        layer: String,
    },
    /// Another number of layers, which are to be loaded in order.
    LayersDiffer {
        /// Those of the network with parameters.
        expected: usize,
        /// Those of the file with tensors.
        got: usize,
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
            TensorMismatch::NoOrder { layer } => write!(
                f,
                "the layer `{layer}` has no number, so that the order of the layers is unknown: rename it to a number, or \
                 to the network's label"
            ),
            TensorMismatch::LayersDiffer { expected, got } => write!(
                f,
                "{got} layers of the file are to be loaded in order, but the network has {expected} with parameters"
            ),
            TensorMismatch::Type { name, got } => {
                write!(f, "`{name}` has elements of type {got} where F32 is needed; convert the file")
            }
        }
    }
}
