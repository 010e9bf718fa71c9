//! Errors in a graph, worded for users.

use thiserror::Error;

use crate::entity::ValueId;
pub use crate::shape::ShapeError;

/// An error in a whole graph: a shape error at a node, a broken reference, or text that does not parse.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A shape rule is broken at a layer or node.
    #[error("`{at}` {error}")]
    Shape {
        /// The layer or node.
        at: String,
        /// The rule.
        error: ShapeError,
    },
    /// Two sources or outputs share a name.
    #[error("the name `{name}` is used twice")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A reference to a parameter or state that does not exist.
    #[error("there is no parameter or state named `{name}`")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// More open sizes than a graph may have.
    #[error("`{at}` has an open size beyond the {most} that a network may have")]
    TooManySizes {
        /// The node.
        at: String,
        /// The maximum.
        most: usize,
    },
    /// A use of a value that does not exist.
    #[error("`{user}` uses {value}, but there are {values} values before it")]
    UnknownValue {
        /// The operator, output or update.
        user: String,
        /// The value.
        value: ValueId,
        /// The number of values before it.
        values: usize,
    },
    /// Inconsistent parts of a deserialized graph.
    #[error("the parts of the graph do not agree: {reason}")]
    Malformed {
        /// The inconsistency.
        reason: String,
    },
    /// A broken invariant: a bug in Windlass, not a user error.
    #[error("invalid graph: {reason} (this is a fault in Windlass; please report it)")]
    Invalid {
        /// What is broken.
        reason: String,
    },
    /// Text that does not parse.
    #[error("line {line}: {reason}")]
    Text {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

impl GraphError {
    /// How to fix it, where that is known.
    pub fn help(&self) -> Option<String> {
        match self {
            GraphError::Shape { error, .. } => error.help(),
            _ => None,
        }
    }
}
