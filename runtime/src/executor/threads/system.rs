//! What the pool takes from the system: atomics, a lock, a cell, threads, and waiting. `model.rs` has the same names for the
//! model checker.

use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::time::{Duration, Instant};

pub(super) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
pub(super) use std::sync::{Arc, Mutex, MutexGuard};
pub(super) use std::thread::{Builder, JoinHandle, park};

/// How long a worker stays awake without work: longer than what a program does between two shared steps, and than what
/// its caller does between two runs in a row. Waking it later costs the system's time.
pub(super) const AWAKE: Duration = Duration::from_micros(60);

/// How long a thread waits with its core to itself; then it lets others run in between. With more threads than cores, what
/// it waits for may need that core. Much shorter, and a busy process beside this one would take the core at every wait,
/// each time for as long as the system lets it.
const IMPOLITE: Duration = Duration::from_micros(20);

/// Looks at memory between two looks at the clock.
const SPINS: usize = 16;

/// A value that threads share without a lock; who may touch it when is for its users to make sure.
pub(super) struct Shared<T>(UnsafeCell<T>);

impl<T: Copy> Shared<T> {
    pub(super) fn new(value: T) -> Self {
        Shared(UnsafeCell::new(value))
    }

    /// # Safety
    /// No other thread may write at the same time.
    pub(super) unsafe fn read(&self) -> T {
        // SAFETY: as the caller promises.
        unsafe { *self.0.get() }
    }

    /// # Safety
    /// No other thread may read or write at the same time.
    pub(super) unsafe fn write(&self, value: T) {
        // SAFETY: as the caller promises.
        unsafe { *self.0.get() = value };
    }
}

/// Waits for a condition awake, for [`AWAKE`] at most, and tells whether it holds.
pub(super) fn wait_awake(is_met: impl Fn() -> bool) -> bool {
    wait(is_met, AWAKE)
}

/// Waits for a condition awake, however long it takes.
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
