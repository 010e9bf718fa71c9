//! Kernels as a level of their own: those of the plans of many graphs print, and read back as they were.

#![cfg(feature = "codegen")]

use std::fs;
use std::path::{Path, PathBuf};

use windlass_compiler::autodiff::{Optimizer, TrainingOptions, training_graph};
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::kernel::Kernel;
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::{Mode, PassOptions, optimize};
use windlass_compiler::plan::{Convolution, Im2col, Layouts, Plan, PlanOptions, plan};
use windlass_compiler::target::Target;

/// The graphs below a folder, in files that may have more behind them.
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

/// A network with convolutions of several kinds, pools, normalisation, a sum and a join.
fn network() -> Graph {
    let mut builder = Builder::new("several");
    let image = builder.input("image", &[3, 13, 11]).unwrap();
    let conv = |channels, size| Layer::conv2d(channels, Window::square(size, 1, size / 2));
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
            ("c1", Layer::conv2d(17, Window::square(5, 2, 2))),
            ("n1", norm.clone()),
            ("r1", Layer::Relu),
            ("c2", conv(24, 3)),
            ("r2", Layer::Relu),
            ("p2", Layer::MaxPool2d(Window::square(2, 2, 0))),
        ],
    );
    let second = stack(first, &[("c3", conv(24, 3)), ("n3", norm), ("t3", Layer::Tanh)]);
    let sum = builder.add("sum", first, second).unwrap();
    let join = builder.concat("join", &[sum, second]).unwrap();
    let mut stack = |mut x, layers: &[(&str, Layer)]| {
        for (label, layer) in layers {
            x = builder.layer(label, layer, x).unwrap();
        }
        x
    };
    let end = [
        ("a4", Layer::AvgPool2d(Window::square(2, 1, 1))),
        ("d4", Layer::Dropout { rate: 0.25 }),
        ("flat", Layer::Flatten),
        ("f5", Layer::linear(37)),
        ("s5", Layer::Sigmoid),
        ("f6", Layer::linear(5)),
    ];
    let y = stack(join, &end);
    builder.output("y", y).unwrap();
    builder.finish().unwrap()
}

/// Options that between them take every algorithm.
fn variants() -> Vec<PlanOptions> {
    let with = |threads, convolution, layouts| PlanOptions {
        threads,
        convolution,
        layouts,
        ..PlanOptions::default()
    };
    vec![
        with(1, Convolution::ByCost, Layouts::ByChannels),
        with(3, Convolution::Direct, Layouts::ByChannels),
        with(2, Convolution::Winograd(2), Layouts::ByChannels),
        with(1, Convolution::Winograd(4), Layouts::ByChannels),
        with(3, Convolution::Im2col, Layouts::ChannelsFirst),
        PlanOptions { im2col: Im2col::Whole, ..with(2, Convolution::Im2col, Layouts::ChannelsFirst) },
        PlanOptions {
            im2col: Im2col::Tiled { panel_bytes: 64 },
            ..with(2, Convolution::Im2col, Layouts::ChannelsFirst)
        },
    ]
}

/// The plans of a graph for every width of vectors and every variant of the options.
fn plans(graph: &Graph, mode: Mode) -> Vec<Plan> {
    let graph = optimize(graph, mode, &PassOptions::default(), &mut |_| {}).unwrap();
    let targets = [128, 256, 512].map(Target::x86_64);
    let variants = variants();
    let each = targets.iter().flat_map(|target| variants.iter().map(move |options| (target, options)));
    each.map(|(target, options)| {
        let options = PlanOptions { vector_bits: Some(target.vectors.bits), ..options.clone() };
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
    let plans = plans(graph, mode);
    let kernels = plans.iter().flat_map(|plan| plan.prepare.iter().chain(&plan.run));
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
        let options = TrainingOptions { optimizer, ..TrainingOptions::default() };
        let step = training_graph(&network, &options).unwrap();
        assert!(all_read_back(&step, Mode::Training) > 500);
    }
}
