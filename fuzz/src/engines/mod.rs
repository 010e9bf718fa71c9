//! All engines for a graph: the interpreter in single precision, each pass followed by the interpreter, and for every
//! setup the plan, evaluated without code, and compiled code. All are compared with the interpreter in double
//! precision. The plan comes before the code: if only the code fails, code generation has the bug.

pub mod guard;
pub mod run;
pub mod setups;

use std::panic::{AssertUnwindSafe, catch_unwind};

use thiserror::Error;
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::Bindings;
use windlass_compiler::pass::{PassOptions, optimize};
use windlass_compiler::pipeline::compile;
use windlass_compiler::plan::{Accuracy, Plan};
use windlass_compiler::shape::Sizes;
use windlass_runtime::executor::Executor;

use crate::case::{Case, Setup};
use crate::generate::mix;
use crate::judge::{Compared, Disagreement, Reference, interpret_single};
use crate::values::sources;
use guard::Side;
pub use run::Results;

/// How a case failed.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Failure {
    /// A wrong result.
    #[error("{engine}: at a batch of {batch}, {disagreement}")]
    Wrong {
        /// The engine.
        engine: String,
        /// The batch size.
        batch: usize,
        /// The element.
        disagreement: Box<Disagreement>,
    },
    /// Two runs that must give the same bits do not.
    #[error("at a batch of {batch}, {what} gives other bits")]
    Unstable {
        /// The batch size.
        batch: usize,
        /// The run that differs from the first one.
        what: String,
    },
    /// A write to memory that must not be written.
    #[error("at a batch of {batch}, {breach}")]
    Breach {
        /// The batch size.
        batch: usize,
        /// The location.
        breach: guard::Breach,
    },
    /// A plan accesses memory that it must not use, or a kernel's text parses to another kernel.
    #[error("the plan: at a batch of {batch}, {message}")]
    Plan {
        /// The batch size.
        batch: usize,
        /// The error.
        message: String,
    },
    /// A valid graph was refused.
    #[error("refused: {message}")]
    Refused {
        /// The error.
        message: String,
    },
    /// A panic.
    #[error("panic: {message}")]
    Panic {
        /// Its message.
        message: String,
    },
    /// The process that ran the case ended, or took too long.
    #[error("{message}")]
    Crash {
        /// How it ended.
        message: String,
    },
}

/// A case with its expected results.
#[derive(Debug)]
pub struct Trial<'c> {
    case: &'c Case,
    batches: Vec<Batch<'c>>,
    /// The numbers of compared elements.
    pub compared: Compared,
}

#[derive(Debug)]
struct Batch<'c> {
    sizes: Sizes,
    sources: Bindings<f64>,
    strict: Reference<'c>,
    /// The products that may use Winograd's algorithm; computed on first use.
    default: Option<Reference<'c>>,
    seed: u64,
}

/// Runs a closure that must not panic.
///
/// # Errors
/// [`Failure::Panic`] if it does.
pub fn guarded<T>(run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let message = text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Failure::Panic { message: message.unwrap_or_default() })
    })
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::Refused { message: error.to_string() }
}

impl<'c> Trial<'c> {
    /// Interprets a case.
    ///
    /// # Errors
    /// [`Failure::Refused`] if the interpreter refuses it.
    pub fn new(case: &'c Case) -> Result<Self, Failure> {
        let mut batches = Vec::new();
        for index in 0..case.batches.len() {
            let (seed, sizes) = (case.seed_of(index), case.sizes_of(index));
            let sources = sources(&case.graph, &sizes, case.values, seed);
            let strict =
                Reference::new(&case.graph, case.mode, &sizes, &sources, Accuracy::Strict, mix(seed, 1))
                    .map_err(refused)?;
            batches.push(Batch { sizes, sources, strict, default: None, seed });
        }
        Ok(Trial { case, batches, compared: Compared::default() })
    }

    /// Compares the interpreter in single precision with the one in double precision.
    ///
    /// # Errors
    /// The [`Failure`].
    pub fn interpreter(&mut self) -> Result<(), Failure> {
        for batch in &mut self.batches {
            let results =
                interpret_single(&self.case.graph, &batch.sizes, &batch.sources).map_err(refused)?;
            let compared = batch.strict.judge(&results);
            self.compared =
                self.compared.plus(wrong("interpreter in single precision", batch.sizes.batch(), compared)?);
        }
        Ok(())
    }

    /// Runs the passes one by one, each followed by the interpreter: all except those that round
    /// differently must preserve every bit.
    ///
    /// # Errors
    /// The [`Failure`].
    pub fn passes(&mut self, options: &PassOptions) -> Result<(), Failure> {
        let mut steps: Vec<(&'static str, Graph)> = Vec::new();
        let options = (*options).verify(true);
        optimize(&self.case.graph, self.case.mode, &options, &mut |passed| {
            if passed.before != passed.after {
                steps.push((passed.name, passed.after.clone()));
            }
        })
        .map_err(refused)?;
        // One batch is enough.
        let Some(batch) = self.batches.first_mut() else { return Ok(()) };
        let mut before = interpret_single(&self.case.graph, &batch.sizes, &batch.sources).map_err(refused)?;
        for (name, graph) in steps {
            let after = interpret_single(&graph, &batch.sizes, &batch.sources).map_err(refused)?;
            let engine = format!("interpreter after the pass `{name}`");
            if windlass_compiler::passes::ROUNDING.contains(&name) {
                let compared = batch.strict.judge(&after);
                self.compared = self.compared.plus(wrong(&engine, batch.sizes.batch(), compared)?);
            } else if !same_numbers(&before, &after) {
                return Err(Failure::Unstable { batch: batch.sizes.batch(), what: engine });
            }
            before = after;
        }
        Ok(())
    }

    /// Evaluates a plan of the case without code. Its kernels must also parse back from their text.
    ///
    /// # Errors
    /// The [`Failure`].
    pub fn planned(&mut self, plan: &Plan, accuracy: Accuracy) -> Result<(), Failure> {
        for kernel in plan.prepack.iter().chain(&plan.run) {
            if kernel.to_string().parse().as_ref() != Ok(kernel) {
                let message = format!("the text of {} is not read back as it was", kernel.name);
                return Err(Failure::Plan { batch: 1, message });
            }
        }
        for batch in &mut self.batches {
            let results = run::evaluate(plan, &batch.sizes, &batch.sources)
                .map_err(|error| Failure::Plan { batch: batch.sizes.batch(), message: error.to_string() })?;
            let compared = batch.reference(self.case, accuracy)?.judge(&results);
            self.compared = self.compared.plus(wrong("the evaluated plan", batch.sizes.batch(), compared)?);
        }
        Ok(())
    }

    /// Compiles the case, evaluates its plan, runs it in several ways, and compares.
    ///
    /// # Errors
    /// The [`Failure`].
    pub fn compiled(&mut self, setup: &Setup) -> Result<(), Failure> {
        let (program, _) =
            compile(&self.case.graph, self.case.mode, &setup.options, &Dump::none()).map_err(refused)?;
        self.planned(program.plan(), setup.options.plan.accuracy)?;
        let mut executor = Executor::new(program).map_err(refused)?;
        if setup.parallelize {
            executor = executor.parallelize_every_step();
        }
        let mut first = Vec::new();
        for (version, batch) in self.batches.iter_mut().enumerate() {
            let results =
                run::run(&executor, &batch.sizes, &batch.sources, version as u64, |_| setup.misaligned);
            let again = run::run(&executor, &batch.sizes, &batch.sources, version as u64, |_| 0);
            let unstable =
                |what: &str| Err(Failure::Unstable { batch: batch.sizes.batch(), what: what.to_owned() });
            if !run::same_bits(&results, &again) {
                return unstable("the second run");
            }
            if setup.guard {
                for (side, reversed) in [(Side::End, true), (Side::Start, false)] {
                    let guarded = run::run_between_guards(
                        executor.program(),
                        &batch.sizes,
                        &batch.sources,
                        side,
                        reversed,
                    )
                    .map_err(|breach| Failure::Breach { batch: batch.sizes.batch(), breach })?;
                    if !run::same_bits(&results, &guarded) {
                        return unstable(&format!("the run between guard pages ({side:?})"));
                    }
                }
            }
            let kept = unwritten(&self.case.graph, &batch.sources, &results);
            kept.map_err(|name| Failure::Breach {
                batch: batch.sizes.batch(),
                breach: guard::Breach { place: format!("to `{name}`, which has no update") },
            })?;
            let reference = batch.reference(self.case, setup.options.plan.accuracy)?;
            let compared = reference.judge(&results);
            self.compared = self.compared.plus(wrong("compiled code", batch.sizes.batch(), compared)?);
            first.push(results);
        }
        // The initial values once more: what was prepacked from others must be prepacked again.
        if let ([batch, _, ..], [results, ..]) = (&self.batches[..], &first[..]) {
            let again = run::run(&executor, &batch.sizes, &batch.sources, 0, |_| setup.misaligned);
            if !run::same_bits(results, &again) {
                let what = "a run after one with other parameters".to_owned();
                return Err(Failure::Unstable { batch: batch.sizes.batch(), what });
            }
        }
        Ok(())
    }
}

impl<'c> Batch<'c> {
    fn reference(&mut self, case: &'c Case, accuracy: Accuracy) -> Result<&mut Reference<'c>, Failure> {
        match accuracy {
            Accuracy::Strict => Ok(&mut self.strict),
            _ => {
                if self.default.is_none() {
                    let seed = mix(self.seed, 2);
                    let reference =
                        Reference::new(&case.graph, case.mode, &self.sizes, &self.sources, accuracy, seed);
                    self.default = Some(reference.map_err(refused)?);
                }
                Ok(self.default.as_mut().unwrap_or(&mut self.strict))
            }
        }
    }
}

impl Compared {
    fn plus(self, other: Compared) -> Self {
        Compared {
            exact: self.exact + other.exact,
            within: self.within + other.within,
            open: self.open + other.open,
        }
    }
}

fn wrong(
    engine: &str,
    batch: usize,
    judged: Result<Compared, Box<Disagreement>>,
) -> Result<Compared, Failure> {
    judged.map_err(|disagreement| Failure::Wrong { engine: engine.to_owned(), batch, disagreement })
}

/// Whether two runs of the interpreter gave the same numbers (any NaN matches a NaN).
fn same_numbers(results: &Results, others: &Results) -> bool {
    let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    results.iter().zip(others).all(|((name, values), (other_name, others))| {
        name == other_name && values.iter().zip(others).all(|(&a, &b)| same(a, b))
    })
}

/// Checks that parameters and states without an update are unchanged.
fn unwritten(graph: &Graph, sources: &Bindings<f64>, results: &Results) -> Result<(), String> {
    for (name, values) in results {
        let named = graph.outputs().iter().chain(graph.updates());
        if named.into_iter().any(|named| named.name == *name) {
            continue;
        }
        let Some(before) = sources.get(name) else { continue };
        if !before.real().iter().map(|&x| (x as f32).to_bits()).eq(values.iter().map(|x| x.to_bits())) {
            return Err(name.clone());
        }
    }
    Ok(())
}

/// Runs a case in the interpreter and after every pass, then with each setup. A failure includes its setup.
///
/// # Errors
/// The first [`Failure`], with its setup.
pub fn check(case: &Case, setups: &[Setup]) -> Result<Compared, Box<(Failure, Option<Setup>)>> {
    let without = |failure| Box::new((failure, None));
    let mut trial = guarded(|| Trial::new(case)).map_err(without)?;
    guarded(|| trial.interpreter()).map_err(without)?;
    guarded(|| trial.passes(&PassOptions::default())).map_err(without)?;
    for setup in setups {
        guarded(|| trial.passes(&setup.options.passes))
            .and_then(|()| guarded(|| trial.compiled(setup)))
            .map_err(|failure| Box::new((failure, Some(setup.clone()))))?;
    }
    Ok(trial.compared)
}
