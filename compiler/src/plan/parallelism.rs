//! The division of a batch's work among threads, for time models.

use super::PlanOptions;
use crate::graph::Graph;

/// The batch size that plans optimise for if parameters are updated and the options do not set one.
const TRAINING_BATCH: usize = 8;

/// Threads, and the batch size that they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parallelism {
    /// The number of threads.
    pub threads: usize,
    /// The number of items to optimise for.
    pub items: usize,
}

impl Parallelism {
    /// The parallelism of a graph according to the options.
    pub(super) fn of(graph: &Graph, options: &PlanOptions) -> Self {
        let usual = if graph.updates().is_empty() { 1 } else { TRAINING_BATCH };
        Parallelism { threads: options.threads, items: options.batch.unwrap_or(usual) }
    }

    /// The time per item of `units` work units with the same time: the time of the thread with the most units, divided
    /// by the number of items.
    pub fn time(self, units: usize, unit: usize) -> usize {
        (self.items * units).div_ceil(self.threads).saturating_mul(unit) / self.items
    }
}

#[cfg(test)]
mod tests {
    use super::Parallelism;

    #[test]
    fn uneven_shares_matter_less_in_larger_batches() {
        let of = |threads, items| Parallelism { threads, items };
        assert_eq!(of(1, 1).time(7, 10), 70);
        assert_eq!(of(2, 1).time(7, 10), 40);
        assert_eq!(of(2, 8).time(7, 10), 35);
        assert_eq!(of(3, 8).time(1, 10), 3);
        assert_eq!(of(2, 1).time(7, usize::MAX), usize::MAX);
    }
}
