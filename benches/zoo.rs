//! Times the networks of the zoo: `cargo bench --bench zoo -- train --batch 64 lenet`. `benches/README.md` describes
//! the output and how to compare it with other libraries.

#[path = "../examples/failure/mod.rs"]
mod failure;
#[path = "support/recurrent.rs"]
mod recurrent;
mod support;
#[path = "../examples/zoo/mod.rs"]
#[expect(dead_code, reason = "the small networks are for tests")]
mod zoo;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::json;
use windlass_compiler::autodiff::Loss;
use windlass_compiler::dump::Dump;
use windlass_compiler::pipeline::{CompileOptions, CompileTimes, compile};
use windlass_compiler::plan::Accuracy;
use windlass_runtime::executor::Executor;
use windlass_runtime::machine::Machine;
use windlass_runtime::memory::MemoryReport;
use windlass_runtime::profile::Profile;

use support::{Bound, Budget, Kind, Task, check, is_benchmark, medians, print_table};

/// Times the networks of the zoo, after comparing their results with the interpreter.
#[derive(Parser)]
struct Arguments {
    /// Forward only, whole training steps, or both for recurrent layers of usual shapes.
    #[arg(value_enum, default_value = "infer")]
    mode: Mode,
    /// The networks; by default all of them, except the largest in training. In `recurrent` mode, the beginnings of their
    /// names: `lstm`.
    cases: Vec<String>,
    /// Threads of each run.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Samples in each run.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Seconds for each figure; there are at least five runs.
    #[arg(long, default_value = "2", value_parser = seconds)]
    budget: Duration,
    /// Sums every product as written: no Winograd convolution.
    #[arg(long)]
    strict: bool,
    /// Width of vectors; by default the widest of this CPU.
    #[arg(long, value_name = "BITS")]
    vector_bits: Option<usize>,
    /// Skips the comparison with the interpreter, which takes longer than the measurement of the larger networks.
    #[arg(long)]
    unchecked: bool,
    /// Prints one line of JSON for each figure.
    #[arg(long)]
    json: bool,
    /// Prints the time of each kernel.
    #[arg(long)]
    profile: bool,
    /// Passed by `cargo bench` to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Infer,
    Train,
    Recurrent,
}

/// Runs of a profile.
const PROFILED_RUNS: usize = 20;

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    failure::exit_code(if is_benchmark() { run(&Arguments::parse()) } else { try_out() })
}

/// Runs everything once, as a test.
fn try_out() -> Result<(), Box<dyn Error>> {
    for mode in ["infer", "train"] {
        let line = ["zoo", mode, "lenet", "--batch", "2", "--budget", "0", "--profile"];
        run(&Arguments::try_parse_from(line)?)?;
    }
    let line = ["zoo", "recurrent", "gru-t35-i256-h256-l1", "--budget", "0", "--unchecked", "--profile"];
    run(&Arguments::try_parse_from(line)?)
}

/// Networks that are trained only on request: they take gigabytes, or have a single logit and so no classes.
const NOT_TRAINED: [&str; 5] = ["vgg13", "vgg16", "vgg16_norm", "vgg19", "dcgan_discriminator"];

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut figures = Vec::new();
    let mut add = |figure: Figure| {
        if arguments.json {
            println!("{}", figure.json(arguments));
        }
        figures.push(figure);
    };
    match arguments.mode {
        Mode::Infer => networks(arguments, Kind::Infer, &mut add)?,
        Mode::Train => networks(arguments, Kind::Train, &mut add)?,
        Mode::Recurrent => recurrent_layers(arguments, &mut add)?,
    }
    if !arguments.json {
        println!("threads {}", arguments.threads);
        let header = ["network", "mode", "batch", "ms", "samples/s", "GFLOP/s", "compile ms", "arena MiB"];
        print_table(3, &header, figures.iter().map(Figure::cells).collect());
    }
    Ok(())
}

fn networks(arguments: &Arguments, kind: Kind, add: &mut impl FnMut(Figure)) -> Result<(), Box<dyn Error>> {
    let is_known = |case: &&String| zoo::NETWORKS.iter().any(|entry| entry.name == **case);
    if let Some(unknown) = arguments.cases.iter().find(|case| !is_known(case)) {
        let names: Vec<&str> = zoo::NETWORKS.iter().map(|entry| entry.name).collect();
        return Err(format!("there is no network `{unknown}`; there are {}", names.join(", ")).into());
    }
    for entry in zoo::NETWORKS {
        let is_default = kind == Kind::Infer || !NOT_TRAINED.contains(&entry.name);
        let is_wanted = arguments.cases.iter().any(|case| case == entry.name);
        if is_wanted || arguments.cases.is_empty() && is_default {
            let task = Task::new((entry.graph)(), kind)?;
            add(measure(entry.name, &task, arguments.batch as usize, arguments)?);
        }
    }
    Ok(())
}

fn recurrent_layers(arguments: &Arguments, add: &mut impl FnMut(Figure)) -> Result<(), Box<dyn Error>> {
    let mut found = false;
    for case in recurrent::cases() {
        let name = case.name();
        if !arguments.cases.is_empty()
            && !arguments.cases.iter().any(|wanted| name.starts_with(wanted.as_str()))
        {
            continue;
        }
        found = true;
        for kind in [Kind::Infer, Kind::Train] {
            let task = Task::with_loss(&case.graph()?, kind, Loss::MeanSquaredError)?;
            add(measure(&name, &task, case.batch, arguments)?);
        }
    }
    if found {
        Ok(())
    } else {
        Err("no recurrent case has such a name; they begin with rnn, gru or lstm".into())
    }
}

/// The measurement of a network.
struct Figure {
    case: String,
    kind: Kind,
    batch: usize,
    time: Duration,
    flops: u64,
    compile: CompileTimes,
    memory: MemoryReport,
}

fn measure(case: &str, task: &Task, batch: usize, arguments: &Arguments) -> Result<Figure, Box<dyn Error>> {
    let mut options = CompileOptions::default();
    options.plan.threads = arguments.threads;
    options.plan.batch = Some(batch);
    options.plan.vector_bits = arguments.vector_bits;
    if arguments.strict {
        options.plan.accuracy = Accuracy::Strict;
    }
    let (program, compile) = compile(&task.graph, task.kind.mode(), &options, &Dump::from_environment())?;
    let executor = Executor::new(program)?;
    let memory = MemoryReport::of(executor.program().plan(), &batch.into());
    // On standard error, like everything that is not a figure.
    eprintln!("{case}: {memory}");
    if !arguments.unchecked {
        check(task, &executor, batch, options.plan.accuracy)?;
    }

    let mut bound = Bound::new(&executor, &task.sources(batch, batch, 1e-3), batch)?;
    if arguments.profile {
        let profile = Profile::measure(executor.program(), batch, PROFILED_RUNS, |times| {
            executor.run_timed(&mut bound.bindings(), batch, 0, times)
        })?;
        let profile = profile.compared_with(Machine::measure(&options.plan)?);
        // Standard output has only lines of JSON.
        if arguments.json { eprintln!("{profile}\n") } else { println!("{profile}\n") }
    }
    let times = medians(Budget::of(arguments.budget), &mut [&mut || bound.run(&executor)])?;
    let program = executor.program();
    let plan = program.plan();
    let mut values = Vec::new();
    plan.sizes.values_into(&batch.into(), &mut values);
    let turns = plan.turns(&values);
    Ok(Figure {
        case: case.to_owned(),
        kind: task.kind,
        batch,
        time: times[0],
        flops: program
            .run_steps()
            .iter()
            .zip(turns)
            .map(|(step, turns)| step.cost.at(batch) * turns as u64)
            .sum(),
        compile,
        memory,
    })
}

impl Figure {
    fn json(&self, arguments: &Arguments) -> serde_json::Value {
        json!({
            "case": self.case,
            "mode": self.kind.name(),
            "batch": self.batch,
            "threads": arguments.threads,
            "peer": "windlass",
            "ms": self.time.as_secs_f64() * 1e3,
        })
    }

    fn cells(&self) -> Vec<String> {
        let seconds = self.time.as_secs_f64().max(1e-9);
        let compile = self.compile.passes + self.compile.plan + self.compile.codegen;
        vec![
            self.case.clone(),
            self.kind.name().to_owned(),
            self.batch.to_string(),
            format!("{:.3}", seconds * 1e3),
            format!("{:.1}", self.batch as f64 / seconds),
            format!("{:.1}", self.flops as f64 / seconds / 1e9),
            format!("{:.1}", compile.as_secs_f64() * 1e3),
            format!("{:.2}", (self.memory.prepacked + self.memory.run()) as f64 / f64::from(1 << 20)),
        ]
    }
}
