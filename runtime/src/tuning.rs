//! Tuning: measures convolutions with each possible algorithm, instead of using the planner's cost model. `measure`
//! times them; `cache` stores the results in a file.

mod cache;
mod measure;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use windlass_compiler::graph::{Graph, Node};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::plan_optimized;
use windlass_compiler::plan::{Convolution, Plan, tuning_key};

use self::cache::Entries;
pub use self::cache::{Cache, CacheProblem};
use self::measure::{Question, RUNS};
use crate::error::Error;
use crate::machine::cpu_name;
use crate::network::{AnyNetwork, Network};
use crate::options::Options;
use crate::timing::bytes;
use crate::trainer::{TrainerOptions, step_graph};

/// Tuning settings.
///
/// Each distinct convolution, and each distinct gradient of one to its input or weight, is compiled separately with
/// every possible algorithm, and all are timed in turns. The results go into [`Options`] and into a file, so that a
/// program measures only on its first start on a machine. Numerical results stay within the rounding that
/// [`Accuracy`](windlass_compiler::plan::Accuracy) allows; with strict accuracy there is nothing to tune.
///
/// ```
/// use windlass::{Builder, Layer, Options, Window};
/// use windlass::tuning::{Cache, Tuning};
/// use windlass_compiler::pass::Mode;
///
/// let mut builder = Builder::new("net");
/// let x = builder.input("x", &[8, 12, 12])?;
/// let y = builder.layer("c1", &Layer::conv(16, Window::square(3, 1, 1)), x)?;
/// builder.output("y", y)?;
///
/// let tuning = Tuning::default().cache(Cache::none());
/// let tuned = tuning.for_graph(&builder.finish()?, Mode::Inference, &Options::default())?;
/// assert_eq!(tuned.findings.len(), 1);
/// println!("{tuned}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tuning {
    budget: Duration,
    batch: usize,
    cache: Cache,
}

impl Default for Tuning {
    /// Two seconds, batch size 1, in the platform's cache directory.
    fn default() -> Self {
        Tuning { budget: Duration::from_secs(2), batch: 1, cache: Cache::default() }
    }
}

/// The results of tuning.
#[derive(Debug)]
pub struct Tuned {
    /// The given options, extended by the results.
    pub options: Options,
    /// Each distinct convolution that had a choice, the longest first.
    pub findings: Vec<Finding>,
    /// Problems with the cache file, if any.
    pub problems: Vec<CacheProblem>,
}

/// The result for one convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The first kernel that computes it.
    pub kernel: String,
    /// Its key in [`PlanOptions::tuned`](windlass_compiler::plan::PlanOptions::tuned).
    pub key: String,
    /// The fastest algorithm.
    pub algorithm: Convolution,
    /// Where the result comes from.
    pub source: Source,
}

/// Where a result comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Measured now: the median time of a run with each algorithm.
    Measured(Vec<(Convolution, Duration)>),
    /// Read from the cache.
    Remembered,
    /// The planner's model: there was no time to measure.
    OutOfTime,
}

/// An algorithm replaces the model's choice only if it is at least 5 % faster, which is more than noise.
const MARGIN: f64 = 0.95;

/// The maximum budget.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Tuning {
    /// The maximum time for measuring, except that the current run is completed. Convolutions not measured by then, the
    /// shortest ones, are left to the planner's model.
    #[must_use]
    pub fn budget(mut self, budget: Duration) -> Self {
        self.budget = budget;
        self
    }

    /// The batch size to optimise for.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Where measurements are stored.
    #[must_use]
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = cache;
        self
    }

    /// Tunes a network for [`Model`](crate::Model)s.
    ///
    /// # Errors
    /// [`Error::Compile`] as for a model, and [`Error::EmptyBatch`].
    pub fn for_model<N: Network>(&self, options: &Options) -> Result<Tuned, Error> {
        self.for_model_of(&N::VALUE, options)
    }

    /// Like [`Tuning::for_model`], for a network given as a value.
    ///
    /// # Errors
    /// Those of [`Tuning::for_model`].
    pub fn for_model_of<N: AnyNetwork>(&self, network: &N, options: &Options) -> Result<Tuned, Error> {
        self.for_graph(network.graph(), Mode::Inference, options)
    }

    /// Tunes the steps of a [`Trainer`](crate::Trainer). Earlier results in these options are kept.
    ///
    /// # Errors
    /// [`Error::Autodiff`] and [`Error::Compile`] as for a trainer, and [`Error::EmptyBatch`].
    pub fn for_trainer<N: Network>(
        &self,
        options: &Options,
        training: &TrainerOptions,
    ) -> Result<Tuned, Error> {
        self.for_trainer_of(&N::VALUE, options, training)
    }

    /// Like [`Tuning::for_trainer`], for a network given as a value.
    ///
    /// # Errors
    /// Those of [`Tuning::for_trainer`].
    pub fn for_trainer_of<N: AnyNetwork>(
        &self,
        network: &N,
        options: &Options,
        training: &TrainerOptions,
    ) -> Result<Tuned, Error> {
        self.for_graph(&step_graph(network, training)?.graph, Mode::Training, options)
    }

    /// Tunes any graph.
    ///
    /// # Errors
    /// [`Error::Compile`] and [`Error::EmptyBatch`]. Problems with the cache file are not errors: see
    /// [`Tuned::problems`].
    pub fn for_graph(&self, graph: &Graph, mode: Mode, options: &Options) -> Result<Tuned, Error> {
        let start = Instant::now();
        if self.batch == 0 {
            return Err(Error::EmptyBatch { network: graph.name().to_owned() });
        }
        let (graph, plan) = plan_optimized(graph, mode, &options.compile).map_err(|reason| {
            Error::Compile { network: graph.name().to_owned(), reason: Box::new(reason) }
        })?;
        let questions = if options.compile.plan.convolution == Convolution::ByCost {
            distinct(&graph, &plan, options)
        } else {
            Vec::new()
        };
        let mut tuned = Tuned { options: options.clone(), findings: Vec::new(), problems: Vec::new() };
        if questions.is_empty() {
            return Ok(tuned);
        }
        let cpu = cpu_name();
        let (known, problem) = self.cache.load(&cpu);
        tuned.problems.extend(problem);
        let mut measured = Entries::new();
        let bytes = bytes(&plan, self.batch);
        let end = start.checked_add(self.budget).unwrap_or(start + LONGEST);
        let mut left = questions.len() as u32;
        for question in questions {
            let now = Instant::now();
            // Time that earlier convolutions did not use goes to later ones.
            let share = now + end.saturating_duration_since(now) / left;
            left -= 1;
            let (algorithm, source) = match self.recall(&question, options, &known) {
                Some(algorithm) => (algorithm, Source::Remembered),
                None => {
                    let asked = Question {
                        graph: &graph,
                        node: question.node,
                        is_prepacked: question.is_prepacked,
                        options: &options.compile,
                        batch: self.batch,
                        bytes,
                    };
                    self.answer(&question, &asked, [share, end])?
                }
            };
            if let Source::Measured(_) = source {
                measured.insert(self.cache_key(&question.key), algorithm);
            }
            if source != Source::OutOfTime {
                tuned.options.compile.plan.tuned.insert(question.key.clone(), algorithm);
            }
            tuned.findings.push(Finding { kernel: question.kernel, key: question.key, algorithm, source });
        }
        if !measured.is_empty() {
            tuned.problems.extend(self.cache.add(&cpu, &measured).err());
        }
        Ok(tuned)
    }

    /// The cached algorithm of a convolution.
    fn recall(&self, distinct: &Distinct<'_>, options: &Options, known: &Entries) -> Option<Convolution> {
        let given = options.compile.plan.tuned.get(&distinct.key);
        let remembered = given.or_else(|| known.get(&self.cache_key(&distinct.key))).copied();
        remembered.filter(|algorithm| distinct.algorithms.contains(algorithm))
    }

    /// The algorithm of a convolution, measured if there is time.
    fn answer(
        &self,
        distinct: &Distinct<'_>,
        question: &Question<'_>,
        [share, end]: [Instant; 2],
    ) -> Result<(Convolution, Source), Error> {
        // Measuring does not start if it cannot finish in time. The model predicts roughly how long a run takes.
        let expected = distinct.microseconds * self.batch as f64 * f64::from(RUNS);
        let rest = end.saturating_duration_since(Instant::now());
        if rest.is_zero() || expected > rest.as_secs_f64() * 1e6 {
            return Ok((distinct.taken, Source::OutOfTime));
        }
        Ok(match question.measure(&distinct.algorithms, share, end)? {
            Some(times) => (fastest(&times, distinct.taken), Source::Measured(times)),
            None => (distinct.taken, Source::OutOfTime),
        })
    }

    /// The key in the cache file also includes the batch size.
    fn cache_key(&self, key: &str) -> String {
        format!("{} items: {key}", self.batch)
    }
}

/// The fastest algorithm; the model's unless another is clearly faster.
fn fastest(times: &[(Convolution, Duration)], model: Convolution) -> Convolution {
    let of_model =
        times.iter().find(|(algorithm, _)| *algorithm == model).map_or(Duration::MAX, |(_, time)| *time);
    let fastest = times.iter().min_by_key(|(_, time)| *time);
    let is_clear = |time: Duration| time.as_secs_f64() < MARGIN * of_model.as_secs_f64();
    fastest.filter(|(_, time)| is_clear(*time)).map_or(model, |(algorithm, _)| *algorithm)
}

/// A convolution that occurs at least once in the network, to measure once.
struct Distinct<'g> {
    key: String,
    kernel: String,
    node: &'g Node,
    is_prepacked: bool,
    /// Its possible algorithms.
    algorithms: Vec<Convolution>,
    /// The planner's choice.
    taken: Convolution,
    /// The predicted time of all algorithms together, per sample.
    microseconds: f64,
    /// The predicted fraction of the network's time.
    weight: f64,
}

/// The distinct convolutions that have a choice, in order of descending time.
fn distinct<'g>(graph: &'g Graph, plan: &Plan, options: &Options) -> Vec<Distinct<'g>> {
    let mut found: BTreeMap<String, Distinct<'g>> = BTreeMap::new();
    for choice in &plan.choices.0 {
        let possible = choice.candidates.iter().filter(|candidate| candidate.verdict.is_possible());
        let time = |taken_only: bool| -> f64 {
            let counted = possible.clone().filter(|one| !taken_only || one.verdict.is_taken());
            counted.filter_map(|candidate| candidate.microseconds).sum()
        };
        let node = graph.node(choice.node);
        let bits = plan.target.vectors.bits;
        let key = tuning_key(graph, node, choice.is_prepacked, &options.compile.plan, bits);
        let entry = found.entry(key.clone()).or_insert_with(|| Distinct {
            key,
            kernel: choice.kernel.clone(),
            node,
            is_prepacked: choice.is_prepacked,
            algorithms: Vec::new(),
            taken: choice.taken(),
            microseconds: 0.0,
            weight: 0.0,
        });
        entry.microseconds = entry.microseconds.max(time(false));
        entry.weight += time(true);
        for candidate in possible.clone() {
            if !entry.algorithms.contains(&candidate.algorithm) {
                entry.algorithms.push(candidate.algorithm);
            }
        }
    }
    let mut found: Vec<_> = found.into_values().filter(|distinct| distinct.algorithms.len() > 1).collect();
    found.sort_by(|left, right| right.weight.total_cmp(&left.weight));
    found
}

impl fmt::Display for Tuned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.findings.iter().map(|finding| finding.kernel.chars().count()).max().unwrap_or(0);
        for Finding { kernel, algorithm, source, .. } in &self.findings {
            write!(f, "{kernel:width$}  {:13}", algorithm.to_string())?;
            match source {
                Source::Measured(times) => {
                    f.write_str("  measured")?;
                    for (place, (algorithm, time)) in times.iter().enumerate() {
                        let separator = if place == 0 { ":" } else { "," };
                        write!(f, "{separator} {algorithm} {:.1} µs", time.as_secs_f64() * 1e6)?;
                    }
                    writeln!(f)?;
                }
                Source::Remembered => writeln!(f, "  measured before")?,
                Source::OutOfTime => writeln!(f, "  by the model: there was no time to measure it")?,
            }
        }
        self.problems.iter().try_for_each(|problem| writeln!(f, "{problem}"))
    }
}

#[cfg(test)]
mod tests;
