//! How the work on a batch is shared among threads, for models of time.

use super::PlanOptions;
use crate::graph::Graph;

/// Items of a batch that plans are made for where parameters are updated, if the options do not say.
const TRAINING_BATCH: usize = 8;

/// Threads, and the items of the batch they work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parallelism {
    /// Threads.
    pub threads: usize,
    /// Items of the batch that the plan is to be quick for.
    pub items: usize,
}

impl Parallelism {
    /// What the options say of a graph.
    pub(super) fn of(graph: &Graph, options: &PlanOptions) -> Self {
        let usual = if graph.updates().is_empty() { 1 } else { TRAINING_BATCH };
        Parallelism { threads: options.threads, items: options.batch.unwrap_or(usual) }
    }

    /// The time of an item of so many units of work that each take a time: as long as the thread with the most of them
    /// works, over the items.
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
