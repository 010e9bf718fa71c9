//! Dense layers with packed weights: batches around the sizes of tiles, and features that fill no vector. Bit for bit.

use windlass_compiler::graph::Layer;
use windlass_compiler::pass::Mode;

use crate::check::{Agreement, Expectation, variants};
use crate::graphs::network;
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
