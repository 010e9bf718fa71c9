//! Runs every file of `filetests/plan`: a graph, its plan settings, and the expected plan and kernels.
//!
//! ```text
//! ; plan: threads 2, bits 512         the settings in the table; others have their defaults, except for the vector
//!                                     width, which is 128 bits, so that files are the same on every CPU
//! ; The purpose of the case.
//! graph name { … }
//! ; expect:
//! plan name { … }
//! kernel … { … }
//! ```
//!
//! | setting | |
//! |---|---|
//! | `threads 2` | threads of a run |
//! | `batch 8` | batch size to optimise for |
//! | `bits 512` | vector width |
//! | `panel 64`, `whole` | patches in panels of this many bytes, or of whole images |
//! | `layouts channels_first` | the layout of images |
//! | `convolution direct`, `im2col`, `winograd 2`, `winograd 4` | the convolution algorithm |
//! | `accuracy strict` | how closely results follow the sums as written |
//! | `choices` | expect only the planner's choices |
//!
//! `WINDLASS_BLESS=1` rewrites the files to expect the actual results.

#![cfg(feature = "codegen")]

use std::fs;
use std::path::Path;

use windlass_compiler::autodiff::{Loss, TrainingOptions, training_graph};
use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::kernel::Element;
use windlass_compiler::ops::elementwise::{Binary, BinaryKind};
use windlass_compiler::ops::reduce::{Expand, ReduceKind};
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::{Mode, PassOptions, optimize};
use windlass_compiler::plan::{Accuracy, Convolution, Im2col, Layouts, Location, Plan, PlanOptions, plan};
use windlass_compiler::shape::Shape;
use windlass_compiler::target::Target;

const EXPECT: &str = "; expect:\n";

/// The options, and whether only the choices are compared.
fn settings(header: &str) -> (PlanOptions, bool) {
    let settings = header.strip_prefix("; plan:").expect("the first line is `; plan: …`");
    let mut choices = false;
    let mut options = PlanOptions::default().vector_bits(128);
    for setting in settings.split(',').map(str::trim).filter(|setting| !setting.is_empty()) {
        let words: Vec<&str> = setting.split(' ').collect();
        match words[..] {
            ["threads", count] => options.threads = count.parse().unwrap(),
            ["batch", items] => options.batch = Some(items.parse().unwrap()),
            ["bits", bits] => options.vector_bits = Some(bits.parse().unwrap()),
            ["panel", bytes] => options.im2col = Im2col::Tiled { panel_bytes: bytes.parse().unwrap() },
            ["choices"] => choices = true,
            ["whole"] => options.im2col = Im2col::Whole,
            ["layouts", "channels_first"] => options.layouts = Layouts::ChannelsFirst,
            ["convolution", "direct"] => options.convolution = Convolution::Direct,
            ["convolution", "im2col"] => options.convolution = Convolution::Im2col,
            ["convolution", "winograd", results] => {
                options.convolution = Convolution::Winograd(results.parse().unwrap());
            }
            ["accuracy", "strict"] => options.accuracy = Accuracy::Strict,
            _ => panic!("no setting `{setting}`"),
        }
    }
    (options, choices)
}

fn check(file: &Path) {
    let text = fs::read_to_string(file).unwrap();
    let (input, expected) = text.split_at(text.find(EXPECT).unwrap_or(text.len()));
    let graph: Graph = input.parse().unwrap();
    let (options, choices) = settings(text.lines().next().unwrap_or_default());
    let target = Target::x86_64(options.vector_bits.unwrap_or(128));
    let plan = plan(&graph, &options, &target).unwrap();
    let kernels: String = plan.prepack.iter().chain(&plan.run).map(|kernel| format!("\n{kernel}")).collect();
    let got = if choices { format!("{EXPECT}{}", plan.choices) } else { format!("{EXPECT}{plan}{kernels}") };
    if got != expected && std::env::var_os("WINDLASS_BLESS").is_some_and(|value| value == "1") {
        fs::write(file, format!("{input}{got}")).unwrap();
    } else {
        assert_eq!(got, expected, "{}:\n{got}", file.display());
    }
}

#[test]
fn every_file_gives_the_plan_it_expects() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests/plan");
    let mut files: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 12, "only {} files in {}", files.len(), directory.display());
    files.iter().for_each(|file| check(file));
}

/// The plan of a training step of some layers on images of 1 channel.
fn training_plan(size: usize, layers: &[Layer], passes: &PassOptions) -> Plan {
    let mut builder = Builder::new("net");
    let mut x = builder.input("image", &[1, size, size]).unwrap();
    for (index, layer) in layers.iter().enumerate() {
        x = builder.layer(&format!("l{index}"), layer, x).unwrap();
    }
    builder.output("y", x).unwrap();
    let graph = training_graph(&builder.finish().unwrap(), &TrainingOptions::default()).unwrap();
    let graph = optimize(&graph, Mode::Training, passes, &mut |_| {}).unwrap();
    plan(&graph, &PlanOptions::default(), &Target::x86_64(128)).unwrap()
}

#[test]
fn training_keeps_argmax_indices_in_bytes() {
    for channels in [4, 8] {
        let layers = [
            Layer::conv(channels, Window::square(3, 1, 1)),
            Layer::Relu,
            Layer::max_pool(Window::square(2, 2, 0)),
            Layer::Flatten,
            Layer::linear(3),
        ];
        let with = training_plan(32, &layers, &PassOptions::default());
        let bytes: Vec<usize> = with
            .buffers
            .iter()
            .filter(|buffer| buffer.element == Element::U8)
            .map(|buffer| 4 * buffer.size.elements)
            .collect();
        assert_eq!(bytes, [channels * 16 * 16], "{with}");
        // At most an image before pooling, two after it, and the argmax indices.
        let (image, pooled) = (channels * 32 * 32, channels * 16 * 16);
        assert!(with.memory.per_sample() <= image + 2 * pooled + pooled / 4 + 64, "{with}");
        let kept = PassOptions::default().release_relu(false).relu_bits(false);
        let without = training_plan(32, &layers, &kept);
        assert!(with.memory.per_sample() + pooled <= without.memory.per_sample(), "{with}\n{without}");
    }
}

#[test]
fn training_keeps_bits_of_what_gradients_of_rectifiers_alone_need() {
    for channels in [4, 8] {
        let layers = [
            Layer::conv(channels, Window::square(3, 1, 1)),
            Layer::Relu,
            Layer::avg_pool(Window::square(2, 2, 0)),
            Layer::Flatten,
            Layer::linear(3),
        ];
        let with = training_plan(32, &layers, &PassOptions::default());
        let kept = PassOptions::default().relu_bits(false);
        let without = training_plan(32, &layers, &kept);
        let bytes: Vec<usize> = with
            .buffers
            .iter()
            .filter(|buffer| buffer.element == Element::U8)
            .map(|buffer| 4 * buffer.size.elements)
            .collect();
        let image = channels * 32 * 32;
        assert_eq!(bytes, [image / 8], "{with}");
        // Without masks, both the image and its gradient are live at once.
        assert!(with.memory.per_sample() + image / 2 <= without.memory.per_sample(), "{with}\n{without}");
    }
}

/// Weights are folded, then packed or transformed; batch-normalised dense weights are read in their folded form.
#[test]
fn what_is_kept_of_folded_weights_is_what_runs_read() {
    let mut builder = Builder::new("folded");
    let mut value = builder.input("image", &[8, 12, 12]).unwrap();
    let norm = Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 };
    let conv = Layer::conv(16, Window::square(3, 1, 1));
    for (label, layer) in [
        ("c1", &conv),
        ("n1", &norm),
        ("r1", &Layer::Relu),
        ("c2", &conv),
        ("f", &Layer::Flatten),
        ("d3", &Layer::linear(4)),
        ("n3", &norm),
    ] {
        value = builder.layer(label, layer, value).unwrap();
    }
    builder.output("y", value).unwrap();
    let graph = builder.finish().unwrap();
    let graph = optimize(&graph, Mode::Inference, &PassOptions::default(), &mut |_| {}).unwrap();
    for (convolution, weights) in [(Convolution::Direct, 9 * 8), (Convolution::Winograd(2), 16 * 8)] {
        let options = PlanOptions::default().convolution(convolution);
        let plan = plan(&graph, &options, &Target::x86_64(128)).unwrap();
        let read: Vec<_> = plan.run.iter().flat_map(|kernel| kernel.buffers()).collect();
        let is_constant = |id| plan.constants.iter().any(|&(constant, _)| constant == id);
        for id in plan.prepack.iter().flat_map(|kernel| kernel.buffers()).chain(read.iter().copied()) {
            let buffer = &plan.buffers[id.index()];
            match buffer.location {
                Location::Prepacked(_) => {
                    let is_read = read.contains(&id) || is_constant(id);
                    assert!(is_read, "{convolution:?}: no run reads {}", buffer.name);
                }
                Location::Prepacking(_) => assert!(!read.contains(&id), "{convolution:?}: {}", buffer.name),
                _ => {}
            }
        }
        // The weights of both convolutions and of the dense layer; on separate cache lines two folded biases and the
        // epsilon of both normalisations.
        let dense = 4 * 16 * 12 * 12;
        assert_eq!(
            plan.memory.prepacked,
            16 * weights + 2 * 16 * weights + dense + 3 * 16,
            "{convolution:?}"
        );
        // The folded weight of the first convolution, which is then packed, and vectors of its channels.
        let folded = 16 * 9 * 8;
        assert!((folded..folded + 4 * 16).contains(&plan.memory.prepacking), "{}", plan.memory.prepacking);
    }
}

#[test]
fn phases_of_a_gradient_share_its_work() {
    let layers = [
        Layer::conv(16, Window::square(3, 1, 1)),
        Layer::conv(16, Window::square(5, 2, 2)),
        Layer::Flatten,
        Layer::linear(3),
    ];
    let plan = training_plan(16, &layers, &PassOptions::default());
    let work: Vec<u64> = plan
        .run
        .iter()
        .filter(|kernel| kernel.name == "l1.conv_grad_input")
        .map(|kernel| kernel.cost.per_sample())
        .collect();
    // Of 5 positions of an axis, even results use 3, odd ones 2.
    let whole = 2 * 16 * 16 * (8 * 8) * 25;
    assert_eq!(work, [9, 6, 6, 4].map(|part| whole * part / 25), "{plan}");
}

/// A chain of layers, with numbered labels.
fn chain(builder: &mut Builder, label: &str, mut x: ValueId, layers: &[Layer]) -> ValueId {
    for (index, layer) in layers.iter().enumerate() {
        x = builder.layer(&format!("{label}.{index}"), layer, x).unwrap();
    }
    x
}

const NORM: Layer = Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 };

fn conv(channels: usize, size: usize, stride: usize) -> Layer {
    Layer::conv(channels, Window::square(size, stride, size / 2))
}

/// Residual blocks. Every second block halves the image and changes the channels.
fn residual() -> Graph {
    let mut builder = Builder::new("residual");
    let image = builder.input("image", &[3, 32, 32]).unwrap();
    let pool = Layer::max_pool(Window::square(3, 2, 1));
    let mut x = chain(&mut builder, "stem", image, &[conv(16, 7, 2), NORM, Layer::Relu, pool]);
    for (stage, channels, stride) in [(0, 16, 1), (1, 32, 2), (2, 64, 2)] {
        for (block, stride) in [(0, stride), (1, 1)] {
            let label = format!("s{stage}.{block}");
            let body = [conv(channels, 3, stride), NORM, Layer::Relu, conv(channels, 3, 1), NORM];
            let y = chain(&mut builder, &label, x, &body);
            let shortcut = match stride {
                1 => x,
                _ => chain(&mut builder, &format!("{label}.shortcut"), x, &[conv(channels, 1, stride), NORM]),
            };
            let sum = builder.add(&format!("{label}.sum"), y, shortcut).unwrap();
            x = chain(&mut builder, &format!("{label}.out"), sum, &[Layer::Relu]);
        }
    }
    let y = chain(
        &mut builder,
        "head",
        x,
        &[Layer::GlobalAvgPool { axes: 2 }, Layer::Flatten, Layer::linear(10)],
    );
    builder.output("y", y).unwrap();
    builder.finish().unwrap()
}

/// Normalisation and activation before each convolution, whose result is concatenated with all earlier ones.
fn pre_activation() -> Graph {
    let mut builder = Builder::new("pre_activation");
    let image = builder.input("image", &[3, 16, 16]).unwrap();
    let mut x = chain(&mut builder, "stem", image, &[conv(16, 3, 1)]);
    for stage in 0..2 {
        for block in 0..3 {
            let label = format!("s{stage}.{block}");
            let body = [NORM, Layer::Relu, conv(32, 1, 1), NORM, Layer::Relu, conv(8, 3, 1)];
            let y = chain(&mut builder, &label, x, &body);
            x = builder.concat(&format!("{label}.join"), &[x, y]).unwrap();
        }
        let halve = Layer::avg_pool(Window::square(2, 2, 0));
        x = chain(&mut builder, &format!("t{stage}"), x, &[NORM, Layer::Relu, conv(24, 1, 1), halve]);
    }
    let head = [NORM, Layer::Relu, Layer::GlobalAvgPool { axes: 2 }, Layer::Flatten, Layer::linear(10)];
    let y = chain(&mut builder, "head", x, &head);
    builder.output("y", y).unwrap();
    builder.finish().unwrap()
}

/// Channels multiplied by weights computed from the whole image (squeeze and excitation), and an image padded along its
/// axes.
fn weighed() -> Graph {
    let mut builder = Builder::new("weighed");
    let image = builder.input("image", &[3, 16, 16]).unwrap();
    let x = chain(&mut builder, "stem", image, &[conv(16, 3, 1), NORM, Layer::Relu]);
    let means = builder.reduce("squeeze", x, ReduceKind::Mean, &[2, 3]).unwrap();
    let excite = [Layer::linear(4), Layer::Relu, Layer::linear(16), Layer::Sigmoid];
    let weights = chain(&mut builder, "excite", means, &excite);
    let shape = builder.graph().ty(x).shape.clone();
    let spread = Expand { shape, axis: 2, count: 2, divided: false };
    let weights = builder.op(spread, &[weights], "spread").unwrap();
    let x = builder.op(Binary { kind: BinaryKind::Multiply }, &[x, weights], "weigh").unwrap();
    let x = builder.pad("higher", x, 2, 1usize, 1usize).unwrap();
    let x = builder.pad("wider", x, 3, 2usize, 0usize).unwrap();
    let x = chain(&mut builder, "body", x, &[conv(16, 3, 1), NORM, Layer::Relu]);
    let y = chain(
        &mut builder,
        "head",
        x,
        &[Layer::GlobalAvgPool { axes: 2 }, Layer::Flatten, Layer::linear(10)],
    );
    builder.output("y", y).unwrap();
    builder.finish().unwrap()
}

/// A result for each pixel.
fn per_pixel() -> Graph {
    let mut builder = Builder::new("per_pixel");
    let image = builder.input("image", &[3, 16, 16]).unwrap();
    let layers = [conv(16, 3, 1), NORM, Layer::Relu, conv(16, 3, 1), Layer::Relu, conv(8, 1, 1)];
    let y = chain(&mut builder, "body", image, &layers);
    builder.output("y", y).unwrap();
    builder.finish().unwrap()
}

/// Class scores for each pixel, with the pixels as the second-to-last axis.
fn classes_per_pixel() -> Graph {
    let mut builder = Builder::new("classes_per_pixel");
    let image = builder.input("image", &[3, 16, 16]).unwrap();
    let x = chain(&mut builder, "body", image, &[conv(16, 3, 1), NORM, Layer::Relu, conv(9, 3, 1)]);
    let x = builder.transpose("last", x, &[0, 2, 3, 1]).unwrap();
    let y = builder.reshape("pixels", x, Shape::batched(&[16 * 16, 9])).unwrap();
    builder.output("y", y).unwrap();
    builder.finish().unwrap()
}

/// Images with many channels keep their layout from the first convolution to the head or the loss, and back.
#[test]
fn nothing_is_reordered_within_a_network() {
    let squared = Loss::MeanSquaredError;
    for (graph, loss) in [
        (residual(), Loss::CrossEntropy),
        (pre_activation(), Loss::CrossEntropy),
        (weighed(), Loss::CrossEntropy),
        (per_pixel(), squared),
        (classes_per_pixel(), Loss::CrossEntropy),
    ] {
        let step = training_graph(&graph, &TrainingOptions::default().loss(loss)).unwrap();
        for (graph, mode) in [(&graph, Mode::Inference), (&step, Mode::Training)] {
            for bits in [128, 512] {
                let graph = optimize(graph, mode, &PassOptions::default(), &mut |_| {}).unwrap();
                let plan = plan(&graph, &PlanOptions::default(), &Target::x86_64(bits)).unwrap();
                let kernels = || plan.run.iter().filter(|kernel| kernel.name.contains("reorder"));
                let reordered: Vec<String> = kernels().map(|kernel| kernel.name.clone()).collect();
                assert!(reordered.is_empty(), "{mode:?} of {}: {reordered:?}\n{plan}", graph.name());
                // But the images are not stored in the order of their shapes.
                let last = plan.run.iter().filter(|kernel| kernel.note.contains("pixel"));
                assert!(last.count() > 0, "{plan}");
            }
        }
    }
}

/// Each concatenation of a dense block is computed in the memory of the last one: a convolution writes its part, and no
/// kernel copies the others.
#[test]
fn concatenations_of_concatenations_are_computed_in_place() {
    let graph = optimize(&pre_activation(), Mode::Inference, &PassOptions::default(), &mut |_| {}).unwrap();
    let plan = plan(&graph, &PlanOptions::default(), &Target::x86_64(512)).unwrap();
    let joined: Vec<&str> =
        plan.run.iter().map(|kernel| &*kernel.name).filter(|name| name.contains("concat")).collect();
    assert!(joined.is_empty(), "{joined:?}\n{plan}");
}
