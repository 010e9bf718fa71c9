//! Compares all networks of a folder written by `draw.py` with Windlass. Exit code 1 is a disagreement, 2 an invalid
//! file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use windlass_fuzz_torch::Error;
use windlass_fuzz_torch::files::{Tensors, confirmed, networks, parts};
use windlass_fuzz_torch::runner::{Failure, Tally, check};
use windlass_fuzz_torch::settings::{Set, sets};

/// The number of failures to print in full.
const SHOWN: usize = 10;

/// Compares Windlass with PyTorch's results.
#[derive(Debug, Parser)]
struct Arguments {
    /// A folder that `draw.py` wrote.
    folder: PathBuf,
    /// Sets of options for each network; over a run, all sets are used in turn.
    #[arg(long, default_value_t = 2)]
    sets: usize,
    /// All sets of options for each network.
    #[arg(long)]
    all: bool,
    /// The index of the first network to run.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// How many networks to run; all by default.
    #[arg(long)]
    networks: Option<usize>,
    /// The name of the only network to run.
    #[arg(long)]
    only: Option<String>,
    /// Seed of options that the sets do not determine.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok((tally, failures)) => {
            println!("{tally}");
            for failure in failures.iter().take(SHOWN) {
                println!("\n{failure}");
            }
            let mut names: Vec<&str> = failures.iter().map(|failure| failure.network.as_str()).collect();
            names.dedup();
            println!("\ndisagreements        {:>12}, of networks {names:?}", failures.len());
            ExitCode::from(u8::from(!failures.is_empty()))
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// The sets of a network: the next ones in turn, or all.
fn turn(all: &[Set], arguments: &Arguments, place: usize) -> Vec<(usize, Set)> {
    let count = if arguments.all { all.len() } else { arguments.sets.min(all.len()) };
    (0..count).map(|index| (place * count + index) % all.len()).map(|at| (at, all[at])).collect()
}

fn run(arguments: &Arguments) -> Result<(Tally, Vec<Failure>), Error> {
    let (all, confirmed) = (sets(), confirmed(&arguments.folder)?);
    let (mut tally, mut failures) = (Tally::default(), Vec::new());
    let end = arguments.first.saturating_add(arguments.networks.unwrap_or(usize::MAX));
    let mut place = 0;
    for part in parts(&arguments.folder)? {
        let networks = networks(&part)?;
        let first = place;
        place += networks.len();
        let mut tensors: Option<Tensors> = None;
        for (at, network) in (first..).zip(&networks) {
            if !(arguments.first..end).contains(&at)
                || arguments.only.as_ref().is_some_and(|only| *only != network.name)
            {
                continue;
            }
            if tensors.is_none() {
                tensors = Some(Tensors::read(&arguments.folder.join(&network.file))?);
            }
            let Some(tensors) = &tensors else { continue };
            let mut random = fastrand::Rng::with_seed(arguments.seed.wrapping_mul(1 << 32) + at as u64);
            let (sets, confirmed) = (turn(&all, arguments, at), confirmed.get(&network.name));
            check(network, tensors, confirmed, &sets, &mut random, &mut tally, &mut failures)?;
        }
        if tensors.is_some() {
            let (networks, failures) = (tally.networks, failures.len());
            eprintln!("{}: {networks} networks so far, {failures} disagreements", part.display());
        }
    }
    match &arguments.only {
        Some(name) if tally.networks == 0 => {
            Err(Error::Unknown { name: name.clone(), path: arguments.folder.clone() })
        }
        _ => Ok((tally, failures)),
    }
}
