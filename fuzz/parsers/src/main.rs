//! `cargo run --release -p windlass-fuzz-parsers -- --inputs 10000000 --seed 1`: feeds mutated files to all parsers.
//! Failing inputs are shrunk and written to `corpus/`, which `cargo test` replays.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use windlass_fuzz_parsers::FuzzTarget;
use windlass_fuzz_parsers::campaign::{Campaign, Report, corpus};
use windlass_fuzz_parsers::judge::judge;

/// Feeds mutated files to all parsers of Windlass.
#[derive(Parser)]
struct Arguments {
    /// The total number of inputs.
    #[arg(long, default_value_t = 1_000_000)]
    inputs: u64,
    /// The seed: the same seed gives the same inputs.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The parser; by default all of them, each for about the same time.
    #[arg(long, value_enum)]
    target: Vec<FuzzTarget>,
    /// Threads.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    threads: u64,
    /// Checks the files of the corpus instead, or one file if a single target is given.
    #[arg(long)]
    replay: Option<PathBuf>,
}

fn main() -> ExitCode {
    // Panics are reported as failures.
    std::panic::set_hook(Box::new(|_| {}));
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> std::io::Result<bool> {
    if let Some(path) = &arguments.replay {
        return replay(path, &arguments.target);
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let targets = if arguments.target.is_empty() { &FuzzTarget::ALL[..] } else { &arguments.target };
    let shares: u64 = targets.iter().map(|target| target.share()).sum();
    let mut all_hold = true;
    for &target in targets {
        let inputs = arguments.inputs * target.share() / shares;
        let report = on_threads(target, inputs, arguments)?;
        println!(
            "{:<12} {:>9} inputs, {:>8} accepted, {} failures, {:.1} s, {:.0} inputs/s",
            target.name(),
            report.inputs,
            report.accepted,
            report.failures.len(),
            report.elapsed.as_secs_f64(),
            report.inputs as f64 / report.elapsed.as_secs_f64().max(1e-9)
        );
        for (index, failure) in report.failures.iter().enumerate() {
            all_hold = false;
            let path = directory.join(format!("{}-{}_{index}.input", target.name(), arguments.seed));
            std::fs::write(&path, &failure.input)?;
            println!("  {}: {}", path.display(), failure.reason);
            println!("  {}", String::from_utf8_lossy(&failure.input).escape_debug());
        }
    }
    Ok(all_hold)
}

/// One campaign on each thread.
fn on_threads(target: FuzzTarget, inputs: u64, arguments: &Arguments) -> std::io::Result<Report> {
    let campaign = |thread: u64| Campaign {
        target,
        inputs: inputs / arguments.threads,
        seed: arguments.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(thread),
        trace: Some(std::env::temp_dir().join(format!(
            "windlass-{}-{}-{thread}.input",
            target.name(),
            std::process::id()
        ))),
    };
    let reports: Vec<std::io::Result<Report>> = std::thread::scope(|scope| {
        let start = |thread| scope.spawn(move || campaign(thread).run());
        let threads: Vec<_> = (0..arguments.threads).map(start).collect();
        let ended = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(std::io::Error::other("a campaign panicked")))
        };
        threads.into_iter().map(ended).collect()
    });
    let mut whole = Report::default();
    for report in reports {
        let report = report?;
        whole.inputs += report.inputs;
        whole.accepted += report.accepted;
        whole.failures.extend(report.failures);
        whole.elapsed = whole.elapsed.max(report.elapsed);
    }
    Ok(whole)
}

fn replay(path: &Path, targets: &[FuzzTarget]) -> std::io::Result<bool> {
    let files = match targets {
        [target] if path.is_file() => vec![(*target, path.to_owned())],
        _ => corpus(path)?,
    };
    let mut all_hold = true;
    for (target, path) in files {
        match judge(target, &std::fs::read(&path)?, true) {
            Ok(verdict) => println!("{}: {verdict:?}", path.display()),
            Err(reason) => {
                all_hold = false;
                println!("{}: {reason}", path.display());
            }
        }
    }
    Ok(all_hold)
}
