//! Medians of repeated runs, of several contenders in turn.

use std::time::{Duration, Instant};

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Time for each contender, not counting its warm-up.
    pub(crate) time: Duration,
    /// The minimum number of runs of each.
    pub(crate) runs: usize,
}

/// The maximum number of runs for a median.
const MOST_RUNS: usize = 5000;
const WARM_UP_RUNS: usize = 2;

impl Budget {
    /// At least five runs.
    pub(crate) fn of(time: Duration) -> Self {
        Budget { time, runs: 5 }
    }
}

/// The median time of each contender. Contenders alternate (A B C, A B C, …), so that disturbances affect all of them.
///
/// # Errors
/// The first error of a contender.
pub(crate) fn medians<E>(
    budget: Budget,
    contenders: &mut [&mut dyn FnMut() -> Result<(), E>],
) -> Result<Vec<Duration>, E> {
    for _ in 0..WARM_UP_RUNS {
        for run in contenders.iter_mut() {
            run()?;
        }
    }
    let mut times = vec![Vec::new(); contenders.len()];
    let (start, time) = (Instant::now(), budget.time * contenders.len() as u32);
    for round in 0..MOST_RUNS {
        if round >= budget.runs && start.elapsed() >= time {
            break;
        }
        for (run, times) in contenders.iter_mut().zip(&mut times) {
            let start = Instant::now();
            run()?;
            times.push(start.elapsed());
        }
    }
    Ok(times.into_iter().map(median).collect())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}
