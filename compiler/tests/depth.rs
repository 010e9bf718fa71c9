//! Networks of thousands of layers: nothing recurses from layer to layer, and nothing visits all layers for each layer.
//! `benches/depth.rs` measures the times.

use windlass_compiler::autodiff::{TrainingOptions, training_graph};
use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::kernel::SizeId;
use windlass_compiler::ops::structure::{Concat, Reshape, Slice};
use windlass_compiler::pass::{Mode, PassOptions};
use windlass_compiler::pipeline::{CompileOptions, plan_optimized};
use windlass_compiler::shape::Shape;

const LAYERS: usize = 3_000;

/// On a stack as small as those of service threads.
fn on_small_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(512 << 10).spawn(run).unwrap().join().unwrap();
}

/// A number of layers, each made by `layer`.
fn network(layers: usize, layer: impl Fn(&mut Builder, usize, ValueId) -> ValueId) -> Graph {
    let mut builder = Builder::new("deep");
    let input = builder.input("x", &[8]).unwrap();
    let x = (0..layers).fold(input, |x, index| layer(&mut builder, index, x));
    let y = builder.layer("last", &Layer::linear(8), x).unwrap();
    builder.output("y", y).unwrap();
    builder.finish().unwrap()
}

fn dense(builder: &mut Builder, index: usize, x: ValueId) -> ValueId {
    let label = format!("f{index}");
    let y = builder.layer(&label, &Layer::linear(8), x).unwrap();
    builder.layer(&label, &Layer::Relu, y).unwrap()
}

#[test]
fn thousands_of_layers_are_planned_on_a_small_stack() {
    on_small_stack(|| {
        let network = network(LAYERS, dense);
        let mut options = CompileOptions::default();
        // Verified once at the end, not after each pass.
        options.passes.verify = false;
        let (_, plan) = plan_optimized(&network, Mode::Inference, &options).unwrap();
        assert_eq!(plan.run.len(), LAYERS + 1);
        // Two values are live at a time, for any depth.
        assert_eq!(plan.memory.open, [(SizeId::BATCH, 32)]);
        let step = training_graph(&network, &TrainingOptions::default()).unwrap();
        let (_, plan) = plan_optimized(&step, Mode::Training, &options).unwrap();
        assert!(plan.run.len() >= 2 * LAYERS);
    });
}

/// Without the passes that would remove them.
#[test]
fn chains_of_reshapes_slices_and_joins_do_not_recurse() {
    on_small_stack(|| {
        let reshaped = network(LAYERS, |builder, index, x| {
            let shape = if index % 2 == 0 { Shape::batched(&[2, 4]) } else { Shape::batched(&[8]) };
            let x = if index == 0 { builder.layer("relu", &Layer::Relu, x).unwrap() } else { x };
            builder.op(Reshape { shape }, &[x], "").unwrap()
        });
        let parts = network(LAYERS, |builder, _, x| {
            let half = |builder: &mut Builder, start| builder.op(Slice::new(1, start, 4), &[x], "").unwrap();
            let (a, b) = (half(builder, 0), half(builder, 4));
            builder.op(Concat { axis: 1 }, &[b, a], "").unwrap()
        });
        for network in [reshaped, parts] {
            let text = network.to_string();
            assert_eq!(text.parse::<Graph>().unwrap(), network);
            let options = CompileOptions::default().passes(PassOptions::NONE);
            plan_optimized(&network, Mode::Inference, &options).unwrap();
            let step = training_graph(&network, &TrainingOptions::default()).unwrap();
            let bits = PassOptions::NONE.relu_bits(true).release_relu(true);
            plan_optimized(&step, Mode::Training, &options.passes(bits)).unwrap();
        }
    });
}
