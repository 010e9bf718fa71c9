//! Inputs, parameters and results at any float address: programs require only the alignment of a float.

use windlass_compiler::autodiff::{Loss, Optimizer, TrainingOptions, training_graph};
use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::dump::Dump;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::interp::Data;
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::plan::{Convolution, Features, Layouts, SlotKind};
use windlass_compiler::shape::DType;
use windlass_runtime::executor::{Binding, Executor};

use crate::graphs::network;
use crate::numbers::{Sources, Values, sources};

const NORM: Layer = Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 };

fn conv(out_channels: usize, kernel_size: usize, stride: usize, padding: usize) -> Layer {
    Layer::conv(out_channels, Window::square(kernel_size, stride, padding))
}

fn grouped(out_channels: usize, groups: usize) -> Layer {
    let init = Initializer::XavierUniform;
    Layer::Conv {
        out_channels,
        window: Window::square(3, 1, 1),
        groups,
        bias: true,
        init,
        rotated: false,
        connections: Vec::new(),
    }
}

/// Two branches that are added, and concatenated with a third.
fn branches() -> Graph {
    let build = || -> Result<Graph, GraphError> {
        let mut builder = Builder::new("branches");
        let x = builder.input("x", &[8, 7, 7])?;
        let left = builder.layer("c1", &conv(8, 3, 1, 1), x)?;
        let left = builder.layer("n1", &NORM, left)?;
        let sum = builder.add("sum", left, x)?;
        let right = builder.layer("p2", &Layer::avg_pool(Window::square(3, 1, 1)), x)?;
        let x = builder.concat("join", &[sum, right])?;
        let x = builder.layer("end", &Layer::GlobalAvgPool { axes: 2 }, x)?;
        let x = builder.layer("end", &Layer::Flatten, x)?;
        let x = builder.layer("f3", &Layer::linear(6), x)?;
        builder.output("y", x)?;
        builder.finish()
    };
    build().unwrap()
}

/// Networks that together have every layer, on sizes with and without whole vectors, each with a loss for training.
fn networks() -> Vec<(Graph, Loss)> {
    let max_pool = || Layer::max_pool(Window::square(2, 2, 0));
    let avg_pool = || Layer::avg_pool(Window::square(2, 2, 0));
    let strided = [conv(16, 5, 1, 2), NORM, Layer::Relu, max_pool(), conv(20, 3, 2, 1)];
    let pooled = [conv(32, 3, 1, 1), Layer::Relu, max_pool(), Layer::Flatten, Layer::linear(9)];
    let in_groups = [grouped(16, 16), Layer::Tanh, grouped(24, 4), Layer::GlobalAvgPool { axes: 2 }];
    let planes = [conv(4, 3, 1, 0), Layer::Sigmoid, avg_pool(), Layer::Flatten, NORM];
    let dense = [Layer::linear(64), NORM, Layer::Relu, Layer::linear(10), Layer::Softmax];
    let dropped = [Layer::linear(48), Layer::Dropout { rate: 0.25 }, Layer::linear(33), Layer::LogSoftmax];
    vec![
        (network(&[3, 11, 11], &strided), Loss::CrossEntropy),
        (network(&[16, 12, 12], &pooled), Loss::CrossEntropy),
        (network(&[16, 9, 9], &in_groups), Loss::MeanSquaredError),
        (network(&[2, 8, 8], &planes), Loss::CrossEntropy),
        (network(&[67], &dense), Loss::MeanSquaredError),
        (network(&[64], &dropped), Loss::MeanSquaredError),
        (branches(), Loss::CrossEntropy),
    ]
}

fn every_option() -> Vec<CompileOptions> {
    let mut all = Vec::new();
    for bits in available_vector_bits() {
        let mut options = CompileOptions::default();
        options.plan.vector_bits = Some(bits);
        options.plan.threads = 2;
        all.push(options.clone());
        options.plan.layouts = Layouts::ChannelsFirst;
        options.plan.convolution = Convolution::Im2col;
        options.plan.threads = 1;
        all.push(options);
    }
    // 128-bit instructions with a memory operand fault on addresses that are not multiples of 16 bytes, unless they are
    // AVX instructions, which the baseline lacks.
    let mut baseline = CompileOptions::default();
    baseline.plan.features = Features::Baseline;
    all.push(baseline.clone());
    baseline.plan.layouts = Layouts::ChannelsFirst;
    baseline.plan.convolution = Convolution::Im2col;
    all.push(baseline);
    all
}

/// Elements of a cache line.
const LINE: usize = 16;

/// Elements that start at a given offset within a cache line.
struct Placed<T> {
    elements: Vec<T>,
    own: std::ops::Range<usize>,
}

impl<T: Copy + Default> Placed<T> {
    fn new(values: &[T], place: usize) -> Self {
        let mut elements = vec![T::default(); values.len() + 2 * LINE];
        let first = elements.as_ptr().align_offset(4 * LINE) + place % LINE;
        let own = first..first + values.len();
        elements[own.clone()].copy_from_slice(values);
        Placed { elements, own }
    }

    fn own(&mut self) -> &mut [T] {
        &mut self.elements[self.own.clone()]
    }
}

/// Runs a program with slots at given offsets within a cache line, in elements; returns the bits it leaves in them.
fn run_at(
    executor: &Executor,
    batch: usize,
    sources: &Sources,
    place: impl Fn(usize) -> usize,
) -> Vec<(String, Vec<u32>)> {
    let slots = executor.slots();
    let mut values: Vec<(Placed<f32>, Placed<i32>)> = slots
        .iter()
        .enumerate()
        .map(|(index, slot)| {
            let (floats, integers) = match sources.get(&slot.name).map(|array| &array.data) {
                Some(Data::Real(values)) => (values.iter().map(|&value| value as f32).collect(), vec![]),
                Some(Data::Int(values)) => (vec![], values.clone()),
                None => (vec![f32::NAN; slot.ty.shape.elements(batch)], vec![]),
            };
            (Placed::new(&floats, place(index)), Placed::new(&integers, place(index)))
        })
        .collect();
    let mut bindings: Vec<Binding<'_>> = slots
        .iter()
        .zip(&mut values)
        .map(|(slot, (floats, integers))| match (slot.kind, slot.ty.dtype) {
            (SlotKind::Input, DType::I32) => Binding::Integers(integers.own()),
            (SlotKind::Input, DType::F32) => Binding::Floats(floats.own()),
            _ => Binding::Written(floats.own()),
        })
        .collect();
    executor.run(&mut bindings, batch, 0).unwrap();
    drop(bindings);
    let bits = |floats: &mut Placed<f32>| floats.own().iter().map(|x| x.to_bits()).collect();
    slots.iter().zip(&mut values).map(|(slot, (floats, _))| (slot.name.clone(), bits(floats))).collect()
}

fn check(graph: &Graph, mode: Mode, options: &CompileOptions) {
    let (program, _) = compile(graph, mode, options, &Dump::none()).unwrap();
    let executor = Executor::new(program).unwrap().parallelize_every_step();
    for batch in [1, 5] {
        let sources = sources(graph, batch, Values::Reals, 4);
        let aligned = run_at(&executor, batch, &sources, |_| 0);
        for first in [1, 2, 7] {
            // All slots at the same offset, which is not a vector boundary, and each slot at another offset.
            for step in [0, 2] {
                let misaligned = run_at(&executor, batch, &sources, |slot| first + step * slot);
                assert_eq!(
                    misaligned, aligned,
                    "batch {batch}, slots from float {first} in steps of {step}, {options:?}\n{graph}"
                );
            }
        }
    }
}

#[test]
fn inference_at_any_address() {
    for (graph, _) in networks() {
        for options in every_option() {
            check(&graph, Mode::Inference, &options);
        }
    }
}

#[test]
fn training_at_any_address() {
    for (index, (graph, loss)) in networks().into_iter().enumerate() {
        let optimizer = if index % 2 == 0 { Optimizer::sgd() } else { Optimizer::adam() };
        let training = TrainingOptions::default().loss(loss).optimizer(optimizer).clip_norm(1.0);
        let step = training_graph(&graph, &training).unwrap();
        for options in every_option() {
            check(&step, Mode::Training, &options);
        }
    }
}
