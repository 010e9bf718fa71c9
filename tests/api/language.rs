//! Graphs declared with `network!` equal the graphs built by hand, and their types are as documented.

use windlass::{AnyNetwork, Network, network};
use windlass_compiler::entity::ValueId;
use windlass_compiler::error::GraphError;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::graph::{Builder, Graph, Layer};
use windlass_compiler::ops::window::Window;

network! {
    /// LeNet for grey images of 28×28.
    pub network LeNet(image: [1, 28, 28]) -> [10] {
        c1: conv2d(6, kernel_size = 5, padding = 2); sigmoid; avg_pool2d(2);
        c3: conv2d(16, kernel_size = 5); sigmoid; avg_pool2d(2);
        flatten;
        f5: linear(120); sigmoid;
        f6: linear(84); sigmoid;
        linear(10)
    }
}

fn lenet() -> Result<Graph, GraphError> {
    let mut b = Builder::new("LeNet");
    let x = b.input("image", &[1, 28, 28])?;
    let x = b.layer("c1", &Layer::conv(6, Window::square(5, 1, 2)), x)?;
    let x = b.layer("sigmoid1", &Layer::Sigmoid, x)?;
    let x = b.layer("avg_pool2d1", &Layer::avg_pool(Window::square(2, 2, 0)), x)?;
    let x = b.layer("c3", &Layer::conv(16, Window::square(5, 1, 0)), x)?;
    let x = b.layer("sigmoid2", &Layer::Sigmoid, x)?;
    let x = b.layer("avg_pool2d2", &Layer::avg_pool(Window::square(2, 2, 0)), x)?;
    let x = b.layer("flatten1", &Layer::Flatten, x)?;
    let x = b.layer("f5", &Layer::linear(120), x)?;
    let x = b.layer("sigmoid3", &Layer::Sigmoid, x)?;
    let x = b.layer("f6", &Layer::linear(84), x)?;
    let x = b.layer("sigmoid4", &Layer::Sigmoid, x)?;
    let x = b.layer("linear1", &Layer::linear(10), x)?;
    b.output("output", x)?;
    b.finish()
}

#[test]
fn lenet_is_the_graph_built_by_hand() {
    assert_eq!(*LeNet::graph(), lenet().unwrap());
}

#[test]
fn a_network_knows_its_interface() {
    assert_eq!(LeNet::NAME, "LeNet");
    assert_eq!(LeNet::INPUTS, ["image"]);
    assert_eq!(LeNet::OUTPUTS, ["output"]);
    assert_eq!(LeNet::IMAGE_SHAPE, [1, 28, 28]);
    assert_eq!(LeNet::OUTPUT_SHAPE, [10]);
    assert_eq!(LeNet::CLASSES, 10);
    assert_eq!(LeNet::PARAMETERS.len(), 10);
    assert_eq!(LeNet::PARAMETERS[2], ("c3.weight", &[16, 6, 5, 5][..]));
    let count: usize = LeNet::PARAMETERS.iter().map(|(_, sizes)| sizes.iter().product::<usize>()).sum();
    assert_eq!(count, 61_706);
    assert!(std::ptr::eq(LeNet::graph(), <LeNet as Network>::graph()));
    assert_eq!(size_of::<LeNet>(), 0);
}

network! {
    /// Two convolutions with a shortcut.
    block basic(channels) {
        let skip = it;
        conv2d(channels, kernel_size = 3, padding = 1, bias = false); batch_norm; relu;
        conv2d(channels, kernel_size = 3, padding = 1, bias = false); batch_norm;
        add(skip); relu
    }

    block stage(count, channels) {
        down: conv2d(channels * 2, kernel_size = 1, stride = 2);
        repeat count { basic(channels * 2) }
    }

    network Residual(image: [3, 8, 8]) -> [2] {
        conv2d(4, 3, padding = 1);
        stage1: stage(2, 4);
        tail: repeat 1 { basic(8) }
        global_avg_pool2d; flatten; linear(2)
    }
}

fn basic(b: &mut Builder, label: &str, channels: usize, skip: ValueId) -> Result<ValueId, GraphError> {
    let conv = Layer::Conv {
        out_channels: channels,
        window: Window::square(3, 1, 1),
        groups: 1,
        bias: false,
        init: Initializer::XavierUniform,
        rotated: false,
        connections: Vec::new(),
    };
    let norm = Layer::BatchNorm { epsilon: 1e-5, momentum: 0.1 };
    let x = b.layer(&format!("{label}.conv2d1"), &conv, skip)?;
    let x = b.layer(&format!("{label}.batch_norm1"), &norm, x)?;
    let x = b.layer(&format!("{label}.relu1"), &Layer::Relu, x)?;
    let x = b.layer(&format!("{label}.conv2d2"), &conv, x)?;
    let x = b.layer(&format!("{label}.batch_norm2"), &norm, x)?;
    let x = b.add(&format!("{label}.add1"), x, skip)?;
    b.layer(&format!("{label}.relu2"), &Layer::Relu, x)
}

fn residual() -> Result<Graph, GraphError> {
    let mut b = Builder::new("Residual");
    let x = b.input("image", &[3, 8, 8])?;
    let x = b.layer("conv2d1", &Layer::conv(4, Window::square(3, 1, 1)), x)?;
    let x = b.layer("stage1.down", &Layer::conv(8, Window::square(1, 2, 0)), x)?;
    let x = basic(&mut b, "stage1.repeat1.0.basic1", 8, x)?;
    let x = basic(&mut b, "stage1.repeat1.1.basic1", 8, x)?;
    let x = basic(&mut b, "tail.0.basic1", 8, x)?;
    let x = b.layer("global_avg_pool2d1", &Layer::GlobalAvgPool { axes: 2 }, x)?;
    let x = b.layer("flatten1", &Layer::Flatten, x)?;
    let x = b.layer("linear1", &Layer::linear(2), x)?;
    b.output("output", x)?;
    b.finish()
}

#[test]
fn blocks_and_repeats_are_written_out_under_their_names() {
    assert_eq!(*Residual::graph(), residual().unwrap());
}

network! {
    block inception(c1, (c2a, c2b), c4) {
        concat {
            { p1: conv2d(c1, kernel_size = 1); relu }
            { conv2d(c2a, kernel_size = 1); relu; conv2d(c2b, kernel_size = (1, 3), padding = (0, 1)); relu }
            { max_pool2d(3, stride = 1, padding = 1); p4: conv2d(c4, kernel_size = 1) }
            it
            {}
        }
    }

    network Google(image: [8, 4, 4]) -> [34, 4, 4] {
        inc3a: inception(4, (2, 6), 8)
    }
}

#[test]
fn paths_of_a_concat_share_the_scope_around_them() {
    let text = r#"graph Google {
        %0 = input {name = "image", role = "data", type = "f32[N, 8, 4, 4]"}
        %1 = parameter {name = "inc3a.p1.weight", shape = "[4, 8, 1, 1]", init = "xavier_uniform"} @inc3a.p1
        %2 = conv(%0, %1) {kernel_size = [1, 1], stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1} @inc3a.p1
        %3 = parameter {name = "inc3a.p1.bias", shape = "[4]", init = {constant = 0.0}} @inc3a.p1
        %4 = bias(%2, %3) @inc3a.p1
        %5 = unary(%4) {kind = "relu"} @inc3a.relu1
        %6 = parameter {name = "inc3a.conv2d1.weight", shape = "[2, 8, 1, 1]", init = "xavier_uniform"} @inc3a.conv2d1
        %7 = conv(%0, %6) {kernel_size = [1, 1], stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1} @inc3a.conv2d1
        %8 = parameter {name = "inc3a.conv2d1.bias", shape = "[2]", init = {constant = 0.0}} @inc3a.conv2d1
        %9 = bias(%7, %8) @inc3a.conv2d1
        %10 = unary(%9) {kind = "relu"} @inc3a.relu2
        %11 = parameter {name = "inc3a.conv2d2.weight", shape = "[6, 2, 1, 3]", init = "xavier_uniform"} @inc3a.conv2d2
        %12 = conv(%10, %11) {kernel_size = [1, 3], stride = [1, 1], padding = [0, 1], dilation = [1, 1], groups = 1} @inc3a.conv2d2
        %13 = parameter {name = "inc3a.conv2d2.bias", shape = "[6]", init = {constant = 0.0}} @inc3a.conv2d2
        %14 = bias(%12, %13) @inc3a.conv2d2
        %15 = unary(%14) {kind = "relu"} @inc3a.relu3
        %16, %17 = max_pool(%0) {kernel_size = [3, 3], stride = [1, 1], padding = [1, 1], dilation = [1, 1]} @inc3a.max_pool2d1
        %18 = parameter {name = "inc3a.p4.weight", shape = "[8, 8, 1, 1]", init = "xavier_uniform"} @inc3a.p4
        %19 = conv(%16, %18) {kernel_size = [1, 1], stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1} @inc3a.p4
        %20 = parameter {name = "inc3a.p4.bias", shape = "[8]", init = {constant = 0.0}} @inc3a.p4
        %21 = bias(%19, %20) @inc3a.p4
        %22 = concat(%5, %15, %21, %0, %0) {axis = 1} @inc3a.concat1
        output "output" = %22
    }"#;
    let expected: Graph = text.parse().unwrap();
    assert_eq!(Google::graph().to_string(), expected.to_string());
}

network! {
    pub(crate) network Two(left: [1, 2, 2], right: [8]) -> (class: [10], size: [2]) {
        from(left); flatten; linear(8); add(right);
        let features = it;
        linear(10); class = it;
        from(features); linear(2); size = it;
    }

    /// The same block twice in one call of the macro, and a network whose structure uses only `let`s.
    network Joined(a: [3], b: [4]) -> [7] {
        concat { a b };
        let both = it;
        concat { { from(both); linear(3) } { linear(4) } }
    }
}

#[test]
fn several_inputs_and_outputs_come_in_structs() {
    let mut b = Builder::new("Two");
    let left = b.input("left", &[1, 2, 2]).unwrap();
    let right = b.input("right", &[8]).unwrap();
    let x = b.layer("flatten1", &Layer::Flatten, left).unwrap();
    let x = b.layer("linear1", &Layer::linear(8), x).unwrap();
    let features = b.add("add1", x, right).unwrap();
    let class = b.layer("linear2", &Layer::linear(10), features).unwrap();
    let size = b.layer("linear3", &Layer::linear(2), features).unwrap();
    b.output("class", class).unwrap();
    b.output("size", size).unwrap();
    assert_eq!(*Two::graph(), b.finish().unwrap());
    assert_eq!(Joined::graph().outputs().len(), 1);

    let (left, right) = (vec![1.0; 4], ndarray::Array2::<f32>::ones((1, 8)));
    let feeds = Two::feeds(TwoInputs::new(&left, &right));
    assert_eq!(Two::INPUTS, ["left", "right"]);
    assert_eq!(feeds[0].batch(&Two::LEFT_SHAPE), Ok(1));
    assert_eq!(feeds[1].shape(), Some(&[1, 8][..]));

    let results = Two::results(|output| ndarray::ArrayD::<f32>::zeros(vec![1, [10, 2][output]]));
    let TwoOutputs { class, size } = Two::outputs(results);
    assert_eq!((class.shape(), size.shape()), (&[1, 10][..], &[1, 2][..]));
}

#[test]
fn a_single_input_is_given_as_it_is() {
    fn batch<'a, N: Network>(inputs: impl Into<N::Inputs<'a>>) -> usize {
        let network = N::VALUE;
        let (_, shape) = network.input_ports().next().unwrap();
        N::feeds(inputs.into()).as_ref()[0].batch(&shape.item()).unwrap()
    }
    assert_eq!(batch::<LeNet>(&vec![0.0; 2 * 784]), 2);
    assert_eq!(batch::<LeNet>(&ndarray::Array4::<f32>::zeros((3, 1, 28, 28))), 3);
    assert_eq!(batch::<LeNet>(ndarray::Array3::<f32>::zeros((1, 28, 28)).view()), 1);
}

mod arguments {
    windlass::network! {
        #[derive(PartialEq, Default)]
        pub(super) network Every(image: [4, 9, 9]) -> [3] {
            conv2d(
                kernel_size = (3, 2), out_channels = 2 * (5 - 1), stride = (2, 1), padding = 1, dilation = 2,
                groups = 4, bias = false, init = normal(0, 0.1),
            );
            max_pool2d(2, dilation = 2);
            avg_pool2d((1, 2), stride = 1);
            batch_norm(epsilon = 1 / 1000, momentum = 0.3);
            dropout(rate = 0.25); tanh; softmax; log_softmax();
            flatten;
            conv2d2: linear(4, init = uniform(-1, 1 / 2));
            linear(3, init = constant(0.1)); sigmoid;
        }
    }
}

#[test]
fn every_argument_reaches_its_layer() {
    let mut b = Builder::new("Every");
    let window = |kernel_size: [usize; 2], stride: [usize; 2], padding: usize, dilation: usize| Window {
        kernel_size: kernel_size.to_vec(),
        stride: stride.to_vec(),
        padding: vec![padding.into(); 2],
        dilation: vec![dilation; 2],
    };
    let layers = [
        (
            "conv2d1",
            Layer::Conv {
                out_channels: 8,
                window: window([3, 2], [2, 1], 1, 2),
                groups: 4,
                bias: false,
                init: Initializer::Normal(0.0, 0.1),
                rotated: false,
                connections: Vec::new(),
            },
        ),
        ("max_pool2d1", Layer::max_pool(window([2, 2], [2, 2], 0, 2))),
        ("avg_pool2d1", Layer::avg_pool(window([1, 2], [1, 1], 0, 1))),
        ("batch_norm1", Layer::BatchNorm { epsilon: 0.001, momentum: 0.3 }),
        ("dropout1", Layer::Dropout { rate: 0.25 }),
        ("tanh1", Layer::Tanh),
        ("softmax1", Layer::Softmax),
        ("log_softmax1", Layer::LogSoftmax),
        ("flatten1", Layer::Flatten),
        ("conv2d2", Layer::Linear { out_features: 4, bias: true, init: Initializer::Uniform(-1.0, 0.5) }),
        ("linear1", Layer::Linear { out_features: 3, bias: true, init: Initializer::Constant(0.1) }),
        ("sigmoid1", Layer::Sigmoid),
    ];
    let mut x = b.input("image", &[4, 9, 9]).unwrap();
    for (label, layer) in &layers {
        x = b.layer(label, layer, x).unwrap();
    }
    b.output("output", x).unwrap();
    assert_eq!(*arguments::Every::graph(), b.finish().unwrap());
    let derived: arguments::Every = Default::default();
    assert_eq!(derived, arguments::Every);
}

network! {
    block widths(first, last, wide, rate) {
        linear(first); dropout(rate); repeat last - first { linear((last - last % 2) / 2, bias = wide) }
        repeat last - 7 { linear(99) }
    }

    network Computed(x: [5]) -> [3] {
        linear1: linear(5);
        linear(5);
        widths(5, 7, false, 0.5);
        repeat 2 { it; let same = it; from(same); }
    }

    block _for_later(n) { linear(n) }
}

#[test]
fn parameters_are_computed_and_named_apart() {
    let names: Vec<&str> = Computed::PARAMETERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "linear1.weight",
            "linear1.bias",
            "linear2.weight",
            "linear2.bias",
            "widths1.linear1.weight",
            "widths1.linear1.bias",
            "widths1.repeat1.0.linear1.weight",
            "widths1.repeat1.1.linear1.weight",
        ]
    );
    assert_eq!(Computed::PARAMETERS[6].1, [3, 5]);
}

network! {
    block rated((rate, bound), epsilon) {
        dropout(rate); linear(4, init = uniform(-bound, bound)); batch_norm(epsilon = epsilon)
    }

    network Direct(x: [4]) -> [4] { dropout(1 / 2); linear(4, init = uniform(-1 / 4, 1 / 4)); batch_norm(epsilon = 1 / 1000) }

    network Passed(x: [4]) -> [4] { rated((1 / 2, 1 / 4), 1 / 1000) }

    network Written(x: [4]) -> [4] { rated((0.5, 0.25), 0.001) }

    /// Halves of halves are whole again.
    block quarters(n) { linear(n * 4); dropout(n / 2) }

    network Whole(x: [4]) -> [4] { quarters(3 / 2 - 1 / 2); repeat 6 / 2 { linear(8 * (1 / 2)) } }
}

#[test]
fn fractions_are_kept_by_the_arguments_of_blocks() {
    let unnamed = |graph: &Graph| {
        graph.to_string().replace("rated1.", "").replace("Passed", "Direct").replace("Written", "Direct")
    };
    assert_eq!(unnamed(Passed::graph()), Direct::graph().to_string());
    assert_eq!(unnamed(Written::graph()), Direct::graph().to_string());
    assert!(Passed::graph().to_string().contains("dropout(%0) {rate = 0.5}"), "{}", Passed::graph());
    assert_eq!(Whole::PARAMETERS.len(), 8);
    assert_eq!(Whole::PARAMETERS[6].1, [4, 4]);
    assert!(Whole::graph().to_string().contains("{rate = 0.5}"));
}

/// `network!` cannot use a constant, but a macro can pass one number to both.
macro_rules! with_classes {
    ($classes:literal) => {
        const CLASSES: usize = $classes;
        network! { network Classifier(x: [4]) -> [$classes] { linear($classes) } }
    };
}

with_classes!(7);

#[test]
fn a_constant_and_a_network_share_a_number_by_a_macro() {
    assert_eq!(CLASSES, Classifier::CLASSES);
}

network! {
    /// Derives traits that every network already has.
    #[derive(Clone, Debug, PartialEq)]
    pub network Derived(x: [4]) -> [4] { relu }
}

#[test]
fn a_network_may_name_the_traits_it_has_anyway() {
    assert_eq!(Derived.clone(), Derived);
    assert_eq!(format!("{Derived:?}"), "Derived");
}

mod inner {
    use super::network;

    network! {
        pub(super) network Seen(x: [4], y: [4]) -> (sum: [4]) { from(x); add(y); sum = it; }

        #[cfg(any())]
        network Absent(x: [4]) -> [4] { relu }

        /// Attributes that name imports of this module, and a condition for all items.
        #[derive(PartialEq)]
        #[cfg(any())]
        network AbsentToo(x: [4], y: [4]) -> (sum: [4]) { from(x); add(y); sum = it; }
    }
}

#[test]
fn names_of_one_scope_do_not_disturb_another() {
    use std::hash::Hash as Imported;

    fn hashes<T: Imported>(_: T) {}
    network! {
        network Seen(x: [5]) -> [5] { relu }

        #[derive(Imported)]
        network Hashes(x: [4]) -> [4] { relu }
    }
    hashes(Hashes);
    assert_eq!((Seen::X_SHAPE, inner::Seen::X_SHAPE), ([5], [4]));
    {
        network! { network Seen(x: [6]) -> [6] { relu } }
        assert_eq!(Seen::X_SHAPE, [6]);
    }
    let _ = inner::SeenInputs::new(&[0.0; 4], &[0.0; 4]);
}

#[test]
fn a_network_may_be_declared_inside_a_function() {
    network! { network Local(x: [4], y: [4]) -> (sum: [4]) { from(x); add(y); sum = it; } }
    let numbers = [0.0; 4];
    assert_eq!(LocalInputs::new(&numbers, &numbers).x.batch(&Local::X_SHAPE), Ok(1));
    assert_eq!(Local::graph().outputs().len(), 1);
}

/// A program may generate networks with its own macros.
macro_rules! square_network {
    ($name:ident, $width:expr) => {
        network! { network $name(r#in: [$width]) -> [$width] { r#type: linear($width * 2 + 1); relu; linear($width) } }
    };
}

square_network!(Square, 4 - 1);

#[test]
fn networks_can_be_written_by_macros_and_names_be_keywords() {
    assert_eq!(Square::PARAMETERS[0], ("type.weight", &[7, 3][..]));
    assert_eq!((Square::INPUTS, Square::IN_SHAPE), (&["in"][..], [3]));
}
