//! Tests of parts that need no compiled object.

use target_lexicon::Triple;
use windlass_compiler::codegen::object::Object;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, assemble, plan_for};
use windlass_compiler::target::available_vector_bits;

use super::build::targets;
use super::ports::ports;
use super::weights::without_code;
use super::{ObjectOptions, header, rust};
use crate::executor::Executor;
use crate::parameters::Parameters;

fn network() -> Graph {
    let mut builder = Builder::new("net");
    let mut x = builder.input("0.in\n", &[8, 12, 12]).unwrap();
    for (label, layer) in [
        ("c", Layer::conv(16, Window::square(3, 1, 1))),
        ("b", Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 }),
        ("p", Layer::conv(24, Window::square(1, 1, 0))),
        ("flat", Layer::Flatten),
        ("f", Layer::linear(10)),
    ] {
        x = builder.layer(label, &layer, x).unwrap();
    }
    builder.output("0-in ", x).unwrap();
    builder.finish().unwrap()
}

/// Weights for other CPUs are computed without their instructions: here they are computed in both ways.
#[test]
fn weights_are_those_of_compiled_code() {
    let graph = network();
    let parameters = Parameters::initialized(&graph, 3).unwrap();
    let (_, targets) = targets(&ObjectOptions::default()).unwrap();
    let available = available_vector_bits();
    for target in targets.iter().filter(|target| available.contains(&target.vectors.bits)) {
        let mut options = CompileOptions::default();
        options.plan.threads = 1;
        let plan = plan_for(&graph, Mode::Inference, &options, target).unwrap();
        assert!(!plan.prepack.is_empty());
        let compiled =
            Executor::new(assemble(plan.clone()).unwrap()).unwrap().prepacked(&parameters).unwrap();
        let evaluated = without_code(&plan, &parameters).unwrap();
        let numbers = evaluated.into_iter().map(f32::from_bits);
        // Memory between buffers is not written.
        let written: Vec<(f32, f32)> =
            compiled.into_iter().zip(numbers).filter(|(_, y)| !y.is_nan()).collect();
        assert!(written.len() >= 16 * 8 * 9 + 24 * 16, "{} words", written.len());
        assert!(written.iter().all(|(x, y)| (x - y).abs() < 1e-6), "{target:?}");
    }
}

/// Names of graphs are any text; parameters are identifiers, each with one of its own.
#[test]
fn parameters_have_names() {
    let (inputs, outputs) = ports(&network());
    let object = Object {
        name: "net",
        plans: &[],
        inputs: &inputs,
        outputs: &outputs,
        id: 0,
        triple: Triple::host(),
        states: &[],
        embedded: None,
        training: None,
    };
    let header = header::text(&object, None);
    assert!(header.contains("const float *x0_in__, float *x0_in__2_);"), "{header}");
    assert!(rust::text(&object, None).contains("the input `0.in\\n`"));
}
