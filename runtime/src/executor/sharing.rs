//! Which steps are worth sharing among threads, from the work they do. How threads share them lives elsewhere.
//!
//! The answer depends on the program and the batch size alone, never on a clock: the same run is shared in the same way
//! every time, on every machine.

use windlass_compiler::codegen::{Step, Units};

/// Operations a thread does in a nanosecond, about: in products of middling size, with wide vectors.
const FLOPS_PER_NANOSECOND: f64 = 80.0;

/// Bytes a thread reads and writes in a nanosecond, about, when they lie in its own caches.
const BYTES_PER_NANOSECOND: f64 = 100.0;

/// What a step must take on one thread to be shared. Telling the others and waiting for them takes about one microsecond;
/// much of the rest is for what they read and wrote before, which has to travel between caches.
const WORTH_SHARING_NANOSECONDS: f64 = 8_000.0;

/// Which of some steps are shared among threads.
#[derive(Debug)]
pub(super) struct Sharing {
    /// For each step, the smallest batch that is shared.
    from: Vec<usize>,
    /// The smallest batch with any shared step.
    least: usize,
}

impl Sharing {
    /// Decides for steps that run one after the other.
    pub(super) fn of(steps: &[Step]) -> Self {
        let from: Vec<usize> = steps.iter().map(smallest_shared_batch).collect();
        let least = from.iter().copied().min().unwrap_or(usize::MAX);
        Sharing { from, least }
    }

    /// Shares every step of every batch.
    pub(super) fn always(steps: &[Step]) -> Self {
        Sharing { from: vec![1; steps.len()], least: 1 }
    }

    /// Whether any step is shared at a batch size.
    pub(super) fn any(&self, batch: usize) -> bool {
        batch >= self.least
    }

    /// Whether a step is shared at a batch size.
    pub(super) fn of_step(&self, step: usize, batch: usize) -> bool {
        batch >= self.from[step]
    }
}

fn smallest_shared_batch(step: &Step) -> usize {
    let (cost, traffic) = (&step.cost, &step.traffic);
    let computing = smallest_lasting_batch(cost.flops_fixed, cost.flops_per_item, FLOPS_PER_NANOSECOND);
    let moving = smallest_lasting_batch(traffic.bytes_fixed, traffic.bytes_per_item, BYTES_PER_NANOSECOND);
    computing.min(moving).max(smallest_divisible_batch(&step.units))
}

/// The smallest batch whose operations, or bytes, take long enough at a rate.
fn smallest_lasting_batch(fixed: u64, per_item: u64, per_nanosecond: f64) -> usize {
    let needed = WORTH_SHARING_NANOSECONDS * per_nanosecond - fixed as f64;
    match per_item {
        _ if needed <= 0.0 => 1,
        0 => usize::MAX,
        // Converting saturates.
        per_item => (needed / per_item as f64).ceil() as usize,
    }
}

/// The smallest batch whose work has parts for two threads.
fn smallest_divisible_batch(units: &Units) -> usize {
    let needed = units.grain + 1;
    match units {
        Units { batched: true, count: 1.., .. } => needed.div_ceil(units.count),
        Units { batched: false, count, .. } if *count >= needed => 1,
        _ => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use windlass_compiler::codegen::{Program, Units};
    use windlass_compiler::dump::Dump;
    use windlass_compiler::graph::{Builder, Layer};
    use windlass_compiler::pass::Mode;
    use windlass_compiler::pipeline::{CompileOptions, compile};

    use super::{Sharing, smallest_divisible_batch, smallest_lasting_batch};

    fn linear(inputs: usize, outputs: usize) -> Program {
        let mut builder = Builder::new("net");
        let x = builder.input("x", &[inputs]).unwrap();
        let y = builder.layer("f1", &Layer::linear(outputs), x).unwrap();
        builder.output("y", y).unwrap();
        let graph = builder.finish().unwrap();
        compile(&graph, Mode::Inference, &CompileOptions::default(), &Dump::none()).unwrap().0
    }

    #[test]
    fn long_steps_are_shared_and_short_ones_are_not() {
        let large = linear(1000, 1000);
        let sharing = Sharing::of(large.run_steps());
        assert!(sharing.any(1) && sharing.of_step(0, 1) && sharing.of_step(0, 64));
        let small = linear(16, 8);
        let sharing = Sharing::of(small.run_steps());
        assert!(!sharing.any(1) && !sharing.of_step(0, 1));
        assert!(sharing.any(10_000) && sharing.of_step(0, 10_000));
    }

    #[test]
    fn time_grows_with_the_batch() {
        let smallest = |fixed, per_item| smallest_lasting_batch(fixed, per_item, 1.0);
        assert_eq!(smallest(0, 1_000), 8);
        assert_eq!(smallest(1_500, 1_000), 7);
        assert_eq!((smallest(8_000, 0), smallest(7_999, 0)), (1, usize::MAX));
    }

    #[test]
    fn work_in_one_piece_is_not_shared() {
        let units = |count, batched, grain| Units { count, batched, grain };
        assert_eq!(smallest_divisible_batch(&units(1, false, 1)), usize::MAX);
        assert_eq!(smallest_divisible_batch(&units(2, false, 1)), 1);
        assert_eq!(smallest_divisible_batch(&units(1, true, 1)), 2);
        assert_eq!(smallest_divisible_batch(&units(10, true, 16)), 2);
        assert_eq!(smallest_divisible_batch(&units(16, false, 16)), usize::MAX);
        assert_eq!(smallest_divisible_batch(&units(17, false, 16)), 1);
    }
}
