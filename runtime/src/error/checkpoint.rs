//! What may be wrong with a checkpoint.

use std::path::PathBuf;

use super::mismatch::TensorMismatch;
use super::words::bulleted;

/// Why a file cannot be loaded as a checkpoint, or resumed from.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file is not a safetensors file.
    #[error("{} is not a valid safetensors file: {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A checkpoint does not contain the graph of its network.
    #[error(
        "{} has tensors but no graph of their network: declare the network, or give its graph in a file of its own",
        path.display()
    )]
    WithoutGraph {
        /// The file.
        path: PathBuf,
    },
    /// A checkpoint was written by a later version.
    #[error(
        "{} has the format version {got} but this version reads up to {supported}; update Windlass",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        got: u32,
        /// The latest supported version.
        supported: u32,
    },
    /// The tensors of a checkpoint are not those of the network.
    #[error("{} does not fit the network:{}", path.display(), bulleted(mismatches))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Every mismatched tensor, by name.
        mismatches: Vec<TensorMismatch>,
    },
    /// A checkpoint of another network, whose tensors would fit.
    #[error(
        "{} holds the network `{got}`, not `{expected}`; to load it anyway, use `LoadOptions::any_network`",
        path.display()
    )]
    Network {
        /// The file.
        path: PathBuf,
        /// The network to load.
        expected: String,
        /// The network named in the file.
        got: String,
    },
    /// A training run that was started with another optimiser.
    #[error(
        "{} was written by {got}, but the options say {expected}: resume with {got}, or load only the parameters with \
         `Model::load` and train anew",
        path.display()
    )]
    Optimizer {
        /// The file.
        path: PathBuf,
        /// The optimiser of the options.
        expected: &'static str,
        /// The optimiser in the file.
        got: &'static str,
    },
    /// A training run that was saved between two batches of an update, for another number of batches.
    #[error(
        "{} has the gradients of {accumulated} of {got} batches of an update, but the options say {expected}: resume with \
         `accumulate` {got}",
        path.display()
    )]
    Accumulation {
        /// The file.
        path: PathBuf,
        /// The batches of an update in the options.
        expected: u64,
        /// The batches of an update in the file.
        got: u64,
        /// The batches whose gradients the file has.
        accumulated: u64,
    },
}
