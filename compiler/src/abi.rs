//! The binary interface of compiled kernels, shared by code generation and every caller of kernels. An object file of
//! kernels exposes the same interface.
//!
//! A kernel is a function `(table, sizes, first, last, thread)` in the C convention of its target ([`KernelFunction`]).
//!
//! - `table` points to addresses: first the arenas ([`entry`]), then one address for each slot of the plan. A table has
//!   [`table_entries`] entries. A kernel reads only the entries of the memory it uses.
//! - `sizes` points to the values of the plan's open sizes in this run ([`Plan::sizes`]). The first is the number of samples
//!   in the batch.
//! - `first..last` is the range of work units to compute.
//! - `thread` is the index of the running thread, less than the plan's thread count.
//!
//! Its symbol is [`kernel_symbol`].
//!
//! Memory is counted in *words* of [`WORD_BYTES`]. Every arena, and every buffer in it, starts at a multiple of
//! [`ALIGNMENT`] bytes; slots start at a multiple of a word.
//!
//! | entry | words |
//! |---|---|
//! | [`entry::FIXED`] | [`MemoryPlan::fixed`] |
//! | [`entry::PREPACKED`] | [`MemoryPlan::prepacked`]; it holds the plan's constants, and what its `prepack` kernels computed |
//! | [`entry::PREPACKING`] | [`MemoryPlan::prepacking`], while `prepack` kernels run |
//! | [`entry::SCRATCH`] | [`MemoryPlan::scratch`] for each thread ([`scratch_start`]) |
//! | [`entry::arena`] | one for each of [`MemoryPlan::open`]: its number of words times the value of the open size |
//! | [`entry::slot`] | one for each slot, of as many words as it has elements |
//! | [`entry::window`] | one for each of [`Plan::windows`]: the part of its buffer that belongs to the current step |
//!
//! Kernels of a loop ([`Plan::loops`]) run once for each step. The caller moves the loop's windows between steps.
//!
//! ```
//! use windlass_compiler::abi;
//! assert_eq!(abi::table_entries(1, 2, 0), 7);
//! assert_eq!(abi::scratch_start(48, 3), 144);
//! ```
//!
//! [`Plan::sizes`]: crate::plan::Plan::sizes
//! [`Plan::loops`]: crate::plan::Plan::loops
//! [`Plan::windows`]: crate::plan::Plan::windows
//! [`MemoryPlan::open`]: crate::plan::MemoryPlan::open
//! [`MemoryPlan::fixed`]: crate::plan::MemoryPlan::fixed
//! [`MemoryPlan::prepacked`]: crate::plan::MemoryPlan::prepacked
//! [`MemoryPlan::prepacking`]: crate::plan::MemoryPlan::prepacking
//! [`MemoryPlan::scratch`]: crate::plan::MemoryPlan::scratch

use std::fmt;

use cranelift_codegen::ir::types::I64;
use cranelift_codegen::ir::{AbiParam, Signature};
use cranelift_codegen::isa::CallConv;

/// A kernel: `(table, sizes, first, last, thread)`.
pub type KernelFunction = unsafe extern "C" fn(
    table: *const *mut f32,
    sizes: *const usize,
    first: usize,
    last: usize,
    thread: usize,
);

/// [`KernelFunction`] for the code generator, in the convention of its target.
pub(crate) fn kernel_signature(convention: CallConv) -> Signature {
    let mut signature = Signature::new(convention);
    signature.params = vec![AbiParam::new(I64); 5];
    signature
}

/// Bytes of an address in the table, and of an open size.
pub const POINTER_BYTES: usize = 8;

/// Bytes of a word, the unit of memory: one 32-bit number, or four bytes.
pub const WORD_BYTES: usize = 4;

/// The alignment of arenas and of the buffers in them, in bytes: a cache line.
pub const ALIGNMENT: usize = 64;

/// The alignment of buffers within their arena, in words.
pub const ALIGNMENT_WORDS: usize = ALIGNMENT / WORD_BYTES;

/// Entries of the table of addresses.
pub mod entry {
    /// The fixed arena.
    pub const FIXED: usize = 0;
    /// Memory that lives as long as the program: constants and prepacked weights.
    pub const PREPACKED: usize = 1;
    /// Memory that exists only while prepacking.
    pub const PREPACKING: usize = 2;
    /// Scratch of all threads, one after the other.
    pub const SCRATCH: usize = 3;

    /// The arena of an open size, by its index among the plan's arenas.
    pub const fn arena(index: usize) -> usize {
        SCRATCH + 1 + index
    }

    /// A slot, by its index in the plan. `arenas` is the number of arenas of open sizes.
    pub const fn slot(arenas: usize, index: usize) -> usize {
        arena(arenas) + index
    }

    /// The current part of a buffer that a loop moves along, by its index in the plan.
    pub const fn window(arenas: usize, slots: usize, index: usize) -> usize {
        slot(arenas, slots) + index
    }
}

/// The two lists of a plan's kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Kernels that run when parameters have changed.
    Prepack,
    /// Kernels that run for every batch.
    Run,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Prepack => "prepack",
            Phase::Run => "run",
        })
    }
}

/// The symbol of a kernel, by its index within its phase.
///
/// ```
/// use windlass_compiler::abi::{Phase, kernel_symbol};
/// assert_eq!(kernel_symbol("LeNet-5", Phase::Run, 3), "windlass_LeNet_5_run3");
/// ```
pub fn kernel_symbol(network: &str, phase: Phase, index: usize) -> String {
    symbol(network, &format!("{phase}{index}"))
}

/// The symbol of a function of a network: ASCII letters, digits and underscores.
pub(crate) fn symbol(network: &str, function: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    format!("windlass_{network}_{function}").chars().map(plain).collect()
}

/// The number of entries in the table of a plan with `arenas` arenas of open sizes, `slots` slots and `windows` windows.
pub const fn table_entries(arenas: usize, slots: usize, windows: usize) -> usize {
    entry::window(arenas, slots, windows)
}

/// Where a thread's part of [`entry::SCRATCH`] starts, in words. Each thread has `words_of_each` words.
pub const fn scratch_start(words_of_each: usize, thread: usize) -> usize {
    words_of_each * thread
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Callers outside this repository rely on these numbers: a change here is a new interface.
    #[test]
    fn the_interface_is_as_documented() {
        use entry::{FIXED, PREPACKED, PREPACKING, SCRATCH, arena, slot, window};
        assert_eq!([FIXED, PREPACKED, PREPACKING, SCRATCH], [0, 1, 2, 3]);
        assert_eq!((arena(0), arena(2), slot(1, 0), slot(3, 2), window(1, 2, 3)), (4, 6, 5, 9, 10));
        assert_eq!((ALIGNMENT, WORD_BYTES, ALIGNMENT_WORDS, POINTER_BYTES), (64, 4, 16, 8));
        let signature = kernel_signature(CallConv::SystemV);
        assert_eq!(signature.params, vec![AbiParam::new(I64); 5]);
        assert!(signature.returns.is_empty());
    }
}
