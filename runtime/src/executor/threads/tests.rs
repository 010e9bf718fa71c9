//! Tests the pool on real threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Threads;
use super::system::AWAKE;

#[test]
fn every_thread_runs_every_task_once_before_the_next() {
    let count = 3;
    let threads = Threads::new(count, 64).unwrap();
    let runs: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
    let mut turn = threads.try_turn().unwrap();
    for round in 0..500 {
        turn.each(&|thread| {
            assert_eq!(runs[thread].fetch_add(1, Ordering::Relaxed), round);
        });
        assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == round + 1));
    }
}

#[test]
fn sleeping_workers_wake_for_the_next_task() {
    let threads = Threads::new(2, 64).unwrap();
    let runs = AtomicUsize::new(0);
    for _ in 0..20 {
        threads.try_turn().unwrap().each(&|_| {
            runs.fetch_add(1, Ordering::Relaxed);
        });
        std::thread::sleep(AWAKE + Duration::from_micros(200));
    }
    assert_eq!(runs.load(Ordering::Relaxed), 40);
}

#[test]
fn callers_take_turns() {
    let threads = Threads::new(2, 64).unwrap();
    let (busy, runs) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let mut turn = loop {
                        match threads.try_turn() {
                            Some(turn) => break turn,
                            None => std::thread::yield_now(),
                        }
                    };
                    turn.each(&|_| {
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
    let threads = Threads::new(3, 64).unwrap();
    for panicking in 0..3 {
        let ended = AtomicUsize::new(0);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            threads.try_turn().unwrap().each(&|thread| {
                ended.fetch_add(1, Ordering::SeqCst);
                assert!(thread != panicking, "expected by this test");
            });
        }));
        assert!(outcome.is_err());
        assert_eq!(ended.load(Ordering::SeqCst), 3, "all threads took part");
    }
    let runs = AtomicUsize::new(0);
    threads.try_turn().unwrap().each(&|_| {
        runs.fetch_add(1, Ordering::SeqCst);
    });
    assert_eq!(runs.load(Ordering::SeqCst), 3);
}

#[test]
fn a_run_takes_a_turn_while_cores_are_left() {
    let threads = Threads::new(2, 3).unwrap();
    let first = threads.begin();
    let turn = first.turn(None);
    assert!(turn.is_some());
    let second = threads.begin();
    assert!(second.turn(None).is_none(), "the first run has it");
    let turn = first.turn(turn);
    assert!(turn.is_some(), "two runs leave a core");
    let third = threads.begin();
    assert!(first.turn(turn).is_none(), "three runs need all cores");
    drop(third);
    let turn = second.turn(None);
    assert!(turn.is_some() && first.turn(None).is_none());
    drop((turn, first, second));
    assert!(threads.begin().turn(None).is_some(), "all runs have ended");
}

#[test]
fn a_run_that_panics_has_ended() {
    let threads = Threads::new(2, 2).unwrap();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let run = threads.begin();
        let mut turn = run.turn(None).expect("nobody else has it");
        turn.each(&|_| panic!("expected by this test"));
    }));
    assert!(outcome.is_err());
    assert!(threads.begin().turn(None).is_some());
}
