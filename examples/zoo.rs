//! Lists the networks of the zoo, prints the layers of one, and times its predictions.
//!
//! Look at the second table: what each layer costs, and how much of the image its results see.
//!
//! ```sh
//! cargo run --release -p windlass-examples --example zoo
//! cargo run --release -p windlass-examples --example zoo -- resnet18
//! ```

mod failure;
#[path = "zoo/mod.rs"]
#[allow(dead_code, reason = "the small networks are for tests")]
mod networks;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use clap::builder::PossibleValuesParser;
use windlass::{Dynamic, Model, Options, summary};

/// Lists the networks of the zoo, or shows one of them.
#[derive(Debug, Parser)]
struct Arguments {
    /// The network; without it, all are listed
    #[arg(value_parser = PossibleValuesParser::new(networks::NETWORKS.map(|entry| entry.name)))]
    network: Option<String>,
    /// Samples per prediction
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Number of threads; all of the system by default
    #[arg(long, value_name = "COUNT")]
    threads: Option<usize>,
    /// Seconds of predictions to time
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    seconds: f64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    failure::exit_code(match &arguments.network {
        Some(name) => show(name, &arguments),
        None => {
            list();
            Ok(())
        }
    })
}

fn list() {
    println!("{:22} {:>12} {:>15}", "network", "parameters", "multiply-adds");
    for entry in networks::NETWORKS {
        let totals = summary((entry.graph)()).totals;
        println!("{:22} {:12} {:15}", entry.name, totals.parameters, totals.multiply_adds);
    }
}

fn show(name: &str, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let entry =
        networks::NETWORKS.iter().find(|entry| entry.name == name).ok_or("there is no such network")?;
    let graph = (entry.graph)();
    let summary = summary(graph);
    println!("{summary}\n\n{}\n", summary.details());

    let options = match arguments.threads {
        Some(threads) => Options::default().threads(threads),
        None => Options::default(),
    };
    let start = Instant::now();
    let model = Model::of(Dynamic::new(graph.clone())?, 0, &options)?;
    println!("compiled in {:.2} s", start.elapsed().as_secs_f64());

    let batch = arguments.batch as usize;
    let (_, input) = graph.inputs().next().ok_or("the network has no input")?;
    let input = vec![0.5; batch * input.ty.shape.item_elements()];
    let budget = Duration::try_from_secs_f64(arguments.seconds)?;
    model.forward(&input)?; // prepacks the weights
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || start.elapsed() < budget {
        let start = Instant::now();
        model.forward(&input)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let median = times[times.len() / 2].as_secs_f64();
    let speed = (batch as u64 * summary.totals.multiply_adds) as f64 / median / 1e9;
    println!("{}", model.memory(batch));
    println!(
        "prediction of {batch}: {:.3} ms, the median of {}; {speed:.1} billion multiply-adds per second",
        1000.0 * median,
        times.len()
    );
    Ok(())
}
