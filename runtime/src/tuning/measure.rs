//! Measures the algorithms of one convolution against each other: a program for each, run in turns.
//!
//! A network finds a layer's input in the caches, since the layer before has just written it, and the weights behind them,
//! since everything else of the network went by meanwhile. So before each run memory as large as everything else goes by,
//! and the input is copied within the run, before the steps that count.

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

/// Rounds that a median is taken of.
const FEWEST: usize = 5;
const MOST: usize = 25;

/// Runs of each algorithm before the first that counts.
const WARM_UP: u32 = 1;

/// Longer than the threads of a program stay awake without work.
const ASLEEP: Duration = Duration::from_micros(200);

/// More than a core's own caches hold, and enough to leave few addresses translated: no more need go by.
const MOST_BYTES: usize = 64 << 20;

/// Runs that measuring an algorithm takes at least.
pub(super) const RUNS: u32 = FEWEST as u32 + WARM_UP;

/// One operator and how to run it.
pub(super) struct Question<'g> {
    pub(super) graph: &'g Graph,
    pub(super) node: &'g Node,
    /// Whether what depends on the weight alone is made once.
    pub(super) is_prepared: bool,
    pub(super) options: &'g CompileOptions,
    pub(super) batch: usize,
    /// Bytes that the whole network works on.
    pub(super) bytes: usize,
}

impl Question<'_> {
    /// The median time of each algorithm; `None` when `end` comes before there are enough runs. Takes until `share` if
    /// the runs are so long, and never many more than are needed.
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

    /// A graph of the operator alone.
    fn alone(&self) -> Result<Graph, GraphError> {
        let mut graph = Graph::new(self.graph.name());
        let mut operands = Vec::new();
        for (place, &operand) in self.node.operands.iter().enumerate() {
            let (name, ty) = (format!("operand{place}"), self.graph.ty(operand).clone());
            operands.push(if self.is_prepared && !ty.shape.is_batched() {
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

/// The rest of the network, as far as caches are concerned.
struct Others {
    memory: Vec<u8>,
}

impl Others {
    fn new(bytes: usize) -> Self {
        Others { memory: vec![1; bytes.min(MOST_BYTES)] }
    }

    /// Reads all of it, on as many cores as a run takes, and leaves the threads of other programs the time to fall asleep.
    fn go_by(&self, threads: usize) {
        const LINE: usize = 64;
        let read =
            || std::hint::black_box(self.memory.iter().step_by(LINE).fold(0, |sum: u8, byte| sum ^ byte));
        std::thread::scope(|scope| {
            for _ in 1..threads {
                // A core less is no harm.
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
    /// The steps that a network has too. Others put values into the order in which a network has them already.
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
