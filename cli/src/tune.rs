//! `windlass tune`: measures the algorithms of convolutions, into a file that other commands read.

use std::error::Error;
use std::time::Duration;

use clap::Args;
use windlass::tuning::{Cache, CacheProblem, Tuning};
use windlass::{Dynamic, Options, TrainerOptions};

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

/// The results that a command uses.
#[derive(Debug, Args)]
pub(crate) struct Results {
    /// Algorithms that `windlass tune` measured, for the same batch and threads
    #[arg(long, value_name = "FILE")]
    tuned: Option<File>,
}

impl Results {
    /// Options with the results for runs on a batch; with a training, also those for its steps. Nothing is measured.
    pub(crate) fn of(
        &self,
        network: &Dynamic,
        options: Options,
        training: Option<&TrainerOptions>,
        batch: usize,
    ) -> Result<Options, Box<dyn Error>> {
        let Some(path) = &self.tuned else { return Ok(options) };
        let tuned = Self::read(path, network, options, training, batch)?;
        Self::note(path, &tuned, batch);
        Ok(tuned)
    }

    /// The results for several vector widths together.
    pub(crate) fn of_widths(
        &self,
        network: &Dynamic,
        options: Options,
        training: Option<&TrainerOptions>,
        batch: usize,
        widths: &[usize],
    ) -> Result<Options, Box<dyn Error>> {
        let Some(path) = &self.tuned else { return Ok(options) };
        let mut all = options.clone();
        for &bits in widths {
            let mut own = options.clone();
            own.compile.plan.vector_bits = Some(bits);
            let tuned = Self::read(path, network, own, training, batch)?;
            all.compile.plan.tuned.extend(tuned.compile.plan.tuned);
        }
        Self::note(path, &all, batch);
        Ok(all)
    }

    fn read(
        path: &File,
        network: &Dynamic,
        options: Options,
        training: Option<&TrainerOptions>,
        batch: usize,
    ) -> Result<Options, Box<dyn Error>> {
        if !path.exists() {
            let file = path.display();
            return Err(format!("could not read {file}: `windlass tune NETWORK -o {file}` writes it").into());
        }
        let tuning = Tuning::default().batch(batch).budget(Duration::ZERO).cache(Cache::at(path));
        let mut tuned = tuning.for_model_of(network, &options)?;
        if let Some(training) = training {
            let problems = tuned.problems;
            tuned = tuning.for_trainer_of(network, &tuned.options, training)?;
            tuned.problems.extend(problems);
        }
        match tuned.problems.first() {
            Some(problem) => Err(problem.to_string().into()),
            None => Ok(tuned.options),
        }
    }

    /// Says so if a file has nothing for a network.
    fn note(path: &File, tuned: &Options, batch: usize) {
        if tuned.compile.plan.tuned.is_empty() {
            eprintln!(
                "note: {} has no results for this network, batch of {batch} and number of threads: the planner chooses",
                path.display()
            );
        }
    }
}
