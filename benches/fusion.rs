//! Measures the benefit of each optimisation: `cargo bench -p windlass-examples --bench fusion`. It compiles the same network with and without
//! it, compares both with the interpreter, times them in turn, and draws the result.

#[path = "../examples/failure/mod.rs"]
mod failure;
#[path = "support/optimisations.rs"]
mod optimisations;
#[path = "../examples/picture/mod.rs"]
mod picture;
mod support;
#[path = "../examples/zoo/mod.rs"]
#[expect(dead_code, reason = "only some networks are measured here")]
mod zoo;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use plotters::style::text_anchor::HPos;
use windlass::network;
use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::Graph;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_runtime::executor::Executor;

use optimisations::{EPILOGUES, OPTIMISATIONS, Optimisation};
use picture::{BLUE, GREY, LIGHT, Lettering, Picture};
use support::{Bound, Budget, Kind, Task, check, is_benchmark, medians, print_table};

network! {
    /// LeNet with ReLU and maximum pooling instead of sigmoids and average pooling.
    network LeNetRelu(image: [1, 28, 28]) -> [10] {
        conv2d(6, kernel_size = 5, padding = 2); relu; max_pool2d(2);
        conv2d(16, kernel_size = 5); relu; max_pool2d(2);
        flatten;
        linear(120); relu;
        linear(84); relu;
        linear(10)
    }
}

/// The networks that are measured, with the batch sizes of inference and of training.
type Case = (&'static str, fn() -> &'static Graph, [usize; 2]);
const CASES: [Case; 5] = [
    ("lenet_relu", LeNetRelu::graph, [64, 64]),
    ("googlenet", zoo::GoogLeNet::graph, [1, 4]),
    ("resnet18", zoo::ResNet18::graph, [1, 4]),
    ("mobilenet_v2", zoo::MobileNetV2::graph, [1, 4]),
    ("densenet121", zoo::DenseNet121::graph, [1, 2]),
];

#[derive(Parser)]
#[command(about = "Measures the benefit of each optimisation.")]
struct Arguments {
    /// The networks; by default all.
    cases: Vec<String>,
    /// Seconds for each figure.
    #[arg(long, default_value_t = 1.0)]
    budget: f64,
    /// Threads of each run.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The picture.
    #[arg(long, default_value = "target/fusion.png")]
    picture: PathBuf,
    /// Skips the comparison with the interpreter, which takes a while.
    #[arg(long)]
    unchecked: bool,
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    failure::exit_code(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    if !is_benchmark() {
        return smoke();
    }
    let arguments = Arguments::parse();
    if let Some(unknown) = arguments.cases.iter().find(|name| CASES.iter().all(|(case, ..)| case != name)) {
        let known: Vec<&str> = CASES.iter().map(|(case, ..)| *case).collect();
        return Err(format!("there is no network `{unknown}`: use one of {}", known.join(", ")).into());
    }
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for (name, graph, batches) in CASES {
        if !(arguments.cases.is_empty() || arguments.cases.iter().any(|case| case == name)) {
            continue;
        }
        for (kind, batch) in [Kind::Infer, Kind::Train].into_iter().zip(batches) {
            let task = Task::new(graph(), kind)?;
            let mut measure = |optimisation: &Optimisation, bits: usize| -> Result<(), Box<dyn Error>> {
                let Some(comparison) = compare(&task, batch, optimisation, bits, &arguments)? else {
                    return Ok(());
                };
                rows.push(comparison.cells([name, kind.name()], batch, optimisation.name, bits));
                bars.push((format!("{name} {}", kind.name()), optimisation.name, bits, comparison));
                Ok(())
            };
            let widest = *available_vector_bits().iter().max().ok_or("no vector width")?;
            for bits in available_vector_bits().into_iter().filter(|&bits| bits != widest) {
                measure(&EPILOGUES, bits)?;
            }
            for optimisation in &OPTIMISATIONS {
                measure(optimisation, widest)?;
            }
        }
    }
    let header = [
        "network",
        "mode",
        "optimisation",
        "bits",
        "batch",
        "ms",
        "without",
        "without / with",
        "MiB",
        "without",
    ];
    print_table(3, &header, rows);
    draw(&bars, &arguments)
}

/// Checks every optimisation on a small network, at every vector width.
fn smoke() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse_from(["fusion", "--budget", "0"]);
    for kind in [Kind::Infer, Kind::Train] {
        let task = Task::new(LeNetRelu::graph(), kind)?;
        for bits in available_vector_bits() {
            for optimisation in &OPTIMISATIONS {
                compare(&task, 2, optimisation, bits, &arguments)?;
            }
        }
    }
    Ok(())
}

/// Time and memory with and without an optimisation.
struct Comparison {
    milliseconds: [f64; 2],
    mebibytes: [f64; 2],
}

impl Comparison {
    /// How many times as long a run takes without it.
    fn ratio(&self) -> f64 {
        self.milliseconds[1] / self.milliseconds[0]
    }

    fn cells(&self, names: [&str; 2], batch: usize, optimisation: &str, bits: usize) -> Vec<String> {
        let mut cells: Vec<String> = names.into_iter().chain([optimisation]).map(str::to_owned).collect();
        cells.extend([bits, batch].map(|number| number.to_string()));
        cells.extend(self.milliseconds.map(|time| format!("{time:.3}")));
        cells.push(format!("{:.2}", self.ratio()));
        cells.extend(self.mebibytes.map(|size| format!("{size:.2}")));
        cells
    }
}

/// `None` if the optimisation does not change the program.
fn compare(
    task: &Task,
    batch: usize,
    optimisation: &Optimisation,
    bits: usize,
    arguments: &Arguments,
) -> Result<Option<Comparison>, Box<dyn Error>> {
    let mut options = CompileOptions::default();
    options.plan.vector_bits = Some(bits);
    options.plan.threads = arguments.threads;
    options.plan.batch = Some(batch);
    (optimisation.both)(&mut options);
    let mut others = options.clone();
    (optimisation.off)(&mut others);
    let [with, without] = [&options, &others].map(|options| prepare(task, batch, options, arguments));
    let ((executor, mut memory), (other, mut other_memory)) = (with?, without?);
    let [plan, other_plan] = [&executor, &other].map(|executor| executor.program().plan());
    if plan.run == other_plan.run && plan.buffers == other_plan.buffers {
        return Ok(None);
    }
    let budget = Budget::of(Duration::try_from_secs_f64(arguments.budget)?);
    let times = medians(budget, &mut [&mut || memory.run(&executor), &mut || other_memory.run(&other)])?;
    let mebibytes = [plan, other_plan]
        .map(|plan| plan.memory.bytes(&[batch], arguments.threads) as f64 / f64::from(1 << 20));
    let milliseconds = [times[0], times[1]].map(|time| time.as_secs_f64() * 1e3);
    Ok(Some(Comparison { milliseconds, mebibytes }))
}

/// A checked program with its memory.
fn prepare(
    task: &Task,
    batch: usize,
    options: &CompileOptions,
    arguments: &Arguments,
) -> Result<(Executor, Bound), Box<dyn Error>> {
    let (program, _) = compile(&task.graph, task.kind.mode(), options, &Dump::from_environment())?;
    let executor = Executor::new(program)?;
    if !arguments.unchecked {
        check(task, &executor, batch, options.plan.accuracy)?;
    }
    let memory = Bound::new(&executor, &task.sources(batch, batch, 1e-3), batch)?;
    Ok((executor, memory))
}

/// A bar for each comparison at the widest vectors: how much longer a run takes without the optimisation.
fn draw(
    bars: &[(String, &'static str, usize, Comparison)],
    arguments: &Arguments,
) -> Result<(), Box<dyn Error>> {
    const ROW: i32 = 18;
    const LEFT: i32 = 210;
    /// Pixels for a run that takes twice as long.
    const DOUBLE: f64 = 300.0;
    let widest = bars.iter().map(|(_, _, bits, _)| *bits).max().unwrap_or_default();
    let bars: Vec<_> = bars.iter().filter(|(_, _, bits, _)| *bits == widest).collect();
    let mut groups: Vec<&str> = bars.iter().map(|(group, ..)| group.as_str()).collect();
    groups.dedup();
    let height = 70 + ROW * (bars.len() + 2 * groups.len()) as i32;
    let mut picture = Picture::new(760, height as u32);
    picture.text("How much longer a run takes without an optimisation", (20, 24), Lettering::TITLE)?;
    let mut y = 56;
    let right = Lettering { align: HPos::Right, color: GREY, size: 12, bold: false };
    for group in groups {
        picture.text(group, (20, y), Lettering { bold: true, ..Lettering::NOTE })?;
        y += ROW;
        for (_, name, _, comparison) in bars.iter().filter(|(own, ..)| own == group) {
            let more = comparison.ratio() - 1.0;
            let length = (more.clamp(-0.2, 1.5) * DOUBLE).round() as i32;
            picture.text(name, (LEFT - 10, y), right)?;
            picture.rectangle(
                (LEFT, y - 6),
                (length.abs().max(1), 12),
                if length < 0 { LIGHT } else { BLUE },
            )?;
            let note = Lettering { size: 12, ..Lettering::NOTE };
            picture.text(&format!("{:+.0} %", 100.0 * more), (LEFT + length.abs() + 8, y), note)?;
            y += ROW;
        }
        y += ROW / 2;
    }
    picture.save(&arguments.picture)?;
    println!("the bars are in {}", arguments.picture.display());
    Ok(())
}
