//! The command line: summaries, object files, runs and checks of networks whose graphs are in files.

mod batch;
mod bench;
mod build;
mod convert;
mod ctc;
mod files;
mod grad;
mod import;
mod inputs;
mod interpreter;
mod network;
mod plot;
mod report;
mod run;
mod tensors;
mod training;
mod tune;
mod verify;

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use windlass_compiler::dump::{Dump, Stage};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::compile;

use self::network::{Engine, Source};

/// Compiles neural networks to machine code.
///
/// NETWORK is a checkpoint of a model or trainer, an ONNX model, or a file with the graph of a network as text: what
/// `print!("{}", Net::graph())` prints for a network that `network!` declares, or a graph of a `Builder`.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  windlass summary lenet.graph --details
  windlass plot lenet.graph --weights lenet.safetensors -o lenet.svg
  windlass build lenet.graph --weights lenet.safetensors -o target/lenet
  windlass run lenet.graph --weights lenet.safetensors --inputs images.safetensors --outputs classes.safetensors
  windlass verify lenet.graph
  windlass import resnet18.onnx
  windlass build resnet18.onnx -o target/resnet18

`windlass COMMAND --help` explains a command and has examples of it.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Print layers, shapes, parameters and multiply-adds
    #[command(after_help = "Examples:
  windlass summary lenet.graph
  windlass summary resnet18.onnx --fix batch=1 --details")]
    Summary {
        #[command(flatten)]
        source: Source,
        /// Also print the complexity and the receptive field of each layer
        #[arg(long)]
        details: bool,
    },
    /// Print a stage of the compiler: the graph, passes, plan, kernels, Cranelift's IR or machine code
    #[command(after_help = "Examples:
  windlass dump lenet.graph --stage plan
  windlass dump lenet.graph --stage asm --vector-bits 256")]
    Dump {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        engine: Engine,
        /// graph, passes, plan, kernels, clif or asm
        #[arg(long, default_value = "plan", value_parser = stage)]
        stage: Stage,
    },
    /// Draw the layers as an SVG image, coloured by their share of the time
    #[command(after_help = "Examples:
  windlass plot lenet.graph -o lenet.svg --batch 64
  windlass plot resnet18.onnx -o resnet18.svg --no-profile")]
    Plot(plot::Arguments),
    /// Write an object file, a C header and weights, which C programs compile and link with
    #[command(after_help = "Examples:
  windlass build lenet.graph --weights lenet.safetensors -o target/lenet
  windlass build lenet.graph -o target/lenet --embed --platform aarch64-apple-darwin
  windlass build lenet.graph -o target/lenet --train adam")]
    Build(build::Arguments),
    /// Write the parameters in the state of an object's training to a safetensors file
    #[command(after_help = "Example, for an object that `windlass build --train adam` wrote:
  windlass export lenet.graph --state lenet.state --train adam -o lenet.safetensors")]
    Export(training::Arguments),
    /// Import an ONNX model: write its graph as text, and its parameters
    #[command(after_help = "Examples:
  windlass import resnet18.onnx
  windlass import resnet18.onnx --fix batch=1 -o target/resnet18")]
    Import(import::Arguments),
    /// Write a network with its parameters as an ONNX model
    #[command(after_help = "Examples:
  windlass convert lenet.graph --weights lenet.safetensors -o lenet.onnx
  windlass convert training.safetensors -o digits.onnx")]
    Convert(convert::Arguments),
    /// Run a network on inputs in a safetensors file
    #[command(after_help = "Examples:
  windlass run lenet.graph --weights lenet.safetensors --inputs images.safetensors
  windlass run training.safetensors --inputs images.safetensors
  windlass run resnet18.onnx --inputs images.safetensors --outputs classes.safetensors --engine interpreter")]
    Run(run::Arguments),
    /// Compare compiled code with the interpreter, at every vector width of this CPU
    #[command(after_help = "Example:
  windlass verify lenet.graph --batch 3")]
    Verify(verify::Arguments),
    /// Compute the loss of a batch and its gradients, and check them against central differences
    #[command(after_help = "Examples:
  windlass grad lenet.graph --batch 4 --check
  windlass grad lenet.graph --weights lenet.safetensors --inputs images.safetensors --targets labels.safetensors -o gradients.safetensors
  windlass grad autoencoder.graph --loss mean-squared-error --engine interpreter

The network computes as in prediction: dropout does nothing, batch normalisation uses running statistics. The target is
named `labels` (I32) for classes and `target` (F32) for numbers, in a file as `--inputs` takes them. The CTC loss also takes
`label_lengths` and `step_lengths` (I32), the numbers of labels and steps of each sample.")]
    Grad(grad::Arguments),
    /// Time predictions
    #[command(after_help = "Example:
  windlass bench lenet.graph --batch 64 --threads 1 --seconds 5")]
    Bench(bench::Arguments),
    /// Print the time of predictions by kernel, against the limits of this machine
    #[command(after_help = "Example:
  windlass profile resnet18.onnx --batch 16")]
    Profile(bench::Arguments),
    /// Write an HTML page about a run: layers, kernels on the roofline, memory over time, the plan and its reasons
    #[command(after_help = "Examples:
  windlass report lenet.graph --batch 64 -o report.html
  windlass report resnet18.onnx --threads 1 -o report.html
  windlass report lenet.graph --batch 64 --train adam -o training.html

The page is one file that needs nothing else; any browser opens it. Times are those of this machine, with inputs that are
drawn: let nothing else run, and choose the batch of the program's use.")]
    Report(report::Arguments),
    /// Measure the algorithms of each convolution, and store the fastest in a file
    #[command(after_help = "Examples:
  windlass tune resnet18.onnx --batch 16 -o tuning.json
  windlass bench resnet18.onnx --batch 16 --tuned tuning.json
  windlass build resnet18.onnx --batch 16 --threads 2 --tuned tuning.json -o target/resnet18
  windlass tune lenet.graph --batch 64 --train adam --budget 500ms

Results are for this CPU, batch and number of threads. Without `-o` they are where `Tuning` in programs looks for them.")]
    Tune(tune::Arguments),
    /// Print a script with which a shell completes commands and options
    #[command(after_help = "Examples:
  windlass completions bash > ~/.local/share/bash-completion/completions/windlass
  windlass completions fish > ~/.config/fish/completions/windlass.fish")]
    Completions {
        /// The shell
        shell: Shell,
    },
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
        Command::Plot(arguments) => plot::run(&arguments),
        Command::Build(arguments) => build::run(&arguments),
        Command::Export(arguments) => training::export(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Grad(arguments) => grad::run(&arguments),
        Command::Bench(arguments) => bench::time(&arguments),
        Command::Profile(arguments) => bench::profile(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Tune(arguments) => tune::run(&arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "windlass", &mut script);
            Ok(std::io::stdout().write_all(&script)?)
        }
    }
}

/// A file that could not be read or written.
fn at(path: &std::path::Path, action: &str, reason: &dyn std::fmt::Display) -> Box<dyn Error> {
    format!("could not {action} {}: {reason}", path.display()).into()
}

/// The path of an argument.
type File = PathBuf;

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Arguments;

    /// Every command has an example, and the command line accepts all examples.
    #[test]
    fn examples_are_accepted() {
        let command = Arguments::command();
        let mut helps = vec![("windlass".to_owned(), command.get_after_help())];
        helps.extend(
            command.get_subcommands().map(|of| (format!("windlass {}", of.get_name()), of.get_after_help())),
        );
        for (start, help) in helps {
            let help = help.unwrap_or_else(|| panic!("`{start}` has no example")).to_string();
            let examples: Vec<&str> = help
                .lines()
                .filter_map(|line| line.strip_prefix("  "))
                .filter(|line| line.starts_with(&start))
                .collect();
            assert!(!examples.is_empty(), "{help}");
            for example in examples {
                let typed = example.split(" > ").next().unwrap_or_default();
                Arguments::try_parse_from(typed.split(' '))
                    .unwrap_or_else(|error| panic!("{example}\n{error}"));
            }
        }
    }
}
