//! Code generation: from a plan to functions in executable memory.

mod clif;
mod isa;
mod memory;
mod perf_map;
mod program;
mod wide;

pub use isa::{VECTOR_BITS, available_vector_bits};
pub(crate) use isa::{check_vectors, widest};
pub use program::{Listing, Program, Step, Units};

use thiserror::Error;

/// Why no code could be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodegenError {
    /// Vectors of a width there is no code for.
    #[error(
        "there is no code for vectors of {bits} bits; leave `vector_bits` unset or use one of {VECTOR_BITS:?}"
    )]
    VectorWidth {
        /// The width asked for.
        bits: usize,
    },
    /// Vectors of a width this CPU does not have.
    #[error(
        "this CPU has no vectors of {bits} bits (they need {needs}); leave `vector_bits` unset to get {widest}"
    )]
    MissingVectors {
        /// The width asked for.
        bits: usize,
        /// The instructions it needs.
        needs: &'static str,
        /// The widest there are.
        widest: usize,
    },
    /// Wide vectors and at the same time only the instructions that every CPU has.
    #[error(
        "every CPU has vectors of 128 bits only: `features` must be `Native` for a `vector_bits` of {bits}"
    )]
    BaselineVectors {
        /// The width asked for.
        bits: usize,
    },
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
