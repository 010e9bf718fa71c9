//! Batches that are too large for memory are refused before anything is allocated.

use windlass_compiler::dump::Dump;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{self, Array, InterpError};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_runtime::error::Error;
use windlass_runtime::executor::{Binding, Executor};

/// A softmax of four numbers, with an item length at which some batches overflow to one item.
fn graph() -> Graph {
    "graph net {
      %0 = input {name = \"x\", type = \"f32[N, 4]\"}
      %1 = softmax(%0)
      %2 = softmax(%1)
      output \"y\" = %2
    }"
    .parse()
    .unwrap()
}

fn executor() -> Executor {
    let (program, _) = compile(&graph(), Mode::Inference, &CompileOptions::default(), &Dump::none()).unwrap();
    Executor::new(program).unwrap()
}

/// Batches that do not fit four numbers: 2^64 + 4 numbers, some that can be counted, and the largest.
const BATCHES: [usize; 4] = [(1 << 62) + 1, 1 << 45, 1 << 61, usize::MAX];

#[test]
fn bindings_of_another_batch_are_refused_at_any_batch() {
    let executor = executor();
    let (x, mut y) = ([1.0, 2.0, 3.0, 4.0], [0.0; 4]);
    for batch in BATCHES {
        let error = executor.run(&mut [Binding::Floats(&x), Binding::Written(&mut y)], batch, 0).unwrap_err();
        assert!(matches!(&error, Error::Binding { name, .. } if name == "x"), "{batch}: {error}");
        // With nothing bound.
        let error = executor.start(batch).unwrap().execute(0).unwrap_err();
        assert!(matches!(error, Error::Binding { .. }), "{batch}: {error}");
    }
    executor.run(&mut [Binding::Floats(&x), Binding::Written(&mut y)], 1, 0).unwrap();
    assert!((y.iter().sum::<f32>() - 1.0).abs() < 1e-6);
}

#[test]
fn the_interpreter_refuses_them_too() {
    let bindings = interp::Bindings::from([("x".to_owned(), Array::new([1, 4], vec![1.0f32; 4]))]);
    for batch in BATCHES {
        let sizes = Array::new([batch, 4], vec![1.0f32; 4]);
        for array in [bindings["x"].clone(), sizes] {
            let bindings = interp::Bindings::from([("x".to_owned(), array)]);
            let error = interp::run(&graph(), batch, &bindings).unwrap_err();
            let refused = matches!(
                error,
                InterpError::BatchTooLarge { .. }
                    | InterpError::WrongSizes { .. }
                    | InterpError::WrongElementCount { .. }
            );
            assert!(refused, "{batch}: {error}");
        }
    }
}
