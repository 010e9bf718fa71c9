//! Checks that threads which share a kernel do not race, for all values of the open sizes and every division of the
//! work: no thread reads or writes an element that another thread writes. Within a kernel, threads are not
//! synchronised.
//!
//! Every access is to the elements `constant + Σ stride·variable`, with a range for each variable: the axes of the
//! split, the thread index, loops, lanes, windows, rows and columns of tiles. Two accesses conflict if the difference
//! of two such sums is zero, where each sum has its own variables. Different threads have different work units and
//! different indices. Two accesses are therefore apart if a difference of zero implies the same unit or the same
//! thread. Statements that a thread runs before its chunk belong to no unit. Each thread has its own scratch.
//!
//! `equation.rs` decides this. The check is conservative: it rejects every kernel that it cannot prove. Accesses of
//! different buffers are apart; the placement of memory must ensure this.

mod access;
mod collect;
mod equation;

use access::Access;
use collect::Collector;

use super::bounds::Count;
use super::{Buffer, Location, OpenSizes};
use crate::kernel::Kernel;

/// Checks every two accesses of a kernel that `threads` threads share. A single thread has no conflicts, and kernels
/// made for one thread may rely on it.
///
/// # Errors
/// A sentence that names the kernel, the buffer and the two accesses that may conflict.
pub(super) fn verify(
    kernel: &Kernel,
    buffers: &[Buffer],
    sizes: &OpenSizes,
    threads: usize,
) -> Result<(), String> {
    if threads == 1 {
        return Ok(());
    }
    let is_shared = |access: &Access| {
        let place = buffers.get(access.buffer.index()).map(|buffer| buffer.location);
        !matches!(place, Some(Location::Scratch(_)))
    };
    let symbols = sizes.symbols();
    let counts: Vec<Count> = sizes.polynomials().iter().map(|size| Count::of(size, &symbols)).collect();
    let accesses = Collector::of(kernel, &counts, threads).into_iter().filter(is_shared).collect::<Vec<_>>();
    for (index, access) in accesses.iter().enumerate() {
        let others = accesses[index..].iter().filter(|other| other.buffer == access.buffer);
        for other in others.filter(|other| access.writes || other.writes) {
            if !equation::are_apart(access, other) {
                let buffer = access.buffer.index();
                let name = buffers.get(buffer).map_or("", |buffer| &buffer.name);
                let both = |access: &Access| if access.writes { "writes" } else { "reads" };
                return Err(format!(
                    "kernel {}: one thread {} and another {} the same elements of b{buffer} ({name}), as far as can be \
                     told: {} and {}",
                    kernel.name,
                    both(access),
                    both(other),
                    access.display(sizes),
                    other.display(sizes),
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
