//! The models of the backend tests, and damaged ones.

use std::path::{Path, PathBuf};

use fastrand::Rng;
use flate2::read::GzDecoder;
use tempfile::TempDir;

/// The tests in a folder that is removed later.
pub(crate) fn unpacked() -> TempDir {
    let folder = TempDir::new().unwrap();
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/backend.tar.gz");
    tar::Archive::new(GzDecoder::new(std::fs::File::open(packed).unwrap())).unpack(folder.path()).unwrap();
    folder
}

/// The folders of tests, in order.
pub(crate) fn tests(folder: &Path) -> Vec<PathBuf> {
    let list = |path: &Path| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut tests: Vec<PathBuf> = list(folder).flat_map(|kind| list(&kind).collect::<Vec<_>>()).collect();
    tests.sort();
    tests
}

/// The files of all models.
pub(crate) fn models() -> Vec<Vec<u8>> {
    let folder = unpacked();
    tests(folder.path()).iter().map(|path| std::fs::read(path.join("model.onnx")).unwrap()).collect()
}

/// The number of damaged models of a test: a number for every run of the tests, or `WINDLASS_MUTATIONS`.
pub(crate) fn mutations(usual: usize) -> usize {
    std::env::var("WINDLASS_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Changes some bytes of a file.
pub(crate) fn damage(bytes: &mut Vec<u8>, random: &mut Rng) {
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
