//! Runs compiled programs on the values of a test: through the executor, and between guard pages.

use windlass_compiler::shape::Sizes;
pub(crate) use windlass_fuzz::engines::Results;
use windlass_fuzz::engines::guard::Side;
pub(crate) use windlass_fuzz::engines::run::run as run_at;
use windlass_fuzz::engines::run::{run_between_guards, same_bits};
use windlass_runtime::executor::Executor;

use crate::numbers::Sources;

/// Runs a program once through an executor.
pub(crate) fn run(executor: &Executor, sizes: impl Into<Sizes>, sources: &Sources, version: u64) -> Results {
    run_at(executor, &sizes.into(), sources, version, |_| 0)
}

/// Runs a program in all ways: twice through an executor with the same parameters, and between guard pages at either
/// end. All runs must give the same bits.
#[track_caller]
pub(crate) fn run_every_way(
    executor: &Executor,
    sizes: &Sizes,
    sources: &Sources,
    version: u64,
    what: &str,
) -> Results {
    let results = run(executor, sizes.clone(), sources, version);
    // Runs it once more in memory that is not aligned to vectors.
    let again = run_at(executor, sizes, sources, version, |_| 1);
    assert!(same_bits(&results, &again), "{what}, {sizes}: the second run differs");
    for (side, reversed) in [(Side::End, true), (Side::Start, false)] {
        let guarded = run_between_guards(executor.program(), sizes, sources, side, reversed)
            .unwrap_or_else(|breach| panic!("{what}, {sizes}: {breach}"));
        assert!(
            same_bits(&results, &guarded),
            "{what}, {sizes}: the run between guard pages differs ({side:?})"
        );
    }
    results
}
