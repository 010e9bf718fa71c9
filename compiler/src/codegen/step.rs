//! A compiled kernel, and how its work is divided.

use super::NarrowLeaf;
use crate::abi::KernelFunction;
use crate::kernel::{Extent, Kernel, SizeId, Split};
use crate::ops::Cost;
use crate::plan::{Plan, Traffic};

/// How much work a step can be divided into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    /// Units: a number, to be multiplied by the open sizes.
    pub count: usize,
    /// Open sizes of the plan, the product of which `count` is multiplied by.
    pub open: Vec<SizeId>,
    /// Shares are multiples of this many units, but for the last.
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
            // A share of whole cache lines, so that threads do not write to the same one.
            Split::Lanes(_, extent) => total(&mut std::iter::once(*extent), 16),
        }
    }

    /// All units, at the values of the plan's open sizes.
    pub fn total(&self, values: &[usize]) -> usize {
        let of = |size: &SizeId| values.get(size.index()).copied().unwrap_or_default();
        self.open.iter().fold(self.count, |total, size| total.saturating_mul(of(size)))
    }

    /// The share of one of several threads, at the values of the plan's open sizes: contiguous, the same for every run.
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
    /// How it divides among threads.
    pub units: Units,
    /// The work.
    pub cost: Cost,
    /// What it reads and writes.
    pub traffic: Traffic,
    /// Whether each of the plan's threads leaves results of its own for a later step to add up: such a step runs once for
    /// every thread, though one may do so for all.
    pub is_per_thread: bool,
    /// Its leaves that are narrow though the plan's vectors are wider, and why. They are as exact, and slower.
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

    /// Runs one thread's share. One thread may run all of a step, as one of one, or the shares of several in turn.
    ///
    /// # Safety
    /// The program must be alive. `table` must hold the addresses its plan's memory and slots ask for ([`crate::abi`]), each valid
    /// for the plan's sizes at these values of its open sizes, of which there must be one for each, aligned to 4 bytes, and not written by anyone else meanwhile; `thread` must
    /// be below the plan's threads and not be running already.
    pub unsafe fn run(&self, table: *const *mut f32, values: &[usize], thread: usize, threads: usize) {
        let (first, last) = self.units.share(values, thread, threads);
        // SAFETY: the function has this signature (see `abi::kernel_signature`), and the caller promises the rest.
        unsafe { (self.function)(table, values.as_ptr(), first, last, thread) }
    }
}
