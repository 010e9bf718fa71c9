//! Checks the pool's protocol with `loom`, which runs every interleaving of a few threads (with a bound on preemptions)
//! and every value that the memory orders allow a load to see. It reports data races, deadlocks, and failed assertions
//! of the models.

#[path = "pool.rs"]
#[expect(
    clippy::duplicate_mod,
    reason = "the same protocol, with the checker's threads and atomics below it"
)]
mod pool;

/// The parts of the system that `pool.rs` uses, for the checker. Waiting never spins here: a thread that need not wait
/// continues, any other sleeps, and the checker tries both.
mod system {
    use loom::cell::UnsafeCell;

    pub(super) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    pub(super) use loom::sync::{Arc, Mutex, MutexGuard};
    pub(super) use loom::thread::{Builder, JoinHandle, park};

    /// Reports two threads that access it at once, or one that has not synchronised with the other's access.
    pub(super) struct Shared<T>(UnsafeCell<T>);

    impl<T: Copy> Shared<T> {
        pub(super) fn new(value: T) -> Self {
            Shared(UnsafeCell::new(value))
        }

        /// # Safety
        /// The checker verifies it.
        pub(super) unsafe fn read(&self) -> T {
            // SAFETY: the checker runs one thread at a time, and has just verified that none is writing.
            self.0.with(|value| unsafe { *value })
        }

        /// # Safety
        /// The checker verifies it.
        pub(super) unsafe fn write(&self, value: T) {
            // SAFETY: the checker runs one thread at a time, and has just verified that none is reading or writing.
            self.0.with_mut(|place| unsafe { *place = value });
        }
    }

    pub(super) fn wait_awake(is_met: impl Fn() -> bool) -> bool {
        is_met()
    }

    pub(super) fn wait_until(is_met: impl Fn() -> bool) {
        while !is_met() {
            loom::thread::yield_now();
        }
    }
}

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use loom::sync::Arc;

use self::pool::Threads;
use self::system::Shared;

/// Checks a model with at most this many preemptions.
fn check(interruptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(interruptions);
    builder.max_branches = 10_000;
    builder.check(model);
}

/// Counters written by tasks, one per thread, without locks: the checker reports an access that is not synchronised
/// with the last write.
struct Marks(Vec<Shared<usize>>);

// SAFETY: the checker runs one thread at a time.
unsafe impl Send for Marks {}
// SAFETY: as above.
unsafe impl Sync for Marks {}

impl Marks {
    fn new(threads: usize) -> Self {
        Marks((0..threads).map(|_| Shared::new(0)).collect())
    }

    /// A thread's part of a task: counts its runs.
    fn mark(&self, thread: usize) {
        // SAFETY: the checker verifies it.
        unsafe { self.0[thread].write(self.0[thread].read() + 1) };
    }

    /// Asserts that every part has run this often.
    fn assert(&self, runs: usize) {
        for mark in &self.0 {
            // SAFETY: the checker verifies it.
            assert_eq!(unsafe { mark.read() }, runs);
        }
    }
}

/// Workers that start, sleep, wake, come late and end. After each task all parts have run once, and their writes are
/// visible.
fn tasks(threads: usize, count: usize) {
    let pool = Threads::new(threads, 64).unwrap();
    let marks = Marks::new(threads);
    let mut turn = pool.try_turn().unwrap();
    for task in 1..=count {
        turn.each(&|thread| marks.mark(thread));
        marks.assert(task);
    }
}

#[test]
fn one_worker_runs_each_task_once() {
    check(3, || tasks(2, 2));
}

#[test]
fn one_worker_runs_a_third_task_after_it_came_late() {
    check(2, || tasks(2, 3));
}

#[test]
fn two_workers_run_each_task_once() {
    check(1, || tasks(3, 1));
}

#[test]
fn a_pool_without_tasks_ends() {
    check(3, || drop(Threads::new(3, 64).unwrap()));
}

#[test]
fn turns_without_tasks_keep_nobody_awake_or_asleep() {
    check(3, || {
        let pool = Threads::new(2, 64).unwrap();
        drop(pool.try_turn().unwrap());
        let marks = Marks::new(2);
        pool.try_turn().unwrap().each(&|thread| marks.mark(thread));
        marks.assert(1);
    });
}

/// Two runs on one pool: one of them has the turn, and the other goes on without, or has it afterwards. Their tasks never run at
/// the same time, which the counters would show.
#[test]
fn runs_take_a_turn_or_go_on_without() {
    fn run(pool: &Threads, marks: &Marks) -> usize {
        let run = pool.begin();
        let mut turn = run.turn(None);
        if let Some(turn) = &mut turn {
            turn.each(&|thread| marks.mark(thread));
        }
        usize::from(turn.is_some())
    }
    check(2, || {
        let pool = Arc::new(Threads::new(2, 64).unwrap());
        let marks = Arc::new(Marks::new(2));
        let other = {
            let (pool, marks) = (Arc::clone(&pool), Arc::clone(&marks));
            loom::thread::spawn(move || run(&pool, &marks))
        };
        let tasks = run(&pool, &marks) + other.join().unwrap();
        assert!(tasks > 0);
        marks.assert(tasks);
    });
}

/// A panic in any part reaches the caller after all parts have ended, and the next task runs normally. After its own
/// panic, the caller does not run the parts of others: it would wait forever if a sleeping worker were not woken.
fn panics(panicking: usize) {
    let pool = Threads::new(2, 64).unwrap();
    let marks = Marks::new(2);
    let mut turn = pool.try_turn().unwrap();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        turn.each(&|thread| {
            marks.mark(thread);
            if thread == panicking {
                // Without a message, because the checker runs this thousands of times.
                resume_unwind(Box::new("expected by this model"));
            }
        });
    }));
    assert!(outcome.is_err());
    marks.assert(1);
    turn.each(&|thread| marks.mark(thread));
    marks.assert(2);
}

#[test]
fn a_panic_in_the_callers_part_ends_nothing_else() {
    check(2, || panics(0));
}

#[test]
fn a_panic_in_a_workers_part_ends_nothing_else() {
    check(2, || panics(1));
}
