//! Tests the pool on real threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Threads;
use super::system::AWAKE;

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
