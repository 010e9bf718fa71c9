//! Pools fused into convolutions: bit for bit with direct convolution, within the stated bound with Winograd's
//! algorithm. Also pools that cannot be fused: with few channels, with overlapping windows, or of results with other
//! users.

use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::graph::Graph;
use windlass_compiler::interp::Array;
use windlass_compiler::ops::conv::Conv;
use windlass_compiler::ops::epilogue::EpilogueStep;
use windlass_compiler::ops::pool::{AvgPool, MaxPool};
use windlass_compiler::ops::structure::Concat;
use windlass_compiler::ops::window::{Window, fixed_sizes};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::CompileOptions;
use windlass_compiler::plan::{Accuracy, Convolution, PlanOptions, WINOGRAD_RESULTS, plan};
use windlass_compiler::target::Target;

use crate::check::{Agreement, Expectation};
use crate::graphs::Ops;
use crate::numbers::{Numbers, Values, cases, sources};

/// The bound that [`Accuracy::Default`] states.
const BOUND: f64 = 2e-5;

/// A convolution with an epilogue, followed by either kind of pool.
struct Case {
    channels: [usize; 2],
    sizes: Vec<usize>,
    window: Window,
    epilogue: Vec<EpilogueStep>,
    pool: Window,
    is_max: bool,
}

impl Case {
    fn graph(&self) -> Graph {
        let [inputs, outputs] = self.channels;
        let image = |channels: usize, sizes: &[usize]| [&[channels], sizes].concat();
        let mut ops = Ops::new();
        let x = ops.input("x", &image(inputs, &self.sizes));
        let weight = ops.parameter("w", &[&[outputs, inputs], &self.window.kernel_size[..]].concat());
        let mut operands = vec![x, weight];
        for (index, step) in self.epilogue.iter().enumerate() {
            match step {
                EpilogueStep::Bias => operands.push(ops.parameter(&format!("b{index}"), &[outputs])),
                EpilogueStep::Add => {
                    let sizes = image(outputs, &self.window.output_sizes(&self.sizes));
                    operands.push(ops.input(&format!("a{index}"), &sizes));
                }
                _ => {}
            }
        }
        let conv = Conv { window: self.window.clone(), groups: 1, epilogue: self.epilogue.clone() };
        let y = ops.op(conv, &operands);
        let y = match self.is_max {
            true => ops.op(MaxPool { window: self.pool.clone() }, &[y]),
            false => ops.op(AvgPool { window: self.pool.clone() }, &[y]),
        };
        ops.output("y", y).finish()
    }

    fn name(&self) -> String {
        let Case { channels, sizes, window, epilogue, pool, is_max } = self;
        format!("{channels:?} channels of {sizes:?}, {window:?}, {epilogue:?}, max {is_max} {pool:?}")
    }
}

fn line(kernel_size: usize, stride: usize, padding: usize) -> Window {
    Window {
        kernel_size: vec![kernel_size],
        stride: vec![stride],
        padding: vec![padding.into()],
        dilation: vec![1],
    }
}

fn notes(graph: &Graph, options: &PlanOptions) -> String {
    let plan = plan(graph, options, &Target::host(options.features, options.vector_bits).unwrap()).unwrap();
    plan.run.iter().map(|kernel| format!("{}: {}\n", kernel.name, kernel.note)).collect()
}

#[test]
fn tiles_of_whole_windows() {
    use EpilogueStep::{Add, Bias, Relu};
    let mut numbers = Numbers::new(31);
    for _ in 0..cases(40) {
        let axes = numbers.pick(&[1, 2, 2]);
        let size = numbers.pick(&[1, 2, 3, 5]);
        let pool = numbers.pick(&[[1, 2], [2, 1], [2, 2], [2, 2], [3, 3], [2, 4], [5, 1]]);
        let side_by_side = |size: &[usize]| Window {
            kernel_size: size.to_vec(),
            stride: size.to_vec(),
            padding: vec![0.into(); size.len()],
            dilation: vec![1; size.len()],
        };
        let channels = [numbers.pick(&[1, 3, 8, 17]), numbers.pick(&[5, 8, 16, 17, 33])];
        let stride = numbers.pick(&[1, 1, 2]);
        let sizes: Vec<usize> = (0..axes).map(|_| 10 + numbers.below(14)).collect();
        let epilogue = match numbers.below(4) {
            0 => vec![],
            1 => vec![Bias, Relu],
            2 => vec![Relu, Bias],
            _ => vec![Bias, Add, Relu],
        };
        let case = Case {
            channels,
            sizes,
            window: if axes == 1 {
                line(size, stride, size / 2)
            } else {
                Window::square(size, stride, size / 2)
            },
            epilogue,
            pool: side_by_side(if axes == 1 { &pool[1..] } else { &pool }),
            is_max: numbers.below(2) == 0,
        };
        let graph = case.graph();
        Expectation::new(&graph, &[1, 2, 7], Values::Integers, Agreement::Exact).check_some(
            Mode::Inference,
            &mut numbers,
            &case.name(),
        );
    }
}

/// Every shape of a register tile, at every vector width.
#[test]
fn windows_of_two_by_two() {
    for is_max in [true, false] {
        for (channels, size) in [([8, 16], 11), ([3, 33], 7), ([16, 8], 2), ([5, 100], 9)] {
            let case = Case {
                channels,
                sizes: vec![size, size + 3],
                window: Window::square(3, 1, 1),
                epilogue: vec![EpilogueStep::Bias, EpilogueStep::Relu],
                pool: Window::square(2, 2, 0),
                is_max,
            };
            let graph = case.graph();
            let strict = PlanOptions::default().accuracy(Accuracy::Strict);
            assert!(notes(&graph, &strict).contains(", pooled"), "{}", notes(&graph, &strict));
            Expectation::new(&graph, &[1, 2, 7], Values::Integers, Agreement::Exact)
                .check_variants(Mode::Inference, &case.name());
        }
    }
}

#[test]
fn winograd_tiles_of_whole_windows() {
    use EpilogueStep::{Add, Bias, Relu};
    for results in WINOGRAD_RESULTS {
        for (pool, kernel_size) in [([2, 2], 3), ([1, 2], 5), ([2, 1], 3), ([4, 4], 3), ([3, 3], 3)] {
            for sizes in [[8, 12], [13, 9], [5, 6], [4, 4]] {
                let case = Case {
                    channels: [8, 17],
                    sizes: sizes.to_vec(),
                    window: Window::square(kernel_size, 1, kernel_size / 2),
                    epilogue: if kernel_size == 3 { vec![Bias, Add, Relu] } else { vec![Bias, Relu] },
                    pool: Window {
                        kernel_size: pool.to_vec(),
                        stride: pool.to_vec(),
                        padding: vec![0.into(); 2],
                        dilation: vec![1; 2],
                    },
                    is_max: sizes[0] != 13,
                };
                let graph = case.graph();
                let mut options = CompileOptions::default();
                options.plan.convolution = Convolution::Winograd(results);
                let fits = pool.iter().all(|&size| results % size == 0);
                let notes = notes(&graph, &options.plan);
                assert_eq!(notes.contains(", pooled"), fits, "F({results}), {pool:?}: {notes}");
                let expectation = Expectation::new(&graph, &[1, 2], Values::Reals, Agreement::Within(BOUND));
                for bits in available_vector_bits() {
                    options.plan.vector_bits = Some(bits);
                    options.plan.threads = 1 + bits / 256;
                    expectation.check(Mode::Inference, &options, &case.name());
                }
            }
        }
    }
}

/// NaN, infinities and denormals, which a convolution with weights of one preserves.
#[test]
fn special_numbers() {
    for is_max in [true, false] {
        let mut ops = Ops::new();
        let x = ops.input("x", &[8, 6, 10]);
        let weight = ops.parameter("w", &[16, 1, 1, 1]);
        let conv = Conv { window: Window::square(1, 1, 0), groups: 8, epilogue: Vec::new() };
        let y = ops.op(conv, &[x, weight]);
        let pool = Window::square(2, 2, 0);
        let y = match is_max {
            true => ops.op(MaxPool { window: pool }, &[y]),
            false => ops.op(AvgPool { window: pool }, &[y]),
        };
        let graph = ops.output("y", y).finish();
        let notes = notes(&graph, &PlanOptions::default());
        assert!(notes.contains(", pooled"), "{notes}");
        for seed in 0..6 {
            let mut sources = sources(&graph, 2, Values::Special, seed);
            sources.insert("w".to_owned(), Array::new(vec![16, 1, 1, 1], vec![1.0; 16]));
            Expectation::on(&graph, 2, sources, Agreement::Exact)
                .check_variants(Mode::Inference, "special numbers");
        }
    }
}

/// The pooled value is part of a concatenation, or has one pixel and therefore both layouts at once.
#[test]
fn pooled_parts_and_pixels() {
    let pool = |ops: &mut Ops, y, size: &[usize]| {
        let window = Window {
            kernel_size: size.to_vec(),
            stride: size.to_vec(),
            padding: vec![0.into(); 2],
            dilation: vec![1; 2],
        };
        ops.op(MaxPool { window }, &[y])
    };
    let conv = |ops: &mut Ops, name: &str, x, channels: [usize; 2]| {
        let weight = ops.parameter(name, &[channels[1], channels[0], 1, 1]);
        ops.op(Conv { window: Window::square(1, 1, 0), groups: 1, epilogue: Vec::new() }, &[x, weight])
    };
    for sizes in [[4, 6], [5, 3], [2, 4]] {
        let mut ops = Ops::new();
        let x = ops.input("x", &[3, sizes[0], sizes[1]]);
        let parts = ["v", "w"].map(|name| {
            let y = conv(&mut ops, name, x, [3, 17]);
            pool(&mut ops, y, &[2, 2])
        });
        let both = ops.op(Concat { axis: 1 }, &parts);
        let y = conv(&mut ops, "u", both, [34, 9]);
        let pixel = pool(&mut ops, y, &[sizes[0] / 2, sizes[1] / 2]);
        let y = conv(&mut ops, "t", pixel, [9, 8]);
        let graph = ops.output("y", y).output("both", both).finish();
        assert_eq!(notes(&graph, &PlanOptions::default()).matches(", pooled").count(), 3);
        Expectation::new(&graph, &[1, 2, 7], Values::Sparse, Agreement::Exact)
            .check_variants(Mode::Inference, &format!("images of {sizes:?}"));
    }
}

/// Results that are also outputs, or read by another operator; argmax indices that a gradient reads; overlapping
/// windows.
#[test]
fn pools_that_stay_apart() {
    let conv = |ops: &mut Ops| {
        let (x, weight) = (ops.input("x", &[8, 8, 8]), ops.parameter("w", &[16, 8, 3, 3]));
        ops.op(Conv { window: Window::square(3, 1, 1), groups: 1, epilogue: Vec::new() }, &[x, weight])
    };
    let pool = |ops: &mut Ops, y, window| ops.ops(MaxPool { window }, &[y]);
    let mut graphs = Vec::new();
    for (size, stride, padding) in [(3, 2, 0), (2, 2, 1), (2, 1, 0)] {
        let mut ops = Ops::new();
        let y = conv(&mut ops);
        let y = pool(&mut ops, y, Window::square(size, stride, padding))[0];
        graphs.push(ops.output("y", y).finish());
    }
    let mut ops = Ops::new();
    let y = conv(&mut ops);
    let pooled = pool(&mut ops, y, Window::square(2, 2, 0))[0];
    graphs.push(ops.output("y", pooled).output("conv", y).finish());
    let mut ops = Ops::new();
    let y = conv(&mut ops);
    let pooled = pool(&mut ops, y, Window::square(2, 2, 0));
    let window = Window::square(2, 2, 0);
    let g = ops.input("g", &[16, 4, 4]);
    let grad = windlass_compiler::ops::pool::MaxPoolGrad { window, input_sizes: fixed_sizes(&[8, 8]) };
    let dx = ops.op(grad, &[g, pooled[1]]);
    graphs.push(ops.output("y", pooled[0]).output("dx", dx).finish());
    for graph in graphs {
        let notes = notes(&graph, &PlanOptions::default());
        assert!(!notes.contains(", pooled"), "{notes}");
        Expectation::new(&graph, &[1, 2], Values::Integers, Agreement::Exact)
            .check_variants(Mode::Inference, "apart");
    }
}
