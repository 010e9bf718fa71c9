//! The pool's protocol: how threads are started, woken, given tasks, waited for and ended.
//!
//! Everything the threads share comes from `system`, so that `model.rs` can run this file under a model checker.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::TryLockError;

use crossbeam_utils::CachePadded;

use super::system::{
    Arc, AtomicBool, AtomicUsize, Builder, JoinHandle, Mutex, MutexGuard, Ordering, Shared, park, wait_awake,
    wait_until,
};
use crate::error::Error;

/// A task of all threads; it receives the thread's index.
type Task<'t> = dyn Fn(usize) + Sync + 't;

/// A fixed number of threads: the caller's, with index 0, and workers.
#[derive(Debug)]
pub(in crate::executor) struct Threads {
    team: Arc<Team>,
    workers: Vec<JoinHandle<()>>,
    turn: Mutex<()>,
    /// The runs in progress, with and without a turn.
    runs: CachePadded<AtomicUsize>,
    /// The cores that all runs share.
    cores: usize,
}

/// A run in progress, which may take turns. Runs that go on at the same time compute on their own threads as soon as they use
/// all cores; only a run that leaves cores to others gains by a turn.
#[derive(Debug)]
pub(in crate::executor) struct Running<'t> {
    threads: &'t Threads,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.threads.runs.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<'t> Running<'t> {
    /// The right to give tasks to the threads, unless another run has it, or the other runs need the cores. Keeps a turn that
    /// it has. It never waits.
    pub(in crate::executor) fn turn(&self, turn: Option<Turn<'t>>) -> Option<Turn<'t>> {
        if self.threads.runs.load(Ordering::Relaxed) >= self.threads.cores {
            return None;
        }
        turn.or_else(|| self.threads.try_turn())
    }
}

/// The exclusive right to give tasks to the threads.
#[derive(Debug)]
pub(in crate::executor) struct Turn<'t> {
    threads: &'t Threads,
    #[expect(dead_code, reason = "keeps other callers out")]
    alone: MutexGuard<'t, ()>,
}

/// The state that caller and workers share.
struct Team {
    posted: CachePadded<Posted>,
    /// Unfinished parts of the posted task, except the caller's; initially, workers that are not running yet.
    unfinished: CachePadded<AtomicUsize>,
    workers: Vec<CachePadded<Worker>>,
    /// Whether a worker's part of a task ended in a panic.
    panicked: AtomicBool,
    ending: AtomicBool,
}

/// The state that the caller and one worker share.
#[derive(Debug)]
struct Worker {
    /// Whether it may have gone to sleep.
    asleep: AtomicBool,
    /// The number of the last task whose part was taken, by the worker or by the caller, who takes the parts of late
    /// workers.
    taken: AtomicUsize,
}

impl Worker {
    fn new() -> Self {
        Worker { asleep: AtomicBool::new(false), taken: AtomicUsize::new(0) }
    }

    /// Takes the part of a task, unless it is already taken.
    fn take(&self, task: usize) -> bool {
        self.taken.compare_exchange(task - 1, task, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// The latest task, on the same cache line as its number.
struct Posted {
    /// The number of posted tasks; a worker that has seen a lower number has work to do.
    count: AtomicUsize,
    task: Shared<Option<&'static Task<'static>>>,
}

// SAFETY: only the task is not `Sync`. The caller writes it while no worker reads it, because all parts of the previous
// task are finished. Workers read it after they have taken a part, so that it cannot end before they finish, and after
// they have seen the count that was stored after it.
unsafe impl Sync for Posted {}

impl std::fmt::Debug for Team {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Team").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

impl Threads {
    /// Starts all threads except the first and waits until they run, so that no task waits for a thread to start. `cores` is
    /// the number of cores of the machine: with as many runs at once, each keeps to its own thread.
    pub(in crate::executor) fn new(count: usize, cores: usize) -> Result<Self, Error> {
        let workers = count - 1;
        let posted = Posted { count: AtomicUsize::new(0), task: Shared::new(None) };
        let team = Arc::new(Team {
            posted: CachePadded::new(posted),
            unfinished: CachePadded::new(AtomicUsize::new(0)),
            workers: (0..workers).map(|_| CachePadded::new(Worker::new())).collect(),
            panicked: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        });
        // If one cannot be started, dropping ends the ones before it.
        let mut threads = Threads {
            team,
            workers: Vec::with_capacity(workers),
            turn: Mutex::new(()),
            runs: CachePadded::new(AtomicUsize::new(0)),
            cores,
        };
        for worker in 0..workers {
            let team = Arc::clone(&threads.team);
            team.unfinished.fetch_add(1, Ordering::Relaxed);
            let handle = Builder::new()
                .name(format!("windlass-{}", worker + 1))
                .spawn(move || team.work(worker))
                .map_err(|error| Error::Threads { count, reason: error.to_string() })?;
            threads.workers.push(handle);
        }
        drop(Finish(&threads.team));
        Ok(threads)
    }

    /// Begins a run.
    pub(in crate::executor) fn begin(&self) -> Running<'_> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        Running { threads: self }
    }

    /// The turn to give tasks, unless another run has it. Wakes the workers, since tasks will follow.
    pub(in crate::executor) fn try_turn(&self) -> Option<Turn<'_>> {
        let alone = match self.turn.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        self.wake();
        Some(Turn { threads: self, alone })
    }

    fn wake(&self) {
        for (worker, handle) in self.team.workers.iter().zip(&self.workers) {
            if worker.asleep.load(Ordering::Relaxed) && worker.asleep.swap(false, Ordering::Relaxed) {
                handle.thread().unpark();
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.team.ending.store(true, Ordering::Relaxed);
        self.team.posted.count.fetch_add(1, Ordering::AcqRel);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its tasks, so there is nothing to report.
            let _ = worker.join();
        }
    }
}

impl Turn<'_> {
    /// Runs a task once for every thread, with the thread's index, and waits for all. If a thread has not begun when
    /// the caller's own part is done, the caller does its part. The writes of each part are visible to all threads
    /// afterwards.
    ///
    /// # Panics
    /// If the task panics on any thread, after all parts have ended.
    pub(in crate::executor) fn each(&mut self, task: &Task<'_>) {
        let team = &*self.threads.team;
        // SAFETY: the reference outlives every use: this function does not end before all parts are finished, even if
        // the task panics here (see `Finish`), and no worker uses it without having taken a part.
        let task_for_workers = unsafe { std::mem::transmute::<&Task<'_>, &'static Task<'static>>(task) };
        // SAFETY: no worker reads it now: all parts of the previous task were finished before its caller's `each`
        // ended, callers take turns, and `&mut self` prevents a task from giving tasks.
        unsafe { team.posted.task.write(Some(task_for_workers)) };
        team.unfinished.store(self.threads.workers.len(), Ordering::Relaxed);
        team.panicked.store(false, Ordering::Relaxed);
        // Releases the task to the workers, and acquires which of them may be asleep: see `Team::next`.
        let number = team.posted.count.fetch_add(1, Ordering::AcqRel) + 1;
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
        if team.panicked.load(Ordering::Relaxed) {
            // The first panic has printed its message.
            resume_unwind(Box::new("a step panicked on another thread"));
        }
    }
}

/// Waits for the workers when dropped.
struct Finish<'t>(&'t Team);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        wait_until(|| self.0.unfinished.load(Ordering::Acquire) == 0);
    }
}

impl Team {
    /// The main loop of a worker.
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
            // SAFETY: this worker has taken its part of the latest task, so the caller does not touch it until the part
            // counts as finished.
            let task = unsafe { self.posted.task.read() };
            let run = || task.into_iter().for_each(|task| task(worker + 1));
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.unfinished.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits until there are more tasks than `known`, first spinning, then asleep; returns the number of the latest.
    fn next(&self, worker: usize, known: usize) -> usize {
        let is_posted = || self.posted.count.load(Ordering::Acquire) != known;
        while !wait_awake(is_posted) {
            let asleep = &self.workers[worker].asleep;
            asleep.store(true, Ordering::Relaxed);
            // Adding zero orders this before or after the post of a task. If after, it sees the task. If before, it
            // releases that this thread may sleep, and the poster acquires it and wakes the thread.
            if self.posted.count.fetch_add(0, Ordering::AcqRel) == known {
                park();
            }
            asleep.store(false, Ordering::Relaxed);
        }
        self.posted.count.load(Ordering::Acquire)
    }
}
