//! `windlass build`: object files.

use std::error::Error;

use clap::Args;
use windlass::Options;
use windlass::object::ObjectOptions;

use crate::File;
use crate::network::Task;
use crate::training::Training;

/// The arguments of `windlass build`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    task: Task,
    /// Directory for the files, which is created
    #[arg(short, long, value_name = "DIRECTORY")]
    output: File,
    /// Prefix of the C functions and the files; by default the name of the network
    #[arg(long)]
    name: Option<String>,
    /// Vector widths, of which a run uses the widest that the CPU has: 128,256,512 on x86-64 by default
    #[arg(long, value_name = "BITS", value_delimiter = ',')]
    vector_bits: Vec<usize>,
    /// Platform, such as x86_64-unknown-linux-gnu or aarch64-apple-darwin; by default this one
    #[arg(long, value_name = "TRIPLE")]
    platform: Option<String>,
    /// Put the weights, or the initial state of the training, into the object instead of a file
    #[arg(long)]
    embed: bool,
    /// Keep the states of recurrent layers between runs
    #[arg(long)]
    streaming: bool,
    /// Number of threads of the caller that share a run
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
    #[command(flatten)]
    training: Training,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let network = arguments.task.network()?;
    let model = arguments.task.weights.model(&network, &Options::default().threads(1))?;
    let mut options = ObjectOptions::default().vector_bits(&arguments.vector_bits[..]).embed(arguments.embed);
    options.name.clone_from(&arguments.name);
    options.platform.clone_from(&arguments.platform);
    options.training = arguments.training.options();
    options.streaming = arguments.streaming;
    options.threads = arguments.threads;
    let files = model.object(&options)?;
    files.write(&arguments.output)?;
    let file = |extension: &str| arguments.output.join(format!("{}.{extension}", files.name));
    println!("{}  {} bytes", file("o").display(), files.object.len());
    println!("{}  its functions for C", file("h").display());
    println!("{}  its functions for Rust", file("rs").display());
    if let Some(weights) = &files.weights {
        println!("{}  {} bytes", file("weights").display(), weights.len());
    }
    if let Some(state) = &files.state {
        println!("{}  {} bytes", file("state").display(), state.len());
    }
    println!("{}  shapes, checksums and algorithms", file("json").display());
    Ok(())
}
