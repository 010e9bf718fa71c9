//! A worker process of a long run: draws graphs, runs them, and reports results as lines.

use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use windlass_compiler::pass::{Mode, PassOptions};

use super::{Message, Totals, describe, file};
use crate::case::{Case, Setup};
use crate::engines::{Failure, Trial, check, guarded, setups};
use crate::generate::Generator;
use crate::shrink::shrink;

/// The maximum number of smaller cases to try for a failure.
const ATTEMPTS: usize = 3000;
/// The maximum time for shrinking.
const SHRINKING: Duration = Duration::from_secs(60);

/// The graphs of a worker.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The generator of the graphs.
    pub generator: Generator,
    /// The first index.
    pub first: u64,
    /// The distance between indices.
    pub stride: u64,
    /// The end of the indices.
    pub end: u64,
    /// Setups for each graph.
    pub setups: usize,
    /// The time, in seconds since 1970, after which no further graph is started.
    pub until: Option<u64>,
}

/// The case with an index and its setups.
pub(super) fn draw(generator: &Generator, graph: u64, count: usize) -> Result<(Case, Vec<Setup>), Failure> {
    guarded(|| {
        let mut numbers = generator.numbers(graph);
        let case = generator.case(graph, &mut numbers);
        let setups = (0..count).map(|_| setups::draw(&case, &mut numbers)).collect();
        Ok((case, setups))
    })
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

fn tell(message: &Message) {
    let line = serde_json::to_string(message).expect("messages are plain data");
    // If nobody is listening any more, there is no reason to continue.
    if writeln!(std::io::stdout(), "{line}").and_then(|()| std::io::stdout().flush()).is_err() {
        std::process::exit(1);
    }
}

impl Worker {
    /// Runs all its graphs.
    pub fn run(&self) {
        let mut graph = self.first;
        while graph < self.end && self.until.is_none_or(|until| now() < until) {
            tell(&Message::Begin { graph, setup: None });
            match draw(&self.generator, graph, self.setups) {
                Ok((case, setups)) => tell(&self.case(graph, &case, &setups)),
                Err(failure) => {
                    tell(&Message::Failed { graph, failure: failure.to_string(), file: String::new() });
                }
            }
            graph += self.stride;
        }
        tell(&Message::End);
    }

    fn case(&self, graph: u64, case: &Case, setups: &[Setup]) -> Message {
        let outcome = run(case, setups, &|setup| tell(&Message::Begin { graph, setup: Some(setup) }));
        match outcome {
            Ok(totals) => Message::Passed(totals),
            Err(found) => {
                let (failure, setup) = *found;
                let start = Instant::now();
                let (case, setup) = shrink(case.clone(), setup, ATTEMPTS, &mut |case, setup| {
                    start.elapsed() < SHRINKING
                        && check(case, setup.map(std::slice::from_ref).unwrap_or_default()).is_err()
                });
                let last = check(&case, setup.as_slice()).err();
                let last = last.map_or_else(|| failure.to_string(), |found| describe(&found.0, None));
                Message::Failed { graph, failure: last.clone(), file: file(&case, setup.as_ref(), &last) }
            }
        }
    }
}

/// Runs a case in the interpreter, after the passes, and with each setup; reports each setup before it runs.
fn run(
    case: &Case,
    setups: &[Setup],
    begin: &dyn Fn(usize),
) -> Result<Totals, Box<(Failure, Option<Setup>)>> {
    let without = |failure| Box::new((failure, None));
    let mut trial = guarded(|| Trial::new(case)).map_err(without)?;
    guarded(|| trial.interpreter()).map_err(without)?;
    guarded(|| trial.passes(&PassOptions::default())).map_err(without)?;
    for (index, setup) in setups.iter().enumerate() {
        begin(index);
        let passes = guarded(|| match index {
            0 => trial.passes(&setup.options.passes),
            _ => Ok(()),
        });
        passes
            .and_then(|()| guarded(|| trial.compiled(setup)))
            .map_err(|failure| Box::new((failure, Some(setup.clone()))))?;
    }
    let compared = trial.compared;
    let mut totals = Totals {
        graphs: 1,
        runs: setups.len() as u64,
        exact: compared.exact,
        within: compared.within,
        open: compared.open,
        ..Totals::default()
    };
    for node in case.graph.nodes() {
        *totals.operators.entry(node.op.name().to_owned()).or_default() += 1;
    }
    *totals
        .settings
        .entry(format!("mode {}", if case.mode == Mode::Training { "training" } else { "inference" }))
        .or_default() += 1;
    *totals.settings.entry(format!("values {:?}", case.values).to_lowercase()).or_default() += 1;
    for setup in setups {
        for setting in settings(setup) {
            *totals.settings.entry(setting).or_default() += 1;
        }
    }
    Ok(totals)
}

/// The settings of a setup in words.
fn settings(setup: &Setup) -> Vec<String> {
    let plan = &setup.options.plan;
    let passes = &setup.options.passes;
    let mut settings = vec![
        match plan.vector_bits {
            Some(bits) => format!("vectors of {bits} bits"),
            None => "vectors by default".to_owned(),
        },
        format!("threads {}", plan.threads),
        format!("convolution {}", plan.convolution),
        format!("layouts {:?}", plan.layouts).to_lowercase(),
        format!("accuracy {:?}", plan.accuracy).to_lowercase(),
        format!("features {:?}", plan.features).to_lowercase(),
    ];
    let switches = [
        ("costs at random", plan.costs != windlass_compiler::plan::Costs::default()),
        ("between guard pages", setup.guard),
        ("every step shared", setup.parallelize),
        ("memory misaligned", setup.misaligned > 0),
        ("constant_fold off", !passes.constant_fold),
        ("cse off", !passes.cse),
        ("dce off", !passes.dce),
        ("fold_batch_norm off", !passes.fold_batch_norm),
        ("pool_first off", !passes.pool_first),
        ("fuse off", !passes.fuse),
        ("fuse_norm_grad off", !passes.fuse_norm_grad),
        ("release_relu off", !passes.release_relu),
        ("relu_bits off", !passes.relu_bits),
    ];
    settings.extend(switches.iter().filter(|(_, on)| *on).map(|(name, _)| (*name).to_owned()));
    settings
}
