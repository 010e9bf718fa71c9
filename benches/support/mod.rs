//! Common parts of the benchmarks: a task to run, its memory, the check of its results, the clock, and tables.

mod clock;
mod oracle;
mod table;
mod task;

pub(crate) use clock::{Budget, medians};
pub(crate) use oracle::check;
pub(crate) use table::print_table;
pub(crate) use task::{Bound, Kind, Task};

/// Whether this runs under `cargo bench`. Otherwise it is `cargo test`, which only checks that a benchmark still runs,
/// and whose arguments are for other tests.
pub(crate) fn is_benchmark() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
