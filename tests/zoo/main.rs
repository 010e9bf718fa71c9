//! The networks of the zoo have the sizes of the papers' networks, as counted by PyTorch for the same layers, and small
//! variants of the large ones give the interpreter's results when compiled.

#[path = "../api/support/arm64.rs"]
mod arm64;
#[path = "../../benches/support/oracle.rs"]
mod oracle;
#[path = "../../benches/support/task.rs"]
mod task;
#[path = "../../examples/zoo/mod.rs"]
mod zoo;

mod export;

use std::collections::BTreeSet;

use ndarray::ArrayD;
use task::{Kind, Task};
use windlass::object::TrainedState;
use windlass::{Dynamic, Model, Options, Trainer, TrainerOptions};
use windlass_compiler::autodiff::{Loss, OutputLoss, TrainingOptions, training_graph};
use windlass_compiler::codegen::FallbackReason;
use windlass_compiler::dump::Dump;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::{self, Array};
use windlass_compiler::pass::{Mode, PassOptions, optimize};
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::plan::{Accuracy, PlanOptions, plan};
use windlass_compiler::summary::summary;
use windlass_compiler::target::{Target, available_vector_bits};
use windlass_runtime::executor::Executor;

/// A digest of the sizes of all parameters in declaration order: `digest·31 + size` over every size, and a 0 after each
/// parameter.
fn digest_of_shapes(graph: &Graph) -> u64 {
    let sizes = graph.parameters().flat_map(|(_, parameter)| parameter.shape.item().into_iter().chain([0]));
    sizes.fold(0, |digest: u64, size| digest.wrapping_mul(31).wrapping_add(size as u64))
}

/// Name, trainable scalars, parameters, digest of their sizes, multiply-adds of one image: from PyTorch 2.15.
const EXPECTED: [(&str, u64, usize, u64, u64); 10] = [
    ("lenet", 61_706, 10, 4_272_422_952_176_198_009, 416_520),
    ("mobilenet_v1", 4_231_976, 83, 14_030_179_344_901_382_870, 568_740_352),
    ("nin", 7_439_608, 24, 14_321_489_288_650_591_523, 965_572_864),
    ("googlenet", 6_998_552, 116, 5_497_182_028_264_745_283, 1_582_671_872),
    ("alexnet", 50_844_008, 16, 3_156_568_337_613_148_099, 1_009_945_728),
    ("resnet18", 11_689_512, 62, 11_919_325_499_930_533_917, 1_814_073_344),
    ("densenet121", 7_978_856, 364, 4_056_665_708_988_553_789, 2_834_161_664),
    ("resnet50", 25_557_032, 161, 14_391_879_174_187_686_563, 4_089_184_256),
    ("vgg11", 132_863_336, 22, 10_943_681_836_854_125_213, 7_609_090_048),
    ("vgg16", 138_357_544, 32, 7_325_391_789_222_938_979, 15_470_264_320),
];

/// The network with a name.
fn network(name: &str) -> &'static Graph {
    let entry = zoo::NETWORKS.iter().find(|entry| entry.name == name);
    (entry.unwrap_or_else(|| panic!("there is no {name}")).graph)()
}

#[test]
fn sizes_are_those_of_the_same_networks_in_pytorch() {
    let found = EXPECTED.map(|(name, ..)| {
        let graph = network(name);
        let totals = summary(graph).totals;
        (name, totals.parameters, graph.parameters().count(), digest_of_shapes(graph), totals.multiply_adds)
    });
    assert_eq!(found, EXPECTED);
}

/// Name and trainable scalars: of networks in torchvision, the numbers in its documentation; of the first two after LeNet-5
/// and of MobileNet v2, SqueezeNet and ResNet-34, also counted by PyTorch for the same layers; others as noted.
const PUBLISHED: [(&str, u64); 25] = [
    // The sum of the paper's layers, below, and a dense layer of 84 · 10 + 10.
    ("lenet5", 60_850),
    // The same without the dense layer: the prototypes are fixed.
    ("lenet5_radial", 60_000),
    ("mlp", 669_706),
    ("cifar_vgg", 2_197_706),
    ("resnet34", 21_797_672),
    ("resnext50", 25_028_904),
    ("squeezenet", 1_235_496),
    ("mobilenet_v2", 3_504_872),
    ("mobilenet_v3_small", 2_542_856),
    ("shufflenet_v2", 2_278_604),
    ("efficientnet_b0", 5_288_548),
    ("vgg13", 133_047_848),
    ("vgg19", 143_667_240),
    ("vgg11_norm", 132_868_840),
    ("vgg13_norm", 133_053_736),
    ("vgg16_norm", 138_365_992),
    ("vgg19_norm", 143_678_248),
    // By hand from the widths of the paper's figure 5: 132,032 of the first three convolutions with their normalisation;
    // 219,072 + 260,160 + 385,088 + 609,984 + 665,344 + 895,936 + 1,108,032 + 1,439,744 + 2,182,272 + 2,279,616; 1,025,000.
    ("inception_norm", 11_194_984),
    // By hand, the layers in order: 34,944 + 307,456 + 885,120 + 663,936 + 442,624 + 37,752,832 + 16,781,312 + 4,097,000.
    ("alexnet_2012", 60_965_224),
    // By hand, weights and normalisation of the layers of PyTorch's DCGAN tutorial.
    ("dcgan_generator", 3_576_704),
    ("dcgan_discriminator", 2_765_568),
    // By hand: 100 · 100 · (3 + 4 + 5) + 300 of the convolutions, 300 · 2 + 2.
    ("textcnn", 120_902),
    // By hand: seven layers of 21 · 21 · 9 + 21, and 21 · 21 + 21.
    ("dilated_segmentation", 28_392),
    // By hand: 27 · 32 · 3 + 32, 27 · 64 · 32 + 64, 27 · 128 · 64 + 128, 128 · 10 + 10.
    ("video", 280_586),
    // By hand: 9 · (1·16 + 16·16 + 16·32 + 32·32 + 32·64 + 64·64 + 64·32 + 32·32 + 32·16 + 16·16) and 2 · 320 of the
    // convolutions and their normalisation, 64 · 32 · 4 + 32, 32 · 16 · 4 + 16, 16 · 2 + 2.
    ("unet", 117_090),
];

#[test]
fn networks_have_the_published_numbers_of_parameters() {
    let found = PUBLISHED.map(|(name, _)| (name, summary(network(name)).totals.parameters));
    assert_eq!(found, PUBLISHED);
    // Every network is in one of the tables.
    let listed: BTreeSet<&str> =
        EXPECTED.iter().map(|entry| entry.0).chain(PUBLISHED.iter().map(|entry| entry.0)).collect();
    assert_eq!(listed, zoo::NETWORKS.iter().map(|entry| entry.name).collect());
}

/// The numbers of LeCun et al. 1998, section II.B: parameters and connections of each layer. A connection is a product, or
/// the addition of a bias; the coefficients of a subsampling have one connection for each element of their window.
#[test]
fn layers_of_lenet_5_have_the_published_numbers_of_parameters_and_connections() {
    let graph = zoo::LeNet5::graph();
    let rows = summary(graph).rows;
    let found = ["c1", "s2", "c3", "s4", "c5", "f6"].map(|layer| {
        let row = rows.iter().find(|row| row.label == layer).unwrap();
        let outputs: usize = row.output.item_elements();
        let positions: usize = row.output.item()[1..].iter().product();
        let of = |name: &str| graph.parameters().find(|(_, own)| own.name == format!("{layer}.{name}"));
        let weights = of("weight").map_or(0, |(_, weight)| weight.shape.item_elements());
        let connections = match layer {
            "s2" | "s4" => outputs * (2 * 2 + 1),
            _ => (weights + of("bias").map_or(0, |(_, bias)| bias.shape.item_elements())) * positions,
        };
        (layer, row.parameters, connections)
    });
    assert_eq!(
        found,
        [
            ("c1", 156, 122_304),
            ("s2", 12, 5_880),
            // The paper has 156,000: its 1,516 parameters at 10 · 10 positions are 151,600 connections.
            ("c3", 1_516, 151_600),
            ("s4", 32, 2_000),
            ("c5", 48_120, 48_120),
            ("f6", 10_164, 10_164),
        ]
    );
}

/// At its published end, LeNet-5 has distances to 10 fixed prototypes of 84 signs, which are no parameters.
#[test]
fn lenet_5_ends_in_distances_to_fixed_prototypes() {
    let totals = summary(zoo::LeNet5Radial::graph()).totals;
    assert_eq!((totals.parameters, totals.state), (60_000, 10 * 84));
    assert_eq!(zoo::LeNet5Radial::CLASSES, 10);
}

windlass::network! {
    use zoo::networks::{
        AlexNet, DenseNet121, GoogLeNet, LeNet, MobileNetV1, Nin, ResNet18, ResNet50, Vgg11, Vgg16,
    };
    use zoo::deep::networks::{AlexNet2012, CifarVgg, Mlp, ResNeXt50, ResNet34, Vgg13, Vgg19};
    use zoo::inception::networks::InceptionNorm;
    use zoo::lenet5::networks::LeNet5;
    use zoo::mobile::networks::{
        EfficientNetB0, MobileNetV2, MobileNetV3Small, ShuffleNetV2, SqueezeNet,
    };
    use zoo::images::networks::{DcganDiscriminator, DcganGenerator, DilatedSegmentation, TextCnn, UNet, VideoNet};

    const SIZE = 96;
    const FEW = 10;

    network FewResNet18 = ResNet18<size = SIZE, classes = FEW>;
    network FewResNet34 = ResNet34<size = SIZE, classes = FEW>;
    network FewResNet50 = ResNet50<size = SIZE, classes = FEW>;
    network FewResNeXt50 = ResNeXt50<size = SIZE, classes = FEW>;
    network FewDenseNet121 = DenseNet121<size = SIZE, classes = FEW>;
    network FewGoogLeNet = GoogLeNet<size = SIZE, classes = FEW>;
    network FewInceptionNorm = InceptionNorm<size = SIZE, classes = FEW>;
    network FewMobileNetV1 = MobileNetV1<size = SIZE, classes = FEW>;
    network FewMobileNetV2 = MobileNetV2<size = SIZE, classes = FEW>;
    network FewMobileNetV3Small = MobileNetV3Small<size = SIZE, classes = FEW>;
    network FewShuffleNetV2 = ShuffleNetV2<size = SIZE, classes = FEW>;
    network FewSqueezeNet = SqueezeNet<size = SIZE, classes = FEW>;
    network FewEfficientNetB0 = EfficientNetB0<size = SIZE, classes = FEW>;

    network FewLeNet = LeNet<size = 32, classes = 7>;
    network FewLeNet5 = LeNet5<size = 36, classes = 7, radial = true>;
    network FewMlp = Mlp<features = 20, classes = 7>;
    network FewAlexNet = AlexNet<size = SIZE, classes = FEW, divisor = 8>;
    network FewAlexNet2012 = AlexNet2012<size = SIZE, classes = FEW, divisor = 8>;
    network FewNin = Nin<size = SIZE, classes = FEW, divisor = 4>;
    network FewVgg11 = Vgg11<size = 32, classes = FEW, divisor = 8>;
    network FewVgg13 = Vgg13<size = 32, classes = FEW, divisor = 8>;
    network FewVgg16 = Vgg16<size = 32, classes = FEW, divisor = 8, norm = true>;
    network FewVgg19 = Vgg19<size = 32, classes = FEW, divisor = 8>;
    network FewCifarVgg = CifarVgg<size = 24, classes = 7>;
    network FewUNet = UNet<size = 32, channels = 3, classes = 5>;
    network FewSegmentation = DilatedSegmentation<size = 8, classes = 5>;
    network FewGenerator = DcganGenerator<noise = 20, width = 8, channels = 1>;
    network FewDiscriminator = DcganDiscriminator<width = 8, channels = 1>;
    network FewTextCnn = TextCnn<features = 20, words = 16, classes = 5>;
    network FewVideoNet = VideoNet<frames = 8, size = 24, classes = 5>;
}

/// With other classes, networks that end in the means of their channels differ from the published ones only in the dense
/// layer, or 1×1 convolution, from these channels to the classes.
#[test]
fn networks_for_few_classes_have_the_published_layers_before_the_last() {
    macro_rules! few {
        ($($network:ident $name:literal $channels:literal),*) => {
            [$(($name, $network::CLASSES, summary($network::graph()).totals.parameters, $channels)),*]
        };
    }
    let found = few![
        FewResNet18 "resnet18" 512, FewResNet34 "resnet34" 512, FewResNet50 "resnet50" 2048,
        FewResNeXt50 "resnext50" 2048, FewDenseNet121 "densenet121" 1024, FewGoogLeNet "googlenet" 1024,
        FewInceptionNorm "inception_norm" 1024, FewMobileNetV1 "mobilenet_v1" 1024,
        FewMobileNetV2 "mobilenet_v2" 1280, FewMobileNetV3Small "mobilenet_v3_small" 1024,
        FewShuffleNetV2 "shufflenet_v2" 1024, FewSqueezeNet "squeezenet" 512,
        FewEfficientNetB0 "efficientnet_b0" 1280
    ];
    for (name, classes, parameters, channels) in found {
        let whole = summary(network(name)).totals.parameters;
        assert_eq!((classes, parameters), (10, whole - (channels + 1) * 990), "{name}");
    }
}

/// Sums by hand of the layers in order; a convolution or dense layer has `inputs · kernel · outputs + outputs`.
#[test]
fn networks_of_other_sizes_have_the_sizes_of_their_layers() {
    let dense = |inputs: u64, outputs: u64| inputs * outputs + outputs;
    let vgg = |convolutions: [u64; 5]| -> u64 {
        let (mut sum, mut before) = (0, 3);
        for (count, channels) in convolutions.into_iter().zip([8, 16, 32, 64, 64]) {
            sum += dense(before * 9, channels) + (count - 1) * dense(channels * 9, channels);
            before = channels;
        }
        // One pixel is left of 32×32.
        sum + dense(64, 512) + dense(512, 512) + dense(512, 10)
    };
    let parameters = |graph: &Graph| summary(graph).totals.parameters;
    for (graph, expected) in [
        (
            FewLeNet::graph(),
            dense(25, 6) + dense(150, 16) + dense(16 * 36, 120) + dense(120, 84) + dense(84, 7),
        ),
        (FewMlp::graph(), dense(20, 512) + dense(512, 512) + dense(512, 7)),
        (FewVgg11::graph(), vgg([1, 1, 2, 2, 2])),
        (FewVgg13::graph(), vgg([2, 2, 2, 2, 2])),
        // A weight and a bias of each channel's normalisation.
        (FewVgg16::graph(), vgg([2, 2, 3, 3, 3]) + 2 * (2 * 8 + 2 * 16 + 3 * 32 + 3 * 64 + 3 * 64)),
        (FewVgg19::graph(), vgg([2, 2, 4, 4, 4])),
        (FewTextCnn::graph(), dense(20 * 3, 100) + dense(20 * 4, 100) + dense(20 * 5, 100) + dense(300, 5)),
        (FewSegmentation::graph(), 7 * dense(5 * 9, 5) + dense(5, 5)),
    ] {
        assert_eq!(parameters(graph), expected, "{}", graph.name());
    }
    assert_eq!(FewUNet::OUTPUT_SHAPE, [5, 32, 32]);
    assert_eq!(FewSegmentation::OUTPUT_SHAPE, [5, 64, 64]);
    assert_eq!((FewGenerator::NOISE_SHAPE, FewGenerator::OUTPUT_SHAPE), ([20], [1, 64, 64]));
    assert_eq!((FewDiscriminator::IMAGE_SHAPE, FewDiscriminator::CLASSES), ([1, 64, 64], 1));
    assert_eq!((FewVideoNet::CLIP_SHAPE, FewVideoNet::CLASSES), ([3, 8, 24, 24], 5));
    assert_eq!((FewAlexNet::IMAGE_SHAPE, FewAlexNet::CLASSES), ([3, SIZE, SIZE], FEW));
    assert_eq!((FewAlexNet2012::IMAGE_SHAPE, FewAlexNet2012::CLASSES), ([3, SIZE, SIZE], FEW));
    assert_eq!((FewNin::IMAGE_SHAPE, FewNin::CLASSES), ([3, SIZE, SIZE], FEW));
    assert_eq!((FewCifarVgg::IMAGE_SHAPE, FewCifarVgg::CLASSES), ([3, 24, 24], 7));
    assert_eq!((FewLeNet5::IMAGE_SHAPE, FewLeNet5::CLASSES), ([1, 36, 36], 7));
}

/// GoogLeNet and two classifiers of 512 or 528 channels: `c · 128 + 128`, `2048 · 1024 + 1024` and `1024 · 1000 + 1000`.
#[test]
fn googlenet_trains_with_its_auxiliary_classifiers() {
    let graph = zoo::GoogLeNetAuxiliary::graph();
    assert_eq!(summary(graph).totals.parameters, 6_998_552 + 3_188_840 + 3_190_888);
    let part = |output: &str, weight| OutputLoss::new(output, Loss::CrossEntropy).weighted(weight);
    let losses = vec![part("class", 1.0), part("early", 0.3), part("late", 0.3)];
    let step = training_graph(graph, &TrainingOptions::default().losses(losses)).unwrap();
    compile(&step, Mode::Training, &CompileOptions::default(), &Dump::none()).unwrap();
}

#[test]
fn small_relatives_run_compiled_as_interpreted() {
    for entry in zoo::SMALL_NETWORKS {
        for kind in [Kind::Infer, Kind::Train] {
            let task = Task::new((entry.graph)(), kind).unwrap();
            for threads in [1, 2] {
                let mut options = CompileOptions::default();
                options.plan.threads = threads;
                let (program, _) = compile(&task.graph, kind.mode(), &options, &Dump::none()).unwrap();
                let executor = Executor::new(program).unwrap().parallelize_every_step();
                for batch in [1, 3] {
                    if let Err(error) = oracle::check(&task, &executor, batch, Accuracy::Default) {
                        panic!("{} {}, batch {batch}, {threads} threads: {error}", entry.name, kind.name());
                    }
                }
            }
        }
    }
}

/// Objects for 64-bit ARM give the interpreter's numbers.
#[test]
fn small_relatives_run_on_arm() {
    if !arm64::is_available() {
        return;
    }
    let mut runs = Vec::new();
    let mut all = Vec::new();
    for entry in zoo::SMALL_NETWORKS {
        let task = Task::new((entry.graph)(), Kind::Infer).unwrap();
        let sources = task.sources(1, 1, 0.0);
        let network = Dynamic::new(task.graph.clone()).unwrap();
        let mut model = Model::of(network.clone(), 0, &Options::default().threads(1)).unwrap();
        for name in model.parameters().names().to_vec() {
            let Array { sizes, .. } = &sources[&name];
            let values = sources[&name].real().to_vec();
            model.set_parameter(&name, &ArrayD::from_shape_vec(&sizes[..], values).unwrap()).unwrap();
        }
        let wide = sources.iter().map(|(name, array)| (name.clone(), array.convert::<f64>())).collect();
        let outcome = interp::run(&task.graph, 1, &wide).unwrap();
        let expected: Vec<Vec<f64>> =
            network.outputs().map(|(name, _)| outcome.outputs[name].real().to_vec()).collect();
        let inputs = network
            .inputs()
            .map(|(name, _)| sources[name].real().iter().flat_map(|value| value.to_le_bytes()).collect());
        runs.push(arm64::Run {
            files: model.object(&arm64::options(&entry.name.replace(' ', "_"))).unwrap(),
            sizes: vec![1],
            inputs: inputs.collect(),
            outputs: expected.iter().map(Vec::len).collect(),
            train: None,
        });
        all.push((entry.name, expected));
    }
    for ((name, expected), outputs) in all.iter().zip(arm64::run(&runs)) {
        for (expected, got) in expected.iter().zip(outputs) {
            let scale = expected.iter().fold(0.0, |scale: f64, value| scale.max(value.abs()));
            for (index, (expected, got)) in expected.iter().zip(got).enumerate() {
                let error = (f64::from(got) - expected).abs();
                assert!(error <= 2e-5 * scale, "{name}, element {index}: {got}, expected {expected}");
            }
        }
    }
}

/// A training step on 64-bit ARM changes parameters as one on this machine does. Rounding moves a few activations across a
/// kink, so changes are compared as a whole: see `oracle::TOLERANCE_PAST_KINKS`.
#[test]
fn small_relatives_learn_on_arm() {
    if !arm64::is_available() {
        return;
    }
    let mut runs = Vec::new();
    let mut all = Vec::new();
    let training = TrainerOptions::default().seed(7);
    for entry in zoo::SMALL_NETWORKS {
        let task = Task::new((entry.graph)(), Kind::Train).unwrap();
        let sources = task.sources(2, 2, 0.0);
        let network = Dynamic::new((entry.graph)().clone()).unwrap();
        let mut model = Model::of(network.clone(), 0, &Options::default().threads(1)).unwrap();
        for name in model.parameters().names().to_vec() {
            let Array { sizes, .. } = &sources[&name];
            let values = sources[&name].real().to_vec();
            model.set_parameter(&name, &ArrayD::from_shape_vec(&sizes[..], values).unwrap()).unwrap();
        }
        let options = arm64::options(&entry.name.replace(' ', "_")).train(training.clone());
        let files = model.object(&options).unwrap();
        let (name, shape) = network.inputs().next().unwrap();
        let (x, labels) = (sources[name].real(), sources["labels"].int());
        let before = model.parameters().clone();
        let x = ArrayD::from_shape_vec(shape.concrete(2), x.to_vec()).unwrap();
        let mut trainer = Trainer::new(model, training.clone()).unwrap();
        trainer.step([(name, x.view())], labels).unwrap();
        runs.push(arm64::Run {
            files,
            sizes: vec![2],
            inputs: vec![
                x.iter().flat_map(|value| value.to_le_bytes()).collect(),
                labels.iter().flat_map(|label| label.to_le_bytes()).collect(),
            ],
            outputs: vec![trainer.outputs().len(), 1],
            train: Some(0.1),
        });
        all.push((entry.name, before, trainer));
    }
    for ((name, before, trainer), outputs) in all.iter().zip(arm64::run(&runs)) {
        let state: Vec<u8> = outputs[2].iter().flat_map(|word| word.to_le_bytes()).collect();
        let trained = TrainedState::read(trainer.network(), &training, &state).unwrap();
        let (mut error, mut change) = (0.0, 0.0);
        for parameter in before.names() {
            let [before, own, got] = [before, trainer.model().parameters(), trained.parameters()]
                .map(|parameters| parameters.get(parameter).unwrap());
            for ((before, own), got) in before.iter().zip(own).zip(got) {
                let (before, own, got) = (f64::from(*before), f64::from(*own), f64::from(*got));
                error += (got - own).powi(2);
                change += (own - before).powi(2);
            }
        }
        assert!(change > 0.0 && error <= (1e-2f64).powi(2) * change, "{name}: {error} of {change}");
    }
}

/// Kernels of small networks with a fallback to Cranelift at 256 bits: Winograd transforms of 5×5 windows, whose values
/// do not fit 16 registers and the stack slots.
const MANY_VALUES: [&str; 6] = [
    "small alexnet, c2.conv",
    "small alexnet, c2.conv_grad_input",
    "small alexnet, c2.conv_grad_weight.input",
    "small nin, b2.conv2d1.conv",
    "small nin, b2.conv2d1.conv_grad_input",
    "small nin, b2.conv2d1.conv_grad_weight.input",
];

/// Kernels of small networks with a fallback to Cranelift at 256 bits, because AVX2 has no byte masks.
const BYTES: [&str; 10] = [
    "small alexnet, max_pool2d1.max_pool",
    "small alexnet, max_pool2d1.max_pool_grad",
    "small googlenet, i3b.max_pool2d1.max_pool",
    "small googlenet, i3b.max_pool2d1.max_pool_grad",
    "small googlenet, i4a.max_pool2d1.max_pool",
    "small googlenet, i4a.max_pool2d1.max_pool_grad",
    "small googlenet, max_pool2d2.max_pool",
    "small googlenet, max_pool2d2.max_pool_grad",
    "small nin, max_pool2d1.max_pool",
    "small nin, max_pool2d1.max_pool_grad",
];

#[test]
fn other_kernels_of_small_networks_have_no_fallback_leaves() {
    let wide = available_vector_bits().into_iter().filter(|&bits| bits > 128);
    for bits in wide {
        let mut found = BTreeSet::new();
        let mut options = CompileOptions::default();
        options.plan.vector_bits = Some(bits);
        for entry in zoo::SMALL_NETWORKS {
            for kind in [Kind::Infer, Kind::Train] {
                let task = Task::new((entry.graph)(), kind).unwrap();
                let (program, _) = compile(&task.graph, kind.mode(), &options, &Dump::none()).unwrap();
                for step in program.prepack_steps().iter().chain(program.run_steps()) {
                    let kernel = format!("{}, {}", entry.name, step.name);
                    found.extend(step.fallbacks.iter().map(|leaf| (kernel.clone(), leaf.reason.to_string())));
                }
            }
        }
        let many = MANY_VALUES.map(|kernel| (kernel.to_owned(), FallbackReason::Stack.to_string()));
        let bytes = BYTES.map(|kernel| (kernel.to_owned(), FallbackReason::SomeBytes.to_string()));
        let known: BTreeSet<_> = match bits {
            256 => many.into_iter().chain(bytes).collect(),
            _ => BTreeSet::new(),
        };
        assert_eq!(found, known, "{bits} bits");
    }
}

#[test]
fn no_kernel_changes_a_layout_within_networks_with_batch_normalisation() {
    for graph in [zoo::ResNet18::graph(), zoo::DenseNet121::graph(), zoo::MobileNetV1::graph()] {
        for kind in [Kind::Infer, Kind::Train] {
            let task = Task::new(graph, kind).unwrap();
            let graph = optimize(&task.graph, kind.mode(), &PassOptions::default(), &mut |_| {}).unwrap();
            let options = PlanOptions::default();
            let plan = plan(&graph, &options, &Target::host(options.features, options.vector_bits).unwrap())
                .unwrap();
            let reorders: Vec<&str> = plan
                .run
                .iter()
                .map(|kernel| &*kernel.name)
                .filter(|name| name.ends_with(".reorder"))
                .collect();
            assert!(reorders.is_empty(), "{} {}: {reorders:?}", graph.name(), kind.name());
        }
    }
}

#[test]
fn a_wrong_answer_is_refused() {
    let graph = zoo::LeNet::graph();
    let task = Task::new(graph, Kind::Infer).unwrap();
    // The program of a network that differs only in its activations.
    let other: Graph = graph.to_string().replace("\"sigmoid\"", "\"tanh\"").parse().unwrap();
    let (program, _) =
        compile(&other, Kind::Infer.mode(), &CompileOptions::default(), &Dump::none()).unwrap();
    let error =
        oracle::check(&task, &Executor::new(program).unwrap(), 1, Accuracy::Default).unwrap_err().to_string();
    assert!(error.starts_with("wrong answer, so nothing is timed: output[0] is "), "{error}");
}
