//! `windlass bench` and `windlass profile`: the time of predictions.

use std::error::Error;
use std::time::{Duration, Instant};

use clap::Args;
use windlass::{Dynamic, Machine, Options};

use crate::inputs::{drawn, feeds, forward};
use crate::network::{Engine, RunSizes, Task};
use crate::tune::Results;

/// The arguments of `windlass bench` and `windlass profile`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    task: Task,
    #[command(flatten)]
    sizes: RunSizes,
    #[command(flatten)]
    engine: Engine,
    /// Time to measure for
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    seconds: f64,
    #[command(flatten)]
    tuned: Results,
}

impl Arguments {
    fn options(&self, network: &Dynamic) -> Result<Options, Box<dyn Error>> {
        self.tuned.of(network, self.engine.options()?, None, self.sizes.batch())
    }
}

pub(crate) fn time(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let network = arguments.task.network()?;
    let model = arguments.task.weights.model(&network, &arguments.options(&network)?)?;
    let sizes = arguments.sizes.of(&network)?;
    let inputs = drawn(network.graph(), &sizes, 1);
    forward(&model, &inputs)?;
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || start.elapsed().as_secs_f64() < arguments.seconds {
        let run = Instant::now();
        forward(&model, &inputs)?;
        times.push(run.elapsed());
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    println!(
        "{}: median {:.4} ms, fastest tenth {:.4} ms, slowest tenth {:.4} ms of {} runs",
        network.name(),
        milliseconds(at(0.5)),
        milliseconds(at(0.1)),
        milliseconds(at(0.9)),
        times.len()
    );
    Ok(())
}

pub(crate) fn profile(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let network = arguments.task.network()?;
    let options = arguments.options(&network)?;
    let model = arguments.task.weights.model(&network, &options)?;
    let inputs = drawn(network.graph(), &arguments.sizes.of(&network)?, 1);
    let runs = (arguments.seconds * 100.0).clamp(1.0, 1e6).max(1.0) as usize;
    println!(
        "{}",
        model.profile(feeds(&inputs), runs)?.compared_with(Machine::measure(&options.compile.plan)?)
    );
    Ok(())
}
