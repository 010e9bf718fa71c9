//! `windlass convert`: networks as ONNX models.

use std::error::Error;

use clap::Args;
use windlass::onnx;

use crate::File;
use crate::network::Task;

/// The arguments of `windlass convert`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    task: Task,
    /// The ONNX file
    #[arg(short, long, value_name = "FILE")]
    output: File,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let network = arguments.task.network()?;
    let parameters = arguments.task.weights.of(&network)?;
    onnx::export(network.graph(), &parameters, &arguments.output)?;
    println!("{}  the model", arguments.output.display());
    Ok(())
}
