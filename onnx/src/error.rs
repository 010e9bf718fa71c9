//! Why a model cannot be imported. Everything that is not supported is reported at once.

use std::fmt;
use std::path::PathBuf;

use windlass_compiler::error::{GraphError, ShapeError};

/// An ONNX model that cannot be imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// A file cannot be read.
    #[error("could not read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: std::io::Error,
    },
    /// Bytes that are no ONNX model.
    #[error("it is no ONNX model: {reason}")]
    Format {
        /// The reason.
        reason: String,
    },
    /// A tensor of the file with contradictory fields, or elements that are not supported.
    #[error("the tensor `{name}` {reason}")]
    Tensor {
        /// Its name.
        name: String,
        /// The reason.
        reason: String,
    },
    /// An input or an output of the model that is not supported.
    #[error("the {what} `{name}` {reason}")]
    Port {
        /// "input" or "output".
        what: &'static str,
        /// Its name.
        name: String,
        /// The reason.
        reason: String,
    },
    /// An option that names an input or axis that the model does not have, or does not fit it.
    #[error("the option for `{name}` {reason}")]
    Option {
        /// The input, or the name of the axis.
        name: String,
        /// The reason.
        reason: String,
    },
    /// Nodes that cannot be imported.
    #[error("{} of the model cannot be imported:{}", counted(.problems.len()), listed(.problems))]
    Nodes {
        /// One problem for each node, in the order of the file.
        problems: Vec<Problem>,
    },
    /// The graph is invalid.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

fn counted(nodes: usize) -> String {
    if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") }
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

impl ImportError {
    /// The problems of nodes; none for other errors.
    pub fn problems(&self) -> &[Problem] {
        match self {
            ImportError::Nodes { problems } => problems,
            _ => &[],
        }
    }
}

/// Why a node cannot be imported.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The name of the node, or of its first result.
    pub node: String,
    /// Its operator.
    pub operator: String,
    /// The reason.
    pub reason: Reason,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`: {}", self.operator, self.node, self.reason)
    }
}

/// The reason of a [`Problem`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// An operator that is not supported.
    #[error("the operator is not supported")]
    Operator,
    /// An attribute that is not supported.
    #[error("the attribute `{name}` is not supported")]
    Attribute {
        /// The attribute.
        name: String,
    },
    /// A value of an attribute that is not supported.
    #[error("`{name} = {value}` is not supported: {needed}")]
    AttributeValue {
        /// The attribute.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is supported.
        needed: String,
    },
    /// An operand that is missing.
    #[error("operand {index} is missing")]
    Missing {
        /// Its position, counted from 0.
        index: usize,
    },
    /// An operand whose elements must be known when the model is imported.
    #[error(
        "operand {index} must be known when the model is imported{}",
        .input.as_ref().map(|name| format!("; give the input `{name}` a value with `ImportOptions::value`")).unwrap_or_default()
    )]
    NeedsKnown {
        /// The position of the operand, counted from 0.
        index: usize,
        /// The input of the model that the operand is, if it is one.
        input: Option<String>,
    },
    /// An operand that must be a parameter, such as the weight of a convolution.
    #[error(
        "operand {index} must be a parameter{}",
        .input.as_ref().map(|name| format!("; declare the input `{name}` as one with `ImportOptions::parameter`")).unwrap_or_default()
    )]
    NeedsParameter {
        /// The position of the operand, counted from 0.
        index: usize,
        /// The input of the model that the operand is, if it is one.
        input: Option<String>,
    },
    /// An operation along the axis of the batch, whose samples are independent.
    #[error("it works along axis {axis}, which is the batch: a network computes each sample on its own")]
    BatchAxis {
        /// The axis, counted from 0.
        axis: usize,
    },
    /// An operand of a type or shape that is not supported.
    #[error("operand {index} {problem}")]
    Operand {
        /// The position of the operand, counted from 0.
        index: usize,
        /// What does not fit.
        problem: String,
    },
    /// Operands that do not fit each other, or a combination that is not supported.
    #[error("{0}")]
    Unsupported(String),
    /// A shape rule of Windlass.
    #[error("{0}")]
    Shape(ShapeError),
}

impl Reason {
    /// The same reason for operand `index`, if it is about an operand.
    pub(crate) fn of_operand(self, at: usize) -> Self {
        match self {
            Reason::NeedsKnown { input, .. } => Reason::NeedsKnown { index: at, input },
            Reason::NeedsParameter { input, .. } => Reason::NeedsParameter { index: at, input },
            Reason::Operand { problem, .. } => Reason::Operand { index: at, problem },
            other => other,
        }
    }

    /// The input of the model that must be a parameter or have a value.
    pub fn input(&self) -> Option<&str> {
        match self {
            Reason::NeedsKnown { input, .. } | Reason::NeedsParameter { input, .. } => input.as_deref(),
            _ => None,
        }
    }
}

impl From<GraphError> for Reason {
    fn from(error: GraphError) -> Self {
        match error {
            GraphError::Shape { error, .. } => Reason::Shape(error),
            other => Reason::Unsupported(other.to_string()),
        }
    }
}

impl From<ShapeError> for Reason {
    fn from(error: ShapeError) -> Self {
        Reason::Shape(error)
    }
}

/// A combination that is not supported.
pub(crate) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Reason> {
    Err(Reason::Unsupported(reason.into()))
}
