//! Code generation: from a plan to functions in executable memory.

mod clif;
mod compile;
mod isa;
mod jit;
mod memory;
mod narrow;
mod perf_map;
mod program;
mod step;
mod wide;

pub use narrow::{NarrowLeaf, NarrowReason};
pub use program::{Listing, Program};
pub use step::{Step, Units};

use thiserror::Error;

pub use crate::target::{VECTOR_BITS, available_vector_bits};

/// Why no code could be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodegenError {
    /// A CPU there is no code for, or a setting it does not know.
    #[error("cannot generate code for this CPU: {reason}")]
    Target {
        /// What Cranelift says.
        reason: String,
    },
    /// Cranelift refused a function: a fault of Windlass.
    #[error("kernel {kernel}: {reason} (this is a fault in Windlass; please report it)")]
    Refused {
        /// The kernel or leaf.
        kernel: String,
        /// What Cranelift says.
        reason: String,
    },
}

fn refused(kernel: &str, reason: &dyn std::fmt::Display) -> CodegenError {
    CodegenError::Refused { kernel: kernel.to_owned(), reason: reason.to_string() }
}
