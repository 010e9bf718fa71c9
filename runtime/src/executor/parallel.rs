//! Decides which steps run on several threads, from their amount of work.
//!
//! The decision depends only on the program and the open sizes, never on a clock: the same run is always divided in the
//! same way, on every machine.

use windlass_compiler::codegen::Step;
use windlass_compiler::kernel::Units;
use windlass_compiler::plan::OpenSizes;
use windlass_compiler::shape::{Polynomial, Sizes};

/// Approximate operations per nanosecond of a thread: for products of medium size, with AVX vectors.
const FLOPS_PER_NANOSECOND: f64 = 80.0;

/// Approximate bytes per nanosecond that a thread reads and writes in its own caches.
const BYTES_PER_NANOSECOND: f64 = 100.0;

/// The minimum time of a step on one thread that is worth several threads. Starting the others and waiting for them
/// takes about one microsecond; most of the rest is for data that moves between caches.
const WORTH_THREADS_NANOSECONDS: f64 = 8_000.0;

/// Which steps run on several threads.
#[derive(Debug)]
pub(super) enum ParallelSteps {
    /// If only the batch is open: for each step, the smallest batch that uses several threads.
    FromBatch(Vec<usize>),
    /// The work of each step, if other sizes are open too.
    ByWork(Vec<Work>),
}

/// The work of a step, from which the decision follows.
#[derive(Debug)]
pub(super) struct Work {
    flops: Polynomial,
    bytes: Polynomial,
    units: Units,
}

/// Which steps of one run use several threads.
pub(super) enum Decision<'a> {
    FromBatch { smallest: &'a [usize], batch: usize },
    Steps(&'a [bool]),
}

impl ParallelSteps {
    /// Decides for a sequence of steps.
    pub(super) fn of(steps: &[Step], sizes: &OpenSizes) -> Self {
        let work = steps.iter().map(|step| Work {
            flops: step.cost.flops.clone(),
            bytes: step.traffic.bytes.clone(),
            units: step.units.clone(),
        });
        match sizes.polynomials().len() {
            1 => ParallelSteps::FromBatch(work.map(|work| work.smallest_parallel_batch()).collect()),
            _ => ParallelSteps::ByWork(work.collect()),
        }
    }

    /// Uses several threads for every step of every batch.
    pub(super) fn always(steps: &[Step]) -> Self {
        ParallelSteps::FromBatch(vec![1; steps.len()])
    }

    /// Decides for a run with values of the open sizes; `parallel` is a buffer.
    pub(super) fn decide<'a>(
        &'a self,
        sizes: &Sizes,
        values: &[usize],
        parallel: &'a mut Vec<bool>,
    ) -> Decision<'a> {
        match self {
            ParallelSteps::FromBatch(smallest) => Decision::FromBatch { smallest, batch: sizes.batch() },
            ParallelSteps::ByWork(steps) => {
                parallel.clear();
                parallel.extend(steps.iter().map(|work| work.is_parallel(sizes, values)));
                Decision::Steps(parallel)
            }
        }
    }
}

impl Decision<'_> {
    /// Whether any step uses several threads.
    pub(super) fn any(&self) -> bool {
        match self {
            Decision::FromBatch { smallest, batch } => smallest.iter().any(|smallest| batch >= smallest),
            Decision::Steps(steps) => steps.contains(&true),
        }
    }

    /// Whether a step uses several threads.
    pub(super) fn of_step(&self, step: usize) -> bool {
        match self {
            Decision::FromBatch { smallest, batch } => *batch >= smallest[step],
            Decision::Steps(steps) => steps[step],
        }
    }
}

impl Work {
    fn is_parallel(&self, sizes: &Sizes, values: &[usize]) -> bool {
        let computing = self.flops.at(sizes) as f64 / FLOPS_PER_NANOSECOND;
        let moving = self.bytes.at(sizes) as f64 / BYTES_PER_NANOSECOND;
        computing.max(moving) >= WORTH_THREADS_NANOSECONDS && self.units.total(values) > self.units.grain
    }

    fn smallest_parallel_batch(&self) -> usize {
        let computing = smallest_lasting_batch(&self.flops, FLOPS_PER_NANOSECOND);
        let moving = smallest_lasting_batch(&self.bytes, BYTES_PER_NANOSECOND);
        computing.min(moving).max(smallest_divisible_batch(&self.units))
    }
}

/// The smallest batch whose operations or bytes take long enough at a rate.
fn smallest_lasting_batch(work: &Polynomial, per_nanosecond: f64) -> usize {
    let fixed = work.constant();
    let per_sample = work.minus(&fixed).at(&Sizes::from(1));
    let needed = WORTH_THREADS_NANOSECONDS * per_nanosecond - fixed.at(&Sizes::new()) as f64;
    match per_sample {
        _ if needed <= 0.0 => 1,
        0 => usize::MAX,
        // Converting saturates.
        per_sample => (needed / per_sample as f64).ceil() as usize,
    }
}

/// The smallest batch whose work can be divided among two threads.
fn smallest_divisible_batch(units: &Units) -> usize {
    let needed = units.grain + 1;
    match units {
        Units { count: 0, .. } => usize::MAX,
        Units { open, count, .. } if !open.is_empty() => needed.div_ceil(*count),
        Units { count, .. } if *count >= needed => 1,
        _ => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use windlass_compiler::codegen::Program;
    use windlass_compiler::dump::Dump;
    use windlass_compiler::graph::{Builder, Layer};
    use windlass_compiler::kernel::SizeId;
    use windlass_compiler::kernel::Units;
    use windlass_compiler::pass::Mode;
    use windlass_compiler::pipeline::{CompileOptions, compile};
    use windlass_compiler::plan::PlanOptions;
    use windlass_compiler::shape::{Polynomial, Symbol};

    use super::{ParallelSteps, smallest_divisible_batch, smallest_lasting_batch};

    fn linear(inputs: usize, outputs: usize) -> Program {
        let mut builder = Builder::new("net");
        let x = builder.input("x", &[inputs]).unwrap();
        let y = builder.layer("f1", &Layer::linear(outputs), x).unwrap();
        builder.output("y", y).unwrap();
        let graph = builder.finish().unwrap();
        let options = CompileOptions::default().plan(PlanOptions::default().threads(2));
        compile(&graph, Mode::Inference, &options, &Dump::none()).unwrap().0
    }

    #[test]
    fn long_steps_are_shared_and_short_ones_are_not() {
        let large = linear(1000, 1000);
        let parallel = |program: &Program, batch: usize| {
            let parallel = ParallelSteps::of(program.run_steps(), &program.plan().sizes);
            let mut steps = Vec::new();
            let parallel = parallel.decide(&batch.into(), &[batch], &mut steps);
            (parallel.any(), parallel.of_step(0))
        };
        assert_eq!((parallel(&large, 1), parallel(&large, 64)), ((true, true), (true, true)));
        let small = linear(16, 8);
        assert_eq!((parallel(&small, 1), parallel(&small, 10_000)), ((false, false), (true, true)));
    }

    #[test]
    fn time_grows_with_the_batch() {
        let smallest = |fixed: usize, per_sample: usize| {
            let work = Polynomial::from(Symbol::BATCH).scaled(per_sample as i64);
            smallest_lasting_batch(&work.plus(&Polynomial::from(fixed)), 1.0)
        };
        assert_eq!(smallest(0, 1_000), 8);
        assert_eq!(smallest(1_500, 1_000), 7);
        assert_eq!((smallest(8_000, 0), smallest(7_999, 0)), (1, usize::MAX));
    }

    #[test]
    fn work_in_one_piece_is_not_shared() {
        let units = |count, batched: bool, grain| Units {
            count,
            open: batched.then_some(SizeId::BATCH).into_iter().collect(),
            grain,
        };
        assert_eq!(smallest_divisible_batch(&units(1, false, 1)), usize::MAX);
        assert_eq!(smallest_divisible_batch(&units(2, false, 1)), 1);
        assert_eq!(smallest_divisible_batch(&units(1, true, 1)), 2);
        assert_eq!(smallest_divisible_batch(&units(10, true, 16)), 2);
        assert_eq!(smallest_divisible_batch(&units(16, false, 16)), usize::MAX);
        assert_eq!(smallest_divisible_batch(&units(17, false, 16)), 1);
    }
}
