//! Programs that many threads use while others are compiled and dropped: every run gives the same bits as alone.
//! `WINDLASS_SOAK_ROUNDS` sets the number of rounds of each thread.

use std::thread;

use windlass_compiler::autodiff::{Optimizer, TrainingOptions, training_graph};
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::{Graph, Layer};
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_runtime::executor::Executor;

use crate::graphs::network;
use crate::numbers::{Sources, Values, sources};
use crate::run::run;

/// Threads that run long-lived programs, and threads that compile, run and drop their own.
const USERS: usize = 16;
const COMPILERS: usize = 3;

/// A program to compile, with its inputs and its results when it runs alone.
struct Task {
    graph: Graph,
    mode: Mode,
    threads: usize,
    batch: usize,
    sources: Sources,
    alone: Vec<(String, Vec<u32>)>,
}

impl Task {
    fn new(graph: &Graph, mode: Mode, threads: usize, batch: usize) -> Self {
        let sources = sources(graph, batch, Values::Reals, batch as u64);
        let mut task = Task { graph: graph.clone(), mode, threads, batch, sources, alone: Vec::new() };
        task.alone = task.run(&task.executor());
        task
    }

    fn executor(&self) -> Executor {
        let mut options = CompileOptions::default();
        options.plan.threads = self.threads;
        let (program, _) = compile(&self.graph, self.mode, &options, &Dump::none()).unwrap();
        Executor::new(program).unwrap().parallelize_every_step()
    }

    fn run(&self, executor: &Executor) -> Vec<(String, Vec<u32>)> {
        let results = run(executor, self.batch, &self.sources, 0);
        let bits = |values: Vec<f32>| values.iter().map(|x| x.to_bits()).collect();
        results.into_iter().map(|(name, values)| (name, bits(values))).collect()
    }

    fn check(&self, executor: &Executor, what: &str) {
        assert!(self.run(executor) == self.alone, "{what} on {} threads, batch {}", self.threads, self.batch);
    }
}

/// Rounds of each thread.
fn rounds(usual: usize) -> usize {
    let asked = std::env::var("WINDLASS_SOAK_ROUNDS").ok();
    asked.map_or(usual, |asked| asked.parse().expect("WINDLASS_SOAK_ROUNDS is a number of rounds"))
}

#[test]
fn programs_in_use_while_others_come_and_go() {
    let inference = network(
        &[8, 9, 9],
        &[
            Layer::conv(16, Window::square(3, 1, 1)),
            Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 },
            Layer::Relu,
            Layer::max_pool(Window::square(2, 2, 0)),
            Layer::Flatten,
            Layer::linear(10),
        ],
    );
    let options = TrainingOptions::default().optimizer(Optimizer::adam());
    let training = training_graph(&inference, &options).unwrap();
    let tasks: Vec<Task> = [1, 2, 3]
        .into_iter()
        .flat_map(|threads| {
            [
                Task::new(&inference, Mode::Inference, threads, 1),
                Task::new(&inference, Mode::Inference, threads, 4),
                Task::new(&training, Mode::Training, threads, 3),
            ]
        })
        .collect();
    let executors: Vec<Executor> = tasks.iter().map(Task::executor).collect();
    thread::scope(|scope| {
        for user in 0..USERS {
            let (tasks, executors) = (&tasks, &executors);
            scope.spawn(move || {
                for round in 0..rounds(40) {
                    let index = (user + round) % tasks.len();
                    tasks[index].check(&executors[index], "in use");
                }
            });
        }
        for compiler in 0..COMPILERS {
            let tasks = &tasks;
            scope.spawn(move || {
                for round in 0..rounds(12) {
                    let task = &tasks[(compiler + 2 * round) % tasks.len()];
                    task.check(&task.executor(), "just compiled");
                }
            });
        }
    });
}
