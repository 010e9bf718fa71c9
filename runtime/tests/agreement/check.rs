//! Compares compiled graphs with the interpreter: every output and every update, under every set of options.

use std::collections::BTreeMap;

use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{Bindings, Real, run as interpret};
use windlass_compiler::pass::{Mode, PassOptions};
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::plan::{Accuracy, Convolution, Features, Im2col, Layouts, Savings};
use windlass_compiler::shape::Sizes;
use windlass_runtime::executor::Executor;

use crate::numbers::{Numbers, Sources, Values, sources};
use crate::run::{Results, run_every_way};

/// How closely results must agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Agreement {
    /// Bit for bit with the f32 interpreter (any NaN matches a NaN).
    Exact,
    /// Within a bound of the f64 interpreter, relative to the largest element of each result.
    Within(f64),
    /// Like `Within`, but relative to at least a fraction of the largest element of all results: for networks whose
    /// gradients may cancel to zero.
    WithinWhole(f64),
    /// Compared with the f32 interpreter: NaN matches NaN, infinities are equal, numbers agree within a relative bound
    /// and a floor.
    Edges { part: f64, floor: f64 },
}

/// The minimum scale of a result, as a fraction of the largest of all elements.
const WHOLE: f64 = 1.0 / 64.0;

/// Options that together cover every path: threads, panels of every kind, passes on and off, and code without fused
/// multiply-add.
pub(crate) fn variants() -> Vec<CompileOptions> {
    let options = |threads, im2col, features, passes| {
        let mut options = CompileOptions::default().passes(passes);
        options.plan.threads = threads;
        options.plan.im2col = im2col;
        options.plan.features = features;
        options
    };
    let (all, none) = (PassOptions::default(), PassOptions::NONE);
    let default = CompileOptions::default().plan.im2col;
    let mut variants = vec![
        options(1, default, Features::Native, all),
        options(2, Im2col::Tiled { panel_bytes: 1 }, Features::Native, all),
        options(3, Im2col::Whole, Features::Native, none),
        options(1, Im2col::Tiled { panel_bytes: 1024 }, Features::Baseline, none),
    ];
    // Without passes, without the planner's optimisations either.
    variants[2].plan.savings = Savings::NONE;
    // The first variant uses the widest vectors available; narrower ones have separate code paths.
    for bits in available_vector_bits() {
        let mut narrower = options(if bits == 256 { 2 } else { 1 }, default, Features::Native, all);
        narrower.plan.vector_bits = Some(bits);
        variants.push(narrower.clone());
        // Stores all images in NCHW layout, with im2col.
        narrower.plan.layouts = Layouts::ChannelsFirst;
        narrower.plan.convolution = Convolution::Im2col;
        narrower.plan.threads = 3 - narrower.plan.threads;
        variants.push(narrower);
    }
    variants
}

/// Random options: every algorithm at every available width, on one to three threads.
pub(crate) fn any_variant(numbers: &mut Numbers) -> CompileOptions {
    use Convolution::{ByCost, Direct, Winograd};
    let mut options = CompileOptions::default();
    options.plan.vector_bits = Some(numbers.pick(&available_vector_bits()));
    options.plan.threads = numbers.pick(&[1, 2, 3]);
    options.plan.batch = numbers.pick(&[None, None, Some(2), Some(64)]);
    options.plan.convolution = numbers.pick(&[ByCost, Direct, Convolution::Im2col, Winograd(2), Winograd(4)]);
    options.plan.im2col = numbers.pick(&[
        options.plan.im2col,
        Im2col::Tiled { panel_bytes: 1 },
        Im2col::Tiled { panel_bytes: 1024 },
        Im2col::Whole,
    ]);
    if options.plan.vector_bits == Some(128) && numbers.below(3) == 0 {
        options.plan.features = Features::Baseline;
    }
    // Most of the cases have many algorithms.
    if numbers.below(5) == 0 {
        options.plan.layouts = Layouts::ChannelsFirst;
    }
    if numbers.below(5) == 0 {
        options.passes = PassOptions::NONE;
    }
    if numbers.below(8) == 0 {
        options.plan.savings = Savings::NONE;
    }
    options
}

/// The expected results of a graph for one batch size, or for values of its open sizes.
struct Run {
    sizes: Sizes,
    sources: Sources,
    expected: BTreeMap<String, Vec<f64>>,
}

/// A graph with its expected results.
pub(crate) struct Expectation<'g> {
    graph: &'g Graph,
    agreement: Agreement,
    runs: Vec<Run>,
}

impl<'g> Expectation<'g> {
    /// Interprets a graph on numbers of a kind for some batch sizes.
    pub(crate) fn new(graph: &'g Graph, batches: &[usize], values: Values, agreement: Agreement) -> Self {
        let mut expectation = Expectation { graph, agreement, runs: Vec::new() };
        for &batch in batches {
            expectation.add(batch, sources(graph, batch, values, batch as u64 + 17));
        }
        expectation
    }

    /// Interprets a graph on given numbers.
    pub(crate) fn on(graph: &'g Graph, batch: usize, sources: Sources, agreement: Agreement) -> Self {
        let mut expectation = Expectation { graph, agreement, runs: Vec::new() };
        expectation.add(batch, sources);
        expectation
    }

    /// An expectation without runs.
    pub(crate) fn of(graph: &'g Graph, agreement: Agreement) -> Self {
        Expectation { graph, agreement, runs: Vec::new() }
    }

    /// Adds a run: interprets the graph on these numbers.
    pub(crate) fn add(&mut self, sizes: impl Into<Sizes>, sources: Sources) {
        let sizes = sizes.into();
        let expected = match self.agreement {
            Agreement::Exact | Agreement::Edges { .. } => {
                interpreted::<f32>(self.graph, sizes.clone(), &sources)
            }
            Agreement::Within(_) | Agreement::WithinWhole(_) => {
                interpreted::<f64>(self.graph, sizes.clone(), &sources)
            }
        };
        self.runs.push(Run { sizes, sources, expected });
    }

    /// Compiles the graph with every variant of the options, runs it in every way, and compares.
    #[track_caller]
    pub(crate) fn check_variants(&self, mode: Mode, what: &str) {
        for options in variants() {
            self.check(mode, &options, what);
        }
    }

    /// The same with a few random options, for long series of graphs.
    #[track_caller]
    pub(crate) fn check_some(&self, mode: Mode, numbers: &mut Numbers, what: &str) {
        for _ in 0..2 {
            self.check(mode, &any_variant(numbers), what);
        }
    }

    /// Compiles the graph, runs it in every way, and compares.
    #[track_caller]
    pub(crate) fn check(&self, mode: Mode, options: &CompileOptions, what: &str) {
        let mut options = options.clone();
        if matches!(self.agreement, Agreement::Exact | Agreement::Edges { .. }) {
            options.plan.accuracy = Accuracy::Strict;
        }
        let (options, what) = (&options, format!("{what} with {options:?}"));
        let (program, _) = compile(self.graph, mode, options, &Dump::from_environment())
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        // The graphs are so small that no step would run on several threads otherwise.
        let executor = Executor::new(program).unwrap().parallelize_every_step();
        for (version, run) in self.runs.iter().enumerate() {
            let results = run_every_way(&executor, &run.sizes, &run.sources, version as u64, &what);
            self.compare(run, &results, &format!("{what}, {}", run.sizes));
        }
    }

    #[track_caller]
    fn compare(&self, run: &Run, results: &Results, what: &str) {
        let all = run.expected.values().fold(0.0, |all: f64, expected| all.max(largest(expected)));
        for (name, expected) in &run.expected {
            let got = &results[name];
            assert_eq!(got.len(), expected.len(), "{what}: {name}");
            let scale = match self.agreement {
                Agreement::Exact | Agreement::Within(_) | Agreement::Edges { .. } => largest(expected),
                Agreement::WithinWhole(_) => largest(expected).max(WHOLE * all),
            };
            for (index, (&got, &expected)) in got.iter().zip(expected).enumerate() {
                let agrees = match self.agreement {
                    _ if expected.is_nan() => got.is_nan(),
                    Agreement::Exact => got.to_bits() == (expected as f32).to_bits(),
                    _ if expected.is_infinite() => f64::from(got) == expected,
                    Agreement::Within(bound) | Agreement::WithinWhole(bound) => {
                        (f64::from(got) - expected).abs() <= bound * scale
                    }
                    Agreement::Edges { part, floor } => {
                        (f64::from(got) - expected).abs() <= part * expected.abs() + floor
                    }
                };
                assert!(
                    agrees,
                    "{what}: {name}[{index}] is {got:?} compiled, {expected:?} interpreted (largest {scale})\n{}",
                    self.graph
                );
            }
        }
        for (name, got) in results {
            // A value without an update keeps its bits.
            if !run.expected.contains_key(name) {
                let before = run.sources[name].real();
                let kept =
                    got.iter().zip(before).all(|(got, &before)| got.to_bits() == (before as f32).to_bits());
                assert!(kept, "{what}: `{name}` was written");
            }
        }
    }
}

/// The largest finite magnitude among some numbers.
fn largest(numbers: &[f64]) -> f64 {
    numbers.iter().filter(|x| x.is_finite()).fold(1e-30, |largest, x| largest.max(x.abs()))
}

/// The interpreter's results: outputs and updates.
pub(crate) fn interpreted<T: Real>(
    graph: &Graph,
    sizes: impl Into<Sizes>,
    sources: &Sources,
) -> BTreeMap<String, Vec<f64>> {
    let bindings: Bindings<T> =
        sources.iter().map(|(name, array)| (name.clone(), array.convert::<T>())).collect();
    let outcome = interpret(graph, sizes, &bindings).unwrap();
    outcome
        .outputs
        .into_iter()
        .chain(outcome.updates)
        .map(|(name, array)| (name, array.real().iter().map(|&value| value.to_f64()).collect()))
        .collect()
}
