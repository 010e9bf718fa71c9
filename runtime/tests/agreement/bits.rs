//! Sign masks instead of rectified values, bit for bit: for every number of elements, in both layouts, and in whole
//! steps.

use windlass_compiler::autodiff::Optimizer;
use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::dump::Dump;
use windlass_compiler::entity::ValueId;
use windlass_compiler::graph::Layer;
use windlass_compiler::ops::elementwise::{Unary, UnaryKind};
use windlass_compiler::ops::sign_mask::{MaskedSelect, SignMask};
use windlass_compiler::ops::structure::{Concat, Reshape, Slice};
use windlass_compiler::ops::window::Window;
use windlass_compiler::pass::{Mode, PassOptions};
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::shape::{Dim, Shape};
use windlass_runtime::executor::Executor;

use crate::check::{Agreement, Expectation};
use crate::graphs::{Ops, network, training};
use crate::numbers::{Values, sources};
use crate::run::run;

/// A value computed by a kernel, in its storage order.
fn made(ops: &mut Ops, x: ValueId) -> ValueId {
    ops.op(Unary { kind: UnaryKind::Negate }, &[x])
}

/// A value selected by the sign mask of another.
fn masked(ops: &mut Ops, g: ValueId, x: ValueId) -> ValueId {
    let bits = ops.op(SignMask {}, &[x]);
    ops.op(MaskedSelect {}, &[g, bits])
}

#[track_caller]
fn check(ops: Ops, values: Values, what: &str) {
    Expectation::new(&ops.finish(), &[1, 2, 7], values, Agreement::Exact)
        .check_variants(Mode::Training, what);
}

#[test]
fn every_number_of_elements() {
    for elements in (1..=41).chain([64, 127, 128, 300, 529]) {
        let mut ops = Ops::new();
        let (x, g) = (ops.input("x", &[elements]), ops.input("g", &[elements]));
        let dx = masked(&mut ops, g, x);
        // Overwrites its operand.
        let own = made(&mut ops, g);
        let own = masked(&mut ops, own, x);
        check(ops.output("dx", dx).output("own", own), Values::Special, &format!("{elements} elements"));
    }
}

#[test]
fn images() {
    for channels in [3, 8, 17, 33] {
        for (height, width) in [(1, 1), (1, 2), (3, 5), (8, 7)] {
            let mut ops = Ops::new();
            let item = [channels, height, width];
            let (x, g) = (ops.input("x", &item), ops.input("g", &item));
            let y = made(&mut ops, x);
            let bits = ops.op(SignMask {}, &[y]);
            let h = made(&mut ops, g);
            let first = ops.op(MaskedSelect {}, &[h, bits]);
            let second = ops.op(MaskedSelect {}, &[g, bits]);
            let second = made(&mut ops, second);
            let ops = ops.output("first", first).output("second", second);
            check(ops, Values::Integers, &format!("{item:?}"));
        }
    }
}

/// Masks read for a value of another shape, or by operators without byte support.
#[test]
fn other_readers() {
    for item in [[8, 2, 3], [9, 3, 3]] {
        let mut ops = Ops::new();
        let (x, g) = (ops.input("x", &item), ops.input("g", &item));
        let elements: usize = item.iter().product();
        let flat = ops.input("flat", &[elements]);
        let (y, h) = (made(&mut ops, x), made(&mut ops, g));
        let bits = ops.op(SignMask {}, &[y]);
        let image = ops.op(MaskedSelect {}, &[h, bits]);
        let row = ops.op(MaskedSelect {}, &[flat, bits]);
        // To the image's shape, with the mask of a row.
        let bits = ops.op(SignMask {}, &[flat]);
        let back = ops.op(MaskedSelect {}, &[h, bits]);
        let bits = ops.op(SignMask {}, &[y]);
        let length = ops.item(bits)[0];
        let twice = ops.op(Concat { axis: 1 }, &[bits, bits]);
        let second = ops.op(Slice::new(1, length, length), &[twice]);
        let words = ops.op(MaskedSelect {}, &[h, second]);
        let column = Shape::new([Dim::batch(), Dim::Fixed(elements), Dim::Fixed(1)]);
        let column = ops.op(Reshape { shape: column }, &[words]);
        let ops = ops.output("image", image).output("row", row).output("back", back).output("column", column);
        check(ops, Values::Integers, &format!("{item:?}"));
    }
}

/// Operands that are parts of other values, and results that become parts.
#[test]
fn parts() {
    for channels in [5, 8, 17] {
        let mut ops = Ops::new();
        let (x, g) = (ops.input("x", &[2 * channels, 3, 3]), ops.input("g", &[2 * channels, 3, 3]));
        let (x, g) = (made(&mut ops, x), made(&mut ops, g));
        let slice = |start: usize| Slice::new(1, start, channels);
        let mut parts = Vec::new();
        for start in [0, channels] {
            let (x, g) = (ops.op(slice(start), &[x]), ops.op(slice(start), &[g]));
            parts.push(masked(&mut ops, g, x));
        }
        let joined = ops.op(Concat { axis: 1 }, &parts);
        let y = made(&mut ops, joined);
        check(ops.output("y", y), Values::Integers, &format!("{channels} channels"));
    }
}

/// Steps of networks whose ReLU results are replaced by pooled values, dropped values and sign masks: near the
/// interpreter, and with the same bits as without the replacement.
#[test]
fn steps_keep_their_bits() {
    let conv = |channels| Layer::conv(channels, Window::square(3, 1, 1));
    for channels in [5, 16, 17] {
        for layers in [
            vec![conv(channels), Layer::Relu, Layer::avg_pool(Window::square(2, 2, 0))],
            vec![conv(channels), Layer::Relu, Layer::GlobalAvgPool { axes: 2 }],
            vec![
                conv(channels),
                Layer::Relu,
                Layer::max_pool(Window::square(3, 2, 1)),
                conv(channels),
                Layer::Relu,
                Layer::max_pool(Window::square(2, 2, 0)),
                Layer::Dropout { rate: 0.5 },
            ],
            vec![conv(channels), Layer::Relu, Layer::Dropout { rate: 0.3 }, conv(3)],
        ] {
            let layers = [layers, vec![Layer::Flatten, Layer::linear(3)]].concat();
            let step = training(&network(&[2, 7, 6], &layers), Optimizer::sgd());
            let what = format!("{layers:?}");
            Expectation::new(&step, &[1, 3], Values::Reals, Agreement::Within(1e-5))
                .check_variants(Mode::Training, &what);
            let sources = sources(&step, 3, Values::Reals, 3);
            for vector_bits in available_vector_bits() {
                let bits_of = |passes: PassOptions| {
                    let mut options = CompileOptions::default().passes(passes);
                    options.plan.vector_bits = Some(vector_bits);
                    let (program, _) =
                        compile(&step, Mode::Training, &options, &Dump::from_environment()).unwrap();
                    let results = run(&Executor::new(program).unwrap(), 3, &sources, 0);
                    let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
                    results.into_iter().map(|(name, values)| (name, bits(values))).collect()
                };
                let with: Vec<(String, Vec<u32>)> = bits_of(PassOptions::default());
                let passes = PassOptions::default().release_relu(false).relu_bits(false);
                assert_eq!(with, bits_of(passes), "{what} at {vector_bits} bits");
            }
        }
    }
}
