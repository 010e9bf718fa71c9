//! Recomputation in segments: the same gradients as those from kept values.

use windlass_compiler::autodiff::{AutodiffError, Loss, Optimizer, TrainingOptions, names, training_graph};
use windlass_compiler::graph::{
    Builder, Cell, Graph, GruReset, Layer, Recurrent, RecurrentOperands, RnnActivation,
};
use windlass_compiler::interp::Array;
use windlass_compiler::ops::Op;
use windlass_compiler::shape::{DType, Dim, Symbol};

use super::{check_step, options, outcome, training_bindings};

const STEPS: usize = 10;

fn cells() -> [Cell; 4] {
    [
        Cell::Rnn { activation: RnnActivation::Tanh },
        Cell::Gru { reset: GruReset::After },
        Cell::Gru { reset: GruReset::Before },
        Cell::Lstm { projection: 2, peepholes: true },
    ]
}

/// Two layers in both directions, whose last states count too, on padded sequences.
fn network(cell: Cell, steps: impl Into<Dim>) -> Graph {
    let mut builder = Builder::new("net");
    let x = builder.input_of("x", DType::F32, [steps.into(), Dim::from(2)]).unwrap();
    let lengths = builder.input_of("lengths", DType::I32, []).unwrap();
    let layer = Recurrent { bidirectional: true, layers: 2, ..Recurrent::new(cell, 3) };
    let operands = RecurrentOperands { lengths: Some(lengths), ..RecurrentOperands::default() };
    let recurrence = builder.recurrent("r", &layer, x, &operands).unwrap();
    let last = builder.layer("last", &Layer::LastStep, recurrence.sequence).unwrap();
    let states = builder.concat("states", &[&[last], &recurrence.last[..]].concat()).unwrap();
    let y = builder.layer("f", &Layer::linear(2), states).unwrap();
    builder.output("y", y).unwrap();
    builder.finish().unwrap()
}

fn recomputed(recompute: Option<usize>) -> TrainingOptions {
    options(Loss::MeanSquaredError, Optimizer::sgd()).recompute(recompute)
}

/// Segments of every length: those that divide the sequence, and those that leave a rest.
#[test]
fn gradients_are_those_of_kept_values() {
    for cell in cells() {
        let graph = network(cell, STEPS);
        let kept = training_graph(&graph, &recomputed(None)).unwrap();
        let mut bindings = training_bindings(&kept, 3);
        bindings.insert("lengths".to_owned(), Array::ints([3], vec![10, 7, 1]));
        let expected = outcome(&kept, 3, &bindings);
        for length in 1..=STEPS + 1 {
            let step = training_graph(&graph, &recomputed(Some(length))).unwrap();
            let is_divided = |graph: &Graph| {
                graph.nodes().iter().any(|node| matches!(&node.op, Op::Scan(scan) if scan.recomputed))
            };
            assert_eq!(is_divided(&step), length < STEPS);
            assert_eq!(step.to_string().parse::<Graph>().unwrap(), step);
            let got = outcome(&step, 3, &bindings);
            assert_eq!(got.outputs[names::LOSS], expected.outputs[names::LOSS], "{cell:?}");
            for (name, expected) in &expected.updates {
                for (got, expected) in got.updates[name].real().iter().zip(expected.real()) {
                    assert!(
                        (got - expected).abs() < 1e-13,
                        "{cell:?}, {length}: {name}: {got}, not {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    let graph = network(Cell::Gru { reset: GruReset::Before }, 7);
    let options = recomputed(Some(3));
    let step = training_graph(&graph, &options).unwrap();
    let mut bindings = training_bindings(&step, 2);
    bindings.insert("lengths".to_owned(), Array::ints([2], vec![7, 4]));
    check_step(&step, &options, &2.into(), bindings);
}

#[test]
fn open_lengths_and_empty_segments_are_refused() {
    let steps: Symbol = "T".parse().unwrap();
    let open = network(cells()[0], steps);
    assert_eq!(
        training_graph(&open, &recomputed(Some(4))).unwrap_err().to_string(),
        "`recompute` divides sequences into segments, but the length of those at `r` is open, T: declare a fixed length, or \
         leave `recompute` out"
    );
    assert!(training_graph(&open, &recomputed(None)).is_ok());
    let fixed = network(cells()[0], STEPS);
    let error = training_graph(&fixed, &recomputed(Some(0))).unwrap_err();
    assert_eq!(error, AutodiffError::Setting { setting: "recompute", value: 0.0, expected: "at least 1" });
    let text = serde_json::to_string(&recomputed(Some(4))).unwrap();
    assert_eq!(serde_json::from_str::<TrainingOptions>(&text).unwrap(), recomputed(Some(4)));
}
