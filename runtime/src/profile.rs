//! Where the time of a run goes, kernel by kernel: measuring, sums, and a table. Running programs lives in
//! [`crate::executor`].

use std::fmt;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, TableComponent, presets};
use serde::{Deserialize, Serialize};
use windlass_compiler::codegen::Program;

use crate::error::Error;
use crate::executor::StepTime;

/// The time of each kernel of a program at one batch size. Prints as a table, the kernels in the order they run;
/// serialises as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// The name of the network.
    pub network: String,
    /// Items in each run.
    pub batch: usize,
    /// Threads that shared each run.
    pub threads: usize,
    /// Runs measured.
    pub runs: usize,
    /// The kernels in the order they run.
    pub kernels: Vec<KernelTime>,
}

/// The time of one kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelTime {
    /// The layer and operator.
    pub name: String,
    /// The algorithm and why it was chosen.
    pub note: String,
    /// The median of all runs, in microseconds.
    pub microseconds: f64,
    /// The part of the whole run, between 0 and 1.
    pub share: f64,
    /// Floating-point operations of one run, as the operator's definition counts them: a multiply-add is two. Another
    /// algorithm may need fewer. 0 for kernels that only move numbers.
    pub flops: u64,
}

impl KernelTime {
    /// Billions of floating-point operations a second; `None` for a kernel that has none, or that was too quick for the
    /// clock.
    pub fn gflops_per_second(&self) -> Option<f64> {
        (self.flops > 0 && self.microseconds > 0.0).then(|| self.flops as f64 / self.microseconds / 1e3)
    }
}

impl Profile {
    /// Measures `runs` runs of a program, at least one, behind one that is not measured.
    ///
    /// `run` runs the program once through [`Executor::run_timed`](crate::executor::Executor::run_timed), which fills in
    /// the times. A training program trains meanwhile: its parameters change with every run.
    ///
    /// ```
    /// use windlass_compiler::dump::Dump;
    /// use windlass_compiler::graph::{Builder, Layer};
    /// use windlass_compiler::pass::Mode;
    /// use windlass_compiler::pipeline::{CompileOptions, compile};
    /// use windlass_runtime::executor::{Binding, Executor};
    /// use windlass_runtime::profile::Profile;
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
    /// Those of `run`.
    pub fn measure(
        program: &Program,
        batch: usize,
        runs: usize,
        mut run: impl FnMut(&mut Vec<StepTime>) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        run(&mut Vec::new())?;
        let mut measured = Vec::new();
        for _ in 0..runs.max(1) {
            let mut times = Vec::with_capacity(program.run_steps().len());
            run(&mut times)?;
            measured.push(times);
        }
        Ok(Profile::of_runs(program, batch, &measured))
    }

    /// The profile of runs already measured: for each, the time of every step.
    pub(crate) fn of_runs(program: &Program, batch: usize, runs: &[Vec<StepTime>]) -> Self {
        let mut times = vec![Vec::with_capacity(runs.len()); program.run_steps().len()];
        for run in runs {
            for (times, step) in times.iter_mut().zip(run) {
                times.push(step.total);
            }
        }
        let kernels = program
            .run_steps()
            .iter()
            .zip(times)
            .map(|(step, mut times)| KernelTime {
                name: step.name.clone(),
                note: step.note.clone(),
                microseconds: median(&mut times).as_secs_f64() * 1e6,
                share: 0.0,
                flops: step.cost.flops(batch),
            })
            .collect();
        let plan = program.plan();
        let mut profile =
            Profile { network: plan.name.clone(), batch, threads: plan.threads, runs: runs.len(), kernels };
        let total = profile.microseconds();
        if total > 0.0 {
            for kernel in &mut profile.kernels {
                kernel.share = kernel.microseconds / total;
            }
        }
        profile
    }

    /// The time of a run in microseconds: the sum over its kernels.
    pub fn microseconds(&self) -> f64 {
        self.kernels.iter().map(|kernel| kernel.microseconds).sum()
    }

    /// Floating-point operations of a run.
    pub fn flops(&self) -> u64 {
        self.kernels.iter().map(|kernel| kernel.flops).sum()
    }
}

/// The middle one of some times; the lower of the middle two. Zero of none.
fn median(times: &mut [Duration]) -> Duration {
    let Some(middle) = times.len().checked_sub(1).map(|last| last / 2) else { return Duration::ZERO };
    *times.select_nth_unstable(middle).1
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        table.remove_style(TableComponent::HorizontalLines).remove_style(TableComponent::MiddleIntersections);
        table.set_header(["kernel", "µs", "share", "GFLOP/s", "algorithm"]);
        for kernel in &self.kernels {
            table.add_row([
                kernel.name.clone(),
                format!("{:.1}", kernel.microseconds),
                format!("{:.1} %", kernel.share * 100.0),
                kernel.gflops_per_second().map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}")),
                kernel.note.clone(),
            ]);
        }
        for column in table.column_iter_mut().skip(1).take(3) {
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
        let (microseconds, flops) = (self.microseconds(), self.flops() as f64);
        let rate = if microseconds > 0.0 { flops / microseconds / 1e3 } else { 0.0 };
        write!(f, " total  {microseconds:.1} µs, {:.4} GFLOP, {rate:.1} GFLOP/s", flops / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(name: &str, microseconds: f64, share: f64, flops: u64) -> KernelTime {
        KernelTime { name: name.to_owned(), note: "direct: small".to_owned(), microseconds, share, flops }
    }

    fn profile() -> Profile {
        Profile {
            network: "net".to_owned(),
            batch: 2,
            threads: 1,
            runs: 3,
            kernels: vec![kernel("c1 conv", 30.0, 0.75, 600_000), kernel("store", 10.0, 0.25, 0)],
        }
    }

    #[test]
    fn prints_a_table_with_totals() {
        let text = profile().to_string();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(text.lines().next(), Some("net, batch 2, 1 thread, median of 3 runs"));
        assert!(
            lines.contains(&vec!["c1", "conv", "30.0", "75.0", "%", "20.0", "direct:", "small"]),
            "{text}"
        );
        assert!(lines.contains(&vec!["store", "10.0", "25.0", "%", "-", "direct:", "small"]), "{text}");
        assert_eq!(text.lines().last(), Some(" total  40.0 µs, 0.0006 GFLOP, 15.0 GFLOP/s"));
    }

    #[test]
    fn serialises_and_comes_back() {
        let text = serde_json::to_string(&profile()).unwrap();
        assert_eq!(serde_json::from_str::<Profile>(&text).unwrap(), profile());
    }

    #[test]
    fn the_median_is_a_time_that_was_measured() {
        let times = |times: &[u64]| times.iter().copied().map(Duration::from_nanos).collect::<Vec<_>>();
        assert_eq!(median(&mut times(&[9, 1, 5])), Duration::from_nanos(5));
        assert_eq!(median(&mut times(&[4, 9, 1, 5])), Duration::from_nanos(4));
        assert_eq!(median(&mut []), Duration::ZERO);
    }
}
