//! Why a leaf falls back to Cranelift, with vectors of 128 bits, in a program of AVX vectors.

use std::fmt;

use thiserror::Error;

/// What the assembler has no registers or instructions for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum FallbackReason {
    /// A tile needs more vector registers than exist.
    #[error("it needs {needed} vector registers, and there are {there}")]
    Registers {
        /// Registers it needs.
        needed: usize,
        /// Existing registers.
        there: usize,
    },
    /// A tile or map has more nested loops than there are counters.
    #[error("it has {depth} nested loops, and there are {most} counters")]
    Loops {
        /// Its loops.
        depth: usize,
        /// Existing counters.
        most: usize,
    },
    /// Distances between operands that exceed the displacement of an instruction.
    #[error("its operands are up to {bytes} bytes apart")]
    Distance {
        /// The distance.
        bytes: u64,
    },
    /// A map whose groups of lanes start within a vector at an unknown lane.
    #[error("groups of {lanes} lanes do not start at vector boundaries")]
    Groups {
        /// Lanes in a group.
        lanes: usize,
    },
    /// A map that reads or writes bytes that are not contiguous.
    #[error("its bytes are not contiguous")]
    ScatteredBytes,
    /// A map of bytes whose last vector is partial: AVX2 has no byte masks.
    #[error("its last vector of bytes is partial")]
    SomeBytes,
    /// A map whose results are not contiguous.
    #[error("its results are not contiguous")]
    ScatteredResults,
    /// A map with more live masks than mask registers.
    #[error("it has more live masks than mask registers")]
    Masks,
    /// A step of a map with more values than registers.
    #[error("one of its steps has more values than registers")]
    Values,
    /// A map with more live values than stack slots.
    #[error("it has more live values than stack slots")]
    Stack,
    /// A map with more operands than stack slots.
    #[error("it has more operands than stack slots")]
    Operands,
    /// A map with more reductions than registers.
    #[error("it has more reductions than registers")]
    Reductions,
    /// A map whose sum blocks do not end at the end of a loop iteration.
    #[error("iterations of {lanes} lanes do not divide the blocks of sums")]
    Blocks {
        /// Lanes in an iteration.
        lanes: usize,
    },
}

/// A leaf of a kernel that falls back to Cranelift although the program uses AVX vectors.
///
/// Maps that are too small to be worth a call are not counted: they are inlined into their kernel by choice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FallbackLeaf {
    /// The leaf: `tile 4x6`, `map`.
    pub leaf: String,
    /// Why it is not assembled.
    pub reason: FallbackReason,
}

impl fmt::Display for FallbackLeaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no AVX for {}: {}", self.leaf, self.reason)
    }
}

/// Why a leaf was not assembled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The assembler does not support it: Cranelift compiles it.
    Unsupported(FallbackReason),
    /// A bug in the assembler.
    Fault(String),
}

impl From<FallbackReason> for Failure {
    fn from(reason: FallbackReason) -> Self {
        Failure::Unsupported(reason)
    }
}
