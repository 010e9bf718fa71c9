//! Checks many inputs on several threads with small stacks, and shrinks failing ones.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::FuzzTarget;
use crate::judge::{Verdict, judge};
use crate::mutate::mutate;
use crate::seeds;

/// The stack size of a parsing thread, as small as those of service threads.
const READER_STACK: usize = 512 << 10;
/// Compiling may use the default stack size of a thread.
const COMPILER_STACK: usize = 2 << 20;
/// One of this many accepted inputs is checked closely, for example by compiling a graph.
const COMPILED: u64 = 100;
/// The maximum number of failures to keep.
const MOST_FAILURES: usize = 20;

/// The inputs to try.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The target.
    pub target: FuzzTarget,
    /// Inputs to judge.
    pub inputs: u64,
    /// The seed of all random numbers.
    pub seed: u64,
    /// The file to which each input is written before it is parsed, so that it is known which one ended the process.
    pub trace: Option<PathBuf>,
}

/// A failing input.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The target.
    pub target: FuzzTarget,
    /// The shrunk input.
    pub input: Vec<u8>,
    /// The failed check.
    pub reason: String,
}

/// The result of a campaign.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Inputs checked.
    pub inputs: u64,
    /// Inputs accepted.
    pub accepted: u64,
    /// What failed.
    pub failures: Vec<Failure>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Campaign {
    /// Checks all inputs. The same campaign checks the same inputs.
    ///
    /// # Errors
    /// The system's errors for a thread or the trace file.
    pub fn run(&self) -> io::Result<Report> {
        let start = Instant::now();
        let trace = self.trace.as_ref().map(File::create).transpose()?;
        let mut report = on_stack(READER_STACK, || self.judge_all(trace.as_ref()))?;
        report.failures = report.failures.into_iter().map(shrunk).collect::<io::Result<_>>()?;
        report.elapsed = start.elapsed();
        if let Some(path) = &self.trace {
            std::fs::remove_file(path)?;
        }
        Ok(report)
    }

    fn judge_all(&self, trace: Option<&File>) -> Report {
        let seeds = seeds::of(self.target);
        let mut rng = Rng::with_seed(self.seed);
        let mut report = Report::default();
        while report.inputs < self.inputs && report.failures.len() < MOST_FAILURES {
            let input = mutate(self.target, &seeds, &mut rng);
            report.inputs += 1;
            // A failed trace write only matters if the process ends here.
            let _ = trace.map(|file| write_input(file, &input));
            let result = match judge(self.target, &input, false) {
                Ok(Verdict::Accepted) if report.accepted.is_multiple_of(COMPILED) => {
                    report.accepted += 1;
                    let closely = || judge(self.target, &input, true);
                    on_stack(COMPILER_STACK, closely).unwrap_or(Ok(Verdict::Refused))
                }
                Ok(Verdict::Accepted) => {
                    report.accepted += 1;
                    continue;
                }
                other => other,
            };
            if let Err(reason) = result
                && report.failures.iter().all(|known| !is_same(&known.reason, &reason))
            {
                report.failures.push(Failure { target: self.target, input, reason });
            }
        }
        report
    }
}

fn write_input(file: &File, input: &[u8]) -> io::Result<()> {
    file.write_all_at(input, 0)?;
    file.set_len(input.len() as u64)
}

/// Runs a closure on a thread with this stack size.
fn on_stack<T: Send>(bytes: usize, run: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(bytes).spawn_scoped(scope, run)?;
        thread.join().map_err(|_| io::Error::other("the thread that judges panicked"))
    })
}

/// Whether two reasons are equal except for numbers and the text after the first words.
fn is_same(a: &str, b: &str) -> bool {
    let kind = |reason: &str| -> String { reason.chars().filter(|c| !c.is_ascii_digit()).take(60).collect() };
    kind(a) == kind(b)
}

/// Removes all parts of an input without which it still fails.
fn shrunk(failure: Failure) -> io::Result<Failure> {
    on_stack(COMPILER_STACK, || {
        let Failure { target, mut input, mut reason } = failure;
        let mut tries = 4_000;
        let mut size = input.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < input.len() && tries > 0 {
                tries -= 1;
                let mut less = input.clone();
                less.drain(at..(at + size).min(input.len()));
                match judge(target, &less, true) {
                    Err(now) if is_same(&now, &reason) => (input, reason) = (less, now),
                    _ => at += size,
                }
            }
            size /= 2;
        }
        Failure { target, input, reason }
    })
}

/// The files of a corpus with their targets: `<target>-….input`.
///
/// # Errors
/// The system's errors.
pub fn corpus(directory: &Path) -> io::Result<Vec<(FuzzTarget, PathBuf)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let target = name.rsplit_once('-').and_then(|(target, _)| FuzzTarget::of_name(target));
        if path.extension().is_some_and(|extension| extension == "input")
            && let Some(target) = target
        {
            files.push((target, path));
        }
    }
    files.sort_by(|(_, a), (_, b)| a.cmp(b));
    Ok(files)
}
