//! Checks that threads which share a kernel do not get into each other's way, whatever the open sizes are and for every division of
//! the work: what one thread writes, no other reads or writes. Threads keep no order among themselves within a kernel.
//!
//! Every access is to the elements `constant + Σ stride·variable`, with a range for each variable: the axes of the split, the
//! number of the thread, loops, lanes, windows, rows and columns of tiles. Two accesses conflict where the difference of two such
//! sums is zero, each sum with variables of its own. Units of work differ between threads, and so do numbers of threads: two
//! accesses are apart if a difference of zero leaves only the same unit, or the same thread. What a thread does before its
//! share belongs to no unit. Scratch is each thread's own.
//!
//! `equation.rs` decides this. The check is conservative: what it cannot prove is refused. Accesses of different buffers are
//! apart, which placing memory has to see to.

mod access;
mod collect;
mod equation;

use access::Access;
use collect::Collector;

use super::bounds::Count;
use super::{Buffer, Location, OpenSizes};
use crate::kernel::Kernel;

/// Checks every two accesses of a kernel, as `threads` threads share it. A single thread conflicts with nobody, and kernels
/// made for one may rely on it.
///
/// # Errors
/// A sentence naming the kernel, the buffer and the two accesses that may conflict.
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
