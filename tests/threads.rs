//! Models and trainers share threads. One test in its own process, because it counts all threads.

#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use windlass::{Model, Options, Trainer, TrainerOptions, network};

network! {
    network Small(x: [6]) -> [3] { f1: linear(3) }
}

/// Whether this many threads of this process are the runtime's. The system may list a thread for a moment after it has
/// ended.
fn has_workers(expected: usize) -> bool {
    let names = || -> std::io::Result<Vec<String>> {
        std::fs::read_dir("/proc/self/task")?
            .map(|thread| std::fs::read_to_string(thread?.path().join("comm")))
            .collect()
    };
    let count = |names: Vec<String>| names.iter().filter(|name| name.starts_with("windlass-")).count();
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        // A thread that ends while it is inspected is an error here.
        if names().is_ok_and(|names| count(names) == expected) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

#[test]
fn a_trainer_takes_the_threads_of_its_model() -> Result<(), windlass::Error> {
    assert!(has_workers(0));
    let model: Model<Small> = Model::with_options(1, &Options::default().threads(3))?;
    assert!(has_workers(2));
    let mut trainer = Trainer::new(model, TrainerOptions::default())?;
    assert!(has_workers(2));
    trainer.step(&[1.0; 12], &[0, 2])?;
    let other: Model<Small> = Model::with_options(1, &Options::default().threads(2))?;
    assert!(has_workers(3));
    drop(trainer);
    assert!(has_workers(1));
    drop(other);
    assert!(has_workers(0));
    Ok(())
}
