//! Winograd convolution, forward and backward, within its stated bound over odd shapes. Strict accuracy never uses it.

use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::graph::Graph;
use windlass_compiler::ops::conv::{Conv, ConvGradInput, ConvGradWeight};
use windlass_compiler::ops::epilogue::EpilogueStep;
use windlass_compiler::ops::window::{Window, fixed_sizes};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::CompileOptions;
use windlass_compiler::plan::{Accuracy, Convolution, WINOGRAD_RESULTS, plan};
use windlass_compiler::target::Target;

use crate::check::{Agreement, Expectation};
use crate::graphs::Ops;
use crate::numbers::{Numbers, Values, cases};

/// The bound that [`Accuracy::Default`] states.
const BOUND: f64 = 2e-5;

/// The forward pass with bias, sum and ReLU, and the gradients with respect to the input, with bias and sum, and to the
/// weight.
fn graph(inputs: usize, outputs: usize, sizes: [usize; 2], window: &Window) -> Graph {
    let image = |channels: usize, sizes: &[usize]| [&[channels], sizes].concat();
    let result = window.output_sizes(&sizes);
    let mut ops = Ops::new();
    let x = ops.input("x", &image(inputs, &sizes));
    let g = ops.input("g", &image(outputs, &result));
    let w = ops.parameter("w", &[&[outputs, inputs], &window.kernel_size[..]].concat());
    let b = ops.parameter("b", &[outputs]);
    let epilogue = vec![EpilogueStep::Bias, EpilogueStep::Add, EpilogueStep::Relu];
    let y = ops.op(Conv { window: window.clone(), groups: 1, epilogue }, &[x, w, b, g]);
    let epilogue = vec![EpilogueStep::Bias, EpilogueStep::Add];
    let to_input =
        ConvGradInput { window: window.clone(), groups: 1, input_sizes: fixed_sizes(&sizes), epilogue };
    let bx = ops.parameter("bx", &[inputs]);
    let dx = ops.op(to_input, &[g, w, bx, x]);
    let dw = ops.op(ConvGradWeight { window: window.clone(), groups: 1 }, &[g, x]);
    ops.output("y", y).output("dx", dx).output("dw", dw).finish()
}

fn options(results: usize, threads: usize, bits: usize) -> CompileOptions {
    let mut options = CompileOptions::default();
    options.plan.convolution = Convolution::Winograd(results);
    options.plan.threads = threads;
    options.plan.vector_bits = Some(bits);
    options
}

#[test]
fn stays_within_its_bound() {
    for (kernel_size, results) in [(3, 2), (3, 4), (5, 2), (5, 4)] {
        for (inputs, outputs, sizes, padding) in [
            (8, 8, [4, 4], 1),
            (16, 33, [1, 2], 2),
            (17, 16, [13, 7], 1),
            (33, 17, [5, 9], 0),
            (32, 64, [14, 14], kernel_size / 2),
            (9, 40, [37, 12], kernel_size - 1),
            (256, 32, [8, 8], kernel_size / 2),
        ] {
            let mut window = Window::square(kernel_size, 1, padding);
            if sizes.iter().any(|size| size + 2 * padding < kernel_size) {
                window.padding = vec![kernel_size.into(); 2];
            }
            let graph = graph(inputs, outputs, sizes, &window);
            // The interpreter is slow for long sums.
            let batches: &[usize] = if inputs > 64 { &[1] } else { &[1, 2] };
            let expectation = Expectation::new(&graph, batches, Values::Reals, Agreement::Within(BOUND));
            for bits in available_vector_bits() {
                let what = format!("{inputs} to {outputs} channels, {sizes:?}, {window:?}");
                expectation.check(Mode::Inference, &options(results, 1 + bits / 256, bits), &what);
            }
        }
    }
}

/// Images of one pixel have both layouts at once; with a halo they are larger.
#[test]
fn images_of_one_pixel() {
    for (size, padding) in [(1, 2), (3, 0)] {
        let graph = graph(16, 17, [size, size], &Window::square(3, 1, padding));
        let expectation = Expectation::new(&graph, &[1, 2], Values::Reals, Agreement::Within(BOUND));
        for bits in available_vector_bits() {
            for results in WINOGRAD_RESULTS {
                expectation.check(Mode::Inference, &options(results, 1, bits), "one pixel");
            }
        }
    }
}

/// Each epilogue step has its own operand.
#[test]
fn several_steps_of_one_kind() {
    use EpilogueStep::{Add, Bias, Tanh};
    let mut ops = Ops::new();
    let (x, w) = (ops.input("x", &[8, 5, 6]), ops.parameter("w", &[16, 8, 3, 3]));
    let biases = ["b", "c"].map(|name| ops.parameter(name, &[16]));
    let sums = ["p", "q"].map(|name| ops.input(name, &[16, 5, 6]));
    let conv =
        Conv { window: Window::square(3, 1, 1), groups: 1, epilogue: vec![Bias, Add, Tanh, Bias, Add] };
    let y = ops.op(conv, &[x, w, biases[0], sums[0], biases[1], sums[1]]);
    let graph = ops.output("y", y).finish();
    let expectation = Expectation::new(&graph, &[2], Values::Reals, Agreement::Within(BOUND));
    for bits in available_vector_bits() {
        for results in WINOGRAD_RESULTS {
            expectation.check(Mode::Inference, &options(results, 1, bits), "two biases and two sums");
        }
    }
}

/// Random shapes, including those that the algorithm cannot compute. Strided gradients use only every `stride`-th
/// kernel position: for windows of 5 to 9 these may be three or five.
#[test]
fn mixed_shapes() {
    let mut numbers = Numbers::new(6);
    for _ in 0..cases(60) {
        let mut channels = || numbers.pick(&[1, 3, 5, 8, 16, 17, 33]);
        let (inputs, outputs) = (channels(), channels());
        let (stride, dilation) = numbers.pick(&[(1, 1), (1, 1), (2, 1), (3, 1), (2, 2), (4, 2)]);
        let fitting: &[usize] = if stride == 1 { &[3, 3, 5] } else { &[3, 5, 6, 7, 9] };
        let side = numbers.pick(fitting);
        // Most windows and images are square.
        let other = if numbers.below(4) == 0 { numbers.pick(fitting) } else { side };
        let mut window = Window::square(side, stride, numbers.below(side + 1));
        window.kernel_size[1] = other;
        window.dilation = vec![dilation; 2];
        let sizes = [0, 1].map(|axis| {
            window.extent(axis).saturating_sub(window.padding[axis].total()).max(1) + numbers.below(16)
        });
        let graph = graph(inputs, outputs, sizes, &window);
        let batch = numbers.pick(&[1, 2, 7]);
        let expectation = Expectation::new(&graph, &[batch], Values::Reals, Agreement::Within(BOUND));
        let what = format!("{inputs} to {outputs} channels, {sizes:?}, {window:?}");
        for _ in 0..2 {
            let bits = numbers.pick(&available_vector_bits());
            let options = options(numbers.pick(&WINOGRAD_RESULTS), numbers.pick(&[1, 2, 3]), bits);
            expectation.check(Mode::Inference, &options, &what);
        }
    }
}

/// The smallest gradient that uses three of five kernel positions along each axis.
#[test]
fn kernel_positions_at_a_stride() {
    let graph = graph(8, 8, [3, 3], &Window::square(5, 2, 2));
    let expectation = Expectation::new(&graph, &[1], Values::Reals, Agreement::Within(BOUND));
    for bits in available_vector_bits() {
        for results in WINOGRAD_RESULTS {
            expectation.check(Mode::Inference, &options(results, 1, bits), "every second kernel position");
        }
    }
}

/// Notes of the kernels of a plan.
fn notes(options: &CompileOptions) -> String {
    let graph = graph(64, 64, [28, 28], &Window::square(3, 1, 1));
    let plan =
        plan(&graph, &options.plan, &Target::host(options.plan.features, options.plan.vector_bits).unwrap())
            .unwrap();
    plan.run.iter().map(|kernel| format!("{}\n", kernel.note)).collect()
}

#[test]
fn strict_accuracy_never_uses_it() {
    let mut options = CompileOptions::default();
    assert!(notes(&options).contains("Winograd F(4x4, 3x3)"), "{}", notes(&options));
    options.plan.convolution = Convolution::Winograd(2);
    assert!(notes(&options).contains("Winograd F(2x2, 3x3)"), "{}", notes(&options));
    options.plan.accuracy = Accuracy::Strict;
    assert!(!notes(&options).contains("Winograd"), "{}", notes(&options));
}
