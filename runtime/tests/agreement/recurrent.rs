//! Scans and recurrent layers: inference and whole training steps, for fixed and open lengths.

use windlass_compiler::autodiff::{Loss, Optimizer, TrainingOptions, training_graph};
use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::{
    Builder, Cell, Graph, GruReset, Layer, Recurrent, RecurrentOperands, RnnActivation,
};
use windlass_compiler::interp::Array;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::shape::{DType, Dim, Sizes, Symbol};
use windlass_runtime::executor::Executor;

use crate::check::{Agreement, Expectation, any_variant};
use crate::graphs::training;
use crate::numbers::{Numbers, Values, sources};
use crate::run::run;

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
pub(crate) fn check(graph: &Graph, sizes: &[Sizes], numbers: &mut Numbers, what: &str) {
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

/// Every cell alone, two layers, both directions.
fn layers() -> Vec<Recurrent> {
    let lstm = |projection, peepholes| Cell::Lstm { projection, peepholes };
    let tanh = Cell::Rnn { activation: RnnActivation::Tanh };
    let gru = Cell::Gru { reset: GruReset::After };
    let cells = [
        tanh,
        Cell::Rnn { activation: RnnActivation::Relu },
        gru,
        Cell::Gru { reset: GruReset::Before },
        lstm(0, false),
        lstm(4, false),
        lstm(0, true),
    ];
    let mut layers: Vec<Recurrent> = cells.into_iter().map(|cell| Recurrent::new(cell, 6)).collect();
    layers.push(Recurrent { layers: 2, ..Recurrent::new(gru, 6) });
    layers.push(Recurrent { bidirectional: true, ..Recurrent::new(lstm(0, false), 6) });
    layers.push(Recurrent { layers: 2, bidirectional: true, ..Recurrent::new(tanh, 6) });
    layers
}

/// Batches of sequences of a length.
fn batch(steps: usize) -> Sizes {
    Sizes::from(1 + steps % 3)
}

/// The options of a vector width, with one to three threads.
fn of_width(bits: Option<usize>, threads: usize) -> CompileOptions {
    let mut options = CompileOptions::default();
    options.plan.vector_bits = bits;
    options.plan.threads = threads;
    options
}

/// One program for every length from 1 to 65, inference and gradients, at the widest vectors; a few lengths at the others.
#[test]
fn every_length_by_one_program() {
    let mut numbers = Numbers::new(36);
    for layer in layers() {
        let graph = network(steps(), layer, false);
        let step = training(&graph, Optimizer::sgd());
        for (graph, mode) in [(&graph, Mode::Inference), (&step, Mode::Training)] {
            let mut check = |lengths: &[usize], bits| {
                let mut expectation = Expectation::of(graph, Agreement::WithinWhole(2e-5));
                for &length in lengths {
                    let sizes = batch(length).with(steps(), length);
                    expectation.add(sizes.clone(), sources(graph, sizes, Values::Reals, length as u64));
                }
                let options = of_width(bits, numbers.pick(&[1, 2, 3]));
                expectation.check(mode, &options, &format!("{layer:?}"));
            };
            check(&(1..=65).collect::<Vec<_>>(), None);
            for bits in available_vector_bits() {
                let mut drawn = Numbers::new(bits as u64);
                check(&[0; 6].map(|_| 1 + drawn.below(65)), Some(bits));
            }
        }
    }
}

/// A program of its own for every length from 1 to 65, each of another layer than the length before.
#[test]
fn every_length_by_its_own_program() {
    let (mut numbers, layers, widths) = (Numbers::new(37), layers(), available_vector_bits());
    for length in 1..=65 {
        let layer = layers[length % layers.len()];
        let graph = network(length, layer, length % 2 == 0);
        let step = training(&graph, Optimizer::sgd());
        for (graph, mode) in [(&graph, Mode::Inference), (&step, Mode::Training)] {
            let sizes = batch(length);
            let mut expectation = Expectation::of(graph, Agreement::WithinWhole(2e-5));
            expectation.add(sizes.clone(), sources(graph, sizes, Values::Reals, length as u64));
            for bits in [None, Some(numbers.pick(&widths))] {
                let options = of_width(bits, numbers.pick(&[1, 2, 3]));
                expectation.check(mode, &options, &format!("{length} steps of {layer:?}"));
            }
        }
    }
}

/// The gradient of concatenated states is read in parts, by scans over more rows than a part has.
#[test]
fn last_states_are_concatenated() {
    let mut numbers = Numbers::new(35);
    for (layers, bidirectional) in [(1, true), (2, false)] {
        let cell = Cell::Rnn { activation: RnnActivation::Tanh };
        let layer = Recurrent { layers, bidirectional, ..Recurrent::new(cell, 8) };
        let mut builder = Builder::new("net");
        let x = builder.input_of("x", DType::F32, [Dim::from(steps()), Dim::from(3)]).unwrap();
        let recurrence = builder.recurrent("r", &layer, x, &RecurrentOperands::default()).unwrap();
        let states = builder.concat("states", &recurrence.last).unwrap();
        let y = builder.layer("f", &Layer::linear(2), states).unwrap();
        builder.output("y", y).unwrap();
        let graph = builder.finish().unwrap();
        let sizes = [(1, 5), (3, 2)].map(|(n, t)| Sizes::from(n).with(steps(), t));
        check(&graph, &sizes, &mut numbers, "concatenated states");
    }
}

/// Values that are computed again in the backward pass, segment by segment, with and without a rest.
#[test]
fn recomputed_segments() {
    let mut numbers = Numbers::new(37);
    for cell in cells() {
        for (length, layers) in [(2, 1), (3, 2)] {
            let layer = Recurrent { layers, bidirectional: layers == 2, ..Recurrent::new(cell, 8) };
            let graph = network(8, layer, false);
            let options = TrainingOptions::default().loss(Loss::MeanSquaredError).recompute(length);
            let step = training_graph(&graph, &options).unwrap();
            let mut expectation = Expectation::of(&step, Agreement::WithinWhole(2e-5));
            for batch in [1, 3] {
                expectation.add(batch, sources(&step, batch, Values::Reals, batch as u64));
            }
            expectation.check_some(Mode::Training, &mut numbers, &format!("{cell:?}, segments of {length}"));
        }
    }
}

/// A loop within a loop, whose inner steps read a slice and the state of the outer one.
#[test]
fn nested_scans() {
    let graph: Graph = r#"graph nested {
      %x = input {name = "x", type = "f32[N, T, 5]"}
      %w = parameter {name = "w", shape = "[5, 5]", init = "xavier_uniform"}
      %s = fold_steps(%x)
      %h = fill {shape = "[N, 5]", value = 0.25}
      %last, %y = scan(%w, %s, %h) {steps = "T", slices = 1, carried = 1} body outer {
        %w = input {name = "w", type = "f32[5, 5]"}
        %x = input {name = "x", type = "f32[N, 5]"}
        %h = input {name = "h", type = "f32[N, 5]"}
        %l, %all = scan(%w, %x, %h) {steps = 3, slices = 0, carried = 1} body inner {
          %w = input {name = "w", type = "f32[5, 5]"}
          %x = input {name = "x", type = "f32[N, 5]"}
          %c = input {name = "c", type = "f32[N, 5]"}
          %p = linear(%c, %w)
          %q = binary(%p, %x) {kind = "add"}
          %r = unary(%q) {kind = "tanh"}
          output "c" = %r
          output "all" = %c
        }
        %m = reshape(%all) {shape = "[N*3, 5]"}
        output "h" = %l
        output "y" = %l
      }
      %u = unfold_steps(%y) {shape = "[N, T, 5]"}
      output "y" = %u
    }"#
    .parse()
    .unwrap();
    let sizes = [(1, 1), (3, 2), (2, 5)].map(|(n, t)| Sizes::from(n).with(steps(), t));
    let mut numbers = Numbers::new(34);
    for _ in 0..3 {
        check(&graph, &sizes, &mut numbers, "nested scans");
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

/// Padded steps change nothing: the result of garbage there, NaN too, has the bits of the result of zeros, and is that of
/// the sequences alone.
#[test]
fn steps_beyond_a_length_change_nothing() {
    let mut numbers = Numbers::new(33);
    for cell in cells() {
        let mut builder = Builder::new("net");
        let x = builder.input_of("x", DType::F32, [Dim::from(steps()), Dim::from(5)]).unwrap();
        let lengths = builder.input_of("lengths", DType::I32, []).unwrap();
        let layer = Recurrent { bidirectional: true, layers: 2, ..Recurrent::new(cell, 6) };
        let operands = RecurrentOperands { lengths: Some(lengths), ..RecurrentOperands::default() };
        let recurrence = builder.recurrent("r", &layer, x, &operands).unwrap();
        builder.output("y", recurrence.sequence).unwrap();
        for (index, last) in recurrence.last.iter().enumerate() {
            builder.output(&format!("last{index}"), *last).unwrap();
        }
        let graph = builder.finish().unwrap();
        let step = {
            let options = TrainingOptions::default().loss(Loss::MeanSquaredError).output("y");
            training_graph(&graph, &options).unwrap()
        };
        let counts = [4, 1, 0, 6, -2];
        let sizes = Sizes::from(counts.len()).with(steps(), 4);
        for (graph, mode) in [(&graph, Mode::Inference), (&step, Mode::Training)] {
            let mut clean = sources(graph, sizes.clone(), Values::Reals, 8);
            clean.insert("lengths".to_owned(), Array::ints([counts.len()], counts.to_vec()));
            let padded = |fill: f64| {
                let mut padded = clean.clone();
                let x = &clean["x"];
                let values = x.real().iter().enumerate().map(|(index, &value)| {
                    let (sample, step) = (index / 20, index / 5 % 4);
                    if (step as i32) < counts[sample] { value } else { fill }
                });
                padded.insert("x".to_owned(), Array::new(x.sizes.clone(), values.collect()));
                padded
            };
            let mut expectation = Expectation::of(graph, Agreement::WithinWhole(2e-5));
            expectation.add(sizes.clone(), padded(0.0));
            expectation.check_some(mode, &mut numbers, &format!("{cell:?}"));
            let program = compile(graph, mode, &any_variant(&mut numbers), &Dump::none()).unwrap().0;
            let executor = Executor::new(program).unwrap();
            let [zeros, garbage] =
                [0.0, f64::NAN].map(|fill| run(&executor, sizes.clone(), &padded(fill), fill.to_bits()));
            for (name, values) in &zeros {
                let same = values.iter().zip(&garbage[name]).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{cell:?}: {name} depends on padded steps");
            }
        }
    }
}
