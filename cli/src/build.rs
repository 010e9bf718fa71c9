//! `windlass build`: object files.

use std::collections::BTreeMap;
use std::error::Error;

use clap::Args;
use windlass::object::ObjectOptions;
use windlass::{Dynamic, Options, available_vector_bits};
use windlass_compiler::plan::Convolution;

use crate::File;
use crate::network::Task;
use crate::training::Training;
use crate::tune::Results;

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
    /// Usual number of samples of a run, or of a training step, for which algorithms are chosen; any number can be run
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    batch: Option<u32>,
    #[command(flatten)]
    training: Training,
    #[command(flatten)]
    tuned: Results,
}

impl Arguments {
    /// The algorithms that were measured for the vector widths of the object.
    fn measured(
        &self,
        network: &Dynamic,
        options: &ObjectOptions,
    ) -> Result<BTreeMap<String, Convolution>, Box<dyn Error>> {
        let wanted = &options.vector_bits;
        // Others cannot have been measured on this CPU.
        let widths =
            available_vector_bits().into_iter().filter(|bits| wanted.is_empty() || wanted.contains(bits));
        let widths: Vec<usize> = widths.collect();
        let own = Options::default().threads(self.threads.unwrap_or(1));
        let (training, batch) = (options.training.as_ref(), self.batch.map_or(1, |batch| batch as usize));
        let tuned = self.tuned.of_widths(network, own, training, batch, &widths)?;
        Ok(tuned.compile.plan.tuned)
    }
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
    options.compile.plan.batch = arguments.batch.map(|batch| batch as usize);
    options.compile.plan.tuned = arguments.measured(&network, &options)?;
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
