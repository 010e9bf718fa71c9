//! Threads that wait side by side for work, the caller's own among them: starting, waking, waiting, and ending. What they
//! work on does not live here.

use std::cell::UnsafeCell;
use std::hint::spin_loop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

use crate::error::Error;

/// How long a worker stays awake without work: longer than what a program does between two shared steps, and than what
/// its caller does between two runs in a row. Waking it later costs the system's time.
const AWAKE: Duration = Duration::from_micros(60);

/// How long a thread waits with its core to itself; then it lets others run in between. With more threads than cores, what
/// it waits for may need that core. Much shorter, and a busy process beside this one would take the core at every wait,
/// each time for as long as the system lets it.
const IMPOLITE: Duration = Duration::from_micros(20);

/// Looks at memory between two looks at the clock.
const SPINS: usize = 16;

/// A task of all threads, which gets the number of the thread.
type Task<'t> = dyn Fn(usize) + Sync + 't;

/// A fixed number of threads: the caller's, which is number 0, and workers of their own.
#[derive(Debug)]
pub(super) struct Threads {
    team: Arc<Team>,
    workers: Vec<JoinHandle<()>>,
    turn: Mutex<()>,
}

/// The right to give the threads tasks: one caller has it at a time.
#[derive(Debug)]
pub(super) struct Turn<'t> {
    threads: &'t Threads,
    #[expect(dead_code, reason = "keeps other callers out")]
    alone: MutexGuard<'t, ()>,
}

/// What caller and workers share.
struct Team {
    posted: CachePadded<Posted>,
    /// Parts of the posted task that are not finished, but for the caller's own; at first, workers that do not run yet.
    unfinished: CachePadded<AtomicUsize>,
    workers: Vec<CachePadded<Worker>>,
    /// Whether a worker's part of a task ended in a panic.
    panicked: AtomicBool,
    ending: AtomicBool,
}

/// What caller and one worker know of each other.
#[derive(Debug, Default)]
struct Worker {
    /// Whether it may have gone to sleep.
    asleep: AtomicBool,
    /// The number of the last task of which its part was taken, by itself or by the caller, who takes those of workers
    /// that come too late.
    taken: AtomicUsize,
}

impl Worker {
    /// Takes the part of a task, unless it is taken already.
    fn take(&self, task: usize) -> bool {
        self.taken.compare_exchange(task - 1, task, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// The latest task, on one cache line with its number.
struct Posted {
    /// How many tasks were posted; a worker that knows a lower number has work to do.
    count: AtomicUsize,
    task: UnsafeCell<Option<&'static Task<'static>>>,
}

// SAFETY: the one thing in it that is not `Sync` is the task. The caller writes it while no worker reads it: all parts of
// the last one are finished. Workers read it after they have taken a part, so that it cannot end before they finish, and
// have seen the count that was stored after it.
unsafe impl Sync for Posted {}

impl std::fmt::Debug for Team {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Team").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

impl Threads {
    /// Starts all but the first of so many threads, and waits until they run: no task waits for a thread to start.
    pub(super) fn new(count: usize) -> Result<Self, Error> {
        let workers = count - 1;
        let posted = Posted { count: AtomicUsize::new(0), task: UnsafeCell::new(None) };
        let team = Arc::new(Team {
            posted: CachePadded::new(posted),
            unfinished: CachePadded::new(AtomicUsize::new(0)),
            workers: (0..workers).map(|_| CachePadded::default()).collect(),
            panicked: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        });
        // When one cannot be started, dropping ends those before it.
        let mut threads = Threads { team, workers: Vec::with_capacity(workers), turn: Mutex::new(()) };
        for worker in 0..workers {
            let team = Arc::clone(&threads.team);
            team.unfinished.fetch_add(1, Ordering::Relaxed);
            let handle = std::thread::Builder::new()
                .name(format!("windlass-{}", worker + 1))
                .spawn(move || team.work(worker))
                .map_err(|error| Error::Threads { count, reason: error.to_string() })?;
            threads.workers.push(handle);
        }
        drop(Finish(&threads.team));
        Ok(threads)
    }

    /// Waits for the turn to give tasks, and wakes the workers, since tasks will come.
    pub(super) fn turn(&self) -> Turn<'_> {
        let alone = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.wake();
        Turn { threads: self, alone }
    }

    fn wake(&self) {
        for (worker, handle) in self.team.workers.iter().zip(&self.workers) {
            // Sequentially consistent, as its counterpart in `Team::next`.
            if worker.asleep.load(Ordering::SeqCst) && worker.asleep.swap(false, Ordering::SeqCst) {
                handle.thread().unpark();
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.team.ending.store(true, Ordering::Relaxed);
        self.team.posted.count.fetch_add(1, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its tasks, and has nothing to tell.
            let _ = worker.join();
        }
    }
}

impl Turn<'_> {
    /// Runs a task once for every thread, with the thread's number, and waits for all. A thread that has not begun when the
    /// caller's own part is done is not waited for: the caller does its part. What one part wrote is visible to all
    /// afterwards.
    ///
    /// # Panics
    /// When the task panics on any thread, after all have ended.
    pub(super) fn each(&mut self, task: &Task<'_>) {
        let team = &*self.threads.team;
        // SAFETY: the reference outlives every use: this function does not end before all parts are finished, even when
        // the task panics here (see `Finish`), and no worker uses it without having taken a part.
        let task_for_workers = unsafe { std::mem::transmute::<&Task<'_>, &'static Task<'static>>(task) };
        // SAFETY: no worker reads it now: all parts of the last task were finished before its caller's `each` ended,
        // callers take turns, and `&mut self` keeps a task from giving tasks.
        unsafe { *team.posted.task.get() = Some(task_for_workers) };
        team.unfinished.store(self.threads.workers.len(), Ordering::Relaxed);
        team.panicked.store(false, Ordering::Relaxed);
        let number = team.posted.count.fetch_add(1, Ordering::SeqCst) + 1;
        self.threads.wake();
        let finish = Finish(team);
        task(0);
        for (worker, state) in team.workers.iter().enumerate() {
            if team.unfinished.load(Ordering::Acquire) > 0 && state.take(number) {
                team.unfinished.fetch_sub(1, Ordering::Relaxed);
                task(worker + 1);
            }
        }
        drop(finish);
        assert!(!team.panicked.load(Ordering::Relaxed), "a step panicked on another thread");
    }
}

/// Waits for the workers when dropped.
struct Finish<'t>(&'t Team);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        wait_until(|| self.0.unfinished.load(Ordering::Acquire) == 0, Duration::MAX);
    }
}

impl Team {
    /// The life of a worker.
    fn work(&self, worker: usize) {
        self.unfinished.fetch_sub(1, Ordering::Release);
        let mut known = 0;
        loop {
            known = self.next(worker, known);
            if self.ending.load(Ordering::Relaxed) {
                return;
            }
            if !self.workers[worker].take(known) {
                continue;
            }
            // SAFETY: this worker has taken its part of the latest task, so that the caller leaves it alone until the part
            // counts as finished.
            let task = unsafe { *self.posted.task.get() };
            let run = || task.into_iter().for_each(|task| task(worker + 1));
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.unfinished.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits until more tasks were posted than are known, awake for a while, then asleep; gives the number of the latest.
    fn next(&self, worker: usize, known: usize) -> usize {
        let is_posted = || self.posted.count.load(Ordering::SeqCst) != known;
        while !wait_until(is_posted, AWAKE) {
            let asleep = &self.workers[worker].asleep;
            asleep.store(true, Ordering::SeqCst);
            // Either this sees the new count, or who counted sees that this may sleep: both orders are total.
            if !is_posted() {
                std::thread::park();
            }
            asleep.store(false, Ordering::SeqCst);
        }
        self.posted.count.load(Ordering::SeqCst)
    }
}

/// Waits for a condition, so long at most, and tells whether it holds.
fn wait_until(is_met: impl Fn() -> bool, longest: Duration) -> bool {
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

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::{AWAKE, Threads};

    #[test]
    fn every_thread_runs_every_task_once_before_the_next() {
        let count = 3;
        let threads = Threads::new(count).unwrap();
        let runs: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
        let mut turn = threads.turn();
        for round in 0..500 {
            turn.each(&|thread| {
                assert_eq!(runs[thread].fetch_add(1, Ordering::Relaxed), round);
            });
            assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == round + 1));
        }
    }

    #[test]
    fn sleeping_workers_wake_for_the_next_task() {
        let threads = Threads::new(2).unwrap();
        let runs = AtomicUsize::new(0);
        for _ in 0..20 {
            threads.turn().each(&|_| {
                runs.fetch_add(1, Ordering::Relaxed);
            });
            std::thread::sleep(AWAKE + Duration::from_micros(200));
        }
        assert_eq!(runs.load(Ordering::Relaxed), 40);
    }

    #[test]
    fn callers_take_turns() {
        let threads = Threads::new(2).unwrap();
        let (busy, runs) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        threads.turn().each(&|_| {
                            assert!(busy.fetch_add(1, Ordering::SeqCst) < 2);
                            runs.fetch_add(1, Ordering::SeqCst);
                            busy.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                });
            }
        });
        assert_eq!(runs.load(Ordering::SeqCst), 3 * 50 * 2);
    }

    #[test]
    fn a_panic_on_any_thread_reaches_the_caller_and_the_threads_live_on() {
        let threads = Threads::new(3).unwrap();
        for panicking in 0..3 {
            let ended = AtomicUsize::new(0);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                threads.turn().each(&|thread| {
                    ended.fetch_add(1, Ordering::SeqCst);
                    assert!(thread != panicking, "expected by this test");
                });
            }));
            assert!(outcome.is_err());
            assert_eq!(ended.load(Ordering::SeqCst), 3, "all threads took part");
        }
        let runs = AtomicUsize::new(0);
        threads.turn().each(&|_| {
            runs.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(runs.load(Ordering::SeqCst), 3);
    }
}
