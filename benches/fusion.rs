//! Measures the benefit of fusion and tiling: `cargo bench --bench fusion`. It compiles the same network in two ways,
//! compares both with the interpreter, and times them in turn.

#[path = "../examples/failure/mod.rs"]
mod failure;
mod support;
#[path = "../examples/zoo/mod.rs"]
#[expect(dead_code, reason = "only the smallest network is measured here")]
mod zoo;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use windlass::network;
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::Graph;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::plan::Im2col;
use windlass_runtime::executor::Executor;

use support::{Bound, Budget, Kind, Task, check, is_benchmark, medians, print_table};

network! {
    /// The second stage of VGG.
    network Stage(image: [64, 112, 112]) -> [128, 56, 56] {
        repeat 2 { conv2d(128, kernel_size = 3, padding = 1); relu; }
        max_pool2d(2)
    }
}

/// A comparison of the default options with others.
struct Comparison {
    name: &'static str,
    /// Changes the default into the other options.
    other: fn(&mut CompileOptions),
}

const COMPARISONS: [Comparison; 2] = [
    Comparison { name: "fused / unfused", other: |options| options.passes.fuse = false },
    Comparison { name: "tiled im2col / whole", other: |options| options.plan.im2col = Im2col::Whole },
];

fn main() -> ExitCode {
    failure::exit_code(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let lenet = zoo::LeNet::graph();
    let cases: Vec<(&Graph, Kind, usize)> = if is_benchmark() {
        vec![
            (lenet, Kind::Infer, 1),
            (lenet, Kind::Infer, 64),
            (lenet, Kind::Train, 64),
            (Stage::graph(), Kind::Infer, 1),
        ]
    } else {
        vec![(lenet, Kind::Infer, 2), (lenet, Kind::Train, 2)]
    };
    let time = if is_benchmark() { Duration::from_secs(2) } else { Duration::ZERO };
    let mut rows = Vec::new();
    for (network, kind, batch) in cases {
        let task = Task::new(network, kind)?;
        for comparison in &COMPARISONS {
            let mut cells = vec![network.name().to_owned(), kind.name().to_owned(), batch.to_string()];
            cells.extend(compare(&task, batch, comparison, Budget::of(time))?);
            rows.push(cells);
        }
    }
    let header = ["network", "mode", "batch", "comparison", "ms", "other ms", "other / default", "arena MiB"];
    print_table(4, &header, rows);
    Ok(())
}

/// The table cells after mode and batch.
fn compare(
    task: &Task,
    batch: usize,
    comparison: &Comparison,
    budget: Budget,
) -> Result<[String; 5], Box<dyn Error>> {
    let options = CompileOptions::default();
    let mut other_options = options.clone();
    (comparison.other)(&mut other_options);
    let (executor, mut memory) = prepare(task, batch, &options)?;
    let (other, mut other_memory) = prepare(task, batch, &other_options)?;
    let times = medians(budget, &mut [&mut || memory.run(&executor), &mut || other_memory.run(&other)])?;
    let [milliseconds, other_milliseconds] = [0, 1].map(|index: usize| times[index].as_secs_f64() * 1e3);
    let mebibytes =
        |executor: &Executor| executor.program().plan().memory.bytes(&[batch], 1) as f64 / f64::from(1 << 20);
    Ok([
        comparison.name.to_owned(),
        format!("{milliseconds:.3}"),
        format!("{other_milliseconds:.3}"),
        format!("{:.2}", other_milliseconds / milliseconds),
        format!("{:.2} / {:.2}", mebibytes(&executor), mebibytes(&other)),
    ])
}

/// A checked program with its memory.
fn prepare(task: &Task, batch: usize, options: &CompileOptions) -> Result<(Executor, Bound), Box<dyn Error>> {
    let (program, _) = compile(&task.graph, task.kind.mode(), options, &Dump::from_environment())?;
    let executor = Executor::new(program)?;
    check(task, &executor, batch, options.plan.accuracy)?;
    let memory = Bound::new(&executor, &task.sources(batch, batch, 1e-3), batch)?;
    Ok((executor, memory))
}
