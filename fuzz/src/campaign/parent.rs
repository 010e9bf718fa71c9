//! The parent process: starts workers, adds up their statistics, and finds the case that ended one of them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use windlass_compiler::ops::OpKind;

use super::worker::{draw, now};
use super::{Message, Totals, file};
use crate::case::{Case, Setup};
use crate::generate::Generator;
use crate::shrink::shrink;

/// A case that takes longer counts as hanging.
const PATIENCE: Duration = Duration::from_secs(300);
/// The same for a smaller case during shrinking.
const PATIENCE_WHILE_SHRINKING: Duration = Duration::from_secs(20);
/// The maximum number of smaller cases to try for a crash: each needs a process.
const ATTEMPTS: usize = 600;

/// A long run.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The program of the workers: this one.
    pub program: PathBuf,
    /// The seed of all graphs.
    pub seed: u64,
    /// Operators to draw graphs from; all if it is empty.
    pub only: Vec<OpKind>,
    /// The maximum number of graphs.
    pub graphs: u64,
    /// The maximum time.
    pub time: Option<Duration>,
    /// Processes.
    pub jobs: u64,
    /// Setups for each graph.
    pub setups: usize,
    /// The number of failures after which it ends.
    pub failures: usize,
}

/// The result of a long run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The statistics.
    pub totals: Totals,
    /// Failures: the graph's index, the failure, and the shrunk case as a file.
    pub failures: Vec<(u64, String, String)>,
}

/// State shared by the threads that each listen to a worker.
struct Shared<'a> {
    campaign: &'a Campaign,
    until: Option<u64>,
    report: Mutex<Report>,
    stop: AtomicBool,
}

impl Campaign {
    /// Runs it. `progress` receives the totals from time to time.
    pub fn run(&self, progress: &(dyn Fn(&Report) + Sync)) -> Report {
        let until = self.time.map(|time| now() + time.as_secs());
        let shared = Shared { campaign: self, until, report: Mutex::default(), stop: AtomicBool::new(false) };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.jobs)
                .map(|job| {
                    scope.spawn({
                        let shared = &shared;
                        move || shared.attend(job)
                    })
                })
                .collect();
            let mut told = Instant::now();
            while workers.iter().any(|worker| !worker.is_finished()) {
                std::thread::sleep(Duration::from_millis(50));
                if told.elapsed() > Duration::from_secs(10) {
                    told = Instant::now();
                    progress(&shared.report.lock().unwrap_or_else(PoisonError::into_inner));
                }
            }
        });
        shared.report.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared<'_> {
    /// Starts workers for every `jobs`-th graph, another one after each crash.
    fn attend(&self, job: u64) {
        let mut first = job;
        while first < self.campaign.graphs && !self.stop.load(Ordering::Relaxed) {
            match self.worker(first) {
                None => return,
                Some((graph, setup, how)) => {
                    self.crashed(graph, setup, how);
                    first = graph + self.campaign.jobs;
                }
            }
        }
    }

    /// Runs one worker to its end; returns where and how it ended early, if it did.
    fn worker(&self, first: u64) -> Option<(u64, Option<usize>, String)> {
        let campaign = self.campaign;
        let mut command = Command::new(&campaign.program);
        command
            .arg("--worker")
            .args(["--seed", &campaign.seed.to_string(), "--first", &first.to_string()])
            .args(["--stride", &campaign.jobs.to_string(), "--graphs", &campaign.graphs.to_string()])
            .args(["--setups", &campaign.setups.to_string()]);
        if let Some(until) = self.until {
            command.args(["--until", &until.to_string()]);
        }
        if !campaign.only.is_empty() {
            let only: Vec<&str> = campaign.only.iter().map(|kind| kind.name()).collect();
            command.args(["--only", &only.join(",")]);
        }
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) => return Some((first, None, format!("no worker could be started: {error}"))),
        };
        let lines = listen(&mut child);
        let mut at = (first, None);
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(Message::Begin { graph, setup }) => at = (graph, setup),
                Ok(Message::Passed(totals)) => self.report().totals.add(&totals),
                Ok(Message::Failed { graph, failure, file }) => self.failed(graph, failure, file),
                Ok(Message::End) => {
                    let _ = child.wait();
                    return None;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    end(&mut child);
                    return Some((at.0, at.1, format!("goes on for more than {} s", PATIENCE.as_secs())));
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let how = child.wait().map_or_else(|error| error.to_string(), ended);
                    return Some((at.0, at.1, how));
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                end(&mut child);
                return None;
            }
        }
    }

    fn report(&self) -> std::sync::MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, graph: u64, failure: String, file: String) {
        let mut report = self.report();
        report.failures.push((graph, failure, file));
        if report.failures.len() >= self.campaign.failures {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    /// Finds the smallest case that ends a process, in separate processes.
    fn crashed(&self, graph: u64, setup: Option<usize>, how: String) {
        let generator = Generator::new(self.campaign.seed, self.campaign.only.clone());
        let Ok((case, setups)) = draw(&generator, graph, self.campaign.setups) else {
            return self.failed(graph, how, String::new());
        };
        let setup = setup.and_then(|index| setups.into_iter().nth(index));
        let start = Instant::now();
        let mut fails = |case: &Case, setup: Option<&Setup>| {
            start.elapsed() < 2 * PATIENCE && replay_apart(&self.campaign.program, case, setup).is_some()
        };
        let (case, setup) = match fails(&case, setup.as_ref()) {
            true => shrink(case, setup, ATTEMPTS, &mut fails),
            false => (case, setup),
        };
        let how = replay_apart(&self.campaign.program, &case, setup.as_ref()).unwrap_or(how);
        let file = file(&case, setup.as_ref(), &how);
        self.failed(graph, how, file);
    }
}

/// The messages of a worker, until it ends.
fn listen(child: &mut Child) -> mpsc::Receiver<Message> {
    let (sender, receiver) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            for message in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
    }
    receiver
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn ended(status: ExitStatus) -> String {
    format!("the process ended: {status}")
}

/// Runs a case in a separate process; returns its failure, if there is one.
fn replay_apart(program: &Path, case: &Case, setup: Option<&Setup>) -> Option<String> {
    let mut written = tempfile::NamedTempFile::new().ok()?;
    written.write_all(file(case, setup, "").as_bytes()).ok()?;
    let mut child = Command::new(program)
        .arg("--replay")
        .arg(written.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return (!status.success()).then(|| ended(status)),
            Ok(None) if start.elapsed() < PATIENCE_WHILE_SHRINKING => {
                std::thread::sleep(Duration::from_millis(1));
            }
            _ => {
                end(&mut child);
                return Some(format!("goes on for more than {} s", PATIENCE_WHILE_SHRINKING.as_secs()));
            }
        }
    }
}
