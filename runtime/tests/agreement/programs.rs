//! Several programs and threads: the same bits every time, several programs at once, and one program on many threads.

use std::thread;

use windlass_compiler::autodiff::{Optimizer, TrainingOptions, training_graph};
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::{Graph, Layer};
use windlass_compiler::interp::Array;
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::plan::SlotKind;
use windlass_runtime::Error;
use windlass_runtime::executor::{Binding, Executor};

use crate::check::interpreted;
use crate::graphs::network;
use crate::numbers::{Sources, Values, sources};
use crate::run::{Results, run};

fn executor(graph: &Graph, mode: Mode, threads: usize) -> Executor {
    let mut options = CompileOptions::default();
    options.plan.threads = threads;
    Executor::new(compile(graph, mode, &options, &Dump::none()).unwrap().0).unwrap().parallelize_every_step()
}

/// A convolution followed by batch normalisation, which is folded into the weights, so there are values to prepack.
fn classifier(classes: usize) -> Graph {
    network(
        &[2, 9, 9],
        &[
            Layer::conv(5, Window::square(3, 1, 1)),
            Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 },
            Layer::Relu,
            Layer::max_pool(Window::square(2, 2, 0)),
            Layer::Flatten,
            Layer::Dropout { rate: 0.25 },
            Layer::linear(classes),
        ],
    )
}

fn bits(results: &Results) -> Vec<(&String, Vec<u32>)> {
    results.iter().map(|(name, values)| (name, values.iter().map(|x| x.to_bits()).collect())).collect()
}

/// Several training steps, each starting from the result of the previous one.
fn train(executor: &Executor, graph: &Graph, batch: usize, steps: u64) -> Results {
    let mut bound = sources(graph, batch, Values::Reals, 3);
    let mut results = Results::new();
    for step in 0..steps {
        let data = sources(graph, batch, Values::Reals, 100 + step);
        bound.insert("x".to_owned(), data["x"].clone());
        bound.insert("seed".to_owned(), Array::ints(vec![2], vec![9, step as i32]));
        results = run(executor, batch, &bound, step);
        for (name, values) in &results {
            if let Some(array) = bound.get_mut(name) {
                *array = Array::new(array.sizes.clone(), values.iter().map(|&x| f64::from(x)).collect());
            }
        }
    }
    results
}

#[test]
fn training_twice_gives_the_same_bits() {
    let options = TrainingOptions::default().optimizer(Optimizer::adam());
    let graph = training_graph(&classifier(10), &options).unwrap();
    for threads in [1, 2, 3] {
        let first = train(&executor(&graph, Mode::Training, threads), &graph, 7, 10);
        let second = train(&executor(&graph, Mode::Training, threads), &graph, 7, 10);
        assert_eq!(bits(&first), bits(&second), "{threads} threads");
        assert!(first["l0.weight"].iter().all(|x| x.is_finite()));
    }
}

#[test]
fn sharing_a_step_or_not_gives_the_same_bits() {
    let graph = training_graph(&classifier(10), &TrainingOptions::default()).unwrap();
    for threads in [2, 3] {
        let mut options = CompileOptions::default();
        options.plan.threads = threads;
        let (program, _) = compile(&graph, Mode::Training, &options, &Dump::none()).unwrap();
        let where_it_pays = train(&Executor::new(program).unwrap(), &graph, 7, 3);
        let everywhere = train(&executor(&graph, Mode::Training, threads), &graph, 7, 3);
        assert_eq!(bits(&where_it_pays), bits(&everywhere), "{threads} threads");
    }
}

#[test]
fn several_programs_live_side_by_side() {
    let graphs: Vec<Graph> = (2..8).map(classifier).collect();
    let mut executors: Vec<Executor> = graphs
        .iter()
        .enumerate()
        .map(|(index, graph)| executor(graph, Mode::Inference, 1 + index % 2))
        .collect();
    let sources_of = |graph: &Graph| sources(graph, 3, Values::Reals, 8);
    let alone: Vec<Results> = executors
        .iter()
        .zip(&graphs)
        .map(|(executor, graph)| run(executor, 3, &sources_of(graph), 0))
        .collect();
    // Dropping one does not affect the code of the others.
    while let Some(dropped) = executors.pop() {
        drop(dropped);
        for ((executor, graph), expected) in executors.iter().zip(&graphs).zip(&alone) {
            assert_eq!(bits(&run(executor, 3, &sources_of(graph), 0)), bits(expected));
        }
    }
}

#[test]
fn one_program_on_many_threads_at_once() {
    let graph = classifier(10);
    for threads in [1, 2] {
        let executor = executor(&graph, Mode::Inference, threads);
        thread::scope(|scope| {
            for caller in 0..4_u64 {
                let (executor, graph) = (&executor, &graph);
                scope.spawn(move || {
                    let batch = 1 + caller as usize;
                    // All threads have the same parameters, but different data.
                    let mut own: Sources = sources(graph, 1, Values::Reals, 1);
                    for turn in 0..25 {
                        let data = sources(graph, batch, Values::Reals, 50 + caller + turn);
                        own.insert("x".to_owned(), data["x"].clone());
                        let got = run(executor, batch, &own, 0);
                        let expected = &interpreted::<f64>(graph, batch, &own)["y"];
                        let close =
                            got["y"].iter().zip(expected).all(|(&a, b)| (f64::from(a) - b).abs() < 1e-4);
                        assert!(close, "caller {caller}: {:?} instead of {expected:?}", got["y"]);
                    }
                });
            }
        });
    }
}

/// Callers with different parameters alternate on the same prepacked memory: each must get its own results.
#[test]
fn many_threads_with_parameters_of_their_own() {
    let graph = classifier(3);
    for threads in [1, 2] {
        let executor = executor(&graph, Mode::Inference, threads);
        assert!(!executor.program().prepack_steps().is_empty(), "nothing depends on parameters alone");
        thread::scope(|scope| {
            for version in 0..4_u64 {
                let (executor, graph) = (&executor, &graph);
                scope.spawn(move || {
                    let own = sources(graph, 2, Values::Reals, version);
                    let expected = run(&self::executor(graph, Mode::Inference, 1), 2, &own, 0);
                    for _ in 0..25 {
                        assert_eq!(
                            bits(&run(executor, 2, &own, version)),
                            bits(&expected),
                            "version {version}"
                        );
                    }
                });
            }
        });
    }
}

/// Parameters that runs no longer read may be unbound, as long as no value has to be prepacked again.
#[test]
fn a_prepacked_program_needs_only_what_its_runs_read() {
    let graph = classifier(3);
    let executor = executor(&graph, Mode::Inference, 2);
    let batch = 2;
    let sources = sources(&graph, batch, Values::Reals, 5);
    let plan = executor.program().plan();
    let (prepack, read) = (plan.slots_of(&plan.prepack), plan.slots_of(&plan.run));
    let stored = |slot: usize| executor.slots()[slot].kind == SlotKind::Parameter;
    assert!(prepack.iter().any(|slot| !read.contains(slot)) && read.iter().any(|&slot| stored(slot)));
    let values: Vec<Vec<f32>> = executor
        .slots()
        .iter()
        .map(|slot| match slot.kind {
            SlotKind::Output => Vec::new(),
            _ => sources[&slot.name].real().iter().map(|&value| value as f32).collect(),
        })
        .collect();
    let execute = |slots: &[usize], version: u64| {
        let mut output = vec![0.0; batch * 3];
        let mut run = executor.start(batch)?;
        let mut outputs = Some(&mut output[..]);
        for &slot in slots {
            let binding = match executor.slots()[slot].kind {
                SlotKind::Output => Binding::Written(outputs.take().expect("there is one output")),
                _ => Binding::Floats(&values[slot]),
            };
            run.bind(slot, binding)?;
        }
        run.execute(version).map(|()| output)
    };
    let expected = run(&self::executor(&graph, Mode::Inference, 1), batch, &sources, 0);
    let expected = expected.values().find(|values| values.len() == batch * 3).unwrap();
    let all: Vec<usize> = (0..executor.slots().len()).collect();

    // Before the first prepacking, and for every other version, all must be bound.
    let is_refused = |version: u64| match execute(&read, version) {
        Err(Error::Binding { name, .. }) => prepack.iter().any(|&slot| executor.slots()[slot].name == name),
        _ => false,
    };
    assert!(is_refused(0));
    let mut prepacking = executor.start(1).unwrap();
    for &slot in &prepack {
        prepacking.bind(slot, Binding::Floats(&values[slot])).unwrap();
    }
    prepacking.prepack(0).unwrap();
    assert_eq!(&execute(&read, 0).unwrap(), expected);
    assert!(is_refused(1));
    assert_eq!(&execute(&read, 0).unwrap(), expected);
    assert_eq!(&execute(&all, 1).unwrap(), expected);
    assert!(is_refused(0));
    assert_eq!(&execute(&read, 1).unwrap(), expected);
    for &missing in &read {
        let rest: Vec<usize> = all.iter().copied().filter(|&slot| slot != missing).collect();
        assert!(matches!(execute(&rest, 1), Err(Error::Binding { .. })), "{missing}");
    }
}
