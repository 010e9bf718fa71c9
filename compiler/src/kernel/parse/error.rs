//! What can be wrong with the text of a kernel.

use thiserror::Error;

/// Text that is no kernel.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseKernelError {
    /// It is written otherwise.
    #[error("line {line}, column {column}: expected {expected}, found {found}")]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// The column, in characters counted from 1.
        column: usize,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// There is more of something than a kernel may have.
    #[error("line {line}, column {column}: {what} must be at most {most}")]
    TooMany {
        /// The line, counted from 1.
        line: usize,
        /// The column, in characters counted from 1.
        column: usize,
        /// What there is too much of.
        what: &'static str,
        /// The most there may be.
        most: usize,
    },
    /// It reads as a kernel that breaks an invariant.
    #[error("{reason}")]
    Invalid {
        /// The kernel and the invariant.
        reason: String,
    },
}
