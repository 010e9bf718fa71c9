//! The pipeline from a graph to machine code, one line per stage.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codegen::{CodegenError, Listing, Program};
use crate::dump::{Dump, Stage};
use crate::error::GraphError;
use crate::graph::Graph;
use crate::pass::{Mode, PassOptions, optimize};
use crate::plan::{Plan, PlanError, PlanOptions, plan};
use crate::target::{Target, TargetError};

/// All compilation options. Options affect results only by rounding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CompileOptions {
    /// The passes over the graph.
    pub passes: PassOptions,
    /// Algorithms, threads and instructions.
    pub plan: PlanOptions,
}

impl CompileOptions {
    crate::setters! {
        passes: PassOptions;
        plan: PlanOptions;
    }
}

/// Why a graph could not be compiled.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A setting is outside its range, or the graph is invalid.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The requested target is not available.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Code generation failed.
    #[error(transparent)]
    Codegen(#[from] CodegenError),
}

impl From<GraphError> for CompileError {
    fn from(error: GraphError) -> Self {
        CompileError::Plan(PlanError::Graph(error))
    }
}

/// How long each stage took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompileTimes {
    /// Passes over the graph.
    pub passes: Duration,
    /// Choosing algorithms and assigning memory.
    pub plan: Duration,
    /// Generating machine code.
    pub codegen: Duration,
}

/// Compiles a graph.
///
/// ```
/// use windlass_compiler::dump::Dump;
/// use windlass_compiler::graph::{Builder, Layer};
/// use windlass_compiler::pass::Mode;
/// use windlass_compiler::pipeline::{CompileOptions, compile};
///
/// let mut builder = Builder::new("net");
/// let x = builder.input("x", &[4])?;
/// let y = builder.layer("f1", &Layer::linear(2), x)?;
/// builder.output("y", y)?;
/// let (program, times) = compile(&builder.finish()?, Mode::Inference, &CompileOptions::default(), &Dump::none())?;
/// assert_eq!(program.run_steps().len(), 1);
/// assert!(times.codegen.as_secs() < 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`CompileError`] for a setting outside its range, an invalid graph, or an unsupported CPU or vector width.
pub fn compile(
    graph: &Graph,
    mode: Mode,
    options: &CompileOptions,
    dump: &Dump,
) -> Result<(Program, CompileTimes), CompileError> {
    let name = graph.name().to_owned();
    let mut times = CompileTimes::default();
    let target = host(options)?;
    let (_, plan) = front(graph, mode, options, &target, dump, &mut times)?;
    dump.stage(Stage::Plan, &name, || plan.to_string());
    dump.stage(Stage::Kernels, &name, || {
        plan.prepack.iter().chain(&plan.run).map(ToString::to_string).collect::<Vec<_>>().join("\n")
    });
    let mut listing = (dump.wants(Stage::Clif) || dump.wants(Stage::Asm)).then(Listing::default);
    let program = timed(&mut times.codegen, || {
        let verify = options.plan.verify_code;
        Program::compile(plan, verify, listing.as_mut(), dump.wants_names_for_perf())
    })?;
    if let Some(listing) = listing {
        dump.stage(Stage::Clif, &name, || join(&listing.clif));
        dump.stage(Stage::Asm, &name, || join(&listing.machine));
    }
    Ok((program, times))
}

/// The first half of [`compile`]: the optimised graph and its plan.
///
/// # Errors
/// As [`compile`].
pub fn plan_optimized(
    graph: &Graph,
    mode: Mode,
    options: &CompileOptions,
) -> Result<(Graph, Plan), CompileError> {
    front(graph, mode, options, &host(options)?, &Dump::none(), &mut CompileTimes::default())
}

/// The plan of a graph for any target.
///
/// # Errors
/// As [`compile`].
pub fn plan_for(
    graph: &Graph,
    mode: Mode,
    options: &CompileOptions,
    target: &Target,
) -> Result<Plan, CompileError> {
    options.plan.check()?;
    Ok(front(graph, mode, options, target, &Dump::none(), &mut CompileTimes::default())?.1)
}

/// Compiles a plan for this machine.
///
/// # Errors
/// [`CompileError::Codegen`] for a plan for another machine.
pub fn assemble(plan: Plan) -> Result<Program, CompileError> {
    Ok(Program::compile(plan, false, None, false)?)
}

/// The running CPU as a target, after all settings are checked.
fn host(options: &CompileOptions) -> Result<Target, CompileError> {
    options.plan.check()?;
    Ok(Target::host(options.plan.features, options.plan.vector_bits)?)
}

fn front(
    graph: &Graph,
    mode: Mode,
    options: &CompileOptions,
    target: &Target,
    dump: &Dump,
    times: &mut CompileTimes,
) -> Result<(Graph, Plan), CompileError> {
    dump.stage(Stage::Graph, graph.name(), || graph.to_string());
    let optimized = timed(&mut times.passes, || {
        optimize(graph, mode, &options.passes, &mut |passed| dump.passed(passed))
    })?;
    let plan = timed(&mut times.plan, || plan(&optimized, &options.plan, target))?;
    Ok((optimized, plan))
}

fn timed<T>(elapsed: &mut Duration, stage: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = stage();
    *elapsed = start.elapsed();
    result
}

fn join(listing: &[(String, String)]) -> String {
    listing.iter().map(|(name, text)| format!("; {name}\n{text}\n")).collect()
}
