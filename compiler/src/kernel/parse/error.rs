//! Errors in the text of a kernel.

use thiserror::Error;

/// Text that is not a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseKernelError {
    /// A syntax error.
    #[error("line {line}, column {column}: expected {expected}, found {found}")]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// The column, in characters counted from 1.
        column: usize,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// More of something than a kernel may have.
    #[error("line {line}, column {column}: {what} must be at most {most}")]
    TooMany {
        /// The line, counted from 1.
        line: usize,
        /// The column, in characters counted from 1.
        column: usize,
        /// What there is too much of.
        what: &'static str,
        /// The maximum.
        most: usize,
    },
    /// The text parses to a kernel that breaks an invariant.
    #[error("{reason}")]
    Invalid {
        /// The kernel and the invariant.
        reason: String,
    },
}
