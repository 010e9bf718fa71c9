//! `windlass report`: a run in an HTML page. This file measures; `page` writes the page, `roofline` and `memory` its charts.

mod chart;
mod memory;
mod page;
mod roofline;

use std::error::Error;

use clap::Args;
use windlass::{Dynamic, Machine, Profile, Sizes, Trainer, TrainerOptions};
use windlass_compiler::autodiff::{GradientGraphOptions, gradient_graph};
use windlass_compiler::plan::Plan;

use crate::batch::Batch;
use crate::inputs::{drawn, feeds};
use crate::network::{Engine, RunSizes, Task};
use crate::training::Training;
use crate::tune::Results;
use crate::{File, files, plot};

/// The arguments of `windlass report`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    task: Task,
    /// The HTML file
    #[arg(short, long, value_name = "FILE")]
    output: File,
    /// Number of runs that are timed
    #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    sizes: RunSizes,
    #[command(flatten)]
    training: Training,
    #[command(flatten)]
    engine: Engine,
    #[command(flatten)]
    tuned: Results,
}

/// What the page is about.
struct Report<'a> {
    network: &'a Dynamic,
    /// The layers as SVG.
    layers: String,
    profile: Profile,
    machine: Machine,
    plan: Plan,
    /// The open sizes of the run.
    sizes: Sizes,
    /// The training, if it is a training step.
    training: Option<TrainerOptions>,
    options: String,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let network = arguments.task.network()?;
    let training = arguments.training.options();
    let options = arguments.engine.options()?;
    let options = arguments.tuned.of(&network, options, training.as_ref(), arguments.sizes.batch())?;
    let sizes = arguments.sizes.of(&network)?;
    let model = arguments.task.weights.model(&network, &options)?;
    let runs = arguments.runs as usize;
    let (profile, plan) = match &training {
        None => {
            let inputs = drawn(network.graph(), &sizes, 1);
            (model.profile(feeds(&inputs), runs)?, model.program().plan().clone())
        }
        Some(training) => {
            let mut graph_options = GradientGraphOptions::default().loss(training.loss.clone());
            graph_options.output.clone_from(&training.output);
            let graph = gradient_graph(network.graph(), &graph_options)?;
            let batch = Batch::drawn(&network, &graph, &sizes, 1);
            let mut trainer = Trainer::new(model, training.clone())?;
            let profile = trainer.profile(feeds(&batch.inputs), batch.target()?, runs)?;
            (profile, trainer.program().plan().clone())
        }
    };
    let machine = Machine::measure(&options.compile.plan)?;
    let profile = profile.compared_with(machine.clone());
    let report = Report {
        layers: plot::image(&network, Some(&profile)),
        network: &network,
        profile,
        machine,
        plan,
        sizes,
        training,
        options: format!("{options:#?}"),
    };
    files::write(&arguments.output, page::page(&report))?;
    println!("{}", arguments.output.display());
    Ok(())
}

/// The operator of a kernel, which colours it: `c1.conv` is a `conv`.
fn kind(name: &str) -> &str {
    let name = name.rsplit('.').next().unwrap_or(name);
    name.split(' ').next().unwrap_or(name)
}
