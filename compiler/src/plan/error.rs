//! Errors of planning.

use thiserror::Error;

use crate::error::GraphError;
use crate::target::TargetError;

/// Why a graph has no plan.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A setting outside its range.
    #[error("`{setting}` is {value} but must be {expected}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: usize,
        /// The allowed values, in words.
        expected: &'static str,
    },
    /// The graph is invalid.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The requested target is not available.
    #[error(transparent)]
    Target(#[from] TargetError),
}
