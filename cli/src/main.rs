//! The command line: summaries, object files, runs and checks of networks whose graphs are in files.

mod bench;
mod build;
mod import;
mod inputs;
mod interpreter;
mod network;
mod run;
mod training;
mod verify;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use windlass_compiler::dump::{Dump, Stage};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::compile;

use self::network::{Engine, Source};

/// Compiles neural networks to machine code.
///
/// NETWORK is an ONNX model, or a file with the graph of a network as text: what `print!("{}", Net::graph())` prints for a network that
/// `network!` declares, or a graph of a `Builder`.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  windlass summary lenet.graph --details
  windlass build lenet.graph --weights lenet.safetensors -o target/lenet
  windlass run lenet.graph --weights lenet.safetensors --inputs images.safetensors --outputs classes.safetensors
  windlass verify lenet.graph
  windlass import resnet18.onnx
  windlass build resnet18.onnx -o target/resnet18";

#[derive(Debug, Subcommand)]
enum Command {
    /// Print layers, shapes, parameters and multiply-adds
    Summary {
        #[command(flatten)]
        source: Source,
        /// Also print the complexity and the receptive field of each layer
        #[arg(long)]
        details: bool,
    },
    /// Print a stage of the compiler: the graph, passes, plan, kernels, Cranelift's IR or machine code
    Dump {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        engine: Engine,
        /// graph, passes, plan, kernels, clif or asm
        #[arg(long, default_value = "plan", value_parser = stage)]
        stage: Stage,
    },
    /// Write an object file, a C header and weights, which C programs compile and link with
    Build(build::Arguments),
    /// Write the parameters in the state of an object's training to a safetensors file
    Export(training::Arguments),
    /// Import an ONNX model: write its graph as text, and its parameters
    Import(import::Arguments),
    /// Run a network on inputs in a safetensors file
    Run(run::Arguments),
    /// Compare compiled code with the interpreter, at every vector width of this CPU
    Verify(verify::Arguments),
    /// Time predictions
    Bench(bench::Arguments),
    /// Print the time of predictions by kernel, against the limits of this machine
    Profile(bench::Arguments),
}

fn stage(text: &str) -> Result<Stage, String> {
    text.parse().map_err(|error: windlass_compiler::dump::DumpError| error.to_string())
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Summary { source, details } => {
            let summary = source.network()?.summary();
            println!("{summary}");
            if details {
                println!("{}", summary.details());
            }
            Ok(())
        }
        Command::Dump { source, engine, stage } => {
            let network = source.network()?;
            let dump = Dump::new(vec![stage]);
            compile(network.graph(), Mode::Inference, &engine.options()?.compile, &dump)?;
            Ok(())
        }
        Command::Build(arguments) => build::run(&arguments),
        Command::Export(arguments) => training::export(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Bench(arguments) => bench::time(&arguments),
        Command::Profile(arguments) => bench::profile(&arguments),
    }
}

/// A file that could not be read or written.
fn at(path: &std::path::Path, action: &str, reason: &dyn std::fmt::Display) -> Box<dyn Error> {
    format!("could not {action} {}: {reason}", path.display()).into()
}

/// The path of an argument.
type File = PathBuf;
