//! What the benchmarks share: a task to run, the memory it runs in, the check that nothing wrong is timed, the clock,
//! and tables. Which tasks are measured, and how results are printed, is each benchmark's own.

mod clock;
mod oracle;
mod table;
mod task;

pub(crate) use clock::{Budget, medians};
pub(crate) use oracle::check;
pub(crate) use table::print_table;
pub(crate) use task::{Bound, Kind, Task};

/// Whether `cargo bench` runs this. Otherwise it is `cargo test`, which wants to know only that a benchmark still runs,
/// and whose arguments are for other tests.
pub(crate) fn is_benchmark() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
