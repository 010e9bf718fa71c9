//! `windlass tune`: measures the algorithms of convolutions, into a file that other commands read.

use std::error::Error;
use std::time::Duration;

use clap::Args;
use windlass::tuning::{Cache, CacheProblem, Tuning};
use windlass::{Dynamic, Options};

use crate::File;
use crate::network::{Engine, Source};
use crate::training::Training;

/// The arguments of `windlass tune`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Number of samples of the runs to tune for
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Time to measure for; convolutions that it does not reach are left to the planner's model
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = time)]
    budget: Duration,
    /// The file of results, which keeps those of other networks; by default that of `Tuning` in programs, in the cache directory
    #[arg(short, long, value_name = "FILE")]
    output: Option<File>,
    #[command(flatten)]
    training: Training,
    #[command(flatten)]
    engine: Engine,
}

/// A time such as `2s`, `500ms` or `1.5`, in seconds.
fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let seconds = number.parse::<f64>().ok().map(|number| number * unit);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| format!("`{text}` is not a time; write `2s` or `500ms`"))
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let network = arguments.source.network()?;
    let options = arguments.engine.options()?;
    let cache = arguments.output.as_ref().map_or_else(Cache::default, Cache::at);
    let tuning = Tuning::default().batch(arguments.batch as usize).budget(arguments.budget).cache(cache);
    let tuned = match arguments.training.options() {
        None => tuning.for_model_of::<Dynamic>(&network, &options)?,
        Some(training) => tuning.for_trainer_of::<Dynamic>(&network, &options, &training)?,
    };
    match tuned.findings.is_empty() {
        true => println!("{} has no convolution with a choice of algorithms", network.name()),
        false => println!("{}", tuned.to_string().trim_end()),
    }
    for problem in &tuned.problems {
        match problem {
            CacheProblem::Malformed { .. } | CacheProblem::Version { .. } => eprintln!("note: {problem}"),
            other => return Err(other.to_string().into()),
        }
    }
    if let Some(path) = arguments.output.as_ref().filter(|path| path.exists()) {
        println!("{}", path.display());
    }
    Ok(())
}

/// Options with the results in a file, for predictions of a batch. Nothing is measured.
pub(crate) fn with_results(
    network: &Dynamic,
    options: &Options,
    path: &File,
    batch: usize,
) -> Result<Options, Box<dyn Error>> {
    if !path.exists() {
        let file = path.display();
        return Err(format!("could not read {file}: `windlass tune NETWORK -o {file}` writes it").into());
    }
    let tuning = Tuning::default().batch(batch).budget(Duration::ZERO).cache(Cache::at(path));
    let tuned = tuning.for_model_of(network, options)?;
    match tuned.problems.first() {
        Some(problem) => Err(problem.to_string().into()),
        None => {
            if tuned.options.compile.plan.tuned.is_empty() {
                eprintln!(
                    "note: {} has no results for this network, batch of {batch} and number of threads: the planner chooses",
                    path.display()
                );
            }
            Ok(tuned.options)
        }
    }
}
