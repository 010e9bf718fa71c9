//! Convolution forward and backward, bit for bit, over odd shapes of every kind.

use windlass_compiler::graph::Graph;
use windlass_compiler::ops::conv::{Conv, ConvGradInput, ConvGradWeight};
use windlass_compiler::ops::elementwise::{Bias, Binary, BinaryKind, SumChannels, Unary, UnaryKind};
use windlass_compiler::ops::epilogue::EpilogueStep;
use windlass_compiler::ops::window::{Window, fixed_sizes};
use windlass_compiler::pass::Mode;

use crate::check::{Agreement, Expectation};
use crate::graphs::Ops;
use crate::numbers::{Numbers, Values, cases};

/// The sizes of one convolution.
#[derive(Clone, Debug)]
struct Case {
    inputs: usize,
    outputs: usize,
    groups: usize,
    sizes: Vec<usize>,
    window: Window,
}

impl Case {
    /// Forward and the gradient to the input with bias, sum and rectifier, and all three gradients, as one graph.
    fn graph(&self) -> Graph {
        let Case { inputs, outputs, groups, sizes, window } = self;
        let image = |channels: usize, sizes: &[usize]| [&[channels], sizes].concat();
        let mut ops = Ops::new();
        let x = ops.input("x", &image(*inputs, sizes));
        let g = ops.input("g", &image(*outputs, &window.output_sizes(sizes)));
        let weight = [&[*outputs, inputs / groups], &window.kernel_size[..]].concat();
        let (w, b) = (ops.parameter("w", &weight), ops.parameter("b", &[*outputs]));
        let (window, groups) = (window.clone(), *groups);
        let conv = Conv { window: window.clone(), groups, epilogue: Vec::new() };
        let y = ops.op(conv, &[x, w]);
        let y = ops.op(Bias {}, &[y, b]);
        let y = ops.op(Binary { kind: BinaryKind::Add }, &[y, g]);
        let y = ops.op(Unary { kind: UnaryKind::Relu }, &[y]);
        let epilogue = Vec::new();
        let to_input =
            ConvGradInput { window: window.clone(), groups, input_sizes: fixed_sizes(sizes), epilogue };
        let dx = ops.op(to_input.clone(), &[g, w]);
        let bx = ops.parameter("bx", &[*inputs]);
        let epilogue = vec![EpilogueStep::Bias, EpilogueStep::Add, EpilogueStep::Relu];
        let z = ops.op(ConvGradInput { epilogue, ..to_input }, &[g, w, bx, x]);
        let dw = ops.op(ConvGradWeight { window, groups }, &[g, x]);
        let db = ops.op(SumChannels {}, &[g]);
        ops.output("y", y).output("z", z).output("dx", dx).output("dw", dw).output("db", db).finish()
    }

    #[track_caller]
    fn check(&self, batches: &[usize]) {
        Expectation::new(&self.graph(), batches, Values::Integers, Agreement::Exact)
            .check_variants(Mode::Inference, &format!("{self:?}"));
    }

    /// Checks with a few random options.
    #[track_caller]
    fn check_some(&self, batch: usize, numbers: &mut Numbers) {
        Expectation::new(&self.graph(), &[batch], Values::Integers, Agreement::Exact).check_some(
            Mode::Inference,
            numbers,
            &format!("{self:?}"),
        );
    }

    /// Multiply-adds per sample.
    fn work(&self) -> usize {
        let results: usize = self.window.output_sizes(&self.sizes).iter().product();
        results * self.outputs * self.inputs / self.groups * self.window.elements()
    }

    /// Reduces the sizes if the interpreter would take too long.
    fn bounded(mut self, work: usize) -> Self {
        while self.work() > work && self.sizes.iter().any(|&size| size > 1) {
            for axis in 0..self.sizes.len() {
                let needed =
                    self.window.extent(axis).saturating_sub(self.window.padding[axis].total()).max(1);
                self.sizes[axis] = (self.sizes[axis] / 2).max(needed);
            }
            if self.work() > work {
                self.window.kernel_size.iter_mut().for_each(|size| *size = (*size / 2).max(1));
            }
        }
        self
    }
}

fn window(kernel_size: &[usize], stride: &[usize], padding: &[usize], dilation: &[usize]) -> Window {
    Window {
        kernel_size: kernel_size.to_vec(),
        stride: stride.to_vec(),
        padding: padding.iter().map(|&padding| padding.into()).collect(),
        dilation: dilation.to_vec(),
    }
}

fn square(inputs: usize, outputs: usize, groups: usize, size: usize, window: Window) -> Case {
    Case { inputs, outputs, groups, sizes: vec![size; 2], window }
}

#[test]
fn every_width_from_1_to_37() {
    for size in 1..=37 {
        square(2, 5, 1, size, Window::square(3, 1, 1)).check(&[1]);
        square(3, 3, 1, size, Window::square(1, 1, 0)).check(&[2]);
    }
}

#[test]
fn every_number_of_channels() {
    for inputs in [1, 3, 5, 16, 17, 33] {
        for outputs in [1, 3, 5, 16, 17, 33] {
            square(inputs, outputs, 1, 3, Window::square(2, 1, 0)).check(&[2]);
            square(inputs, outputs, 1, 3, Window::square(1, 1, 0)).check(&[7]);
        }
    }
}

#[test]
fn groups_and_depthwise() {
    for (inputs, outputs, groups) in
        [(2, 2, 2), (3, 6, 3), (5, 5, 5), (6, 9, 3), (4, 2, 2), (16, 16, 16), (33, 11, 11)]
    {
        square(inputs, outputs, groups, 6, Window::square(3, 2, 1)).check(&[1, 2]);
        square(inputs, outputs, groups, 5, Window::square(1, 1, 0)).check(&[1]);
        square(inputs, outputs, groups, 9, window(&[2, 3], &[1, 2], &[1, 0], &[3, 2])).check(&[2]);
    }
}

#[test]
fn rows_too_wide_for_a_panel() {
    for width in [13, 24, 25, 36, 37, 100] {
        let sizes = vec![3, width];
        let windows = [
            window(&[3, 3], &[1, 1], &[1, 1], &[1, 1]),
            window(&[2, 5], &[1, 2], &[0, 4], &[1, 1]),
            window(&[1, 1], &[2, 3], &[0, 0], &[1, 1]),
        ];
        for window in windows {
            Case { inputs: 3, outputs: 4, groups: 1, sizes: sizes.clone(), window }.check(&[2]);
        }
    }
}

#[test]
fn sequences_and_volumes() {
    for size in [1, 2, 5, 16, 37] {
        for window in
            [window(&[1], &[1], &[0], &[1]), window(&[3], &[2], &[2], &[2]), window(&[4], &[3], &[3], &[1])]
        {
            Case { inputs: 3, outputs: 5, groups: 1, sizes: vec![size], window }.check(&[1, 7]);
        }
    }
    for sizes in [[1, 1, 1], [3, 4, 5], [5, 2, 13]] {
        for window in [
            window(&[1, 1, 1], &[1, 1, 1], &[0, 0, 0], &[1, 1, 1]),
            window(&[3, 2, 3], &[2, 1, 1], &[1, 1, 2], &[1, 1, 2]),
            window(&[1, 2, 5], &[1, 3, 2], &[0, 1, 3], &[2, 1, 1]),
        ] {
            Case { inputs: 2, outputs: 6, groups: 2, sizes: sizes.to_vec(), window }.check(&[1, 2]);
        }
    }
    // Four spatial axes: two loops outside the panels.
    let four = window(&[2, 1, 2, 3], &[1, 2, 1, 1], &[0, 0, 1, 1], &[1, 1, 1, 1]);
    Case { inputs: 2, outputs: 3, groups: 1, sizes: vec![3, 3, 2, 5], window: four }.check(&[2]);
}

/// Channel counts around the vector widths.
const CHANNELS: [usize; 7] = [1, 3, 5, 8, 16, 17, 33];

/// Every pair of channel counts with windows of every kind.
#[test]
fn images_of_many_channels() {
    let mut numbers = Numbers::new(3);
    for inputs in CHANNELS {
        for outputs in CHANNELS {
            for _ in 0..cases(3) {
                let axes = numbers.pick(&[1, 2, 2, 2, 2]);
                let (sizes, window) = numbers.window(axes, 37);
                let case = Case { inputs, outputs, groups: 1, sizes, window }.bounded(200_000);
                let batch = numbers.pick(&[1, 2, 7]);
                case.check_some(batch, &mut numbers);
            }
        }
    }
}

/// More channels than a tile, more rows than a work unit, and images of many pixels.
#[test]
fn more_than_a_block() {
    let mut numbers = Numbers::new(7);
    for (inputs, outputs) in [(40, 65), (100, 16), (130, 70), (8, 200), (70, 100)] {
        for _ in 0..cases(2) {
            let (sizes, window) = numbers.window(2, 15);
            Case { inputs, outputs, groups: 1, sizes, window }
                .bounded(1_000_000)
                .check_some(numbers.pick(&[1, 2]), &mut numbers);
        }
    }
    for (inputs, outputs, sizes) in [(3, 4, vec![40, 130]), (2, 16, vec![45, 61]), (16, 3, vec![30, 40])] {
        let window = window(&[3, 2], &[1 + inputs % 2, 1], &[1, 1], &[1, 1]);
        Case { inputs, outputs, groups: 1, sizes, window }.check_some(2, &mut numbers);
    }
    let (sizes, window) = (vec![20, 90], Window::square(3, 1, 1));
    Case { inputs: 70, outputs: 70, groups: 70, sizes, window }.check_some(1, &mut numbers);
}

/// Groups of many channels, and groups of a single channel, with one result or several.
#[test]
fn groups_of_many_channels() {
    let mut numbers = Numbers::new(4);
    for _ in 0..cases(20) {
        for (inputs, outputs, groups) in [(16, 32, 2), (33, 9, 3), (24, 24, 8), (8, 16, 4)] {
            let (sizes, window) = numbers.window(2, 17);
            Case { inputs, outputs, groups, sizes, window }
                .bounded(100_000)
                .check_some(numbers.pick(&[1, 2]), &mut numbers);
        }
        for channels in [8, 16, 17, 33, 70] {
            let (axes, results) = (numbers.pick(&[1, 2, 2, 2]), numbers.pick(&[1, 1, 2, 3]));
            let (sizes, window) = numbers.window(axes, 17);
            Case { inputs: channels, outputs: results * channels, groups: channels, sizes, window }
                .bounded(100_000)
                .check_some(numbers.pick(&[1, 2, 7]), &mut numbers);
        }
    }
}

/// Images of one pixel have both layouts at once, for any padding.
#[test]
fn images_of_one_pixel() {
    for (inputs, outputs, groups) in [(16, 16, 1), (16, 16, 16), (17, 8, 1), (8, 24, 8), (3, 16, 1)] {
        // One input pixel with several output pixels, and several with one.
        square(inputs, outputs, groups, 1, Window::square(2, 1, 1)).check(&[2]);
        square(inputs, outputs, groups, 1, Window::square(3, 1, 2)).check(&[1]);
        square(inputs, outputs, groups, 3, Window::square(3, 1, 0)).check(&[2]);
        square(inputs, outputs, groups, 5, Window::square(5, 1, 0)).check(&[1]);
    }
}

/// Images with rows or columns that no window reads, and padding wider than the image.
#[test]
fn windows_beyond_the_image() {
    for (inputs, outputs, groups) in [(16, 17, 1), (16, 16, 16), (16, 32, 2)] {
        for (size, window) in [
            // One window along an axis: if the stride is longer than the padded input, there are no others.
            (1, window(&[1, 1], &[1, 5], &[4, 2], &[1, 1])),
            (1, window(&[1, 1], &[5, 1], &[2, 4], &[1, 1])),
            (1, window(&[2, 2], &[9, 9], &[4, 4], &[1, 3])),
            (20, window(&[1, 1], &[1, 99], &[0, 2], &[1, 1])),
            (9, window(&[1, 1], &[4, 4], &[0, 0], &[1, 1])),
            (2, window(&[2, 3], &[3, 1], &[5, 4], &[1, 3])),
            (7, window(&[2, 2], &[4, 3], &[0, 1], &[3, 1])),
            (10, window(&[3, 1], &[2, 4], &[4, 3], &[2, 1])),
        ] {
            square(inputs, outputs, groups, size, window).check(&[2]);
        }
    }
}

/// Small images, as large as the window or slightly larger: many cases with little work.
#[test]
fn windows_on_tiny_images() {
    let mut numbers = Numbers::new(23);
    for _ in 0..cases(60) {
        for (inputs, outputs, groups) in [(16, 16, 16), (16, 8, 1), (8, 16, 2), (3, 2, 1)] {
            let axes = numbers.pick(&[1, 2, 2]);
            let (sizes, window) = numbers.window(axes, 3);
            Case { inputs, outputs, groups, sizes, window }
                .bounded(50_000)
                .check_some(numbers.pick(&[1, 2]), &mut numbers);
        }
    }
}

#[test]
fn mixed_shapes() {
    let mut numbers = Numbers::new(1);
    for _ in 0..120 {
        let axes = numbers.pick(&[1, 2, 2, 2, 3]);
        let groups = numbers.pick(&[1, 1, 2, 3]);
        let (sizes, window) = numbers.window(axes, [0, 40, 17, 7][axes]);
        let (inputs, outputs) = (groups * (1 + numbers.below(4)), groups * (1 + numbers.below(6)));
        let batch = numbers.pick(&[1, 2, 7]);
        Case { inputs, outputs, groups, sizes, window }.check(&[batch]);
    }
}

/// The gradients of the gradients of the sum of squares of a convolution's results.
#[test]
fn second_derivatives() {
    for (inputs, outputs, groups) in [(3, 5, 1), (8, 16, 1), (16, 16, 16), (8, 12, 2)] {
        for window in [Window::square(1, 1, 0), Window::square(3, 1, 1), Window::square(3, 2, 1)] {
            let mut ops = Ops::new();
            let x = ops.input("x", &[inputs, 6, 5]);
            let size = window.kernel_size[0];
            let w = ops.parameter("w", &[outputs, inputs / groups, size, size]);
            let conv = Conv { window: window.clone(), groups, epilogue: Vec::new() };
            let y = ops.op(conv.clone(), &[x, w]);
            let input_sizes = fixed_sizes(&[6, 5]);
            let to_input =
                ConvGradInput { window: window.clone(), groups, input_sizes, epilogue: Vec::new() };
            let to_weight = ConvGradWeight { window, groups };
            // The gradient 2·y of the squares, without its factor.
            let (dx, dw) = (ops.op(to_input.clone(), &[y, w]), ops.op(to_weight.clone(), &[y, x]));
            let of_dx = ops.op(conv.clone(), &[dx, w]);
            let of_dw = ops.op(conv, &[x, dw]);
            let outputs = [
                ("dx_w", ops.op(to_weight.clone(), &[y, dx])),
                ("dx_y", of_dx),
                ("dw_x", ops.op(to_input.clone(), &[y, dw])),
                ("dw_y", of_dw),
                ("again_x", ops.op(to_input, &[of_dx, w])),
                ("again_w", ops.op(to_weight, &[of_dw, x])),
            ];
            let graph = outputs.into_iter().fold(ops, |ops, (name, value)| ops.output(name, value)).finish();
            let what = format!("{inputs} to {outputs:?} channels in {groups} groups, windows of {size}");
            Expectation::new(&graph, &[1, 2], Values::Reals, Agreement::Within(1e-3))
                .check_variants(Mode::Inference, &what);
        }
    }
}
