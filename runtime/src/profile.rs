//! The time of a run by kernel, compared with the capabilities of the machine, as a table.

use std::fmt;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, TableComponent, presets};
use serde::{Deserialize, Serialize};
use windlass_compiler::codegen::Program;
use windlass_compiler::shape::Sizes;

use crate::error::Error;
use crate::executor::StepTime;
use crate::machine::Machine;

/// The time of each kernel of a program for one batch size. It prints as a table, with the kernels in execution order,
/// and serializes as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The name of the network.
    pub network: String,
    /// Samples in each run.
    pub batch: usize,
    /// Threads of each run.
    pub threads: usize,
    /// Runs measured.
    pub runs: usize,
    /// The kernels in execution order.
    pub kernels: Vec<KernelTime>,
    /// The machine that the kernels are compared with; see [`Profile::compared_with`].
    pub machine: Option<Machine>,
}

/// The time of one kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelTime {
    /// The layer and operator.
    pub name: String,
    /// The algorithm and why it was chosen.
    pub note: String,
    /// Its leaves that fall back to Cranelift although the program uses AVX vectors, and why.
    #[serde(default)]
    pub fallbacks: Vec<String>,
    /// The median over all runs, in microseconds.
    pub microseconds: f64,
    /// The fraction of the whole run, between 0 and 1.
    pub share: f64,
    /// Floating-point operations of one run by the operator's definition, where a multiply-add counts as two. The
    /// algorithm may need fewer. 0 for kernels that only move data.
    pub flops: u64,
    /// Floating-point operations of the products that the algorithm performs, if the kernel computes products: fewer than
    /// [`flops`](Self::flops) with Winograd's algorithm.
    #[serde(default)]
    pub products: Option<u64>,
    /// Bytes that one run reads and writes outside scratch, each element once for reading and once for writing.
    pub bytes: u64,
    /// The machine's minimum time for the operations that it performs and for these bytes, divided by the kernel's time:
    /// 1 is the optimum. Only noise exceeds it.
    /// `None` without a machine, or if the kernel was too fast for the clock.
    pub roofline: Option<f64>,
}

impl KernelTime {
    /// The floating-point operations that it performs.
    pub fn performed(&self) -> u64 {
        self.products.unwrap_or(self.flops)
    }

    /// Billions of floating-point operations per second that it performs; `None` for a kernel without any, or if it was
    /// too fast for the clock.
    pub fn gflops_per_second(&self) -> Option<f64> {
        rate(self.performed(), self.microseconds)
    }

    /// The same of the operator's definition, which may have more operations.
    pub fn effective_gflops_per_second(&self) -> Option<f64> {
        rate(self.flops, self.microseconds)
    }

    /// Whether its algorithm performs clearly fewer operations than the definition of the operator has.
    fn is_fast_algorithm(&self) -> bool {
        self.products.is_some_and(|products| 4 * products < 3 * self.flops)
    }

    /// Billions of bytes per second; `None` for a kernel that was too fast for the clock.
    pub fn gbytes_per_second(&self) -> Option<f64> {
        rate(self.bytes, self.microseconds)
    }
}

/// Billions per second.
fn rate(amount: u64, microseconds: f64) -> Option<f64> {
    (amount > 0 && microseconds > 0.0).then(|| amount as f64 / microseconds / 1e3)
}

impl Profile {
    /// Measures `runs` runs of a program, at least one, after one run for warming up.
    ///
    /// `run` runs the program once through [`Executor::run_timed`](crate::executor::Executor::run_timed), which records
    /// the times. A training program keeps training: its parameters change with every run.
    ///
    /// ```
    /// use windlass::{Binding, Builder, CompileOptions, Layer, Profile};
    /// use windlass_compiler::dump::Dump;
    /// use windlass_compiler::pass::Mode;
    /// use windlass_compiler::pipeline::compile;
    /// use windlass_runtime::executor::Executor;
    ///
    /// let mut builder = Builder::new("net");
    /// let x = builder.input("x", &[4])?;
    /// let y = builder.layer("r1", &Layer::Relu, x)?;
    /// builder.output("y", y)?;
    /// let (program, _) = compile(&builder.finish()?, Mode::Inference, &CompileOptions::default(), &Dump::none())?;
    /// let executor = Executor::new(program)?;
    /// let (x, mut y) = ([1.0; 8], [0.0; 8]);
    /// let profile = Profile::measure(executor.program(), 2, 10, |times| {
    ///     executor.run_timed(&mut [Binding::Floats(&x), Binding::Written(&mut y)], 2, 0, times)
    /// })?;
    /// assert_eq!(profile.kernels.len(), 1);
    /// println!("{profile}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The errors of `run`.
    pub fn measure(
        program: &Program,
        sizes: impl Into<Sizes>,
        runs: usize,
        mut run: impl FnMut(&mut Vec<StepTime>) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let sizes = sizes.into();
        run(&mut Vec::new())?;
        let mut measured = Vec::new();
        for _ in 0..runs.max(1) {
            let mut times = Vec::with_capacity(program.run_steps().len());
            run(&mut times)?;
            measured.push(times);
        }
        Ok(Profile::of_runs(program, &sizes, &measured))
    }

    /// The profile of measured runs: for each, the time of every step.
    pub(crate) fn of_runs(program: &Program, sizes: &Sizes, runs: &[Vec<StepTime>]) -> Self {
        let mut times = vec![Vec::with_capacity(runs.len()); program.run_steps().len()];
        for run in runs {
            for (times, step) in times.iter_mut().zip(run) {
                times.push(step.total);
            }
        }
        let plan = program.plan();
        let mut values = Vec::new();
        plan.sizes.values_into(sizes, &mut values);
        // Kernels of a loop run once for each step.
        let turns = plan.turns(&values).into_iter().map(|turns| turns as u64);
        let kernels = program
            .run_steps()
            .iter()
            .zip(times)
            .zip(turns)
            .map(|((step, mut times), turns)| KernelTime {
                name: step.name.clone(),
                note: step.note.clone(),
                fallbacks: step.fallbacks.iter().map(ToString::to_string).collect(),
                microseconds: median(&mut times).as_secs_f64() * 1e6,
                share: 0.0,
                flops: step.cost.at(sizes).saturating_mul(turns),
                products: step.products.as_ref().map(|products| products.at(sizes).saturating_mul(turns)),
                bytes: step.traffic.at(sizes).saturating_mul(turns),
                roofline: None,
            })
            .collect();
        let mut profile = Profile {
            network: plan.name.clone(),
            batch: sizes.batch(),
            threads: plan.threads,
            runs: runs.len(),
            kernels,
            machine: None,
        };
        let total = profile.microseconds();
        if total > 0.0 {
            for kernel in &mut profile.kernels {
                kernel.share = kernel.microseconds / total;
            }
        }
        profile
    }

    /// The same profile, with each kernel's time compared with the machine's threads.
    #[must_use]
    pub fn compared_with(mut self, machine: Machine) -> Self {
        for kernel in &mut self.kernels {
            let least = machine.least_microseconds(kernel.performed(), kernel.bytes, self.threads);
            kernel.roofline = (kernel.microseconds > 0.0).then(|| least / kernel.microseconds);
        }
        self.machine = Some(machine);
        self
    }

    /// The machine's minimum time for all kernels, divided by their time; `None` without a machine.
    pub fn roofline(&self) -> Option<f64> {
        let least: Option<f64> =
            self.kernels.iter().map(|kernel| Some(kernel.roofline? * kernel.microseconds)).sum();
        least.filter(|_| self.microseconds() > 0.0).map(|least| least / self.microseconds())
    }

    /// The time of a run in microseconds: the sum over its kernels.
    pub fn microseconds(&self) -> f64 {
        self.kernels.iter().map(|kernel| kernel.microseconds).sum()
    }

    /// Floating-point operations of a run.
    pub fn flops(&self) -> u64 {
        self.kernels.iter().map(|kernel| kernel.flops).sum()
    }

    /// Bytes that the kernels of a run read and write.
    pub fn bytes(&self) -> u64 {
        self.kernels.iter().map(|kernel| kernel.bytes).sum()
    }
}

/// The median of some times; the lower of two middle ones. Zero for no times.
fn median(times: &mut [Duration]) -> Duration {
    let Some(middle) = times.len().checked_sub(1).map(|last| last / 2) else { return Duration::ZERO };
    *times.select_nth_unstable(middle).1
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        table.remove_style(TableComponent::HorizontalLines).remove_style(TableComponent::MiddleIntersections);
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        let percent =
            |part: Option<f64>| part.map_or_else(|| "-".to_owned(), |part| format!("{:.0} %", part * 100.0));
        let header = ["kernel", "µs", "share", "GFLOP/s", "effective", "GB/s", "roofline", "algorithm"];
        table.set_header(header);
        for kernel in &self.kernels {
            table.add_row([
                kernel.name.clone(),
                format!("{:.1}", kernel.microseconds),
                format!("{:.1} %", kernel.share * 100.0),
                number(kernel.gflops_per_second()),
                number(kernel.effective_gflops_per_second().filter(|_| kernel.is_fast_algorithm())),
                number(kernel.gbytes_per_second()),
                percent(kernel.roofline),
                std::iter::once(&kernel.note)
                    .chain(&kernel.fallbacks)
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join("; "),
            ]);
        }
        for column in table.column_iter_mut().skip(1).take(6) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let of = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        writeln!(
            f,
            "{}, batch {}, {}, median of {}",
            self.network,
            self.batch,
            of(self.threads, "thread"),
            of(self.runs, "run")
        )?;
        for line in table.lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
        let (microseconds, flops, bytes) = (self.microseconds(), self.flops(), self.bytes());
        write!(
            f,
            " total  {microseconds:.1} µs, {:.4} GFLOP, {} GFLOP/s, {:.4} GB, {} GB/s",
            flops as f64 / 1e9,
            number(rate(flops, microseconds)),
            bytes as f64 / 1e9,
            number(rate(bytes, microseconds))
        )?;
        match (&self.machine, self.roofline()) {
            (Some(machine), Some(part)) => {
                write!(f, ", {} of the roofline\n machine  {machine}", percent(Some(part)))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Bandwidths, Caches};

    fn kernel(name: &str, microseconds: f64, share: f64, (flops, bytes): (u64, u64)) -> KernelTime {
        let note = "direct: small".to_owned();
        let fallbacks = Vec::new();
        KernelTime {
            name: name.to_owned(),
            note,
            fallbacks,
            microseconds,
            share,
            flops,
            products: None,
            bytes,
            roofline: None,
        }
    }

    fn profile() -> Profile {
        Profile {
            network: "net".to_owned(),
            batch: 2,
            threads: 1,
            runs: 3,
            kernels: vec![
                kernel("c1 conv", 30.0, 0.75, (600_000, 30_000)),
                kernel("store", 10.0, 0.25, (0, 40_000)),
            ],
            machine: None,
        }
    }

    fn machine() -> Machine {
        Machine {
            cpu: Some("Test".to_owned()),
            cores: 2,
            vector_bits: 256,
            caches: Caches::default(),
            gflops_per_second: 40.0,
            bandwidths: Bandwidths { first: 10.0, second: 10.0, third: 5.0, memory: 5.0 },
        }
    }

    fn words(text: &str) -> Vec<Vec<&str>> {
        text.lines().map(|line| line.split_whitespace().collect()).collect()
    }

    #[test]
    fn prints_a_table_with_totals() {
        let text = profile().to_string();
        let lines = words(&text);
        assert_eq!(text.lines().next(), Some("net, batch 2, 1 thread, median of 3 runs"));
        assert!(
            lines.contains(&vec![
                "c1", "conv", "30.0", "75.0", "%", "20.0", "-", "1.0", "-", "direct:", "small"
            ]),
            "{text}"
        );
        assert!(
            lines.contains(&vec!["store", "10.0", "25.0", "%", "-", "-", "4.0", "-", "direct:", "small"]),
            "{text}"
        );
        let total = " total  40.0 µs, 0.0006 GFLOP, 15.0 GFLOP/s, 0.0001 GB, 1.8 GB/s";
        assert_eq!(text.lines().last(), Some(total));
    }

    #[test]
    fn says_which_leaves_are_narrow() {
        let mut profile = profile();
        profile.kernels[0].fallbacks = vec!["no AVX for tile 9x9: too large".to_owned()];
        let text = profile.to_string();
        assert!(text.contains(" direct: small; no AVX for tile 9x9: too large\n"), "{text}");
    }

    #[test]
    fn says_how_much_of_the_machine_a_kernel_uses() {
        let profile = profile().compared_with(machine());
        // 600,000 operations take 15 µs at least, 40,000 bytes 4 µs.
        assert_eq!(profile.kernels[0].roofline, Some(0.5));
        assert_eq!(profile.kernels[1].roofline, Some(0.4));
        assert_eq!(profile.roofline(), Some(19.0 / 40.0));
        let text = profile.to_string();
        assert!(
            words(&text).contains(&vec![
                "c1", "conv", "30.0", "75.0", "%", "20.0", "-", "1.0", "50", "%", "direct:", "small"
            ]),
            "{text}"
        );
        assert!(text.contains(", 48 % of the roofline\n machine  Test: 2 cores, "), "{text}");
    }

    /// 600,000 operations by definition, 200,000 performed: 5 µs at least.
    #[test]
    fn a_fast_algorithm_is_rated_by_what_it_performs() {
        let mut profile = profile();
        profile.kernels[0].products = Some(200_000);
        let profile = profile.compared_with(machine());
        assert_eq!(profile.kernels[0].roofline, Some(5.0 / 30.0));
        let line = ["c1", "conv", "30.0", "75.0", "%", "6.7", "20.0", "1.0", "17", "%", "direct:", "small"];
        assert!(words(&profile.to_string()).contains(&line.to_vec()), "{profile}");
    }

    #[test]
    fn serialises_and_comes_back() {
        for profile in [profile(), profile().compared_with(machine())] {
            let text = serde_json::to_string(&profile).unwrap();
            assert_eq!(serde_json::from_str::<Profile>(&text).unwrap(), profile);
        }
    }

    #[test]
    fn the_median_is_a_time_that_was_measured() {
        let times = |times: &[u64]| times.iter().copied().map(Duration::from_nanos).collect::<Vec<_>>();
        assert_eq!(median(&mut times(&[9, 1, 5])), Duration::from_nanos(5));
        assert_eq!(median(&mut times(&[4, 9, 1, 5])), Duration::from_nanos(4));
        assert_eq!(median(&mut []), Duration::ZERO);
    }
}
