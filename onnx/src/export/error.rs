//! Why a network cannot be exported. Everything that ONNX cannot express is reported at once.

use std::fmt;

/// A network that cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// Operators that ONNX does not have.
    #[error("{} of the network cannot be exported:{}", counted(.problems.len()), listed(.problems))]
    Operators {
        /// One problem for each operator, in the order of the graph.
        problems: Vec<Unsupported>,
    },
    /// A parameter or state without values, or with another number of them.
    #[error("the parameter `{name}` needs {needed} values but has {}", .got.map_or("none".to_owned(), |got| got.to_string()))]
    Parameter {
        /// Its name.
        name: String,
        /// The number of its elements.
        needed: usize,
        /// The number of its values, if it has any.
        got: Option<usize>,
    },
    /// Weights of more bytes than one file holds, whose format ends at 2 GiB.
    #[error(
        "{bytes} bytes of weights do not fit one file of 2 GiB; name a second one with `ExportOptions::external`"
    )]
    TooLarge {
        /// The bytes of all weights.
        bytes: u64,
    },
}

fn counted(operators: usize) -> String {
    if operators == 1 { "1 operator".to_owned() } else { format!("{operators} operators") }
}

fn listed(problems: &[Unsupported]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// An operator that cannot be exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The layer that it comes from; empty if there is none.
    pub label: String,
    /// Its name in the text form of graphs.
    pub operator: String,
    /// Why it cannot be exported.
    pub reason: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label.is_empty() {
            true => write!(f, "`{}`: {}", self.operator, self.reason),
            false => write!(f, "`{}` of the layer `{}`: {}", self.operator, self.label, self.reason),
        }
    }
}
