//! `windlass run`: predictions from files to files.

use std::error::Error;

use clap::{Args, ValueEnum};
use ndarray::ArrayD;

use crate::inputs::{check, data, forward, from_file};
use crate::network::{Engine, Task};
use crate::tune::Results;
use crate::{File, interpreter, tensors};

/// The arguments of `windlass run`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    task: Task,
    /// A safetensors file with an array for each input, by name, with the batch first
    #[arg(long, value_name = "FILE")]
    inputs: File,
    /// A safetensors file for the outputs; without it they are printed
    #[arg(long, value_name = "FILE")]
    outputs: Option<File>,
    /// Compiled code, or the interpreter that defines its results
    #[arg(long, value_enum, default_value = "compiled")]
    engine: Kind,
    #[command(flatten)]
    options: Engine,
    #[command(flatten)]
    tuned: Results,
}

/// What computes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Kind {
    Compiled,
    Interpreter,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let network = arguments.task.network()?;
    let inputs = from_file(data(network.graph()), &arguments.inputs)?;
    let outputs: Vec<(String, ArrayD<f32>)> = match arguments.engine {
        Kind::Compiled => {
            let batch = interpreter::sizes_of(data(network.graph()), &inputs)?.batch();
            let options = arguments.tuned.of(&network, arguments.options.options()?, None, batch)?;
            let model = arguments.task.weights.model(&network, &options)?;
            let outputs = forward(&model, &inputs)?;
            outputs.iter().map(|(name, values)| (name.to_owned(), values.clone())).collect()
        }
        Kind::Interpreter => {
            let sizes = interpreter::sizes_of(data(network.graph()), &inputs)?;
            check(network.graph(), &inputs, &sizes)?;
            let parameters = arguments.task.weights.of(&network)?;
            let outputs = interpreter::outputs(network.graph(), &parameters, &inputs, &sizes)?;
            outputs.into_iter().map(|(name, values)| (name, values.mapv(|number| number as f32))).collect()
        }
    };
    let Some(path) = &arguments.outputs else {
        for (name, values) in &outputs {
            println!("{name} {:?}\n{values}", values.shape());
        }
        return Ok(());
    };
    tensors::write(path, &outputs)?;
    for (name, values) in &outputs {
        println!("{name} {:?}", values.shape());
    }
    Ok(())
}
