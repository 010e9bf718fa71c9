//! A compiled kernel, and how its work is divided among threads.

use super::FallbackLeaf;
use crate::abi::KernelFunction;
use crate::cost::Cost;
use crate::kernel::{Kernel, Units};
use crate::plan::{Plan, Traffic};

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
    /// The operations of its tiles, if it has any: for Winograd's algorithm fewer than the cost.
    pub products: Option<Cost>,
    /// The memory traffic.
    pub traffic: Traffic,
    /// Whether each thread of the plan leaves its own results for a later step to add up. Such a step runs once for
    /// every thread, though one thread may run it for all.
    pub is_per_thread: bool,
    /// Its leaves that fall back to Cranelift although the plan uses AVX vectors, and why. They are as exact, but
    /// slower.
    pub fallbacks: Vec<FallbackLeaf>,
    function: KernelFunction,
}

impl Step {
    pub(super) fn new(
        kernel: &Kernel,
        plan: &Plan,
        (function, fallbacks): (KernelFunction, Vec<FallbackLeaf>),
    ) -> Self {
        Step {
            name: kernel.name.clone(),
            note: kernel.note.clone(),
            units: Units::of(kernel),
            cost: kernel.cost.clone(),
            products: crate::plan::products(kernel, plan),
            traffic: Traffic::of(kernel, plan),
            is_per_thread: kernel.thread.is_some() || !kernel.setup.is_empty(),
            fallbacks,
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
        let (first, last) = self.units.chunk(values, thread, threads);
        // SAFETY: the function has this signature (see `abi::kernel_signature`), and the caller promises the rest.
        unsafe { (self.function)(table, values.as_ptr(), first, last, thread) }
    }
}
