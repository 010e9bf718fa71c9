//! SGD updates that are fused into the kernels of gradients, and updates that cannot be, bit for bit.

use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::Graph;
use windlass_compiler::ops::conv::ConvGradWeight;
use windlass_compiler::ops::elementwise::{Unary, UnaryKind};
use windlass_compiler::ops::linear::{Linear, LinearGradWeight};
use windlass_compiler::ops::optimizer::Sgd;
use windlass_compiler::ops::source::{Input, InputRole};
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::Mode;
use windlass_compiler::plan::{PlanOptions, plan};
use windlass_compiler::shape::{Shape, Type};
use windlass_compiler::target::Target;

use crate::check::{Agreement, Expectation};
use crate::graphs::Ops;
use crate::numbers::Values;

const PLAIN: Sgd = Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 };

/// The learning rate, an input.
pub(crate) fn rate(ops: &mut Ops) -> ValueId {
    let ty = Type::f32(Shape::scalar());
    ops.op(Input { name: "learning_rate".to_owned(), role: InputRole::Control, ty }, &[])
}

/// Whether a kernel has a fused SGD update.
fn is_fused(graph: &Graph) -> bool {
    let options = PlanOptions::default();
    let plan = plan(graph, &options, &Target::host(options.features, options.vector_bits).unwrap()).unwrap();
    plan.run.iter().all(|kernel| !kernel.name.ends_with("sgd"))
}

#[track_caller]
fn check(graph: &Graph, fused: bool, what: &str) {
    assert_eq!(is_fused(graph), fused, "{what}");
    Expectation::new(graph, &[1, 2, 7], Values::Integers, Agreement::Exact)
        .check_variants(Mode::Training, what);
}

#[test]
fn dense_layers() {
    for (inputs, outputs) in [(1, 1), (5, 3), (17, 33), (97, 5), (200, 9)] {
        let mut ops = Ops::new();
        let (x, g) = (ops.input("x", &[inputs]), ops.input("g", &[outputs]));
        let weight = ops.parameter("w", &[outputs, inputs]);
        // Reads the weight before the update.
        let y = ops.op(Linear { epilogue: Vec::new() }, &[x, weight]);
        let rate = rate(&mut ops);
        let gradient = ops.op(LinearGradWeight {}, &[g, x]);
        let moved = ops.op(PLAIN, &[weight, gradient, rate]);
        let mut graph = ops.output("y", y).finish();
        graph.add_update("w", moved).unwrap();
        check(&graph, true, &format!("{inputs} to {outputs}"));
    }
}

#[test]
fn convolutions() {
    for (channels, groups) in [([1, 5], 1), ([3, 16], 1), ([8, 17], 1), ([33, 16], 1), ([16, 32], 2)] {
        for window in [Window::square(1, 1, 0), Window::square(3, 1, 1), Window::square(3, 2, 0)] {
            let [inputs, outputs] = channels;
            let mut ops = Ops::new();
            let x = ops.input("x", &[inputs, 6, 7]);
            let g = ops.input("g", &[&[outputs], &window.output_sizes(&[6, 7])[..]].concat());
            let sizes = [&[outputs, inputs / groups], &window.kernel_size[..]].concat();
            let weight = ops.parameter("w", &sizes);
            let rate = rate(&mut ops);
            let gradient = ops.op(ConvGradWeight { window: window.clone(), groups }, &[g, x]);
            let moved = ops.op(PLAIN, &[weight, gradient, rate]);
            let mut graph = ops.finish();
            graph.add_update("w", moved).unwrap();
            // Gradients of images with few channels use another schedule.
            let what = format!("{channels:?} in {groups} groups, {window:?}");
            check(&graph, inputs >= 8 || outputs >= 8, &what);
        }
    }
}

/// Weights that are read after the gradient is computed, gradients with other users, and other updates.
#[test]
fn steps_that_wait() {
    for case in 0..4 {
        let mut ops = Ops::new();
        let (x, g) = (ops.input("x", &[9]), ops.input("g", &[5]));
        let weight = ops.parameter("w", &[5, 9]);
        let rate = rate(&mut ops);
        let gradient = ops.op(LinearGradWeight {}, &[g, x]);
        let step = Sgd { weight_decay: if case == 2 { 2.0 } else { 0.0 }, ..PLAIN };
        let mut output = None;
        if case == 0 {
            output = Some(ops.op(Linear { epilogue: Vec::new() }, &[x, weight]));
        }
        let moved = ops.op(step, &[weight, gradient, rate]);
        if case == 1 {
            output = Some(ops.op(Unary { kind: UnaryKind::Negate }, &[gradient]));
        }
        if case == 3 {
            // The new weight is an output, not an update of the weight.
            output = Some(moved);
        }
        let mut graph = ops.finish();
        if let Some(value) = output {
            graph.add_output("other", value).unwrap();
        }
        if case != 3 {
            graph.add_update("w", moved).unwrap();
        }
        check(&graph, false, &format!("case {case}"));
    }
}
