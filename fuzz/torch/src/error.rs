//! What can be wrong with the files of a run.

use std::path::PathBuf;

use thiserror::Error;
use windlass_compiler::autodiff::AutodiffError;
use windlass_compiler::error::GraphError;

/// Why networks could not be compared at all.
#[derive(Debug, Error)]
pub enum Error {
    /// A file or folder that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A folder that `draw.py` wrote nothing to.
    #[error("no part-*.jsonl in {}: write some with `python draw.py --out {}`", path.display(), path.display())]
    NoParts {
        /// The folder.
        path: PathBuf,
    },
    /// A line that describes no network.
    #[error("{}, line {line}: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file of tensors that is none.
    #[error("{}: {source}", path.display())]
    Tensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: safetensors::SafeTensorError,
    },
    /// A tensor that is missing or is not what its network needs.
    #[error("`{tensor}` in {}: {problem}", path.display())]
    Tensor {
        /// The tensor's name in the file.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A layer with too many operands, a value that does not exist, or a result whose deviation is not stated.
    #[error("network `{network}`, `{part}`: {problem}")]
    Described {
        /// The network.
        network: String,
        /// The layer or result.
        part: String,
        /// What is wrong.
        problem: String,
    },
    /// A stack that is no graph.
    #[error("network `{network}`: {source}")]
    Graph {
        /// The network.
        network: String,
        /// What is wrong.
        source: Box<GraphError>,
    },
    /// A network that cannot be trained as described.
    #[error("network `{network}`: {source}")]
    Training {
        /// The network.
        network: String,
        /// What is wrong.
        source: Box<AutodiffError>,
    },
    /// A name given to `--only` that no network has.
    #[error("no network `{name}` in {}", path.display())]
    Unknown {
        /// The name asked for.
        name: String,
        /// The folder.
        path: PathBuf,
    },
}
