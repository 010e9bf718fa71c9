//! Dense layers whose operands are packed: batches around the sizes of tiles, and features that fill no vector. Bit for
//! bit.

use windlass_compiler::graph::Layer;
use windlass_compiler::ops::linear::{LinearGradInput, LinearGradWeight};
use windlass_compiler::ops::optimizer::Sgd;
use windlass_compiler::pass::Mode;
use windlass_compiler::plan::{PlanOptions, plan};
use windlass_compiler::target::Target;

use crate::check::{Agreement, Expectation, variants};
use crate::fused_sgd::rate;
use crate::graphs::{Ops, network};
use crate::numbers::Values;

#[test]
fn packed_weights() {
    for (inputs, hidden, outputs) in [(1, 1, 1), (17, 33, 10), (1024, 31, 5), (40, 64, 100)] {
        let layers = [Layer::linear(hidden), Layer::Relu, Layer::linear(outputs)];
        let graph = network(&[inputs], &layers);
        let what = format!("from {inputs} over {hidden} to {outputs}");
        let expectation = Expectation::new(&graph, &[1, 13, 16, 31], Values::Sparse, Agreement::Exact);
        for batch in [16, 64] {
            for mut options in variants() {
                options.plan.batch = Some(batch);
                expectation.check(Mode::Inference, &options, &what);
            }
        }
    }
}

/// Gradients of batches with many rows: the weight is packed, and the operands of its gradient are copied to panels. The
/// gradient of one weight is a result, that of the other is fused into an update.
#[test]
fn gradients_of_many_rows() {
    const MANY: usize = 256;
    for (inputs, outputs) in [(1, 1), (5, 3), (50, 17), (97, 66), (200, 130)] {
        let mut ops = Ops::new();
        let (x, g) = (ops.input("x", &[inputs]), ops.input("g", &[outputs]));
        let weight = ops.parameter("w", &[outputs, inputs]);
        let dx = ops.op(LinearGradInput {}, &[g, weight]);
        let gradient = ops.op(LinearGradWeight {}, &[g, x]);
        let rate = rate(&mut ops);
        let own = ops.op(LinearGradWeight {}, &[x, g]);
        let other = ops.parameter("v", &[inputs, outputs]);
        let moved = ops.op(Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 }, &[other, own, rate]);
        let mut graph = ops.output("dx", dx).output("dw", gradient).finish();
        graph.add_update("v", moved).unwrap();

        let options = PlanOptions::default().batch(MANY);
        let target = Target::host(options.features, options.vector_bits).unwrap();
        let text = plan(&graph, &options, &target).unwrap().to_string();
        assert!(text.contains("panels of the gradient"), "{text}");
        assert_eq!(text.contains("packed weight"), inputs > 8, "{text}");
        let what = format!("{inputs} to {outputs}");
        let expectation = Expectation::new(&graph, &[1, 9, 31], Values::Integers, Agreement::Exact);
        for mut options in variants() {
            options.plan.batch = Some(MANY);
            expectation.check(Mode::Training, &options, &what);
        }
    }
}
