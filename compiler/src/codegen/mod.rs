//! Code generation: from a plan to functions in executable memory.

mod avx;
mod clif;
mod compile;
mod fallback;
mod isa;
mod jit;
mod memory;
pub mod object;
mod perf_map;
mod program;
mod step;

pub use fallback::{FallbackLeaf, FallbackReason};
pub use program::{Listing, Program};
pub use step::Step;

use thiserror::Error;

pub use crate::target::{VECTOR_BITS, available_vector_bits};

/// Why code generation failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodegenError {
    /// An unsupported CPU, or a setting that Cranelift does not know.
    #[error("cannot generate code for this CPU: {reason}")]
    Target {
        /// Cranelift's message.
        reason: String,
    },
    /// Cranelift rejected a function: a bug in Windlass.
    #[error("kernel {kernel}: {reason} (this is a fault in Windlass; please report it)")]
    Refused {
        /// The kernel or leaf.
        kernel: String,
        /// Cranelift's message.
        reason: String,
    },
}

fn refused(kernel: &str, reason: &dyn std::fmt::Display) -> CodegenError {
    CodegenError::Refused { kernel: kernel.to_owned(), reason: reason.to_string() }
}
