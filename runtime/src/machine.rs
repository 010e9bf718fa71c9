//! The capabilities of the machine: cores, vectors and caches as the system reports them, and the measured speed of a
//! thread. [`crate::profile`] compares networks with them.

use std::fmt;
use std::num::NonZero;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::plan::{Costs, Layouts, PlanOptions};
use windlass_compiler::target::Target;

use crate::error::Error;
use crate::executor::Executor;
use crate::timing::Rehearsal;

/// The limits that a network's speed is compared with.
///
/// ```
/// use windlass::Machine;
/// let machine = Machine::measure(&Default::default())?;
/// assert!(machine.gflops_per_second > 0.0 && machine.cores > 0);
/// println!("{machine}");
/// # Ok::<(), windlass::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The CPU's name, if it has one.
    pub cpu: Option<String>,
    /// Cores available to the process.
    pub cores: usize,
    /// Width of the vectors in use, in bits.
    pub vector_bits: usize,
    /// Caches of a core.
    pub caches: Caches,
    /// Billions of floating-point operations per second of one thread in the fastest of several products; a
    /// multiply-add counts as two.
    pub gflops_per_second: f64,
    /// The speed of memory.
    pub bandwidths: Bandwidths,
}

/// Billions of bytes per second that one thread reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bandwidths {
    /// In its first-level cache.
    pub first: f64,
    /// In its second-level cache.
    pub second: f64,
    /// In the third-level cache; without one, in memory.
    pub third: f64,
    /// In memory.
    pub memory: f64,
}

/// Sizes of the caches of a core, in bytes; `None` if the system does not report it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caches {
    /// First-level data cache.
    pub first: Option<usize>,
    /// Second-level cache.
    pub second: Option<usize>,
    /// Third-level cache, often shared among cores.
    pub third: Option<usize>,
}

/// How long each program is measured; there are two for each figure.
const BUDGET: Duration = Duration::from_millis(25);

/// The least of most CPUs of the last ten years, for systems that do not report them.
const FIRST_CACHE: usize = 32 << 10;
const SECOND_CACHE: usize = 256 << 10;

/// Bytes whose traffic is measured for memory, if no cache is larger.
const MEMORY: usize = 64 << 20;

impl Machine {
    /// Queries the system and measures, for about a third of a second. Other work on the machine lowers the figures.
    ///
    /// # Errors
    /// [`Error::Compile`] for an unsupported CPU or unsupported options.
    pub fn measure(options: &PlanOptions) -> Result<Machine, Error> {
        let mut options = options.clone();
        options.threads = 1;
        let target = Target::host(options.features, options.vector_bits).map_err(|reason| {
            Error::Compile { network: "the measurement".to_owned(), reason: Box::new(reason.into()) }
        })?;
        let (cpu, caches) = identify();
        let half = |size: Option<usize>, least| size.unwrap_or(least) / 2;
        let memory = measure_traffic(&options, MEMORY.max(2 * caches.third.unwrap_or(0)))?;
        let bandwidths = Bandwidths {
            first: measure_traffic(&options, half(caches.first, FIRST_CACHE))?,
            second: measure_traffic(&options, half(caches.second, SECOND_CACHE))?,
            third: caches.third.map_or(Ok(memory), |size| measure_traffic(&options, size / 4))?,
            memory,
        };
        Ok(Machine {
            cpu,
            cores: std::thread::available_parallelism().map_or(1, NonZero::get),
            vector_bits: target.vectors.bits,
            caches,
            gflops_per_second: measure_products(&options)?,
            bandwidths,
        })
    }

    /// The minimum time, in microseconds, of this many operations and bytes on some threads (the roofline model of
    /// Williams, Waterman and Patterson 2009): the longer of computing and moving. A cache may already hold as many of
    /// the bytes as its size, so these are counted at its speed. Speed is assumed to be proportional to the number of
    /// threads, which shared memory may not allow.
    pub fn least_microseconds(&self, flops: u64, bytes: u64, threads: usize) -> f64 {
        let own = |size: Option<usize>, least| (threads * size.unwrap_or(least)) as u64;
        let levels = [
            (own(self.caches.first, FIRST_CACHE), self.bandwidths.first),
            (own(self.caches.second, SECOND_CACHE), self.bandwidths.second),
            (self.caches.third.unwrap_or(0) as u64, self.bandwidths.third),
            (u64::MAX, self.bandwidths.memory),
        ];
        let time = |amount: u64, billions_per_second: f64| amount as f64 / (billions_per_second * 1e3);
        let (mut moving, mut rest) = (0.0, bytes);
        for (size, bandwidth) in levels {
            let held = rest.min(size);
            moving += if held > 0 { time(held, bandwidth) } else { 0.0 };
            rest -= held;
        }
        time(flops, self.gflops_per_second).max(moving) / threads as f64
    }
}

impl Machine {
    /// The facts for the planner's cost model: measured where possible, otherwise the default. A cycle is assumed to
    /// take as long as two multiply-adds of vectors, whatever the clock: only proportions decide between algorithms.
    ///
    /// Plans made with these facts may differ from one machine to another, and from one measurement to the next.
    pub fn costs(&self) -> Costs {
        let defaults = Costs::default();
        let lanes = self.vector_bits as f64 / 32.0;
        let flops_a_cycle =
            2.0 * lanes * 16.0 / f64::from(defaults.multiply_add.of_lanes(self.vector_bits / 32));
        let cycles_per_microsecond = self.gflops_per_second * 1e3 / flops_a_cycle;
        let line = |gbytes_per_second: f64| {
            // The conversion saturates; NaN becomes zero.
            (64.0 * 16.0 * cycles_per_microsecond / (gbytes_per_second * 1e3)).round().max(1.0) as u16
        };
        let l2_hit_line = line(self.bandwidths.second);
        defaults
            .l2_hit_line(l2_hit_line)
            .l2_miss_line(line(self.bandwidths.memory).max(l2_hit_line))
            .first_cache(self.caches.first.unwrap_or(defaults.first_cache))
            .second_cache(self.caches.second.unwrap_or(defaults.second_cache))
            .cycles_per_microsecond(cycles_per_microsecond.round().max(1.0) as u32)
    }
}

/// A name that identifies CPUs of the same speed, except for their clock.
pub(crate) fn cpu_name() -> String {
    let name = identify().0.unwrap_or_else(|| "unknown CPU".to_owned());
    format!("{name} ({})", model())
}

/// Distinguishes CPUs with the same name, such as those of virtual machines.
#[cfg(target_arch = "x86_64")]
fn model() -> String {
    let known = raw_cpuid::CpuId::new().get_feature_info();
    let numbers = known.map(|known| (known.family_id(), known.model_id(), known.stepping_id()));
    let (family, model, stepping) = numbers.unwrap_or_default();
    format!("family {family}, model {model}, stepping {stepping}")
}

/// For other architectures, only the architecture is known.
#[cfg(not(target_arch = "x86_64"))]
fn model() -> String {
    std::env::consts::ARCH.to_owned()
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |bytes: Option<usize>| match bytes {
            Some(bytes) if bytes >= 1 << 20 => format!("{} MiB", bytes >> 20),
            Some(bytes) => format!("{} KiB", bytes >> 10),
            None => "unknown".to_owned(),
        };
        let Caches { first, second, third } = self.caches;
        write!(
            f,
            "{}: {} core{}, {}-bit vectors, caches of {}, {} and {}; one thread: {:.0} GFLOP/s, {:.0}, {:.0} and \
             {:.0} GB/s in the caches, {:.0} in memory",
            self.cpu.as_deref().unwrap_or("this CPU"),
            self.cores,
            if self.cores == 1 { "" } else { "s" },
            self.vector_bits,
            size(first),
            size(second),
            size(third),
            self.gflops_per_second,
            self.bandwidths.first,
            self.bandwidths.second,
            self.bandwidths.third,
            self.bandwidths.memory,
        )
    }
}

/// The CPU's name and caches.
#[cfg(target_arch = "x86_64")]
fn identify() -> (Option<String>, Caches) {
    use raw_cpuid::{CacheType, CpuId};

    let cpu = CpuId::new();
    let name = cpu.get_processor_brand_string().map(|name| name.as_str().trim().to_owned());
    let mut caches = Caches::default();
    for cache in cpu.get_cache_parameters().into_iter().flatten() {
        let bytes = cache.associativity()
            * cache.physical_line_partitions()
            * cache.coherency_line_size()
            * cache.sets();
        match (cache.level(), cache.cache_type()) {
            (_, CacheType::Instruction) => {}
            (1, _) => caches.first = Some(bytes),
            (2, _) => caches.second = Some(bytes),
            (3, _) => caches.third = Some(bytes),
            _ => {}
        }
    }
    // AMD tells in leaves of its own.
    if caches.first.is_none() {
        let first = cpu.get_l1_cache_and_tlb_info().map(|info| usize::from(info.dcache_size()) << 10);
        let later = cpu.get_l2_l3_cache_and_tlb_info();
        let second = later.as_ref().map(|info| usize::from(info.l2cache_size()) << 10);
        let third = later.as_ref().map(|info| usize::from(info.l3cache_size()) << 19);
        let known = |bytes: Option<usize>| bytes.filter(|&bytes| bytes > 0);
        caches = Caches { first: known(first), second: known(second), third: known(third) };
    }
    (name.filter(|name| !name.is_empty()), caches)
}

/// Nothing is known about other architectures.
#[cfg(not(target_arch = "x86_64"))]
fn identify() -> (Option<String>, Caches) {
    (None, Caches::default())
}

/// Operations per nanosecond of the fastest kernel in chains of pointwise convolutions. There are several shapes,
/// because register tiles of each width divide some shapes better, and both layouts.
fn measure_products(options: &PlanOptions) -> Result<f64, Error> {
    const LAYERS: usize = 3;
    /// Channels, and the height and width of the image.
    const SHAPES: [(usize, [usize; 2], Layouts); 4] = [
        (48, [4, 12], Layouts::ChannelsFirst),
        (32, [8, 14], Layouts::ChannelsFirst),
        (192, [12, 12], Layouts::ByChannels),
        (256, [14, 14], Layouts::ByChannels),
    ];
    let mut best = 0.0_f64;
    for (channels, [height, width], layouts) in SHAPES {
        let options = options.clone().layouts(layouts);
        let declare = || {
            let mut builder = Builder::new("products");
            let mut value = builder.input("x", &[channels, height, width])?;
            for layer in 0..LAYERS {
                let convolution = Layer::conv(channels, Window::square(1, 1, 0));
                value = builder.layer(&format!("c{layer}"), &convolution, value)?;
            }
            builder.output("y", value)?;
            builder.finish()
        };
        best = best.max(fastest_kernel(executor(&declare()?, &options)?)?);
    }
    Ok(best)
}

/// Operations per nanosecond of the fastest kernel of a program that only convolves directly.
fn fastest_kernel(executor: Executor) -> Result<f64, Error> {
    let flops: Vec<u64> = executor.program().run_steps().iter().map(|step| step.cost.at(1)).collect();
    let mut rehearsal = Rehearsal::new(executor, 1);
    let mut times = Vec::new();
    let mut best = 0.0_f64;
    let start = Instant::now();
    while best == 0.0 || start.elapsed() < BUDGET {
        times.clear();
        rehearsal.start()?.execute_timed(0, &mut times)?;
        for (flops, time) in flops.iter().zip(&times) {
            let nanoseconds = time.total.as_secs_f64() * 1e9;
            if nanoseconds > 0.0 {
                best = best.max(*flops as f64 / nanoseconds);
            }
        }
    }
    Ok(best)
}

/// Bytes per nanosecond through memory of a size, which determines the cache it is in: the better of copying (half
/// read, half written) and summing (all read).
fn measure_traffic(options: &PlanOptions, bytes: usize) -> Result<f64, Error> {
    const ROW: usize = 1024;
    let copy = || {
        let mut builder = Builder::new("copy");
        let x = builder.input("x", &[ROW])?;
        let y = builder.layer("r", &Layer::Relu, x)?;
        builder.output("y", y)?;
        builder.finish()
    };
    let sum = || {
        let mut builder = Builder::new("sum");
        let x = builder.input("x", &[ROW])?;
        let y = builder.layer("f", &Layer::linear(1), x)?;
        builder.output("y", y)?;
        builder.finish()
    };
    let mut best = 0.0_f64;
    for (graph, bytes_per_row) in [(copy()?, 8 * ROW), (sum()?, 4 * ROW)] {
        let rows = (bytes / bytes_per_row).max(1);
        let nanoseconds = best_nanoseconds(executor(&graph, options)?, rows)?;
        best = best.max((rows * bytes_per_row) as f64 / nanoseconds);
    }
    Ok(best)
}

fn executor(graph: &Graph, options: &PlanOptions) -> Result<Executor, Error> {
    let options = CompileOptions::default().plan(options.clone());
    let (program, _) = compile(graph, Mode::Inference, &options, &Dump::none())
        .map_err(|reason| Error::Compile { network: graph.name().to_owned(), reason: Box::new(reason) })?;
    Executor::new(program)
}

/// The time of the fastest run.
fn best_nanoseconds(executor: Executor, batch: usize) -> Result<f64, Error> {
    let mut rehearsal = Rehearsal::new(executor, batch);
    let mut best = Duration::MAX;
    let start = Instant::now();
    while best == Duration::MAX || start.elapsed() < BUDGET {
        let run = rehearsal.start()?;
        let start = Instant::now();
        run.execute(0)?;
        best = best.min(start.elapsed());
    }
    Ok(best.as_secs_f64() * 1e9)
}

#[cfg(test)]
mod tests {
    use super::{Bandwidths, Caches, Costs, Machine};

    fn machine() -> Machine {
        Machine {
            cpu: Some("Test".to_owned()),
            cores: 2,
            vector_bits: 256,
            caches: Caches { first: Some(32 << 10), second: Some(1 << 20), third: None },
            gflops_per_second: 100.0,
            bandwidths: Bandwidths { first: 100.0, second: 50.0, third: 10.0, memory: 10.0 },
        }
    }

    #[test]
    fn the_longer_of_computing_and_moving_bounds_the_time() {
        let machine = machine();
        assert_eq!(machine.least_microseconds(1_000_000, 1_000, 1), 10.0);
        // 32 KiB in the first cache, the rest in the second; then 1 MiB in the second, the rest in memory.
        let (first, second) = ((32 << 10) as f64 / 100e3, (1 << 20) as f64 / 50e3);
        let near =
            |got: f64, expected: f64| assert!((got - expected).abs() < 1e-9 * expected, "{got}, {expected}");
        near(machine.least_microseconds(1_000, 1_000_000, 1), first + (1e6 - 32.0 * 1024.0) / 50e3);
        let rest = (10e6 - (33 << 15) as f64) / 10e3;
        near(machine.least_microseconds(1_000, 10_000_000, 1), first + second + rest);
        assert_eq!(machine.least_microseconds(1_000_000, 1_000, 2), 5.0);
        assert_eq!(machine.least_microseconds(0, 0, 2), 0.0);
    }

    #[test]
    fn costs_keep_the_proportions() {
        let costs = machine().costs();
        // 256-bit vectors, two multiply-adds of 8 lanes a cycle: 32 operations.
        assert_eq!(costs.cycles_per_microsecond, 3125);
        assert_eq!((costs.l2_hit_line, costs.l2_miss_line), (64, 320));
        assert_eq!((costs.first_cache, costs.second_cache), (32 << 10, 1 << 20));
        assert_eq!(costs.latency, Costs::default().latency);
        let bandwidths = Bandwidths { second: 0.0, ..machine().bandwidths };
        let broken = Machine { gflops_per_second: f64::NAN, bandwidths, ..machine() };
        assert!(broken.costs().cycles_per_microsecond > 0 && broken.costs().l2_hit_line > 0);
    }

    #[test]
    fn prints_and_serialises() {
        let machine = machine();
        assert_eq!(
            machine.to_string(),
            "Test: 2 cores, 256-bit vectors, caches of 32 KiB, 1 MiB and unknown; one thread: 100 GFLOP/s, 100, 50 and \
             10 GB/s in the caches, 10 in memory"
        );
        let text = serde_json::to_string(&machine).unwrap();
        assert_eq!(serde_json::from_str::<Machine>(&text).unwrap(), machine);
    }
}
