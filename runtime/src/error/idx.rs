//! Errors in IDX files.

use std::io;
use std::path::PathBuf;

/// Why an IDX file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdxError {
    /// A file does not start like an IDX file of the expected kind.
    #[error(
        "{} is not an IDX file of unsigned bytes with {rank} axes: it starts with {got:#010x}, not \
         {expected:#010x}; check that images and labels are not exchanged",
        path.display()
    )]
    Magic {
        /// The file.
        path: PathBuf,
        /// The expected number of axes: 3 for images, 1 for labels.
        rank: usize,
        /// The expected magic number.
        expected: u32,
        /// The actual magic number.
        got: u32,
    },
    /// An IDX file is shorter than its header says.
    #[error(
        "{} is truncated: it holds {got} bytes but its header needs {expected}; fetch the file again",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes needed, including the header.
        expected: u64,
        /// Bytes found, after decompression.
        got: u64,
    },
    /// An IDX file is longer than its header says.
    #[error(
        "{} has bytes past its end: its header gives {expected} bytes but it holds at least {got}; fetch the \
         file again",
        path.display()
    )]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// Bytes expected: after decompression, or of the compressed stream if more bytes follow it.
        expected: u64,
        /// Bytes found, at least.
        got: u64,
    },
    /// An IDX header gives more elements than the limit.
    #[error(
        "the header of {} gives {sizes:?} elements, more than the {limit} bytes this reader accepts; the file is \
         corrupt or no data set of images",
        path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The sizes in the header.
        sizes: Vec<u32>,
        /// The maximum number of bytes.
        limit: u64,
    },
    /// A gzip stream cannot be decompressed.
    #[error("{} is a corrupt gzip file: {reason}; fetch the file again", path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// The decoder's error.
        reason: io::Error,
    },
}
