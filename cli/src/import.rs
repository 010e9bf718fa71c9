//! `windlass import`: ONNX models as graphs and parameters.

use std::error::Error;

use clap::Args;
use windlass::onnx::{Output, supported_operators};
use windlass::{Model, Options};

use crate::network::Source;
use crate::{File, at, files};

/// The arguments of `windlass import`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Directory for the graph, a `.graph` file, and the parameters, a `.safetensors` file; it is created
    #[arg(short, long, value_name = "DIRECTORY")]
    output: Option<File>,
    /// Also print the operators that can be imported
    #[arg(long)]
    operators: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if arguments.operators {
        println!("{}", supported_operators().join(" "));
    }
    let model = arguments.source.onnx()?;
    let list = |dims: &[windlass::Dim]| {
        format!("[{}]", dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    };
    for input in model.inputs() {
        println!("input `{}` {}: {} in the file", input.name, input.shape, list(&input.dims));
    }
    for output in model.outputs() {
        match output {
            Output::Computed(port) => {
                println!("output `{}` {}: {} in the file", port.name, port.shape, list(&port.dims));
            }
            Output::Known(tensor) => {
                println!("output `{}` {:?}: the same in every run", tensor.name, tensor.dims)
            }
        }
    }
    println!("{}", model.network().summary());
    let Some(folder) = &arguments.output else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(|reason| at(folder, "create", &reason))?;
    let name = arguments.source.stem();
    let (graph, weights) = (folder.join(format!("{name}.graph")), folder.join(format!("{name}.safetensors")));
    let text = model.network().graph().to_string();
    files::write(&graph, text)?;
    let model =
        Model::of_parameters(model.network().clone(), model.parameters().clone(), &Options::default())?;
    model.save(&weights)?;
    println!("{}  the graph\n{}  the parameters", graph.display(), weights.display());
    Ok(())
}
