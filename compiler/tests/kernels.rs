//! Tests kernels as a separate level: those of the plans of many graphs print and parse back; evaluated without code,
//! plans agree with the interpreter.

#![cfg(feature = "codegen")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use windlass_compiler::autodiff::{Loss, Optimizer, TrainingOptions, training_graph};
use windlass_compiler::graph::{Builder, Cell, Graph, GruReset, Layer, Recurrent};
use windlass_compiler::interp::{Array, Bindings, Data, run};
use windlass_compiler::kernel::Kernel;
use windlass_compiler::ops::Op;
use windlass_compiler::ops::elementwise::Activation;
use windlass_compiler::ops::source::InputRole;
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::{Mode, PassOptions, optimize};
use windlass_compiler::plan::{
    Accuracy, Buffer, Convolution, Im2col, Layouts, Location, Plan, PlanOptions, Slot, SlotKind, plan,
};
use windlass_compiler::shape::DType;
use windlass_compiler::target::Target;

/// The graphs below a folder, in files that may have further content.
fn graphs_below(folder: &Path) -> Vec<Graph> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { &mut folders } else { &mut files }.push(path);
        }
    }
    files.sort();
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    texts
        .filter_map(|text| {
            let end = ["; expect:\n", "; error: "].iter().filter_map(|marker| text.find(marker)).min();
            text[..end.unwrap_or(text.len())].parse().ok()
        })
        .collect()
}

/// A network with several kinds of convolutions, pools, normalisation, a sum and a concatenation.
fn network() -> Graph {
    let mut builder = Builder::new("several");
    let image = builder.input("image", &[3, 13, 11]).unwrap();
    let conv = |channels, size| Layer::conv(channels, Window::square(size, 1, size / 2));
    let mut stack = |mut x, layers: &[(&str, Layer)]| {
        for (label, layer) in layers {
            x = builder.layer(label, layer, x).unwrap();
        }
        x
    };
    let norm = Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 };
    let first = stack(
        image,
        &[
            ("c1", Layer::conv(17, Window::square(5, 2, 2))),
            ("n1", norm.clone()),
            ("r1", Layer::Relu),
            ("c2", conv(24, 3)),
            ("r2", Layer::Relu),
            ("p2", Layer::max_pool(Window::square(2, 2, 0))),
        ],
    );
    let second =
        stack(first, &[("c3", conv(24, 3)), ("n3", norm), ("t3", Layer::Activation(Activation::Silu))]);
    let sum = builder.add("sum", first, second).unwrap();
    let join = builder.concat("join", &[sum, second]).unwrap();
    let mut stack = |mut x, layers: &[(&str, Layer)]| {
        for (label, layer) in layers {
            x = builder.layer(label, layer, x).unwrap();
        }
        x
    };
    let end = [
        ("a4", Layer::avg_pool(Window::square(2, 1, 1))),
        ("d4", Layer::Dropout { rate: 0.25 }),
        ("flat", Layer::Flatten),
        ("f5", Layer::linear(37)),
        ("s5", Layer::Sigmoid),
        ("g5", Layer::Activation(Activation::Gelu)),
        ("p5", Layer::prelu()),
        ("l5", Layer::Activation(Activation::leaky_relu(0.3))),
        ("f6", Layer::linear(5)),
    ];
    let y = stack(join, &end);
    builder.output("y", y).unwrap();
    builder.finish().unwrap()
}

/// Options that together cover every algorithm.
fn variants() -> Vec<PlanOptions> {
    let with = |threads, convolution, layouts| {
        PlanOptions::default().threads(threads).convolution(convolution).layouts(layouts)
    };
    vec![
        with(1, Convolution::ByCost, Layouts::ByChannels),
        with(3, Convolution::Direct, Layouts::ByChannels),
        with(2, Convolution::Winograd(2), Layouts::ByChannels),
        with(1, Convolution::Winograd(4), Layouts::ByChannels),
        with(3, Convolution::Im2col, Layouts::ChannelsFirst),
        with(2, Convolution::Im2col, Layouts::ChannelsFirst).im2col(Im2col::Whole),
        with(2, Convolution::Im2col, Layouts::ChannelsFirst).im2col(Im2col::Tiled { panel_bytes: 64 }),
    ]
}

/// The plans of a graph for every vector width and every variant of the options.
fn plans(graph: &Graph, mode: Mode, accuracy: Accuracy) -> Vec<Plan> {
    let graph = optimize(graph, mode, &PassOptions::default(), &mut |_| {}).unwrap();
    let targets = [128, 256, 512].map(Target::x86_64);
    let variants = variants();
    let each = targets.iter().flat_map(|target| variants.iter().map(move |options| (target, options)));
    each.map(|(target, options)| {
        let options = options.clone().accuracy(accuracy).vector_bits(target.vectors.bits);
        plan(&graph, &options, target).unwrap_or_else(|error| panic!("{options:?}: {error}\n{graph}"))
    })
    .collect()
}

#[track_caller]
fn reads_back(kernel: &Kernel) {
    let text = kernel.to_string();
    let read: Kernel = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(read, *kernel, "{text}");
    assert_eq!(read.to_string(), text);
}

fn all_read_back(graph: &Graph, mode: Mode) -> usize {
    let plans = plans(graph, mode, Accuracy::Default);
    let kernels = plans.iter().flat_map(|plan| plan.prepack.iter().chain(&plan.run));
    kernels.map(reads_back).count()
}

#[test]
fn kernels_of_all_file_tests_read_back() {
    let graphs = graphs_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests"));
    assert!(graphs.len() > 60, "only {} graphs", graphs.len());
    let kernels: usize = graphs.iter().map(|graph| all_read_back(graph, Mode::Inference)).sum();
    assert!(kernels > 1000, "only {kernels} kernels");
}

#[test]
fn kernels_of_steps_of_training_read_back() {
    let network = network();
    assert!(all_read_back(&network, Mode::Inference) > 100);
    for optimizer in [Optimizer::adam(), Optimizer::Sgd { momentum: 0.9, nesterov: true, weight_decay: 1e-4 }]
    {
        let options = TrainingOptions::default().optimizer(optimizer);
        let step = training_graph(&network, &options).unwrap();
        assert!(all_read_back(&step, Mode::Training) > 500);
    }
}

/// Values for every source: positive for states and rates, labels of five classes.
fn sources(graph: &Graph, batch: usize, integers: bool) -> Bindings<f64> {
    let mut random = fastrand::Rng::with_seed(11);
    let mut bindings = Bindings::new();
    for node in graph.nodes() {
        let (name, is_positive) = match &node.op {
            Op::Input(input) => (&input.name, input.role == InputRole::Control),
            Op::Parameter(parameter) => (&parameter.name, false),
            Op::State(state) => (&state.name, true),
            _ => continue,
        };
        let ty = graph.ty(node.results[0]);
        let sizes = ty.shape.concrete(batch);
        let elements: usize = sizes.iter().product();
        let mut number = || match (integers, is_positive) {
            (true, true) => 0.5,
            (true, false) => f64::from(random.i8(-2..=2)),
            (false, true) => f64::from(random.f32() + 0.5),
            (false, false) => f64::from(random.f32() * 2.0 - 1.0),
        };
        let array = match ty.dtype {
            DType::F32 => Array::new(sizes, (0..elements).map(|_| number()).collect()),
            DType::I32 => Array::ints(sizes, (0..elements).map(|_| random.i32(0..5)).collect()),
        };
        bindings.insert(name.clone(), array);
    }
    bindings
}

/// The contents of every slot of a plan after evaluation.
fn evaluated(plan: &Plan, batch: usize, sources: &Bindings<f64>) -> BTreeMap<String, Vec<f32>> {
    let words = |slot: &Slot| match (slot.kind, sources.get(&slot.name).map(|array| &array.data)) {
        (SlotKind::Output, _) | (_, None) => vec![f32::NAN.to_bits(); slot.ty.shape.elements(batch)],
        (_, Some(Data::Real(values))) => values.iter().map(|&value| (value as f32).to_bits()).collect(),
        (_, Some(Data::Int(values))) => values.iter().map(|&value| value.cast_unsigned()).collect(),
    };
    let mut slots: Vec<Vec<u32>> = plan.slots.iter().map(words).collect();
    plan.evaluate(batch, &mut slots).unwrap_or_else(|error| panic!("{error}\n{plan}"));
    let floats = |words: &Vec<u32>| words.iter().map(|&word| f32::from_bits(word)).collect();
    plan.slots.iter().zip(&slots).map(|(slot, words)| (slot.name.clone(), floats(words))).collect()
}

/// Evaluates the plans of a graph and compares every output and update with the interpreter: within a part of the
/// largest element, or bit for bit.
#[track_caller]
fn agree(graph: &Graph, mode: Mode, part: Option<f64>) {
    let accuracy = if part.is_none() { Accuracy::Strict } else { Accuracy::Default };
    let plans = plans(graph, mode, accuracy);
    for batch in [1, 9] {
        let sources = sources(graph, batch, part.is_none());
        let expected = run(graph, batch, &sources).unwrap();
        if part.is_none() {
            let single: Bindings<f32> =
                sources.iter().map(|(name, array)| (name.clone(), array.convert())).collect();
            let single = run(graph, batch, &single).unwrap();
            let same = expected.outputs.iter().all(|(name, array)| {
                single.outputs[name].real().iter().map(|&x| f64::from(x)).eq(array.real().iter().copied())
            });
            assert!(same, "the numbers are not exact");
        }
        let whole = expected.outputs.values().chain(expected.updates.values());
        let whole = whole.flat_map(|array| array.real()).fold(0.0f64, |whole, x| whole.max(x.abs()));
        for plan in &plans {
            let got = evaluated(plan, batch, &sources);
            for (name, array) in expected.outputs.iter().chain(&expected.updates) {
                let largest = array.real().iter().fold(whole / 64.0, |largest: f64, x| largest.max(x.abs()));
                assert_eq!(got[name].len(), array.real().len());
                for (index, (&got, &expected)) in got[name].iter().zip(array.real()).enumerate() {
                    let agrees = match part {
                        None => got.to_bits() == (expected as f32).to_bits(),
                        Some(part) => (f64::from(got) - expected).abs() <= part * largest,
                    };
                    assert!(agrees, "{name}[{index}] is {got}, not {expected} (largest {largest})\n{plan}");
                }
            }
        }
    }
}

#[test]
fn evaluated_plans_agree_with_the_interpreter() {
    let network = network();
    agree(&network, Mode::Inference, Some(2e-5));
    let step = training_graph(&network, &TrainingOptions::default()).unwrap();
    agree(&step, Mode::Training, Some(2e-5));
}

/// Convolutions, pools and dense layers of small integers: no sum is rounded, in any order.
/// In a loop within a loop, parts of weights are copied and packed before the inner loop, and never once and for all, since
/// the step changes the weights.
#[test]
fn nested_loops_derive_weights_in_every_run() {
    let cell = Cell::Gru { reset: GruReset::Before };
    let mut builder = Builder::new("net");
    let x = builder.input("x", &[8, 5]).unwrap();
    let y = builder.layer("r", &Layer::Recurrent(Recurrent::new(cell, 8)), x).unwrap();
    let y = builder.layer("f", &Layer::linear(3), y).unwrap();
    builder.output("y", y).unwrap();
    let options = TrainingOptions::default().loss(Loss::MeanSquaredError).recompute(3);
    let step = training_graph(&builder.finish().unwrap(), &options).unwrap();
    let graph = optimize(&step, Mode::Training, &PassOptions::default(), &mut |_| {}).unwrap();
    let sources = sources(&graph, 3, false);
    let expected = run(&graph, 3, &sources).unwrap().updates;
    for bits in [128, 256, 512] {
        // Weights are packed for batches as large as this one.
        let options = PlanOptions::default().batch(64).threads(2).vector_bits(bits);
        let got = evaluated(&plan(&graph, &options, &Target::x86_64(bits)).unwrap(), 3, &sources);
        for (name, expected) in &expected {
            let pairs = got[name].iter().zip(expected.real());
            let error = pairs.map(|(got, expected)| (f64::from(*got) - expected).abs()).fold(0.0, f64::max);
            assert!(error < 1e-5, "{name}: {error}");
        }
    }
}

#[test]
fn evaluated_plans_of_integers_have_the_bits_of_the_interpreter() {
    let mut builder = Builder::new("integers");
    let mut value = builder.input("image", &[2, 9, 7]).unwrap();
    let pool = Layer::max_pool(Window::square(2, 2, 0));
    for (label, layer) in [
        ("c1", Layer::conv(9, Window::square(3, 1, 1))),
        ("r1", Layer::Relu),
        ("p1", pool),
        ("c2", Layer::conv(16, Window::square(3, 1, 1))),
        ("flat", Layer::Flatten),
        ("f3", Layer::linear(5)),
    ] {
        value = builder.layer(label, &layer, value).unwrap();
    }
    builder.output("y", value).unwrap();
    let network = builder.finish().unwrap();
    agree(&network, Mode::Inference, None);
    let optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 };
    let options = TrainingOptions::default().optimizer(optimizer).loss(Loss::MeanSquaredError);
    // The loss and its gradient divide by the batch: they are near.
    agree(&training_graph(&network, &options).unwrap(), Mode::Training, Some(2e-5));
}

#[test]
fn slots_that_do_not_fit_are_errors() {
    let mut builder = Builder::new("one");
    let x = builder.input("x", &[3]).unwrap();
    let y = builder.layer("f", &Layer::linear(2), x).unwrap();
    builder.output("y", y).unwrap();
    let plan = plan(&builder.finish().unwrap(), &PlanOptions::default(), &Target::x86_64(128)).unwrap();
    let slots = || vec![vec![0; 6], vec![0; 6], vec![0; 2], vec![0; 4]];
    assert_eq!(plan.evaluate(2, &mut slots()), Ok(()));
    let error =
        |batch: usize, mut slots: Vec<Vec<u32>>| plan.evaluate(batch, &mut slots).unwrap_err().to_string();
    assert_eq!(error(0, slots()), "the plan of `one` needs a batch of at least one item but gets none");
    assert_eq!(error(2, slots()[1..].to_vec()), "the plan of `one` has 4 slots but 3 are bound");
    let mut large = plan.clone();
    large.memory.fixed = usize::MAX;
    assert_eq!(
        large.evaluate(2, &mut slots()).unwrap_err().to_string(),
        format!(
            "the plan of `one` needs {} words of memory for an arena at a batch of 2, which there are not",
            usize::MAX
        )
    );
    assert_eq!(error(3, slots()), "`x` of the plan of `one` needs 9 elements at a batch of 3 but has 6");
}

/// A kernel that accesses memory which its phase must not use is detected, and slots keep their contents.
#[test]
fn kernels_touch_what_is_theirs() {
    let mut builder = Builder::new("one");
    let x = builder.input("x", &[3]).unwrap();
    let y = builder.layer("f", &Layer::linear(2), x).unwrap();
    builder.output("y", y).unwrap();
    let plan = plan(&builder.finish().unwrap(), &PlanOptions::default(), &Target::x86_64(128)).unwrap();
    let place = |kind: SlotKind| {
        let is_of = |buffer: &Buffer| matches!(buffer.location, Location::Slot(slot) if plan.slots[slot].kind == kind);
        plan.buffers.iter().position(is_of).unwrap()
    };
    let (input, output) = (place(SlotKind::Input), place(SlotKind::Output));
    let run_with = |from: usize, to: usize, elements: usize| {
        let text = format!(
            "kernel copy {{ variables 0 serial {{ map {elements} lanes {{
                e0 = load f32 b{from}[0] by 1 store f32 b{to}[0] by 1 = e0 }} }} }}"
        );
        let mut plan = plan.clone();
        plan.run = vec![text.parse().unwrap()];
        let mut slots = vec![vec![1; 3], vec![2; 6], vec![3; 2], vec![4; 2]];
        let result = plan.evaluate(1, &mut slots);
        (result.map_err(|error| error.to_string()), slots)
    };
    let (result, slots) = run_with(input, output, 2);
    assert_eq!((result, &slots[3]), (Ok(()), &vec![1; 2]));
    let (result, slots) = run_with(output, input, 2);
    assert_eq!(result, Err(format!("kernel copy: b{input} is written but may only be read here")));
    assert_eq!(slots, [vec![1; 3], vec![2; 6], vec![3; 2], vec![4; 2]]);
    let (result, _) = run_with(input, output, 3);
    assert_eq!(result, Err(format!("kernel copy: element 2 of b{output} is written, which has 2")));
}
