//! The checks of every input: no panic, and no more memory than the file and its declared sizes allow. An accepted
//! input must verify, print and parse to itself, and small graphs must compile.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use windlass_compiler::dump::Dump;
use windlass_compiler::graph::{Builder, Graph, Layer, verify};
use windlass_compiler::kernel::{self, Kernel};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileError, CompileOptions, compile};
use windlass_compiler::plan::{PlanError, plan};
use windlass_runtime::checkpoint::{Checkpoint, NonFinite};
use windlass_runtime::data::idx::Idx;
use windlass_runtime::data::{Augmentation, Normalization};
use windlass_runtime::schedule::Schedule;
use windlass_runtime::tuning::Cache;

use crate::FuzzTarget;
use crate::memory::most_held;

/// The outcome for an input that passes all checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was accepted.
    Accepted,
    /// It was rejected with an error.
    Refused,
}

/// Bytes that parsing may use even for a short file: tables, messages.
fn free_bytes(target: FuzzTarget) -> usize {
    let declared = match target {
        // A gzip header gives the length of its extra field in 16 bits, and the field is allocated before it is read.
        FuzzTarget::IdxGzip => 64 << 10,
        FuzzTarget::GraphText
        | FuzzTarget::KernelText
        | FuzzTarget::GraphJson
        | FuzzTarget::Options
        | FuzzTarget::Layers
        | FuzzTarget::Settings
        | FuzzTarget::Tuning
        | FuzzTarget::Checkpoint
        | FuzzTarget::Idx => 0,
    };
    (64 << 10) + declared
}

/// The allowed memory as a multiple of the file's length. A JSON reader uses some hundred bytes for each value, a list
/// can have a value every two bytes, and lists double when they grow.
fn most_times(target: FuzzTarget) -> usize {
    match target {
        FuzzTarget::GraphText
        | FuzzTarget::KernelText
        | FuzzTarget::GraphJson
        | FuzzTarget::Options
        | FuzzTarget::Layers
        | FuzzTarget::Settings
        | FuzzTarget::Tuning => 320,
        FuzzTarget::Checkpoint => 320,
        FuzzTarget::Idx => 4,
        // Deflate compresses by a factor of up to 1032, and the data doubles when it grows.
        FuzzTarget::IdxGzip => 2 * 1032 + 4,
    }
}

/// Checks one input; with `closely`, accepted ones get further checks, including compilation of small graphs.
///
/// # Errors
/// The failed check.
pub fn judge(target: FuzzTarget, input: &[u8], closely: bool) -> Result<Verdict, String> {
    let run = || {
        let (read, most) = most_held(|| Read::new(target, input));
        let allowed = free_bytes(target) + most_times(target) * input.len();
        if most > allowed {
            return Err(format!("reading {} bytes took {most} bytes of memory", input.len()));
        }
        match read {
            Ok(read) => read.check(closely).map(|()| Verdict::Accepted),
            Err(()) => Ok(Verdict::Refused),
        }
    };
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(format!("panicked: {}", message(&*panic))))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// The parsed value.
enum Read {
    Graph(Box<Graph>),
    Kernel(Box<Kernel>),
    Checkpoint(Checkpoint),
    Idx(Idx),
    Tuning,
    Options(Box<CompileOptions>),
    Layers(Vec<Layer>),
    Settings,
}

impl Read {
    fn new(target: FuzzTarget, input: &[u8]) -> Result<Self, ()> {
        match target {
            FuzzTarget::GraphText => {
                let text = std::str::from_utf8(input).map_err(drop)?;
                text.parse().map(|graph| Read::Graph(Box::new(graph))).map_err(drop)
            }
            FuzzTarget::KernelText => {
                let text = std::str::from_utf8(input).map_err(drop)?;
                text.parse().map(|kernel| Read::Kernel(Box::new(kernel))).map_err(drop)
            }
            FuzzTarget::GraphJson => {
                serde_json::from_slice(input).map(|graph| Read::Graph(Box::new(graph))).map_err(drop)
            }
            FuzzTarget::Checkpoint => {
                Checkpoint::from_bytes(input, NonFinite::Allow).map(Read::Checkpoint).map_err(drop)
            }
            FuzzTarget::Idx | FuzzTarget::IdxGzip => {
                let read = Idx::from_bytes(input, 3).or_else(|_| Idx::from_bytes(input, 1));
                read.map(Read::Idx).map_err(drop)
            }
            FuzzTarget::Tuning => Cache::check(input).map(|_| Read::Tuning).map_err(drop),
            FuzzTarget::Options => {
                serde_json::from_slice(input).map(|options| Read::Options(Box::new(options))).map_err(drop)
            }
            FuzzTarget::Layers => serde_json::from_slice(input).map(Read::Layers).map_err(drop),
            FuzzTarget::Settings => {
                let normalization = serde_json::from_slice::<Normalization>(input).is_ok();
                let augmentation = serde_json::from_slice::<Augmentation>(input).is_ok();
                let schedule = serde_json::from_slice::<Schedule>(input).is_ok();
                if normalization || augmentation || schedule { Ok(Read::Settings) } else { Err(()) }
            }
        }
    }

    fn check(&self, closely: bool) -> Result<(), String> {
        match self {
            Read::Graph(graph) => check_graph(graph, closely),
            Read::Kernel(kernel) => check_kernel(kernel),
            Read::Checkpoint(checkpoint) => {
                let (names, tensors) = (checkpoint.tensors.len(), checkpoint.tensors.values());
                let elements: usize = tensors.map(|tensor| tensor.len()).sum();
                if elements > isize::MAX as usize / 4 {
                    return Err(format!("{names} tensors too large"));
                }
                let text = checkpoint.metadata.as_ref().and_then(|metadata| metadata.graph.as_ref());
                match text.and_then(|text| text.parse::<Graph>().ok()) {
                    Some(graph) => check_graph(&graph, closely),
                    None => Ok(()),
                }
            }
            Read::Idx(idx) => {
                let elements: usize = idx.sizes.iter().product();
                if elements == idx.data.len() { Ok(()) } else { Err("sizes and data differ".to_owned()) }
            }
            Read::Tuning | Read::Settings => Ok(()),
            Read::Options(options) => check_options(options, closely),
            Read::Layers(layers) => check_layers(layers, closely),
        }
    }
}

/// Compares texts, which show every bit: NaN equals nothing.
fn check_kernel(kernel: &Kernel) -> Result<(), String> {
    kernel::verify(kernel).map_err(|reason| format!("what was read does not verify: {reason}"))?;
    let text = kernel.to_string();
    match text.parse::<Kernel>() {
        Ok(again) if again.to_string() == text => Ok(()),
        Ok(_) => Err(format!("it prints to another kernel: {text}")),
        Err(error) => Err(format!("what it prints to is refused: {error}: {text}")),
    }
}

fn check_graph(graph: &Graph, closely: bool) -> Result<(), String> {
    verify(graph).map_err(|error| format!("what was read does not verify: {error}"))?;
    let text = graph.to_string();
    match text.parse::<Graph>() {
        Ok(again) if again == *graph => {}
        Ok(_) => return Err(format!("it prints to another graph: {text}")),
        Err(error) => return Err(format!("what it prints to is refused: {error}: {text}")),
    }
    if !closely {
        return Ok(());
    }
    let json = serde_json::to_string(graph).map_err(|error| format!("it is no JSON: {error}"))?;
    match serde_json::from_str::<Graph>(&json) {
        Ok(again) if again == *graph => {}
        Ok(_) => return Err(format!("it is another graph in JSON: {json}")),
        Err(error) => return Err(format!("its JSON is refused: {error}: {json}")),
    }
    if is_small(graph, &text) {
        for mode in [Mode::Inference, Mode::Training] {
            compiles(graph, mode, &CompileOptions::default())?;
        }
    }
    Ok(())
}

/// Whether it compiles quickly: few nodes and elements, and no large number anywhere.
fn is_small(graph: &Graph, text: &str) -> bool {
    let mut digits = 0;
    let has_large = text.bytes().any(|byte| {
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        digits > 3
    });
    let types = graph.nodes().iter().flat_map(|node| graph.types(&node.results));
    !has_large
        && graph.nodes().len() <= 24
        && types.map(|ty| ty.shape.item_elements()).sum::<usize>() <= 1 << 14
}

fn compiles(graph: &Graph, mode: Mode, options: &CompileOptions) -> Result<(), String> {
    match compile(graph, mode, options, &Dump::none()) {
        Ok(_) => Ok(()),
        Err(CompileError::Plan(PlanError::Graph(error))) => {
            Err(format!("it verifies and does not compile: {error}"))
        }
        Err(CompileError::Plan(PlanError::Setting { .. }) | CompileError::Codegen(_)) => Ok(()),
        Err(error) => Err(format!("it does not compile: {error}")),
    }
}

/// Layers must serialize to their source, and give a graph or an error on inputs of any kind.
fn check_layers(layers: &[Layer], closely: bool) -> Result<(), String> {
    let text = serde_json::to_string(layers).map_err(|error| format!("they are no JSON: {error}"))?;
    match serde_json::from_str::<Vec<Layer>>(&text) {
        Ok(again) if again == layers => {}
        Ok(_) => return Err(format!("they are others in JSON: {text}")),
        Err(error) => return Err(format!("their JSON is refused: {error}: {text}")),
    }
    for input in [&[3, 8, 7][..], &[5], &[2, 3, 4, 5]] {
        if let Some(graph) = stacked(input, layers) {
            check_graph(&graph, closely)?;
        }
    }
    Ok(())
}

/// Layers in sequence; `None` if they do not fit.
fn stacked(input: &[usize], layers: &[Layer]) -> Option<Graph> {
    let mut builder = Builder::new("stack");
    let mut x = builder.input("x", input).ok()?;
    for (index, layer) in layers.iter().enumerate() {
        x = builder.layer(&format!("l{index}"), layer, x).ok()?;
    }
    builder.output("y", x).ok()?;
    builder.finish().ok()
}

/// Options of any kind must give plans or an error.
fn check_options(options: &CompileOptions, closely: bool) -> Result<(), String> {
    let text = serde_json::to_string(options).map_err(|error| format!("they are no JSON: {error}"))?;
    match serde_json::from_str::<CompileOptions>(&text) {
        Ok(again) if again == *options => {}
        _ => return Err(format!("they are others in JSON: {text}")),
    }
    if closely {
        let graph: Graph = SMALL.parse().map_err(|error| format!("{error}"))?;
        // Plans are for vectors that this CPU may lack.
        let target = windlass_compiler::target::Target::x86_64(options.plan.vector_bits.unwrap_or(512));
        if let Err(error @ PlanError::Graph(_)) = plan(&graph, &options.plan, &target) {
            return Err(format!("a plan is broken: {error}: {text}"));
        }
    }
    Ok(())
}

/// A network whose plan uses every kind of cost.
const SMALL: &str = r#"graph net {
  %0 = input {name = "x", type = "f32[N, 8, 6, 6]"}
  %1 = parameter {name = "w", shape = "[16, 8, 3, 3]", init = "xavier_uniform"}
  %2 = conv(%0, %1) {kernel_size = [3, 3], stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1}
  %3 = conv_grad_weight(%2, %0) {kernel_size = [3, 3], stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1}
  %4, %5 = max_pool(%2) {kernel_size = [2, 2], stride = [2, 2], padding = [0, 0], dilation = [1, 1]}
  output "y" = %4
  output "dw" = %3
}"#;

#[cfg(test)]
mod tests {
    use super::judge;
    use crate::FuzzTarget;

    #[test]
    fn a_file_that_takes_more_than_its_share_is_found() {
        // Deflate may expand some 900 bytes to 200,000 zeros.
        let mut idx = vec![0, 0, 8, 1, 0, 3, 0x0d, 0x40];
        idx.resize(8 + 200_000, 0);
        assert!(judge(FuzzTarget::IdxGzip, &crate::seeds::gzip(&idx), true).is_ok());
        assert!(judge(FuzzTarget::Idx, &idx, true).is_ok());
    }
}
