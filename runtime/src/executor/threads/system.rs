//! The parts of the system that the pool uses: atomics, a lock, a cell, threads, and waiting. `model.rs` defines the
//! same names for the model checker.

use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::time::{Duration, Instant};

pub(super) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
pub(super) use std::sync::{Arc, Mutex, MutexGuard};
pub(super) use std::thread::{Builder, JoinHandle, park};

/// How long a worker spins without work: longer than a program takes between two parallel steps, and than its caller
/// takes between two consecutive runs. Waking a sleeping worker costs system time.
pub(super) const AWAKE: Duration = Duration::from_micros(60);

/// How long a thread spins without yielding its core; afterwards it yields in between. With more threads than cores,
/// the awaited thread may need that core. If this were much shorter, a busy process on the machine would get the core
/// at every wait, each time for a full time slice.
const IMPOLITE: Duration = Duration::from_micros(20);

/// Memory polls between two reads of the clock.
const SPINS: usize = 16;

/// A value that threads share without a lock; its users must synchronise their accesses.
pub(super) struct Shared<T>(UnsafeCell<T>);

impl<T: Copy> Shared<T> {
    pub(super) fn new(value: T) -> Self {
        Shared(UnsafeCell::new(value))
    }

    /// # Safety
    /// No other thread may write at the same time.
    pub(super) unsafe fn read(&self) -> T {
        // SAFETY: guaranteed by the caller.
        unsafe { *self.0.get() }
    }

    /// # Safety
    /// No other thread may read or write at the same time.
    pub(super) unsafe fn write(&self, value: T) {
        // SAFETY: guaranteed by the caller.
        unsafe { *self.0.get() = value };
    }
}

/// Spins until a condition holds, for at most [`AWAKE`]; returns whether it holds.
pub(super) fn wait_awake(is_met: impl Fn() -> bool) -> bool {
    wait(is_met, AWAKE)
}

/// Spins until a condition holds.
pub(super) fn wait_until(is_met: impl Fn() -> bool) {
    wait(is_met, Duration::MAX);
}

fn wait(is_met: impl Fn() -> bool, longest: Duration) -> bool {
    if is_met() {
        return true;
    }
    let start = Instant::now();
    loop {
        for _ in 0..SPINS {
            if is_met() {
                return true;
            }
            spin_loop();
        }
        let waited = start.elapsed();
        if waited > longest {
            return false;
        }
        if waited > IMPOLITE {
            std::thread::yield_now();
        }
    }
}
