//! Images of many channels that are parts of others: concatenated in place, sliced, read in place by several operators,
//! used as outputs, and flattened. Bit for bit.

use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::{Graph, Layer};
use windlass_compiler::ops::conv::{Conv, ConvGradInput, ConvGradWeight};
use windlass_compiler::ops::elementwise::{Bias, Binary, BinaryKind, Scale, SumChannels, Unary, UnaryKind};
use windlass_compiler::ops::loss::{MeanSquaredError, MeanSquaredErrorGrad};
use windlass_compiler::ops::pool::{AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad};
use windlass_compiler::ops::reduce::{Expand, Reduce, ReduceKind};
use windlass_compiler::ops::structure::{Concat, Pad, Reshape, Slice, Transpose};
use windlass_compiler::ops::window::{Window, fixed_sizes};
use windlass_compiler::pass::Mode;
use windlass_compiler::shape::Shape;

use crate::check::{Agreement, Expectation, interpreted};
use crate::graphs::{Ops, network};
use crate::numbers::{Values, sources};

/// Sizes of images, with one axis and with two.
const SIZES: [&[usize]; 6] = [&[2], &[37], &[1, 2], &[3, 1], &[4, 5], &[3, 16]];

/// A graph under construction: images of some size; everything it computes is an output.
struct Images {
    ops: Ops,
    sizes: Vec<usize>,
    outputs: Vec<(String, ValueId)>,
    weights: usize,
}

impl Images {
    fn new(sizes: &[usize]) -> Self {
        Images { ops: Ops::new(), sizes: sizes.to_vec(), outputs: Vec::new(), weights: 0 }
    }

    fn input(&mut self, name: &str, channels: usize) -> ValueId {
        self.ops.input(name, &[&[channels], &self.sizes[..]].concat())
    }

    /// A window of three with padding, which preserves sizes.
    fn window(&self) -> Window {
        let axes = self.sizes.len();
        Window {
            kernel_size: vec![3; axes],
            stride: vec![1; axes],
            padding: vec![1.into(); axes],
            dilation: vec![1; axes],
        }
    }

    fn conv(&mut self, x: ValueId, channels: usize) -> ValueId {
        let name = format!("w{}", self.weights);
        self.weights += 1;
        let weight = [&[channels, self.ops.item(x)[0]], &self.window().kernel_size[..]].concat();
        let weight = self.ops.parameter(&name, &weight);
        let conv = Conv { window: self.window(), groups: 1, epilogue: Vec::new() };
        self.ops.op(conv, &[x, weight])
    }

    fn relu(&mut self, x: ValueId) -> ValueId {
        self.ops.op(Unary { kind: UnaryKind::Relu }, &[x])
    }

    fn concat(&mut self, parts: &[ValueId]) -> ValueId {
        self.ops.op(Concat { axis: 1 }, parts)
    }

    fn slice(&mut self, x: ValueId, start: usize, length: usize) -> ValueId {
        self.ops.op(Slice::new(1, start, length), &[x])
    }

    fn output(&mut self, name: &str, value: ValueId) {
        self.outputs.push((name.to_owned(), value));
    }

    /// Every operator that accepts images in any layout, and some that do not, on a value.
    fn apply_operators(&mut self, name: &str, x: ValueId) {
        let item = self.ops.item(x);
        let (channels, window) = (item[0], self.window());
        let mut results = vec![("itself", x)];
        let other = self.input(&format!("{name} other"), channels);
        let bias = self.ops.parameter(&format!("{name} bias"), &[channels]);
        let ops = &mut self.ops;
        results.push(("square", ops.op(Unary { kind: UnaryKind::Square }, &[x])));
        results.push(("sum", ops.op(Binary { kind: BinaryKind::Add }, &[x, other])));
        results.push(("difference", ops.op(Binary { kind: BinaryKind::Subtract }, &[other, x])));
        results.push(("twice", ops.op(Binary { kind: BinaryKind::Multiply }, &[x, x])));
        results.push(("relu grad", ops.op(Binary { kind: BinaryKind::ReluGrad }, &[other, x])));
        results.push(("bias", ops.op(Bias {}, &[x, bias])));
        results.push(("scale", ops.op(Scale::along(1), &[x, bias])));
        results.push(("sums", ops.op(SumChannels {}, &[x])));
        let pooled = ops.ops(MaxPool { window: window.clone() }, &[x]);
        let (input_sizes, max) = (
            fixed_sizes(&self.sizes),
            MaxPoolGrad { window: window.clone(), input_sizes: fixed_sizes(&self.sizes) },
        );
        results.push(("max", pooled[0]));
        results.push(("max grad", ops.op(max, &[x, pooled[1]])));
        results.push(("mean", ops.op(AvgPool { window: window.clone() }, &[x])));
        let mean = AvgPoolGrad { window: window.clone(), input_sizes: input_sizes.clone() };
        results.push(("mean grad", ops.op(mean, &[x])));
        let weight =
            ops.parameter(&format!("{name} weight"), &[&[channels, 9], &window.kernel_size[..]].concat());
        let back = ConvGradInput { window: window.clone(), groups: 1, input_sizes, epilogue: Vec::new() };
        results.push(("conv grad", ops.op(back, &[x, weight])));
        let to_weight = ConvGradWeight { window, groups: 1 };
        results.push(("weight grad of data", ops.op(to_weight.clone(), &[other, x])));
        results.push(("weight grad of gradients", ops.op(to_weight, &[x, other])));
        let flat = Reshape { shape: Shape::batched(&[item.iter().product()]) };
        results.push(("flat", ops.op(flat, &[x])));
        results.push(("conv", self.conv(x, 10)));
        results.extend(self.along_axes(x));
        results.extend(self.losses(name, x, other));
        for (what, value) in results {
            self.output(&format!("{name}: {what}"), value);
        }
    }

    /// Operators that move elements along axes, or reduce or add axes.
    fn along_axes(&mut self, x: ValueId) -> Vec<(&'static str, ValueId)> {
        let (item, axes) = (self.ops.item(x), self.sizes.len());
        let shape = Shape::batched(&item);
        let ops = &mut self.ops;
        let mut reduce = |kind, axis, count| ops.op(Reduce { kind, axis, count }, &[x]);
        let by_channel = reduce(ReduceKind::Sum, 2, axes);
        let largest = reduce(ReduceKind::Max, 2, 1);
        let last = reduce(ReduceKind::Mean, 1 + axes, 1);
        let of_channels = reduce(ReduceKind::Sum, 1, 1);
        let mut expand = |value, axis, count, divided| {
            ops.op(Expand { shape: shape.clone(), axis, count, divided }, &[value])
        };
        let everywhere = expand(by_channel, 2, axes, false);
        let divided = expand(by_channel, 2, axes, true);
        let rows = expand(largest, 2, 1, false);
        let columns = expand(last, 1 + axes, 1, true);
        let channels = expand(of_channels, 1, 1, false);
        let scaled = ops.op(Binary { kind: BinaryKind::Multiply }, &[x, everywhere]);
        let mut pad = |axis, before: usize, behind: usize| {
            ops.op(Pad { axis, before: before.into(), behind: behind.into() }, &[x])
        };
        let (more_channels, higher, wider) = (pad(1, 1, 2), pad(2, 0, 3), pad(1 + axes, 2, 1));
        let below = ops.op(Concat { axis: 2 }, &[x, higher]);
        let beside = ops.op(Concat { axis: 1 + axes }, &[wider, x, wider]);
        let lower = ops.op(Slice::new(2, 1, self.sizes[0]), &[below]);
        let middle = ops.op(Slice::new(1 + axes, 2, self.sizes[axes - 1] + 1), &[beside]);
        let corner = ops.op(Slice::new(1 + axes, 0, 1), &[x]);
        let to_last = [&[0], &(2..axes + 2).collect::<Vec<_>>()[..], &[1]].concat();
        let to_first = [&[0, axes + 1], &(1..=axes).collect::<Vec<_>>()[..]].concat();
        let channels_last = ops.op(Transpose { order: to_last }, &[x]);
        let back = ops.op(Transpose { order: to_first.clone() }, &[channels_last]);
        let width_first = ops.op(Transpose { order: to_first }, &[x]);
        vec![
            ("sums of channels", by_channel),
            ("largest of columns", largest),
            ("means of rows", last),
            ("sums of pixels", of_channels),
            ("everywhere", everywhere),
            ("divided", divided),
            ("all rows", rows),
            ("all columns", columns),
            ("all channels", channels),
            ("scaled", scaled),
            ("more channels", more_channels),
            ("higher", higher),
            ("wider", wider),
            ("below", below),
            ("beside", beside),
            ("lower", lower),
            ("middle", middle),
            ("corner", corner),
            ("channels last", channels_last),
            ("channels first again", back),
            ("width first", width_first),
        ]
    }

    /// The losses of a prediction, and their gradients with respect to both operands.
    fn losses(&mut self, name: &str, x: ValueId, other: ValueId) -> Vec<(&'static str, ValueId)> {
        let g = self.ops.parameter(&format!("{name} g"), &[]);
        let ops = &mut self.ops;
        vec![
            ("loss", ops.op(MeanSquaredError {}, &[x, other])),
            ("loss of it as a target", ops.op(MeanSquaredError {}, &[other, x])),
            ("gradient of a loss", ops.op(MeanSquaredErrorGrad {}, &[g, x, other])),
            ("gradient to a target", ops.op(MeanSquaredErrorGrad {}, &[g, other, x])),
        ]
    }

    fn finish(self) -> Graph {
        let outputs = self.outputs;
        outputs.into_iter().fold(self.ops, |ops, (name, value)| ops.output(&name, value)).finish()
    }
}

#[track_caller]
fn check(images: Images, what: &str) {
    let what = format!("{what}, images of {:?}", images.sizes);
    Expectation::new(&images.finish(), &[1, 2, 7], Values::Integers, Agreement::Exact)
        .check_variants(Mode::Inference, &what);
}

#[test]
fn inputs_of_many_channels() {
    for sizes in SIZES {
        for channels in [7, 8, 17] {
            let mut images = Images::new(sizes);
            let x = images.input("x", channels);
            images.apply_operators("input", x);
            check(images, "an input");
        }
    }
}

#[test]
fn parts_and_wholes_are_met_by_every_operator() {
    for sizes in SIZES {
        let mut images = Images::new(sizes);
        let (x, few) = (images.input("x", 16), images.input("few", 3));
        let (a, b) = (images.relu(x), images.conv(few, 9));
        // Few channels, inputs and slices are copied to the memory of the others.
        let few = images.relu(few);
        let part = images.slice(a, 2, 11);
        let whole = images.concat(&[a, few, b, x, part]);
        images.apply_operators("part", b);
        images.apply_operators("whole", whole);
        check(images, "a join");
    }
}

#[test]
fn slices_are_met_by_every_operator() {
    for sizes in SIZES {
        let mut images = Images::new(sizes);
        let x = images.input("x", 33);
        let relu = images.relu(x);
        let (of_computed, of_given) = (images.slice(relu, 5, 17), images.slice(x, 1, 9));
        let of_slice = images.slice(of_computed, 3, 8);
        let few = images.slice(relu, 30, 3);
        for (name, value) in
            [("computed", of_computed), ("given", of_given), ("slice of a slice", of_slice), ("few", few)]
        {
            images.apply_operators(name, value);
        }
        check(images, "slices");
    }
}

#[test]
fn joins_of_joins() {
    for sizes in SIZES {
        let mut images = Images::new(sizes);
        let x = images.input("x", 8);
        let (a, b) = (images.relu(x), images.conv(x, 9));
        let inner = images.concat(&[b, a]);
        let c = images.conv(inner, 8);
        let outer = images.concat(&[c, inner, x]);
        let slice = images.slice(outer, 8, 17);
        images.apply_operators("inner", inner);
        images.output("outer", outer);
        images.output("inner again", slice);
        check(images, "a join in a join");
    }
}

/// Pixels of 512 channels have gaps between them, alone and as wholes of concatenations.
#[test]
fn pixels_with_gaps_are_met_by_every_operator() {
    for sizes in [&[2][..], &[1, 2], &[4, 5]] {
        let mut images = Images::new(sizes);
        let (x, few) = (images.input("x", 512), images.input("few", 500));
        let (a, b) = (images.relu(x), images.relu(few));
        let residual = images.ops.op(Binary { kind: BinaryKind::Add }, &[a, x]);
        let c = images.conv(b, 12);
        let whole = images.concat(&[b, c]);
        images.apply_operators("alone", residual);
        images.apply_operators("whole", whole);
        images.output("part", c);
        check(images, "gaps");
    }
}

/// Windows with a stride read every second of the pixels with gaps, in place or from a copy with a halo.
#[test]
fn windows_over_pixels_with_gaps() {
    for (kernel_size, padding, groups) in [(1, 0, 1), (3, 1, 1), (3, 1, 512), (2, 0, 4)] {
        let mut images = Images::new(&[7, 6]);
        let x = images.input("x", 512);
        let a = images.relu(x);
        let window = Window::square(kernel_size, 2, padding);
        let outputs = if groups == 512 { 512 } else { 16 };
        let weight = images.ops.parameter("w", &[outputs, 512 / groups, kernel_size, kernel_size]);
        let conv = Conv { window: window.clone(), groups, epilogue: Vec::new() };
        let y = images.ops.op(conv, &[a, weight]);
        let to_weight = images.ops.op(ConvGradWeight { window: window.clone(), groups }, &[y, a]);
        let input_sizes = fixed_sizes(&[7, 6]);
        let back = ConvGradInput { window, groups, input_sizes, epilogue: Vec::new() };
        let back = images.ops.op(back, &[y, weight]);
        for (name, value) in [("y", y), ("to weight", to_weight), ("back", back)] {
            images.output(name, value);
        }
        let what = format!("windows of {kernel_size} in {groups} groups");
        Expectation::new(&images.finish(), &[1, 2], Values::Sparse, Agreement::Exact)
            .check_variants(Mode::Inference, &what);
    }
}

/// A value that is concatenated more than once, or with itself, can be in only one place.
#[test]
fn values_in_several_joins() {
    for sizes in SIZES {
        let mut images = Images::new(sizes);
        let x = images.input("x", 9);
        let (a, b) = (images.relu(x), images.conv(x, 8));
        let twice = images.concat(&[a, b, a]);
        let first = images.concat(&[b, x]);
        let both = images.concat(&[twice, first]);
        for (name, value) in [("twice", twice), ("first", first), ("both", both), ("a", a), ("b", b)] {
            images.output(name, value);
        }
        let y = images.conv(both, 17);
        images.output("y", y);
        check(images, "several joins");
    }
}

/// A residual sum and its own operand in one concatenation: convolution epilogues add parts of pixels.
#[test]
fn residual_sums_of_parts() {
    for sizes in SIZES {
        let mut images = Images::new(sizes);
        let x = images.input("x", 16);
        let a = images.relu(x);
        let y = images.conv(a, 16);
        let sum = images.ops.op(Binary { kind: BinaryKind::Add }, &[y, a]);
        let sum = images.relu(sum);
        let join = images.concat(&[a, sum]);
        let y = images.conv(join, 5);
        images.output("join", join);
        images.output("y", y);
        check(images, "residual sums");
    }
}

/// Networks whose images have many channels between an input and a flat output with few.
#[test]
fn flattened_behind_many_channels() {
    let conv = |channels: usize, kernel_size: usize, padding: usize| {
        Layer::conv(channels, Window::square(kernel_size, 1, padding))
    };
    for (channels, size) in [(1, 9), (3, 8), (17, 5)] {
        let layers = [
            conv(16, 3, 1),
            Layer::Relu,
            Layer::max_pool(Window::square(2, 2, 0)),
            conv(33, 2, 0),
            Layer::Relu,
            Layer::avg_pool(Window::square(2, 1, 1)),
            Layer::Flatten,
            Layer::linear(5),
        ];
        let graph = network(&[channels, size, size], &layers);
        let sources = sources(&graph, 3, Values::Sparse, 5);
        let (single, double) =
            (interpreted::<f32>(&graph, 3, &sources), interpreted::<f64>(&graph, 3, &sources));
        assert_eq!(single, double, "the numbers are not small enough to be exact");
        assert!(single["y"].iter().any(|&y| y != 0.0), "nothing flows");
        Expectation::on(&graph, 3, sources, Agreement::Exact)
            .check_variants(Mode::Inference, &format!("{channels} channels of {size}"));
    }
}
