//! `windlass run`: predictions from files to files.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use clap::{Args, ValueEnum};
use ndarray::ArrayD;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};
use tempfile::NamedTempFile;

use crate::inputs::{check, forward, from_file};
use crate::network::{Engine, Task};
use crate::{File, at, interpreter};

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
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Compiled,
    Interpreter,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let network = arguments.task.network()?;
    let inputs = from_file(&network, &arguments.inputs)?;
    let outputs: Vec<(String, ArrayD<f32>)> = match arguments.engine {
        Kind::Compiled => {
            let model = arguments.task.weights.model(&network, &arguments.options.options()?)?;
            let outputs = forward(&model, &inputs)?;
            outputs.iter().map(|(name, values)| (name.to_owned(), values.clone())).collect()
        }
        Kind::Interpreter => {
            let sizes = interpreter::sizes_of(&network, &inputs)?;
            check(&network, &inputs, &sizes)?;
            let parameters = arguments.task.weights.of(&network)?;
            let outputs = interpreter::outputs(&network, &parameters, &inputs, &sizes)?;
            outputs.into_iter().map(|(name, values)| (name, values.mapv(|number| number as f32))).collect()
        }
    };
    let Some(path) = &arguments.outputs else {
        for (name, values) in &outputs {
            println!("{name} {:?}\n{values}", values.shape());
        }
        return Ok(());
    };
    let bytes: Vec<Vec<u8>> = outputs
        .iter()
        .map(|(_, values)| values.iter().flat_map(|number| number.to_le_bytes()).collect())
        .collect();
    let views = outputs.iter().zip(&bytes).map(|((name, values), bytes)| {
        Ok((name.as_str(), TensorView::new(Dtype::F32, values.shape().to_vec(), bytes)?))
    });
    let views: Vec<_> = views.collect::<Result<_, safetensors::SafeTensorError>>()?;
    let content = serialize(views, None)?;
    // Written beside the file and renamed, so that no reader sees half of it.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let written = NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).and_then(|mut file| {
        file.write_all(&content)?;
        file.persist(path)?.sync_all()
    });
    written.map_err(|reason| at(path, "write", &reason))?;
    for (name, values) in &outputs {
        println!("{name} {:?}", values.shape());
    }
    Ok(())
}
