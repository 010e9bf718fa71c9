//! The small backend tests of ONNX, and damaged models.

mod models;

use std::time::{Duration, Instant};

use fastrand::Rng;
use windlass_onnx::{ImportOptions, import_bytes};
use windlass_onnx_suite::{Case, Outcome};

use models::{damage, models, mutations, tests, unpacked};

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

/// Damaged models give a typed error or a network, in bounded time. `WINDLASS_MUTATIONS` sets their number.
#[test]
fn damaged_models_give_errors() {
    let (count, models) = (mutations(30_000), models());
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
