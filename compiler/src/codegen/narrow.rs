//! Why a leaf is narrow (Cranelift's, with vectors of 128 bits) in a program of wider vectors.

use std::fmt;

use thiserror::Error;

/// What wide code has no room or no instructions for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum NarrowReason {
    /// A tile takes more vector registers than there are.
    #[error("it needs {needed} vector registers, and there are {there}")]
    Registers {
        /// Registers it takes.
        needed: usize,
        /// Registers there are.
        there: usize,
    },
    /// A tile or map has more nested loops than there are counters.
    #[error("it has {depth} nested loops, and there are {most} counters")]
    Loops {
        /// Loops it has.
        depth: usize,
        /// Counters there are.
        most: usize,
    },
    /// Distances between its parts that do not fit the displacement of an instruction.
    #[error("its parts lie up to {bytes} bytes apart")]
    Distance {
        /// The distance.
        bytes: u64,
    },
    /// A map whose groups of lanes start within a vector that is not known.
    #[error("groups of {lanes} lanes do not start where vectors do")]
    Groups {
        /// Lanes in a group.
        lanes: usize,
    },
    /// A map that reads bytes which do not lie side by side, or writes such.
    #[error("its bytes do not lie side by side")]
    ScatteredBytes,
    /// A map of bytes whose last vector is not whole: there are no masks for bytes.
    #[error("its last vector of bytes is not whole")]
    SomeBytes,
    /// A map whose results do not lie side by side.
    #[error("its results do not lie side by side")]
    ScatteredResults,
    /// A map with more masks at once than there are mask registers.
    #[error("it has more masks at once than there are registers")]
    Masks,
    /// A step of a map with more values than there are registers.
    #[error("one of its steps has more values than there are registers")]
    Values,
    /// A map with more values at once than there is room for on the stack.
    #[error("it has more values at once than room on the stack")]
    Stack,
    /// A map with more operands than there is room for on the stack.
    #[error("it has more operands than room on the stack")]
    Operands,
    /// A map with more reductions than there are registers.
    #[error("it has more reductions than there are registers")]
    Reductions,
    /// A map whose blocks of sums do not end where its turns do.
    #[error("turns of {lanes} lanes do not divide blocks of sums")]
    Blocks {
        /// Lanes in a turn.
        lanes: usize,
    },
}

/// A leaf of a kernel that is narrow though the program's vectors are wider.
///
/// A map that is so small that calling a function would not pay is none: it is written into its kernel by choice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NarrowLeaf {
    /// What it is: `tile 4x6`, `map`.
    pub leaf: String,
    /// Why it is not wide.
    pub reason: NarrowReason,
}

impl fmt::Display for NarrowLeaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "narrow {}: {}", self.leaf, self.reason)
    }
}

/// Why a wide leaf was not assembled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no wide code for it: a narrow leaf takes its place.
    Narrow(NarrowReason),
    /// The assembler is at fault.
    Fault(String),
}

impl From<NarrowReason> for Failure {
    fn from(reason: NarrowReason) -> Self {
        Failure::Narrow(reason)
    }
}
