//! Threads that run the same function side by side, and the barrier that keeps their steps apart.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::Error;

/// A fixed number of threads.
#[derive(Debug)]
pub(super) struct Threads {
    pool: ThreadPool,
}

impl Threads {
    pub(super) fn new(count: usize) -> Result<Self, Error> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|index| format!("windlass-{index}"))
            .build()
            .map_err(|error| Error::Threads { count, reason: error.to_string() })?;
        Ok(Threads { pool })
    }

    /// Runs a function on every thread with its number, and waits for all.
    pub(super) fn each(&self, run: impl Fn(usize) + Sync) {
        self.pool.broadcast(|context| run(context.index()));
    }
}

/// Waiting for one another at short distances: spins first, then lets others run.
#[derive(Debug)]
pub(super) struct Barrier {
    threads: usize,
    arrived: AtomicUsize,
    round: AtomicUsize,
}

impl Barrier {
    pub(super) fn new(threads: usize) -> Self {
        Barrier { threads, arrived: AtomicUsize::new(0), round: AtomicUsize::new(0) }
    }

    /// Returns when all threads have called it. What they wrote before is visible to all afterwards.
    pub(super) fn wait(&self) {
        /// About the time of a small step; longer waits give the core away.
        const SPINS: usize = 4096;
        let round = self.round.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.arrived.store(0, Ordering::Relaxed);
            self.round.store(round.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut spins = 0;
        while self.round.load(Ordering::Acquire) == round {
            spins += 1;
            if spins < SPINS {
                spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::{Barrier, Threads};

    #[test]
    fn no_thread_passes_before_all_have_arrived() {
        let count = 3;
        let (threads, barrier) = (Threads::new(count).unwrap(), Barrier::new(count));
        let arrivals = AtomicUsize::new(0);
        threads.each(|_| {
            for round in 1..=200 {
                arrivals.fetch_add(1, Ordering::SeqCst);
                barrier.wait();
                assert!(arrivals.load(Ordering::SeqCst) >= round * count);
                barrier.wait();
            }
        });
        assert_eq!(arrivals.load(Ordering::SeqCst), 200 * count);
    }
}
