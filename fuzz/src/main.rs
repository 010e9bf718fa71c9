//! Runs random graphs through every engine, for a given time; or files of the corpus.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use windlass_compiler::ops::OpKind;
use windlass_fuzz::campaign::{Campaign, Report, Totals, Worker, quiet_panics, replay};
use windlass_fuzz::generate::Generator;

/// Compares compiled code with the interpreter on random graphs. Exits with 1 if they disagree.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Number of graphs, each with several sets of options [default: 2000, or as many as there is time for].
    #[arg(long)]
    graphs: Option<u64>,
    /// Maximum time in minutes.
    #[arg(long)]
    minutes: Option<f64>,
    /// Seed of the graphs: the same seed gives the same graphs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Processes [default: the number of cores].
    #[arg(long)]
    jobs: Option<u64>,
    /// Sets of options for each graph.
    #[arg(long, default_value_t = 4)]
    setups: usize,
    /// Number of failures after which it ends.
    #[arg(long, default_value_t = 5)]
    failures: usize,
    /// Draws graphs of only these operators, separated by commas: `conv,max_pool`.
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    only: Vec<OpKind>,
    /// Runs files of the corpus instead: with their own options, or with the fixed sets if they have none.
    #[arg(long, num_args = 1..)]
    replay: Vec<PathBuf>,
    /// Writes failing cases to this folder.
    #[arg(long, default_value = "fuzz-failures")]
    output: PathBuf,
    #[arg(long, hide = true)]
    worker: bool,
    #[arg(long, hide = true, default_value_t = 0)]
    first: u64,
    #[arg(long, hide = true, default_value_t = 1)]
    stride: u64,
    #[arg(long, hide = true)]
    until: Option<u64>,
}

fn kind(name: &str) -> Result<OpKind, String> {
    OpKind::ALL.iter().copied().find(|kind| kind.name() == name).ok_or_else(|| {
        let names: Vec<&str> = OpKind::ALL.iter().map(|kind| kind.name()).collect();
        format!("there is no operator of this name; there are {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    quiet_panics();
    let usual = if arguments.minutes.is_some() { u64::MAX } else { 2000 };
    let graphs = arguments.graphs.unwrap_or(usual);
    if arguments.worker {
        let Arguments { seed, only, first, stride, setups, until, .. } = arguments;
        let generator = Generator::new(seed, only);
        Worker { generator, first, stride, end: graphs, setups, until }.run();
        return ExitCode::SUCCESS;
    }
    if !arguments.replay.is_empty() {
        return replay_all(&arguments.replay);
    }
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("cannot find this program to start it again: {error}");
            return ExitCode::FAILURE;
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let campaign = Campaign {
        program,
        seed: arguments.seed,
        only: arguments.only,
        graphs,
        time: arguments.minutes.map(|minutes| Duration::from_secs_f64(60.0 * minutes.max(0.0))),
        jobs: arguments.jobs.unwrap_or(cores).max(1),
        setups: arguments.setups.max(1),
        failures: arguments.failures.max(1),
    };
    let start = Instant::now();
    let report = campaign.run(&|report| eprintln!("{}", progress(report, start.elapsed())));
    print_report(&report, start.elapsed(), &arguments.output)
}

fn replay_all(files: &[PathBuf]) -> ExitCode {
    let mut failed = false;
    for file in files {
        match replay(file) {
            Ok(()) => println!("{}: passes", file.display()),
            Err(message) => {
                failed = true;
                println!("{}: {message}", file.display());
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn progress(report: &Report, elapsed: Duration) -> String {
    let Totals { graphs, runs, exact, within, .. } = report.totals;
    let seconds = elapsed.as_secs_f64();
    format!(
        "{seconds:.0} s: {graphs} graphs ({:.0} a second), {runs} runs, {exact} elements exact, {within} within bounds, \
         {} failures",
        graphs as f64 / seconds,
        report.failures.len()
    )
}

fn print_report(report: &Report, elapsed: Duration, output: &std::path::Path) -> ExitCode {
    println!("{}", progress(report, elapsed));
    println!("{} elements not compared: single precision may overflow there", report.totals.open);
    for (title, counts) in [("operators", &report.totals.operators), ("settings", &report.totals.settings)] {
        let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        println!("{title}: {}", counts.join(", "));
    }
    let never: Vec<&str> = OpKind::ALL
        .iter()
        .map(|kind| kind.name())
        .filter(|name| !report.totals.operators.contains_key(*name))
        .collect();
    if !never.is_empty() {
        println!("never drawn: {}", never.join(", "));
    }
    if report.failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    for (graph, failure, file) in &report.failures {
        println!("\ngraph {graph}: {failure}");
        if file.is_empty() {
            continue;
        }
        let path = output.join(format!("graph-{graph}.graph"));
        match std::fs::create_dir_all(output).and_then(|()| std::fs::write(&path, file)) {
            Ok(()) => println!("cargo run --release -p windlass-fuzz -- --replay {}", path.display()),
            Err(error) => println!("cannot write {}: {error}", path.display()),
        }
        println!("{file}");
    }
    ExitCode::FAILURE
}
