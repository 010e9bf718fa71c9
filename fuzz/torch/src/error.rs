//! Errors in the files of a run.

use std::path::PathBuf;

use thiserror::Error;
use windlass_compiler::autodiff::AutodiffError;
use windlass_compiler::error::GraphError;

/// Why networks could not be compared.
#[derive(Debug, Error)]
pub enum Error {
    /// A file or folder that cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// The reason.
        reason: std::io::Error,
    },
    /// A folder without output of `draw.py`.
    #[error("no part-*.jsonl in {}: write some with `python draw.py --out {}`", path.display(), path.display())]
    NoParts {
        /// The folder.
        path: PathBuf,
    },
    /// A line that does not describe a network.
    #[error("{}, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The error.
        reason: serde_json::Error,
    },
    /// An invalid file of tensors.
    #[error("{}: {reason}", path.display())]
    Tensors {
        /// The file.
        path: PathBuf,
        /// The error.
        reason: safetensors::SafeTensorError,
    },
    /// A tensor that is missing or does not fit its network.
    #[error("`{tensor}` in {}: {problem}", path.display())]
    Tensor {
        /// The tensor's name in the file.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// The error.
        problem: String,
    },
    /// A layer with too many operands, a value that does not exist, or a result without a deviation.
    #[error("network `{network}`, `{part}`: {problem}")]
    Described {
        /// The network.
        network: String,
        /// The layer or result.
        part: String,
        /// The error.
        problem: String,
    },
    /// A stack that is not a graph.
    #[error("network `{network}`: {reason}")]
    Graph {
        /// The network.
        network: String,
        /// The error.
        reason: Box<GraphError>,
    },
    /// A network that cannot be trained as described.
    #[error("network `{network}`: {reason}")]
    Training {
        /// The network.
        network: String,
        /// The error.
        reason: Box<AutodiffError>,
    },
    /// An unknown name for `--only`.
    #[error("no network `{name}` in {}", path.display())]
    Unknown {
        /// The given name.
        name: String,
        /// The folder.
        path: PathBuf,
    },
}
