//! How compile time grows with the number of layers: `cargo bench -p windlass-compiler --bench depth -- 10 100 1000`.
//! Each figure has its ratio to the previous one; ten times as many layers should take about ten times as long.

use std::error::Error;
use std::time::Duration;

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use windlass_compiler::autodiff::{TrainingOptions, training_graph};
use windlass_compiler::dump::Dump;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};

/// Dense layers, each with a ReLU.
fn linear(layers: usize) -> Result<Graph, GraphError> {
    let mut builder = Builder::new("linear");
    let mut x = builder.input("x", &[16])?;
    for layer in 0..layers {
        let label = format!("f{layer}");
        x = builder.layer(&label, &Layer::linear(16), x)?;
        x = builder.layer(&label, &Layer::Relu, x)?;
    }
    builder.output("y", x)?;
    builder.finish()
}

/// Convolutions, each with a batch normalisation and a ReLU.
fn convolutions(layers: usize) -> Result<Graph, GraphError> {
    let mut builder = Builder::new("conv");
    let mut x = builder.input("x", &[8, 6, 6])?;
    for layer in 0..layers {
        let (label, norm) = (format!("c{layer}"), format!("n{layer}"));
        x = builder.layer(&label, &Layer::conv(8, Window::square(3, 1, 1)), x)?;
        x = builder.layer(&norm, &Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 }, x)?;
        x = builder.layer(&norm, &Layer::Relu, x)?;
    }
    let x = builder.layer("flat", &Layer::Flatten, x)?;
    builder.output("y", x)?;
    builder.finish()
}

/// The minimum time of each stage over several runs: differentiation and passes, plan, code.
fn stages(network: &Graph, mode: Mode, runs: usize) -> Result<[Duration; 3], Box<dyn Error>> {
    let mut least = [Duration::MAX; 3];
    for _ in 0..runs {
        let start = std::time::Instant::now();
        let graph = match mode {
            Mode::Inference => network.clone(),
            Mode::Training => training_graph(network, &TrainingOptions::default())?,
        };
        let differentiation = start.elapsed();
        let (_, times) = compile(&graph, mode, &CompileOptions::default(), &Dump::none())?;
        let now = [differentiation + times.passes, times.plan, times.codegen];
        least = std::array::from_fn(|stage| least[stage].min(now[stage]));
    }
    Ok(least)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_benchmark = arguments.iter().any(|argument| argument == "--bench");
    let asked = arguments.iter().filter(|argument| !argument.starts_with("--"));
    let mut depths: Vec<usize> = asked.map(|text| text.parse()).collect::<Result<_, _>>()?;
    if depths.is_empty() {
        depths = if is_benchmark { vec![10, 100, 1_000, 3_000] } else { vec![3] };
    }
    let milliseconds = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3);
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN);
    table.set_header(["network", "layers", "passes ms", "plan ms", "code ms", "all ms", "ratio"]);
    for (name, network) in [("linear", linear as fn(usize) -> _), ("conv + bn", convolutions)] {
        for (mode, word) in [(Mode::Inference, "inference"), (Mode::Training, "training")] {
            let mut before: Option<Duration> = None;
            for &layers in &depths {
                let runs = if is_benchmark { (1_000 / layers).clamp(2, 20) } else { 1 };
                let times = stages(&network(layers)?, mode, runs)?;
                let all = times.iter().sum::<Duration>();
                let ratio = before.map_or(String::new(), |before| {
                    format!("{:.1}", all.as_secs_f64() / before.as_secs_f64().max(1e-9))
                });
                let [passes, plan, code] = times.map(milliseconds);
                let name = format!("{name}, {word}");
                table.add_row([name, layers.to_string(), passes, plan, code, milliseconds(all), ratio]);
                before = Some(all);
            }
        }
    }
    println!("{table}");
    Ok(())
}
