//! Random networks with branches: interpreter and compiled code agree under options of every kind, forward and through
//! a training step. A failing network is shrunk.
//!
//! `WINDLASS_RANDOM_CASES=10000` sets the number of networks, which then differ in each run; by default some tens of
//! fixed networks are tested.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use windlass_compiler::autodiff::{Loss, Optimizer, TrainingOptions, training_graph};
use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::ops::elementwise::Activation;
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::Mode;

use crate::check::{Agreement, Expectation, any_variant, interpreted};
use crate::numbers::{Numbers, Sources, Values, cases, random_cases, sources};

/// The next step of the network, and numbers that choose its details.
#[derive(Clone, Copy, Debug)]
enum Choice {
    Conv,
    MaxPool,
    AvgPool,
    GlobalAvgPool,
    Activation,
    Norm,
    Dropout,
    Softmax,
    Linear,
    /// The sum with an earlier value of the same sizes.
    Residual,
    /// Concatenation with an earlier value that differs only in its channels.
    Concat,
    /// Continues from an earlier value.
    Branch,
}

type LayerChoice = (Choice, [usize; 3]);

/// A network to build. Steps that are impossible at their position are skipped.
#[derive(Clone, Debug)]
struct Recipe {
    item: [usize; 3],
    steps: Vec<LayerChoice>,
    batch: usize,
    seed: u64,
}

fn recipe() -> impl Strategy<Value = Recipe> {
    use Choice::*;
    let choice = prop::sample::select(vec![
        Activation,
        Dropout,
        Softmax,
        Norm,
        Linear,
        MaxPool,
        AvgPool,
        GlobalAvgPool,
        Conv,
        Conv,
        Conv,
        Residual,
        Residual,
        Concat,
        Branch,
    ]);
    let steps = prop::collection::vec((choice, prop::array::uniform3(0usize..12)), 1..9);
    // About as many channels as vectors have lanes, or few.
    let channels = prop::sample::select(vec![1, 2, 3, 5, 8, 9, 16, 17]);
    ((channels, 1usize..11, 1usize..11), steps, 1usize..6, any::<u64>()).prop_map(
        |((channels, height, width), steps, batch, seed)| Recipe {
            item: [channels, height, width],
            steps,
            batch,
            seed,
        },
    )
}

/// A window that fits an image.
fn window(sizes: &[usize], [a, b, c]: [usize; 3]) -> Window {
    let padding: Vec<usize> = vec![c % 2, c / 2 % 2];
    let fitting = |axis: usize, wanted: usize| wanted.min(sizes[axis] + 2 * padding[axis]);
    let kernel_size: Vec<usize> = (0..2).map(|axis| fitting(axis, 1 + (a + axis * b) % 4)).collect();
    // A pool's padding must be smaller than its window.
    let padding = (0..2).map(|axis| padding[axis].min(kernel_size[axis] - 1)).collect::<Vec<_>>();
    let kernel_size = (0..2).map(|axis| kernel_size[axis].min(sizes[axis] + 2 * padding[axis])).collect();
    Window {
        kernel_size,
        stride: vec![1 + b % 2, 1 + b / 2 % 3],
        padding: padding.into_iter().map(Into::into).collect(),
        dilation: vec![1, 1],
    }
}

fn layer(choice: Choice, item: &[usize], numbers: [usize; 3]) -> Option<Layer> {
    let [a, b, c] = numbers;
    let is_image = item.len() == 3;
    match choice {
        Choice::Conv if is_image => {
            let groups = match c {
                7..9 if item[0].is_multiple_of(2) => 2,
                9.. => item[0],
                _ => 1,
            };
            let window = window(&item[1..], numbers);
            let out_channels = match groups {
                1 => [1, 2, 3, 5, 8, 9, 16, 17, 24, 33, 8, 16][a],
                _ => groups * (1 + a % 3),
            };
            Some(Layer::Conv {
                out_channels,
                window,
                groups,
                bias: b % 3 > 0,
                init: Initializer::ZEROS,
                rotated: false,
                connections: Vec::new(),
            })
        }
        Choice::MaxPool if is_image => Some(Layer::max_pool(window(&item[1..], numbers))),
        Choice::AvgPool if is_image => Some(Layer::avg_pool(window(&item[1..], numbers))),
        Choice::GlobalAvgPool if is_image => Some(Layer::GlobalAvgPool { axes: 2 }),
        Choice::Activation if b % 2 == 0 => Some([Layer::Relu, Layer::Sigmoid, Layer::Tanh][a % 3].clone()),
        Choice::Activation => {
            // A rounding of a number that is rounded otherwise may be on the other side of a jump.
            let smooth: Vec<Activation> =
                Activation::ALL.into_iter().filter(|activation| !activation.is_rounding()).collect();
            Some(Layer::Activation(smooth[a % smooth.len()]))
        }
        Choice::Norm => Some(Layer::BatchNorm { epsilon: 0.1, momentum: 0.1 }),
        Choice::Dropout => Some(Layer::Dropout { rate: a as f64 / 12.0 }),
        Choice::Softmax => Some(Layer::Softmax),
        Choice::Linear if !is_image => Some(Layer::linear(1 + a)),
        Choice::Linear => Some(Layer::Flatten),
        Choice::Conv | Choice::MaxPool | Choice::AvgPool | Choice::GlobalAvgPool => None,
        Choice::Residual | Choice::Concat | Choice::Branch => None,
    }
}

impl Recipe {
    fn graph(&self) -> Graph {
        let mut builder = Builder::new("random");
        let mut values: Vec<ValueId> = vec![builder.input("x", &self.item).unwrap()];
        for (index, &(choice, numbers)) in self.steps.iter().enumerate() {
            let label = format!("l{index}");
            let last = values[values.len() - 1];
            let item = builder.item(last);
            let fits = |builder: &Builder, other: ValueId, from: usize| {
                let other = builder.item(other);
                other.len() == item.len() && other[from..] == item[from..]
            };
            let earlier = |from: usize| {
                let fitting: Vec<ValueId> =
                    values.iter().copied().filter(|&other| fits(&builder, other, from)).collect();
                fitting[numbers[0] % fitting.len()]
            };
            let next = match choice {
                Choice::Branch => Some(values[numbers[0] % values.len()]),
                Choice::Residual => {
                    let other = earlier(0);
                    Some(builder.add(&label, last, other).unwrap())
                }
                Choice::Concat if item[0] <= 40 => {
                    let other = earlier(1);
                    Some(builder.concat(&label, &[other, last]).unwrap())
                }
                _ => layer(choice, &item, numbers).map(|layer| builder.layer(&label, &layer, last).unwrap()),
            };
            values.extend(next);
        }
        let last = values[values.len() - 1];
        let flat = builder.layer("end", &Layer::Flatten, last).unwrap();
        builder.output("y", flat).unwrap();
        builder.output("between", values[self.seed as usize % values.len()]).unwrap();
        builder.finish().unwrap()
    }

    fn check(&self) {
        let graph = self.graph();
        check(&graph, Mode::Inference, self.batch, self.seed);
        let options = TrainingOptions::default()
            .loss(Loss::MeanSquaredError)
            .optimizer(Optimizer::Sgd { momentum: 0.5, nesterov: false, weight_decay: 0.0 })
            .output("y");
        // If nothing reaches the output, there is nothing to train.
        if let Ok(step) = training_graph(&graph, &options) {
            check(&step, Mode::Training, self.batch, self.seed);
        }
    }
}

/// Checks that results are near those of the f64 interpreter on real numbers, and exact on numbers for which the
/// interpreter does not round.
fn check(graph: &Graph, mode: Mode, batch: usize, seed: u64) {
    let reals = sources(graph, batch, Values::Reals, seed);
    let mut numbers = Numbers::new(seed);
    let mut check = |sources: Sources, agreement: Agreement| {
        let expectation = Expectation::on(graph, batch, sources, agreement);
        for _ in 0..4 {
            expectation.check(mode, &any_variant(&mut numbers), "a random network");
        }
    };
    check(reals, Agreement::WithinWhole(2e-5));
    let sparse = sources(graph, batch, Values::Sparse, seed);
    if interpreted::<f32>(graph, batch, &sparse) == interpreted::<f64>(graph, batch, &sparse) {
        check(sparse, Agreement::Exact);
    }
}

#[test]
fn random_networks() {
    let asked = random_cases();
    let config = Config {
        cases: u32::try_from(cases(60)).expect("a number of cases"),
        rng_seed: if asked.is_some() { RngSeed::Random } else { RngSeed::Fixed(20) },
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&recipe(), |recipe| {
            recipe.check();
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}
