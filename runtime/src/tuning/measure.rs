//! Compares the algorithms of one convolution: one program for each, run in turns.
//!
//! In a network, a layer finds its input in the caches, because the previous layer has just written it, and its weights
//! outside of them, because the rest of the network ran in between. So before each run, as much memory as the rest of
//! the network uses is read, and the input is copied within the run, before the measured steps.

use std::time::{Duration, Instant};

use windlass_compiler::dump::Dump;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::graph::{Graph, Node};
use windlass_compiler::ops::source::{Input, InputRole, Parameter};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::plan::Convolution;

use crate::error::Error;
use crate::executor::Executor;
use crate::timing::Rehearsal;

/// The minimum number of rounds for a median.
const FEWEST: usize = 5;
const MOST: usize = 25;

/// Warm-up runs of each algorithm.
const WARM_UP: u32 = 1;

/// Longer than the threads of a program spin without work.
const ASLEEP: Duration = Duration::from_micros(200);

/// More than a core's own caches and most of its address translations cover: reading more changes nothing.
const MOST_BYTES: usize = 64 << 20;

/// The minimum number of runs for measuring an algorithm.
pub(super) const RUNS: u32 = FEWEST as u32 + WARM_UP;

/// One operator and its run settings.
pub(super) struct Question<'g> {
    pub(super) graph: &'g Graph,
    pub(super) node: &'g Node,
    /// Whether values that depend only on the weight are prepacked once.
    pub(super) is_prepacked: bool,
    pub(super) options: &'g CompileOptions,
    pub(super) batch: usize,
    /// Bytes that the whole network uses.
    pub(super) bytes: usize,
}

impl Question<'_> {
    /// The median time of each algorithm; `None` if `end` comes before there are enough runs. It runs until `share` if
    /// the runs are long, and never many more times than needed.
    pub(super) fn measure(
        &self,
        algorithms: &[Convolution],
        share: Instant,
        end: Instant,
    ) -> Result<Option<Vec<(Convolution, Duration)>>, Error> {
        let graph = self.alone()?;
        let mut contestants = Vec::new();
        for &algorithm in algorithms {
            contestants.push(Contestant::new(&graph, self.options, algorithm, self.batch)?);
            if Instant::now() >= end {
                return Ok(None);
            }
        }
        let own = contestants.iter().map(|contestant| contestant.rehearsal.bytes()).min().unwrap_or(0);
        let others = Others::new(self.bytes.saturating_sub(own));
        for round in 0..WARM_UP as usize + MOST {
            for contestant in &mut contestants {
                others.go_by(self.options.plan.threads);
                contestant.run(round >= WARM_UP as usize)?;
            }
            let now = Instant::now();
            let counted = (round + 1).saturating_sub(WARM_UP as usize);
            if counted >= FEWEST && now >= share {
                break;
            }
            if counted < FEWEST && now >= end {
                return Ok(None);
            }
        }
        Ok(Some(
            contestants.into_iter().map(|contestant| (contestant.algorithm, contestant.median())).collect(),
        ))
    }

    /// A graph of only the operator.
    fn alone(&self) -> Result<Graph, GraphError> {
        let mut graph = Graph::new(self.graph.name());
        let mut operands = Vec::new();
        for (place, &operand) in self.node.operands.iter().enumerate() {
            let (name, ty) = (format!("operand{place}"), self.graph.ty(operand).clone());
            operands.push(if self.is_prepacked && !ty.shape.is_batched() {
                graph.add_single(
                    Parameter { name, shape: ty.shape, init: Initializer::Constant(0.0) },
                    &[],
                    "",
                )?
            } else {
                graph.add_single(Input { name, role: InputRole::Data, ty }, &[], "")?
            });
        }
        let result = graph.add_single(self.node.op.clone(), &operands, "")?;
        graph.add_output("y", result)?;
        Ok(graph)
    }
}

/// Stands for the rest of the network in the caches.
struct Others {
    memory: Vec<u8>,
}

impl Others {
    fn new(bytes: usize) -> Self {
        Others { memory: vec![1; bytes.min(MOST_BYTES)] }
    }

    /// Reads all of it, on as many cores as a run uses, and gives the threads of other programs time to fall asleep.
    fn go_by(&self, threads: usize) {
        const LINE: usize = 64;
        let read =
            || std::hint::black_box(self.memory.iter().step_by(LINE).fold(0, |sum: u8, byte| sum ^ byte));
        std::thread::scope(|scope| {
            for _ in 1..threads {
                // One core fewer does no harm.
                let _ = std::thread::Builder::new().spawn_scoped(scope, read);
            }
            read();
        });
        if threads > 1 {
            std::thread::sleep(ASLEEP);
        }
    }
}

/// An algorithm, its program and its times.
struct Contestant {
    algorithm: Convolution,
    rehearsal: Rehearsal,
    /// The steps that a network has too. The others convert layouts, which a network does not need.
    steps: Vec<usize>,
    times: Vec<Duration>,
}

impl Contestant {
    fn new(
        graph: &Graph,
        options: &CompileOptions,
        algorithm: Convolution,
        batch: usize,
    ) -> Result<Self, Error> {
        let mut options = options.clone();
        options.plan.convolution = algorithm;
        options.plan.tuned.clear();
        let (program, _) = compile(graph, Mode::Inference, &options, &Dump::none()).map_err(|reason| {
            Error::Compile { network: graph.name().to_owned(), reason: Box::new(reason) }
        })?;
        let is_order = |name: &str| name.ends_with(".reorder") || name.ends_with(".store");
        let steps = program.run_steps().iter().enumerate();
        let steps = steps.filter(|(_, step)| !is_order(&step.name)).map(|(index, _)| index).collect();
        let rehearsal = Rehearsal::new(Executor::new(program)?, batch);
        Ok(Contestant { algorithm, rehearsal, steps, times: Vec::new() })
    }

    fn run(&mut self, counts: bool) -> Result<(), Error> {
        let mut times = Vec::new();
        self.rehearsal.start()?.execute_timed(0, &mut times)?;
        if counts {
            self.times.push(self.steps.iter().map(|&step| times[step].total).sum());
        }
        Ok(())
    }

    fn median(mut self) -> Duration {
        self.times.sort_unstable();
        self.times.get(self.times.len() / 2).copied().unwrap_or(Duration::MAX)
    }
}
