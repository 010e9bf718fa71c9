//! Unavailable settings are refused with a message.

use windlass_compiler::dump::Dump;
use windlass_compiler::graph::Layer;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileError, CompileOptions, compile};
use windlass_compiler::plan::{Convolution, Features, WINOGRAD_RESULTS};
use windlass_compiler::plan::{MAX_THREADS, PlanError};
use windlass_compiler::target::{TargetError, VECTOR_BITS, available_vector_bits};
use windlass_runtime::Error;
use windlass_runtime::executor::{Binding, Executor};

use crate::graphs::network;

fn refused(options: &CompileOptions) -> CompileError {
    compile(&network(&[4], &[Layer::linear(2)]), Mode::Inference, options, &Dump::none()).err().unwrap()
}

#[test]
fn vector_widths() {
    let mut options = CompileOptions::default();
    for bits in [0, 64, 100, 1024] {
        options.plan.vector_bits = Some(bits);
        assert_eq!(
            refused(&options),
            CompileError::Plan(PlanError::Target(TargetError::VectorWidth { bits }))
        );
    }
    let available = available_vector_bits();
    for bits in VECTOR_BITS {
        options.plan.vector_bits = Some(bits);
        if available.contains(&bits) {
            compile(&network(&[4], &[Layer::linear(2)]), Mode::Inference, &options, &Dump::none()).unwrap();
        } else {
            assert!(
                matches!(refused(&options), CompileError::Target(TargetError::MissingVectors { bits: asked, .. }) if asked == bits)
            );
        }
    }
}

#[test]
fn wide_vectors_need_more_than_every_cpu_has() {
    let mut options = CompileOptions::default();
    options.plan.features = Features::Baseline;
    compile(&network(&[4], &[Layer::linear(2)]), Mode::Inference, &options, &Dump::none()).unwrap();
    for bits in available_vector_bits().into_iter().filter(|&bits| bits > 128) {
        options.plan.vector_bits = Some(bits);
        assert_eq!(refused(&options), CompileError::Target(TargetError::BaselineVectors { bits }));
    }
}

#[test]
fn numbers_of_threads_out_of_range() {
    let mut options = CompileOptions::default();
    for threads in [0, MAX_THREADS + 1] {
        options.plan.threads = threads;
        let error = refused(&options);
        let expected = "between 1 and 1024";
        assert_eq!(
            error,
            CompileError::Plan(PlanError::Setting { setting: "threads", value: threads, expected })
        );
        assert_eq!(error.to_string(), format!("`threads` is {threads} but must be between 1 and 1024"));
    }
}

#[test]
fn batches_out_of_range() {
    let mut options = CompileOptions::default();
    for batch in [0, usize::MAX] {
        options.plan.batch = Some(batch);
        let expected = format!("`batch` is {batch} but must be between 1 and 1048576");
        assert_eq!(refused(&options).to_string(), expected);
    }
    // Batch sizes other than the one to optimise for may be run.
    options.plan.batch = Some(64);
    compile(&network(&[4], &[Layer::linear(2)]), Mode::Inference, &options, &Dump::none()).unwrap();
}

#[test]
fn winograd_with_results_there_is_no_transform_for() {
    let mut options = CompileOptions::default();
    for results in [0, 1, 3, 5, 6, usize::MAX] {
        options.plan.convolution = Convolution::Winograd(results);
        let error = refused(&options);
        let setting = "convolution.winograd";
        assert_eq!(
            error,
            CompileError::Plan(PlanError::Setting { setting, value: results, expected: "2 or 4" })
        );
        assert_eq!(error.to_string(), format!("`convolution.winograd` is {results} but must be 2 or 4"));
    }
    for results in WINOGRAD_RESULTS {
        options.plan.convolution = Convolution::Winograd(results);
        compile(&network(&[4], &[Layer::linear(2)]), Mode::Inference, &options, &Dump::none()).unwrap();
    }
}

#[test]
fn bindings_that_do_not_fit() {
    let graph = network(&[4], &[Layer::linear(2)]);
    let (program, _) = compile(&graph, Mode::Inference, &CompileOptions::default(), &Dump::none()).unwrap();
    let executor = Executor::new(program).unwrap();
    let names: Vec<&str> = executor.slots().iter().map(|slot| slot.name.as_str()).collect();
    assert_eq!(names, ["x", "l0.weight", "l0.bias", "y"]);
    let run = |x: &mut Binding<'_>, batch: usize| {
        let mut y = [0.0; 2];
        let x = std::mem::replace(x, Binding::Floats(&[]));
        let mut bindings =
            [x, Binding::Floats(&[1.0; 8]), Binding::Floats(&[0.5; 2]), Binding::Written(&mut y)];
        executor.run(&mut bindings, batch, 0).map(|()| y)
    };
    assert_eq!(run(&mut Binding::Floats(&[1.0; 4]), 1).unwrap(), [4.5; 2]);
    assert!(matches!(run(&mut Binding::Floats(&[1.0; 4]), 0), Err(Error::EmptyBatch { .. })));
    for wrong in [&mut Binding::Floats(&[1.0; 3]), &mut Binding::Integers(&[1; 4])] {
        assert!(matches!(run(wrong, 1), Err(Error::Binding { name, .. }) if name == "x"));
    }
    // Outputs must be writable, and every slot must be bound.
    let mut read_only = [
        Binding::Floats(&[1.0; 4]),
        Binding::Floats(&[1.0; 8]),
        Binding::Floats(&[0.5; 2]),
        Binding::Floats(&[0.0; 2]),
    ];
    assert!(matches!(executor.run(&mut read_only, 1, 0), Err(Error::Binding { name, .. }) if name == "y"));
    assert!(matches!(executor.run(&mut read_only[..3], 1, 0), Err(Error::Binding { .. })));
}
