//! A compiled kernel, and how its work is divided among threads.

use super::NarrowLeaf;
use crate::abi::KernelFunction;
use crate::kernel::{Extent, Kernel, SizeId, Split};
use crate::ops::Cost;
use crate::plan::{Plan, Traffic};

/// The number of work units of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    /// The constant factor of the number of units.
    pub count: usize,
    /// The open sizes of the plan that are the other factors.
    pub open: Vec<SizeId>,
    /// Chunks are multiples of this many units, except for the last.
    pub grain: usize,
}

impl Units {
    /// The work of a kernel.
    pub fn of(kernel: &Kernel) -> Self {
        let total = |extents: &mut dyn Iterator<Item = Extent>, grain| {
            let mut units = Units { count: 1, open: Vec::new(), grain };
            for extent in extents {
                match extent {
                    Extent::Fixed(count) => units.count = units.count.saturating_mul(count),
                    Extent::Open(size, times) => {
                        units.count = units.count.saturating_mul(times);
                        units.open.push(size);
                    }
                    Extent::Floor { .. } | Extent::Share => {}
                }
            }
            units
        };
        match &kernel.split {
            Split::Serial => total(&mut std::iter::empty(), 1),
            Split::Axes(axes) => total(&mut axes.iter().map(|&(_, extent)| extent), 1),
            // A chunk consists of whole cache lines, so that no two threads write to the same one.
            Split::Lanes(_, extent) => total(&mut std::iter::once(*extent), 16),
        }
    }

    /// The number of units, at the values of the plan's open sizes.
    pub fn total(&self, values: &[usize]) -> usize {
        let of = |size: &SizeId| values.get(size.index()).copied().unwrap_or_default();
        self.open.iter().fold(self.count, |total, size| total.saturating_mul(of(size)))
    }

    /// The chunk of one of several threads, at the values of the plan's open sizes: contiguous, and the same for every
    /// run.
    pub fn share(&self, values: &[usize], thread: usize, threads: usize) -> (usize, usize) {
        let total = self.total(values);
        let grains = total.div_ceil(self.grain);
        let bound =
            |thread: usize| (grains.saturating_mul(thread) / threads).saturating_mul(self.grain).min(total);
        (bound(thread), bound(thread + 1))
    }
}

/// A compiled kernel.
#[derive(Clone, Debug)]
pub struct Step {
    /// The layer and operator.
    pub name: String,
    /// The algorithm and why it was chosen.
    pub note: String,
    /// How it is divided among threads.
    pub units: Units,
    /// The cost.
    pub cost: Cost,
    /// The memory traffic.
    pub traffic: Traffic,
    /// Whether each thread of the plan leaves its own results for a later step to add up. Such a step runs once for
    /// every thread, though one thread may run it for all.
    pub is_per_thread: bool,
    /// Its leaves that fall back to Cranelift although the plan uses AVX vectors, and why. They are as exact, but
    /// slower.
    pub narrow: Vec<NarrowLeaf>,
    function: KernelFunction,
}

impl Step {
    pub(super) fn new(
        kernel: &Kernel,
        plan: &Plan,
        (function, narrow): (KernelFunction, Vec<NarrowLeaf>),
    ) -> Self {
        Step {
            name: kernel.name.clone(),
            note: kernel.note.clone(),
            units: Units::of(kernel),
            cost: kernel.cost.clone(),
            traffic: Traffic::of(kernel, plan),
            is_per_thread: kernel.thread.is_some() || !kernel.setup.is_empty(),
            narrow,
            function,
        }
    }

    /// Runs one thread's chunk. A single thread may run the whole step (as one of one), or the chunks of several
    /// threads in turn.
    ///
    /// # Safety
    /// The program must be alive. `table` must hold the addresses that the plan's memory and slots require
    /// ([`crate::abi`]). Each must be aligned to 4 bytes, valid for the plan's sizes at these values of its open sizes
    /// (one value for each), and not written by anyone else meanwhile. `thread` must be less than the plan's threads
    /// and not be running already.
    pub unsafe fn run(&self, table: *const *mut f32, values: &[usize], thread: usize, threads: usize) {
        let (first, last) = self.units.share(values, thread, threads);
        // SAFETY: the function has this signature (see `abi::kernel_signature`), and the caller promises the rest.
        unsafe { (self.function)(table, values.as_ptr(), first, last, thread) }
    }
}
