//! Compares layers with the peak throughput of the machine: `cargo bench --bench layers`. Each operator runs alone, on
//! values in the layout that it has within a network. Copies to that layout are not counted.

#[expect(dead_code, unused_imports, reason = "nothing here trains, or runs another program in turn")]
mod support;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{Array, Bindings};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::plan::Accuracy;
use windlass_compiler::shape::Sizes;
use windlass_runtime::executor::Executor;
use windlass_runtime::machine::Machine;
use windlass_runtime::profile::Profile;

use support::{Bound, is_benchmark, print_table};

/// Measures single layers.
#[derive(Parser)]
struct Arguments {
    /// The number of threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Measures only layers whose name contains this text.
    #[arg(long)]
    only: Option<String>,
    /// Allows algorithms that round differently from a sum of products, such as Winograd's.
    #[arg(long)]
    fast: bool,
    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A convolution, or a dense layer if it has no sizes.
struct Case {
    name: &'static str,
    batch: usize,
    channels: [usize; 2],
    sizes: &'static [usize],
    kernel_size: &'static [usize],
    stride: usize,
    groups: usize,
    /// Whether the only size is open: a program for any size, measured at this one.
    open: bool,
}

impl Case {
    const fn new(
        name: &'static str,
        channels: [usize; 2],
        sizes: &'static [usize],
        kernel: &'static [usize],
    ) -> Self {
        Case { name, batch: 1, channels, sizes, kernel_size: kernel, stride: 1, groups: 1, open: false }
    }
}

const CASES: [Case; 22] = [
    Case::new("conv2d 3x3", [64, 64], &[56, 56], &[3, 3]),
    Case::new("conv1d 9", [64, 64], &[3136], &[9]),
    Case::new("conv1d 3", [64, 64], &[3136], &[3]),
    Case { open: true, ..Case::new("conv1d 9, open", [64, 64], &[3136], &[9]) },
    Case { open: true, ..Case::new("conv1d 3, open", [64, 64], &[3136], &[3]) },
    Case::new("conv2d 1x3", [64, 64], &[56, 56], &[1, 3]),
    Case::new("conv3d 3x3x3", [32, 32], &[16, 56, 56], &[3, 3, 3]),
    Case::new("conv3d 3x3x3, small", [128, 128], &[8, 14, 14], &[3, 3, 3]),
    Case::new("conv3d 3x3x3, first", [3, 32], &[16, 56, 56], &[3, 3, 3]),
    Case { stride: 2, ..Case::new("conv3d 3x3x3, stride 2", [32, 64], &[16, 56, 56], &[3, 3, 3]) },
    Case::new("conv3d 1x1x1", [64, 64], &[8, 28, 28], &[1, 1, 1]),
    Case { stride: 2, ..Case::new("conv1d 5, stride 2", [64, 128], &[2048], &[5]) },
    Case { groups: 256, ..Case::new("conv2d 3x3, depthwise", [256, 256], &[28, 28], &[3, 3]) },
    Case {
        groups: 128,
        stride: 2,
        ..Case::new("conv2d 3x3, depthwise, stride 2", [128, 128], &[56, 56], &[3, 3])
    },
    Case { groups: 64, ..Case::new("conv1d 7, depthwise", [64, 64], &[4096], &[7]) },
    Case { groups: 64, open: true, ..Case::new("conv1d 7, depthwise, open", [64, 64], &[4096], &[7]) },
    Case { groups: 32, ..Case::new("conv3d 3x3x3, depthwise", [32, 32], &[16, 28, 28], &[3, 3, 3]) },
    Case { batch: 1120, ..Case::new("linear 256, 1120 rows", [256, 1024], &[], &[]) },
    Case { batch: 1120, ..Case::new("linear 40, 1120 rows", [40, 256], &[], &[]) },
    Case { batch: 256, ..Case::new("linear 1024, 256 rows", [1024, 1024], &[], &[]) },
    Case { batch: 32, ..Case::new("linear 1024, 32 rows", [1024, 1024], &[], &[]) },
    Case { batch: 4096, ..Case::new("linear 64, 4096 rows", [64, 64], &[], &[]) },
];

/// The forward pass and the gradients.
const SUFFIXES: [&str; 3] = ["", "_grad_input", "_grad_weight"];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments = if is_benchmark() {
        Arguments::parse()
    } else {
        Arguments { threads: 1, only: Some("conv3d 1x1x1".to_owned()), fast: false, bench: false }
    };
    let mut options = CompileOptions::default();
    options.plan.threads = arguments.threads;
    options.plan.accuracy = if arguments.fast { Accuracy::default() } else { Accuracy::Strict };
    let machine = if is_benchmark() { Some(Machine::measure(&options.plan)?) } else { None };
    let mut rows = Vec::new();
    for case in
        CASES.iter().filter(|case| arguments.only.as_ref().is_none_or(|only| case.name.contains(only)))
    {
        for suffix in SUFFIXES {
            let operator = format!("{}{suffix}", if case.sizes.is_empty() { "linear" } else { "conv" });
            let profile = measure(&case.graph(&operator)?, &case.run_sizes()?, &options)?;
            let kernels = profile.kernels.iter().filter(|kernel| !kernel.name.ends_with("reorder"));
            let kernels: Vec<_> = kernels.filter(|kernel| !kernel.name.ends_with("store")).collect();
            let microseconds: f64 = kernels.iter().map(|kernel| kernel.microseconds).sum();
            let flops: u64 = kernels.iter().map(|kernel| kernel.flops).sum();
            let rate = flops as f64 / microseconds / 1e3;
            let peak = machine.as_ref().map(|machine| machine.gflops_per_second * arguments.threads as f64);
            let longest = kernels.iter().max_by(|a, b| a.microseconds.total_cmp(&b.microseconds));
            rows.push(vec![
                case.name.to_owned(),
                operator,
                format!("{microseconds:.0}"),
                format!("{rate:.1}"),
                peak.map_or_else(String::new, |peak| format!("{:.0} %", 100.0 * rate / peak)),
                longest.map_or_else(String::new, |kernel| kernel.note.clone()),
            ]);
        }
    }
    print_table(2, &["layer", "operator", "µs", "GFLOP/s", "of peak", "algorithm"], rows);
    if let Some(machine) = machine {
        println!("{machine}");
    }
    Ok(())
}

impl Case {
    /// The sizes of a run.
    fn run_sizes(&self) -> Result<Sizes, Box<dyn Error>> {
        let sizes = Sizes::from(self.batch);
        Ok(if self.open { sizes.with("T".parse()?, self.sizes[0]) } else { sizes })
    }

    /// A graph of one operator of this convolution.
    fn graph(&self, operator: &str) -> Result<Graph, Box<dyn Error>> {
        if self.sizes.is_empty() {
            return self.dense(operator);
        }
        let Case { channels: [inputs, outputs], sizes, kernel_size, stride, groups, .. } = *self;
        let join = |sizes: &[usize]| sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let padding: Vec<usize> = kernel_size.iter().map(|size| size / 2).collect();
        let results: Vec<usize> = sizes
            .iter()
            .zip(kernel_size)
            .map(|(size, kernel)| (size + kernel / 2 * 2 - kernel) / stride + 1)
            .collect();
        let image = |sizes: &[usize]| if self.open { "T".to_owned() } else { join(sizes) };
        let window = format!(
            "kernel_size = [{}], stride = [{}], padding = [{}], dilation = [{}], groups = {groups}",
            join(kernel_size),
            join(&vec![stride; sizes.len()]),
            join(&padding),
            join(&vec![1; sizes.len()]),
        );
        let node = match operator {
            "conv" => format!("conv(%0, %2) {{{window}}}"),
            "conv_grad_input" => {
                format!(
                    "conv_grad_input(%1, %2) {{{window}, input_sizes = [{}]}}",
                    if self.open { "\"T\"".to_owned() } else { join(sizes) }
                )
            }
            _ => format!("conv_grad_weight(%1, %0) {{{window}}}"),
        };
        let text = format!(
            "graph layer {{
               %0 = input {{name = \"x\", type = \"f32[N, {inputs}, {}]\"}}
               %1 = input {{name = \"g\", type = \"f32[N, {outputs}, {}]\"}}
               %2 = parameter {{name = \"weight\", shape = \"[{outputs}, {}, {}]\", init = \"xavier_uniform\"}}
               %3 = {node}
               output \"y\" = %3
             }}",
            image(sizes),
            image(&results),
            inputs / groups,
            join(kernel_size),
        );
        Ok(text.parse()?)
    }

    /// A graph of one operator of this dense layer.
    fn dense(&self, operator: &str) -> Result<Graph, Box<dyn Error>> {
        let [inputs, outputs] = self.channels;
        let operands = match operator {
            "linear" => "%0, %2",
            "linear_grad_input" => "%1, %2",
            _ => "%1, %0",
        };
        let text = format!(
            "graph layer {{
               %0 = input {{name = \"x\", type = \"f32[N, {inputs}]\"}}
               %1 = input {{name = \"g\", type = \"f32[N, {outputs}]\"}}
               %2 = parameter {{name = \"weight\", shape = \"[{outputs}, {inputs}]\", init = \"xavier_uniform\"}}
               %3 = {operator}({operands})
               output \"y\" = %3
             }}"
        );
        Ok(text.parse()?)
    }
}

/// The times of a graph's kernels on a batch.
fn measure(graph: &Graph, run: &Sizes, options: &CompileOptions) -> Result<Profile, Box<dyn Error>> {
    let (program, _) = compile(graph, Mode::Inference, options, &Dump::from_environment())?;
    let executor = Executor::new(program)?;
    let mut random = fastrand::Rng::with_seed(7);
    let mut sources = Bindings::new();
    let named = graph.inputs().map(|(value, input)| (value, input.name.clone()));
    let parameters = graph.parameters().map(|(value, parameter)| (value, parameter.name.clone()));
    for (value, name) in named.chain(parameters) {
        let sizes = graph.ty(value).shape.concrete(run);
        let count = sizes.iter().product();
        sources.insert(name, Array::new(sizes, (0..count).map(|_| random.f32() - 0.5).collect()));
    }
    let mut bound = Bound::new(&executor, &sources, run)?;
    let runs = if is_benchmark() { 30 } else { 1 };
    Ok(Profile::measure(executor.program(), run, runs, |times| {
        executor.run_timed(&mut bound.bindings(), run, 0, times)
    })?)
}
