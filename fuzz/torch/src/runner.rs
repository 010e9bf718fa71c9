//! Compares networks with PyTorch's results: interpreted, and compiled with sets of options.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use windlass_compiler::autodiff::names;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{Array, Bindings};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::CompileOptions;

use crate::Error;
use crate::engine::{Engine, Results};
use crate::files::{Confirmed, Tensors};
use crate::judge::{Bound, Precision, TO_DOUBLE, kind, largest};
use crate::settings::Set;
use crate::stack::Network;

/// Statistics of a run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Networks.
    pub networks: usize,
    /// Networks that were trained too.
    pub trained: usize,
    /// Why the others were not trained, with counts.
    pub untrained: BTreeMap<String, usize>,
    /// Networks whose training is left out because it may differ in single precision.
    pub near_kinks: usize,
    /// Runs of compiled networks.
    pub forwards: usize,
    /// Compiled training steps.
    pub steps: usize,
    /// Tensors of compiled runs.
    pub tensors: usize,
    /// Those of them with loose bounds.
    pub loose: usize,
    /// Elements of compiled runs.
    pub elements: usize,
    /// Elements computed by the interpreter.
    pub interpreted: usize,
    /// The largest part of its bound that a result of compiled code used.
    pub worst: f64,
    /// How many tensors of compiled code used at most 1/64, 1/32 … 1/2 of their bound, and how many more.
    pub parts: [usize; 7],
    /// The indices of the sets of options used.
    pub sets: BTreeSet<usize>,
}

impl Tally {
    fn took(&mut self, part: f64) {
        self.worst = self.worst.max(part);
        let place = (0..6).find(|&place| part * f64::from(64 >> place) <= 1.0).unwrap_or(6);
        self.parts[place] += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "networks             {:>12}, {} of them trained", self.networks, self.trained)?;
        for (reason, count) in &self.untrained {
            writeln!(f, "  not trained        {count:>12}: {reason}")?;
        }
        writeln!(
            f,
            "  training left out  {:>12}: near a kink in single precision, as confirmed",
            self.near_kinks
        )?;
        writeln!(f, "sets of options      {:>12}", self.sets.len())?;
        writeln!(f, "forward runs         {:>12}", self.forwards)?;
        writeln!(f, "training steps       {:>12}", self.steps)?;
        writeln!(f, "tensors compared     {:>12}", self.tensors)?;
        let share = 100.0 * self.loose as f64 / self.tensors.max(1) as f64;
        writeln!(f, "  judged loosely     {:>12}: {share:.2} %, rounding alone moves them", self.loose)?;
        writeln!(f, "elements compared    {:>12}, and {} interpreted", self.elements, self.interpreted)?;
        writeln!(f, "largest part of its bound that a tensor took: {:.3}", self.worst)?;
        write!(f, "tensors by the part of their bound, up to 1/64, 1/32 … 1/2, 1: {:?}", self.parts)
    }
}

/// A disagreement with PyTorch, or a failure to compile or run.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The network.
    pub network: String,
    /// The file of its tensors.
    pub file: String,
    /// The engine and the run.
    pub at: String,
    /// The failure.
    pub problem: String,
    /// The graph that was run.
    pub graph: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { network, file, at, problem, graph } = self;
        write!(f, "network {network} of {file}, {at}:\n  {problem}\n{graph}")
    }
}

/// The network with its data and PyTorch's results.
struct Case<'n> {
    network: &'n Network,
    confirmed: Option<&'n Confirmed>,
    graph: Graph,
    step: Option<Graph>,
    sources: Bindings<f64>,
    forward: Results,
    steps: Vec<Results>,
}

/// Compares one network: the interpreter's results, and those of programs compiled with some sets of options, given
/// with their indices. Disagreements are added to `failures`, at most one for each engine.
///
/// # Errors
/// [`Error`] if the files do not describe a network with its data.
pub fn check(
    network: &Network,
    tensors: &Tensors,
    confirmed: Option<&Confirmed>,
    sets: &[(usize, Set)],
    random: &mut fastrand::Rng,
    tally: &mut Tally,
    failures: &mut Vec<Failure>,
) -> Result<(), Error> {
    let case = Case::new(network, tensors, confirmed)?;
    tally.networks += 1;
    match (&case.step, &network.untrained) {
        (Some(_), _) => tally.trained += 1,
        (None, Some(reason)) => *tally.untrained.entry(reason.clone()).or_default() += 1,
        (None, None) => tally.near_kinks += 1,
    }
    case.engine(None, tally, failures)?;
    for &(place, set) in sets {
        tally.sets.insert(place);
        case.engine(Some(&set.options(random)), tally, failures)?;
    }
    Ok(())
}

impl<'n> Case<'n> {
    fn new(network: &'n Network, tensors: &Tensors, confirmed: Option<&'n Confirmed>) -> Result<Self, Error> {
        let graph = network.graph()?;
        let is_left_out = confirmed.is_some_and(|confirmed| confirmed.near_kink);
        let step = if is_left_out { None } else { network.step(&graph)? };
        let sources = tensors.sources(network, &graph, step.as_ref())?;
        let forward = tensors.results(network, "forward")?;
        let steps = if step.is_some() { network.steps } else { 0 };
        let steps = (1..=steps).map(|step| tensors.results(network, &format!("step{step}")));
        let steps = steps.collect::<Result<_, Error>>()?;
        Ok(Case { network, confirmed, graph, step, sources, forward, steps })
    }

    /// Runs everything with the interpreter, or compiled with some options.
    fn engine(
        &self,
        options: Option<&CompileOptions>,
        tally: &mut Tally,
        failures: &mut Vec<Failure>,
    ) -> Result<(), Error> {
        for (mode, graph) in std::iter::once((Mode::Inference, &self.graph))
            .chain(self.step.iter().map(|step| (Mode::Training, step)))
        {
            // A panic is a failure of this network and does not end the run.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.runs(mode, graph, options, tally)));
            let problem = match outcome {
                Ok(Ok(())) => continue,
                Ok(Err(Fault::Files(error))) => return Err(*error),
                Ok(Err(Fault::Disagrees(problem))) => problem,
                Err(_) => "it panicked, see above".to_owned(),
            };
            let engine = match options {
                None => "interpreted in f64".to_owned(),
                Some(options) => format!("compiled with {options:?}"),
            };
            failures.push(Failure {
                network: self.network.name.clone(),
                file: self.network.file.clone(),
                at: format!("{mode:?}, {engine}"),
                problem,
                graph: graph.to_string(),
            });
            break;
        }
        Ok(())
    }

    fn runs(
        &self,
        mode: Mode,
        graph: &Graph,
        options: Option<&CompileOptions>,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let (engine, precision) = match options {
            None => (Engine::Interpreter(graph), Precision::Double),
            Some(options) => {
                let engine = Engine::compiled(graph, mode, options)?;
                let precision = if engine.uses_winograd() { Precision::Winograd } else { Precision::Single };
                (engine, precision)
            }
        };
        match mode {
            Mode::Inference => {
                let results = engine.run(self.network.batch, &self.sources, 0)?;
                self.judge("forward", &results, &self.forward, &self.sources, precision, tally)?;
                if precision != Precision::Double {
                    tally.forwards += 2;
                    // Values that depend only on the parameters are not recomputed.
                    let again = engine.run(self.network.batch, &self.sources, 0)?;
                    if again != results {
                        return Err("a second run gives other results".to_owned().into());
                    }
                }
            }
            Mode::Training => {
                let mut sources = self.sources.clone();
                for (index, expected) in self.steps.iter().enumerate() {
                    self.steer(index, &mut sources);
                    let results = engine.run(self.network.batch, &sources, index as u64)?;
                    let part = format!("step{}", index + 1);
                    self.judge(&part, &results, expected, &sources, precision, tally)?;
                    tally.steps += usize::from(precision != Precision::Double);
                    for (name, values) in results {
                        if let Some(source) = sources.get_mut(&name) {
                            *source = Array::new(source.sizes.clone(), values);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Sets the control inputs of a step, counted from 0.
    fn steer(&self, step: usize, sources: &mut Bindings<f64>) {
        let Some(training) = &self.network.training else { return };
        sources.insert(names::LEARNING_RATE.to_owned(), Array::scalar(self.network.learning_rate));
        sources.insert(names::SEED.to_owned(), Array::ints([2], vec![1, step as i32]));
        let at = self.network.steps_before + step as u64 + 1;
        if let Some(correction) = training.optimizer.correction(at) {
            sources.insert(names::CORRECTION.to_owned(), Array::new([2], correction.to_vec()));
        }
    }

    /// The deviation of a result that sampled rounding to a precision gives.
    fn deviation(&self, result: &str, precision: Precision) -> Result<f64, Error> {
        let of = |confirmed: &'n Confirmed| match precision {
            Precision::Single | Precision::Winograd => &confirmed.deviations,
            Precision::Double => &confirmed.double_deviations,
        };
        let scale = match precision {
            Precision::Single | Precision::Winograd => 1.0,
            Precision::Double => TO_DOUBLE,
        };
        let more = self.confirmed.and_then(|confirmed| of(confirmed).get(result));
        Ok((self.network.deviation(result)? * scale).max(more.copied().unwrap_or(0.0)))
    }

    /// Compares a run's results. Values that PyTorch does not write must be unchanged.
    fn judge(
        &self,
        part: &str,
        got: &Results,
        expected: &Results,
        before: &Bindings<f64>,
        precision: Precision,
        tally: &mut Tally,
    ) -> Result<(), Fault> {
        let mut whole: BTreeMap<&str, f64> = BTreeMap::new();
        for (name, expected) in expected {
            let whole = whole.entry(kind(name)).or_default();
            *whole = whole.max(largest(expected));
        }
        for (name, expected) in expected {
            let result = format!("{part}/{name}");
            let Some(got) = got.get(name) else {
                return Err(format!("`{result}` is not computed").into());
            };
            if got.len() != expected.len() {
                return Err(
                    format!("`{result}`: {} elements, in PyTorch {}", got.len(), expected.len()).into()
                );
            }
            let deviation = self.deviation(&result, precision)?;
            let bound = Bound::of(expected, deviation, precision, whole[kind(name)]);
            let took = bound
                .judge(got, expected)
                .map_err(|mismatch| Fault::Disagrees(format!("`{result}`: {mismatch}")))?;
            match precision {
                Precision::Double => tally.interpreted += got.len(),
                Precision::Single | Precision::Winograd => {
                    tally.took(took);
                    tally.tensors += 1;
                    tally.loose += usize::from(bound.is_loose);
                    tally.elements += got.len();
                }
            }
        }
        for (name, got) in got.iter().filter(|(name, _)| !expected.contains_key(*name)) {
            if before.get(name).is_none_or(|before| before.real() != got) {
                return Err(format!("`{part}/{name}` is written, which PyTorch does not").into());
            }
        }
        Ok(())
    }
}

/// Why runs of a network end early.
enum Fault {
    /// The files are invalid.
    Files(Box<Error>),
    /// A disagreement, in words.
    Disagrees(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Files(Box::new(error))
    }
}

impl From<String> for Fault {
    fn from(problem: String) -> Self {
        Fault::Disagrees(problem)
    }
}
