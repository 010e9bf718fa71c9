//! A process killed while it saves, or a full disk, leaves a complete checkpoint. Tests next to `atomic_file.rs` cover
//! every single step.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ndarray::ArrayD;
use windlass_runtime::checkpoint::{Checkpoint, Metadata, NonFinite};

/// The file, in the process that is killed; unset in the test itself.
const PATH_VARIABLE: &str = "WINDLASS_TEST_CHECKPOINT";

/// A checkpoint whose elements are all equal to its step.
fn checkpoint(step: u64) -> Checkpoint {
    let weight = ArrayD::from_elem(vec![300, 1000], step as f32);
    let metadata = Metadata { network: "net".to_owned(), step, ..Metadata::default() };
    Checkpoint { tensors: [("f1.weight".to_owned(), weight)].into(), metadata: Some(metadata) }
}

/// The step of the checkpoint on disk, after checking that it is complete.
fn step_on_disk(path: &Path) -> u64 {
    let loaded = Checkpoint::load(path, NonFinite::Refuse).expect("a whole checkpoint");
    let step = loaded.metadata.as_ref().expect("metadata").step;
    assert_eq!(loaded, checkpoint(step));
    step
}

fn save_forever(path: &Path) {
    let first = step_on_disk(path);
    for step in first + 1.. {
        checkpoint(step).save(path, NonFinite::Refuse).expect("saved");
    }
}

#[test]
fn a_kill_leaves_a_whole_checkpoint() {
    if let Some(path) = std::env::var_os(PATH_VARIABLE) {
        return save_forever(&PathBuf::from(path));
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("net.safetensors");
    checkpoint(0).save(&path, NonFinite::Refuse).unwrap();
    let mut interrupted = 0;
    for round in 0..25u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_kill_leaves_a_whole_checkpoint"])
            .env(PATH_VARIABLE, &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let before = step_on_disk(&path);
        // Killed at another moment of a save in each round, after at least one complete save.
        while step_on_disk(&path) == before {
            assert_eq!(child.try_wait().unwrap(), None, "the saving process ended by itself");
        }
        std::thread::sleep(Duration::from_micros(379 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(step_on_disk(&path) > before);
        interrupted += std::fs::read_dir(directory.path()).unwrap().count() - 1;
        for entry in std::fs::read_dir(directory.path()).unwrap() {
            let entry = entry.unwrap().path();
            if entry != path {
                std::fs::remove_file(entry).unwrap();
            }
        }
    }
    assert!(interrupted > 0, "no kill hit a save");
}

/// The file, in the process that cannot write files of its size; unset in the test itself.
#[cfg(unix)]
const FULL_VARIABLE: &str = "WINDLASS_TEST_FULL_DISK";

#[cfg(unix)]
#[test]
fn a_disk_that_is_full_leaves_the_old_checkpoint_and_an_error() {
    if let Some(path) = std::env::var_os(FULL_VARIABLE) {
        let path = PathBuf::from(path);
        let error = checkpoint(7).save(&path, NonFinite::Refuse).expect_err("there is no room");
        let message = error.to_string();
        assert!(message.starts_with(&format!("could not write {}: ", path.display())), "{message}");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("net.safetensors");
    checkpoint(1).save(&path, NonFinite::Refuse).unwrap();
    // Beyond a size limit, writes fail as on a full disk. The signal that comes with it is ignored.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$0\" --exact \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg("a_disk_that_is_full_leaves_the_old_checkpoint_and_an_error")
        .env(FULL_VARIABLE, &path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(step_on_disk(&path), 1);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
}
