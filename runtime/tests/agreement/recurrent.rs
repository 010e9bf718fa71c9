//! Scans and recurrent layers: inference and whole training steps, for fixed and open lengths.

use windlass_compiler::autodiff::Optimizer;
use windlass_compiler::graph::{Builder, Cell, Graph, GruReset, Layer, Recurrent, RnnActivation};
use windlass_compiler::pass::Mode;
use windlass_compiler::shape::{DType, Dim, Sizes, Symbol};

use crate::check::{Agreement, Expectation};
use crate::graphs::training;
use crate::numbers::{Numbers, Values, sources};

fn cells() -> Vec<Cell> {
    let lstm = |projection, peepholes| Cell::Lstm { projection, peepholes };
    vec![
        Cell::Rnn { activation: RnnActivation::Tanh },
        Cell::Rnn { activation: RnnActivation::Relu },
        Cell::Gru { reset: GruReset::After },
        Cell::Gru { reset: GruReset::Before },
        lstm(0, false),
        lstm(3, true),
    ]
}

fn steps() -> Symbol {
    "T".parse().unwrap()
}

/// A network of a recurrent layer and a dense layer on each step, or on the last, of sequences of a length.
fn network(length: impl Into<Dim>, layer: Recurrent, last: bool) -> Graph {
    let mut builder = Builder::new("net");
    let x = builder.input_of("x", DType::F32, [length.into(), Dim::from(5)]).unwrap();
    let mut y = builder.layer("r", &Layer::Recurrent(layer), x).unwrap();
    if last {
        y = builder.layer("last", &Layer::LastStep, y).unwrap();
    }
    let y = builder.layer("f", &Layer::linear(3), y).unwrap();
    builder.output("y", y).unwrap();
    builder.finish().unwrap()
}

/// Inference and a training step, under options that are drawn anew for each graph.
fn check(graph: &Graph, sizes: &[Sizes], numbers: &mut Numbers, what: &str) {
    let step = training(graph, Optimizer::sgd());
    for (graph, mode) in [(graph, Mode::Inference), (&step, Mode::Training)] {
        let mut expectation = Expectation::of(graph, Agreement::WithinWhole(2e-5));
        for (seed, sizes) in sizes.iter().enumerate() {
            let bound = sources(graph, sizes.clone(), Values::Reals, seed as u64 + 5);
            expectation.add(sizes.clone(), bound);
        }
        expectation.check_some(mode, numbers, what);
    }
}

#[test]
fn every_cell_at_a_fixed_length() {
    let mut numbers = Numbers::new(31);
    for cell in cells() {
        for length in [1, 4] {
            let layer = Recurrent::new(cell, 17);
            let sizes = [Sizes::from(1), Sizes::from(3)];
            check(&network(length, layer, length == 4), &sizes, &mut numbers, &format!("{cell:?}"));
        }
    }
}

#[test]
fn every_cell_at_any_length() {
    let mut numbers = Numbers::new(32);
    for cell in cells() {
        let sizes = [(1, 1), (2, 3), (1, 2), (5, 7)].map(|(n, t)| Sizes::from(n).with(steps(), t));
        let layer = Recurrent::new(cell, 6);
        check(&network(steps(), layer, false), &sizes, &mut numbers, &format!("{cell:?}"));
        let deep = Recurrent { layers: 2, bidirectional: true, bias: false, ..Recurrent::new(cell, 8) };
        check(&network(steps(), deep, true), &sizes, &mut numbers, &format!("deep {cell:?}"));
    }
}

/// Sums of small integers are exact in any order.
#[test]
fn integers_are_exact() {
    let cell = Cell::Rnn { activation: RnnActivation::Relu };
    let graph = network(steps(), Recurrent { bidirectional: true, ..Recurrent::new(cell, 4) }, false);
    let mut expectation = Expectation::of(&graph, Agreement::Exact);
    for (n, t) in [(1, 1), (2, 2), (3, 3)] {
        let sizes = Sizes::from(n).with(steps(), t);
        expectation.add(sizes.clone(), sources(&graph, sizes, Values::Integers, 3));
    }
    expectation.check_variants(Mode::Inference, "integers");
}
