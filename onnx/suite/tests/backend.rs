//! The small backend tests of ONNX, and damaged models.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;
use flate2::read::GzDecoder;
use tempfile::TempDir;
use windlass_onnx::{ImportOptions, import_bytes};
use windlass_onnx_suite::{Case, Outcome};

fn unpacked() -> TempDir {
    let folder = TempDir::new().unwrap();
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/backend.tar.gz");
    tar::Archive::new(GzDecoder::new(std::fs::File::open(packed).unwrap())).unpack(folder.path()).unwrap();
    folder
}

/// The folders of tests, in order.
fn tests(folder: &Path) -> Vec<PathBuf> {
    let list = |path: &Path| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut tests: Vec<PathBuf> = list(folder).flat_map(|kind| list(&kind).collect::<Vec<_>>()).collect();
    tests.sort();
    tests
}

#[test]
fn small_backend_tests_pass() {
    let folder = unpacked();
    let tests = tests(folder.path());
    assert!(tests.len() > 900, "{}", tests.len());
    let failing: Vec<String> = tests
        .iter()
        .filter_map(|path| match Case::read(path).and_then(|case| case.run()) {
            Ok(Outcome::Passes) => None,
            other => Some(format!("{}: {other:?}", path.display())),
        })
        .collect();
    assert!(failing.is_empty(), "{}", failing.join("\n"));
}

/// Changes some bytes of a file.
fn damage(bytes: &mut Vec<u8>, random: &mut Rng) {
    for _ in 0..random.usize(1..6) {
        if bytes.is_empty() {
            return;
        }
        let at = random.usize(..bytes.len());
        match random.u8(..8) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << random.u8(..8),
            2 => bytes[at] = random.u8(..),
            // The largest number of a field.
            3 => {
                let end = (at + 9).min(bytes.len());
                bytes[at..end].fill(0xff);
            }
            4 => {
                let end = (at + random.usize(1..40)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let place = random.usize(..=bytes.len());
                bytes.splice(place..place, copy);
            }
            5 => {
                let end = (at + random.usize(1..40)).min(bytes.len());
                bytes.drain(at..end);
            }
            6 => bytes.insert(at, random.u8(..)),
            _ => bytes[at] = [0, 1, 0x7f, 0x80][random.usize(..4)],
        }
    }
}

/// Damaged models give a typed error or a network, in bounded time. `WINDLASS_MUTATIONS` sets their number.
#[test]
fn damaged_models_give_errors() {
    let count = std::env::var("WINDLASS_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(30_000);
    let folder = unpacked();
    let models: Vec<Vec<u8>> =
        tests(folder.path()).iter().map(|path| std::fs::read(path.join("model.onnx")).unwrap()).collect();
    let mut random = Rng::with_seed(11);
    let (mut accepted, mut panics, mut slowest) = (0, 0, Duration::ZERO);
    for _ in 0..count {
        let mut bytes = models[random.usize(..models.len())].clone();
        damage(&mut bytes, &mut random);
        let start = Instant::now();
        match std::panic::catch_unwind(|| import_bytes(&bytes, &ImportOptions::new()).is_ok()) {
            Ok(is_accepted) => accepted += usize::from(is_accepted),
            Err(_) => panics += 1,
        }
        slowest = slowest.max(start.elapsed());
    }
    assert_eq!(panics, 0);
    assert!(slowest < Duration::from_secs(60), "{slowest:?}");
    println!("{accepted} of {count} damaged models are imported, the slowest in {slowest:?}");
}
