//! Models and trainers share threads. One test in a process of its own, since it counts the threads of all.

#![cfg(target_os = "linux")]

use windlass::{Model, Options, Trainer, TrainerOptions, network};

network! {
    network Small(x: [6]) -> [3] { f1: linear(3) }
}

/// How many threads of this process are the runtime's.
fn workers() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let names = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).unwrap());
    names.filter(|name| name.starts_with("windlass-")).count()
}

#[test]
fn a_trainer_takes_the_threads_of_its_model() -> Result<(), windlass::Error> {
    assert_eq!(workers(), 0);
    let model: Model<Small> = Model::with_options(1, &Options::default().threads(3))?;
    assert_eq!(workers(), 2);
    let mut trainer = Trainer::new(model, TrainerOptions::default())?;
    assert_eq!(workers(), 2);
    trainer.step(&[1.0; 12], &[0, 2])?;
    let other: Model<Small> = Model::with_options(1, &Options::default().threads(2))?;
    assert_eq!(workers(), 3);
    drop(trainer);
    assert_eq!(workers(), 1);
    drop(other);
    assert_eq!(workers(), 0);
    Ok(())
}
