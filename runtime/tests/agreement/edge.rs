//! Every operator on special values: NaN, infinities, signed zeros, denormals, numbers near the largest. If no function
//! is approximated, compiled code gives the interpreter's bits; otherwise it gives the same NaNs and infinities, and
//! numbers close to the interpreter's. `docs/numbers.md` describes the results.

mod case;
mod families;
mod gather;

use std::hint::black_box;

use windlass_compiler::autodiff::Optimizer;
use windlass_compiler::graph::Layer;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::ops::OpKind;
use windlass_compiler::ops::batch_norm::{BatchNorm, BatchNormGrad};
use windlass_compiler::ops::conv::{Conv, ConvGradInput, ConvGradWeight};
use windlass_compiler::ops::ctc::Ctc;
use windlass_compiler::ops::dropout::{Dropout, DropoutTraining};
use windlass_compiler::ops::elementwise::{
    Activation, Bias, Binary, BinaryKind, Scale, SumChannels, Unary, UnaryKind,
};
use windlass_compiler::ops::fused::{Fused, FusedStep};
use windlass_compiler::ops::linear::{Linear, LinearGradInput, LinearGradWeight};
use windlass_compiler::ops::loss::{
    CrossEntropy, CrossEntropyGrad, MeanSquaredError, MeanSquaredErrorGrad, OneHot,
};
use windlass_compiler::ops::mask::{Fill as MaskFill, Mask, Masked};
use windlass_compiler::ops::matmul::Matmul;
use windlass_compiler::ops::optimizer::{AdaptiveRule, ClipFactor, ClipValue};
use windlass_compiler::ops::pool::{AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad};
use windlass_compiler::ops::positions::AddPositions;
use windlass_compiler::ops::reduce::{Expand, Reduce, ReduceKind};
use windlass_compiler::ops::scan::Scan;
use windlass_compiler::ops::sign_mask::{MaskedSelect, SignMask};
use windlass_compiler::ops::softmax::{LogSoftmax, LogSoftmaxGrad, Softmax, SoftmaxGrad};
use windlass_compiler::ops::source::{Constant, State};
use windlass_compiler::ops::steps::{FoldSteps, UnfoldSteps};
use windlass_compiler::ops::structure::{Concat, Pad, Reshape, Slice, Transpose};
use windlass_compiler::ops::window::{Window, fixed_sizes};
use windlass_compiler::pass::Mode;
use windlass_compiler::shape::{Dim, Shape};

use self::case::{Case, EDGES, Fill, PAIRS, ROWS, sums, sums_of};
use self::families::*;
use crate::check::{Agreement, Expectation, interpreted};
use crate::graphs::{Ops, network, training};
use crate::numbers::{Values, sources};

/// The cases of an operator. The match is exhaustive, so a new operator needs a case.
fn cases(kind: OpKind) -> Vec<Case> {
    let mut ops = Ops::new();
    let edges: &[(&str, Fill)] = &[("x", Fill::Edges)];
    let pairs: &[(&str, Fill)] = &[("x", Fill::Edges), ("g", Fill::Against)];
    match kind {
        OpKind::Input => {
            let x = ops.input("x", &[PAIRS]);
            vec![Case::exact(ops.output("y", x), &[edges])]
        }
        OpKind::Parameter => {
            let x = ops.parameter("x", &[PAIRS]);
            vec![Case::exact(ops.output("y", x), &[edges])]
        }
        OpKind::State => {
            let shape = Shape::fixed(&[PAIRS]);
            let x = ops.op(State { name: "x".to_owned(), shape, init: Initializer::ZEROS }, &[]);
            vec![Case::exact(ops.output("y", x), &[edges])]
        }
        OpKind::Constant => {
            let shape = Shape::fixed(&[EDGES.len()]);
            let x = ops.op(Constant { shape, values: EDGES.to_vec() }, &[]);
            vec![Case::exact(ops.output("y", x), &[&[]])]
        }
        OpKind::Conv => {
            let build = |ops: &mut Ops, window, channels: [usize; 2]| {
                let operands = [image(ops, channels[0]), weights(ops, channels)];
                ops.op(Conv { window, groups: 1, epilogue: Vec::new() }, &operands)
            };
            convolutions(build, ["x", "w"], false)
        }
        OpKind::ConvGradInput => {
            let build = |ops: &mut Ops, window: Window, channels: [usize; 2]| {
                let operands = [gradient(ops, channels[1], &window), weights(ops, channels)];
                ops.op(
                    ConvGradInput {
                        window,
                        groups: 1,
                        input_sizes: fixed_sizes(&[6, 7]),
                        epilogue: Vec::new(),
                    },
                    &operands,
                )
            };
            convolutions(build, ["g", "w"], true)
        }
        OpKind::ConvGradWeight => {
            let build = |ops: &mut Ops, window: Window, channels: [usize; 2]| {
                let operands = [gradient(ops, channels[1], &window), image(ops, channels[0])];
                ops.op(ConvGradWeight { window, groups: 1 }, &operands)
            };
            convolutions(build, ["x", "g"], false)
        }
        OpKind::MaxPool => pools(|ops, x, _, window| ops.op(MaxPool { window }, &[x]), &[edges.to_vec()]),
        OpKind::MaxPoolGrad => {
            let build = |ops: &mut Ops, x, g, window: Window| {
                let places = ops.ops(MaxPool { window: window.clone() }, &[x])[1];
                ops.op(MaxPoolGrad { window, input_sizes: fixed_sizes(&[6, 7]) }, &[g, places])
            };
            let runs: Vec<_> = sums_of(["g"]).into_iter().map(|run| [edges, &run].concat()).collect();
            pools(build, &runs)
        }
        OpKind::AvgPool => pools(|ops, x, _, window| ops.op(AvgPool { window }, &[x]), &sums_of(["x"])),
        OpKind::AvgPoolGrad => {
            let build = |ops: &mut Ops, _, g, window| {
                ops.op(AvgPoolGrad { window, input_sizes: fixed_sizes(&[6, 7]) }, &[g])
            };
            pools(build, &sums_of(["g"]))
        }
        OpKind::Linear => {
            let (x, w) = (ops.input("x", &[13]), ops.parameter("w", &[17, 13]));
            let y = ops.op(Linear { epilogue: Vec::new() }, &[x, w]);
            vec![sums(ops.output("y", y), ["x", "w"])]
        }
        OpKind::LinearGradInput => {
            let (g, w) = (ops.input("g", &[17]), ops.parameter("w", &[17, 13]));
            let dx = ops.op(LinearGradInput {}, &[g, w]);
            vec![sums(ops.output("dx", dx), ["g", "w"])]
        }
        OpKind::LinearGradWeight => {
            let (g, x) = (ops.input("g", &[17]), ops.input("x", &[13]));
            let dw = ops.op(LinearGradWeight {}, &[g, x]);
            vec![sums(ops.output("dw", dw), ["g", "x"])]
        }
        OpKind::Matmul => {
            let (x, w) = (ops.input("x", &[5, 13]), ops.input("w", &[13, 17]));
            let y = ops.op(Matmul::default(), &[x, w]);
            vec![sums(ops.output("y", y), ["x", "w"])]
        }
        OpKind::Mask => {
            let x = ops.input("x", &[5, 17]);
            let lengths = integers(&mut ops, "labels", Shape::new([Dim::batch()]));
            for fill in MaskFill::ALL {
                let causal = ops.op(Mask { masked: Masked::Causal, fill }, &[x]);
                let padded = ops.op(Mask { masked: Masked::Lengths, fill }, &[x, lengths]);
                ops = ops.output(&format!("{fill:?}"), causal).output(&format!("padded {fill:?}"), padded);
            }
            vec![Case::exact(ops, &[edges])]
        }
        OpKind::AddPositions => {
            let x = ops.input("x", &[3, 20]);
            let y = ops.op(AddPositions {}, &[x]);
            vec![Case::exact(ops.output("y", y), &[edges]).near(1e-6, 1e-6)]
        }
        OpKind::Unary => {
            use UnaryKind::{Exp, Log, Negate, Relu, Rsqrt, Sigmoid, Sqrt, Square, Tanh};
            // The bound is four units in the last place; a sigmoid below the smallest normal number may be zero.
            let approximated = unary(&[Sigmoid, Tanh, Exp, Log]).near(5e-7, f64::from(f32::MIN_POSITIVE));
            let activations = Activation::ALL.map(UnaryKind::Activation);
            // Products with a factor that may be denormal or zero.
            let activations = unary(&activations).near(3e-6, 2e-36);
            let roundings = [Activation::Floor, Activation::Ceil, Activation::Round];
            let exact = [Activation::Relu6, Activation::Abs].into_iter().chain(roundings);
            let exact: Vec<UnaryKind> = exact.map(UnaryKind::Activation).collect();
            vec![unary(&[Relu, Negate, Square, Sqrt, Rsqrt]), approximated, activations, unary(&exact)]
        }
        OpKind::Binary => {
            let (x, g) = (ops.input("x", &[PAIRS]), ops.input("g", &[PAIRS]));
            for kind in BinaryKind::PLAIN {
                let y = ops.op(Binary { kind }, &[x, g]);
                ops = ops.output(&format!("{kind:?}"), y);
            }
            let (mut exact, mut near) = (Ops::new(), Ops::new());
            let (x, at) = (exact.input("x", &[PAIRS]), exact.input("g", &[PAIRS]));
            let moderate = [
                Activation::Relu6,
                Activation::Abs,
                Activation::HardSigmoid,
                Activation::huber(1.0),
                Activation::Floor,
                Activation::Ceil,
                Activation::Round,
            ];
            for activation in moderate {
                let y = exact.op(Binary { kind: BinaryKind::ActivationGrad(activation) }, &[x, at]);
                exact = exact.output(&format!("{activation}"), y);
            }
            let (x, at) = (near.input("x", &[PAIRS]), near.input("g", &[PAIRS]));
            for activation in Activation::ALL {
                let y = near.op(Binary { kind: BinaryKind::ActivationGrad(activation) }, &[x, at]);
                near = near.output(&format!("{activation}"), y);
            }
            let one: &[(&'static str, Fill)] = &[("x", Fill::All(1.5)), ("g", Fill::Edges)];
            vec![
                Case::exact(ops, &[pairs]),
                Case::exact(exact, &[pairs]),
                Case::exact(near, &[one]).near(3e-6, 2e-36),
            ]
        }
        OpKind::Bias | OpKind::Scale => {
            let (x, g) = (ops.input("x", &[20, 21]), ops.parameter("g", &[20]));
            let y = if kind == OpKind::Bias {
                ops.op(Bias {}, &[x, g])
            } else {
                ops.op(Scale::along(1), &[x, g])
            };
            vec![Case::exact(ops.output("y", y), &[&[("x", Fill::Edges), ("g", Fill::Edges)]])]
        }
        OpKind::SumChannels => {
            let x = ops.input("x", &[5, 33]);
            let y = ops.op(SumChannels {}, &[x]);
            vec![sums(ops.output("y", y), ["x"])]
        }
        OpKind::SignMask | OpKind::MaskedSelect => {
            let (x, g) = (ops.input("x", &[PAIRS]), ops.input("g", &[PAIRS]));
            let bits = ops.op(SignMask {}, &[x]);
            let y = ops.op(MaskedSelect {}, &[g, bits]);
            vec![Case::exact(ops.output("y", y), &[pairs])]
        }
        OpKind::Reshape => {
            let x = ops.input("x", &[20, 3]);
            let y = ops.op(Reshape { shape: Shape::batched(&[60]) }, &[x]);
            vec![Case::exact(ops.output("y", y), &[edges])]
        }
        OpKind::Concat => {
            let (x, g) = (ops.input("x", &[20]), ops.input("g", &[23]));
            let y = ops.op(Concat { axis: 1 }, &[x, g]);
            vec![Case::exact(ops.output("y", y), &[&[("x", Fill::Edges), ("g", Fill::Edges)]])]
        }
        OpKind::Slice => {
            let x = ops.input("x", &[27]);
            let y = ops.op(Slice::new(1, 1, 25), &[x]);
            vec![Case::exact(ops.output("y", y), &[edges])]
        }
        OpKind::Pad => {
            let x = ops.input("x", &[20]);
            let y = ops.op(Pad { axis: 1, before: 1usize.into(), behind: 2usize.into() }, &[x]);
            vec![Case::exact(ops.output("y", y), &[edges])]
        }
        OpKind::Transpose => {
            let x = ops.input("x", &[20, 3]);
            let y = ops.op(Transpose { order: vec![0, 2, 1] }, &[x]);
            vec![Case::exact(ops.output("y", y), &[edges])]
        }
        OpKind::Fill => {
            let shape = Shape::batched(&[20]);
            let y = ops.op(windlass_compiler::ops::fill::Fill { shape, value: -0.0 }, &[]);
            // A graph has a batch only if it has an input.
            let x = ops.input("x", &[20]);
            vec![Case::exact(ops.output("x", x).output("y", y), &[edges])]
        }
        OpKind::Fused => {
            let (x, g) = (ops.input("x", &[PAIRS]), ops.input("g", &[PAIRS]));
            let steps = vec![
                FusedStep::Binary(BinaryKind::Add, 0, 1),
                FusedStep::Unary(UnaryKind::Relu, 0),
                FusedStep::Binary(BinaryKind::Multiply, 3, 2),
            ];
            let results = ops.ops(Fused { steps, results: vec![2, 3, 4, 0] }, &[x, g]);
            for (index, result) in results.into_iter().enumerate() {
                ops = ops.output(&format!("{index}"), result);
            }
            vec![Case::exact(ops, &[pairs])]
        }
        OpKind::FoldSteps | OpKind::UnfoldSteps => {
            let x = ops.input("x", &[4, 5]);
            let steps = ops.op(FoldSteps {}, &[x]);
            if kind == OpKind::FoldSteps {
                return vec![Case::exact(ops.output("y", steps), &[edges])];
            }
            let shape = Shape::batched(&[2, 10]);
            let y = ops.op(Reshape { shape: shape.with_first_folded(2) }, &[steps]);
            let y = ops.op(UnfoldSteps { shape }, &[y]);
            vec![Case::exact(ops.output("y", y), &[edges])]
        }
        OpKind::Scan => {
            let mut body = Ops::new();
            let (slice, carried) = (body.input("slice", &[5]), body.input("carried", &[5]));
            let cut = body.op(Unary { kind: UnaryKind::Relu }, &[slice]);
            let body = body.output("new", slice).output("before", carried).output("cut", cut).finish();
            let (x, g) = (ops.input("x", &[4, 5]), ops.input("g", &[5]));
            let steps = ops.op(FoldSteps {}, &[x]);
            let results = ops.ops(Scan::new(body, 4usize, 1, 1), &[steps, g]);
            for (name, value) in ["last", "before", "cut"].into_iter().zip(results) {
                ops = ops.output(name, value);
            }
            vec![Case::exact(ops, &[&[("x", Fill::Edges), ("g", Fill::Against)]])]
        }
        OpKind::Reduce => {
            let reduced = |kind, axis| {
                let mut ops = Ops::new();
                let x = ops.input("x", &[20, 21]);
                let y = ops.op(Reduce { kind, axis, count: 1 }, &[x]);
                ops.output("y", y)
            };
            // It is undefined which of two zeros is the maximum.
            let largest = |axis| Case::exact(reduced(ReduceKind::Max, axis), &[edges]).near(0.0, 0.0);
            let sum = |kind, axis| sums(reduced(kind, axis), ["x"]);
            let kinds = [ReduceKind::Sum, ReduceKind::Mean];
            let sums = kinds.into_iter().flat_map(|kind| [sum(kind, 1), sum(kind, 2)]);
            sums.chain([largest(1), largest(2)]).collect()
        }
        OpKind::Expand => {
            let x = ops.input("x", &[20]);
            for divided in [false, true] {
                let shape = Shape::batched(&[20, 3]);
                let y = ops.op(Expand { shape, axis: 2, count: 1, divided }, &[x]);
                ops = ops.output(if divided { "divided" } else { "copied" }, y);
            }
            vec![Case::exact(ops, &[edges])]
        }
        OpKind::BatchNorm => {
            let x = ops.input("x", &[20, 21]);
            let numbers = ["gamma", "beta", "mean", "variance"];
            let operands = [vec![x], numbers.map(|name| ops.parameter(name, &[20])).to_vec()].concat();
            let y = ops.op(BatchNorm { epsilon: 1e-5, momentum: 0.1, epilogue: vec![] }, &operands);
            let run = |name| [("x", Fill::Edges), (name, Fill::Edges)];
            let runs = numbers.map(run);
            let zero: &[(&str, Fill)] = &[("x", Fill::Edges), ("variance", Fill::All(0.0))];
            vec![Case::exact(ops.output("y", y), &[&runs[0], &runs[1], &runs[2], &runs[3], zero])]
        }
        OpKind::BatchNormTraining => vec![batch_norm(ops, None)],
        OpKind::BatchNormGrad => {
            let kinds = [UnaryKind::Relu, UnaryKind::Activation(Activation::Relu6)];
            let activations = kinds.map(|kind| BatchNormGrad { activation: Some(kind) });
            let all = [BatchNormGrad::default()].into_iter().chain(activations);
            all.map(|op| batch_norm(Ops::new(), Some(op))).collect()
        }
        OpKind::Dropout => {
            let x = ops.input("x", &[PAIRS]);
            let y = ops.op(Dropout::new(0.5), &[x]);
            vec![Case::exact(ops.output("y", y), &[edges])]
        }
        OpKind::DropoutTraining => {
            let x = ops.input("x", &[PAIRS]);
            let seed = integers(&mut ops, "seed", Shape::fixed(&[2]));
            let y = ops.op(DropoutTraining::new(0.3, 1), &[x, seed]);
            vec![Case::exact(ops.output("y", y), &[edges])]
        }
        OpKind::Softmax => softmax(|ops, x, _| ops.op(Softmax {}, &[x])),
        OpKind::LogSoftmax => softmax(|ops, x, _| ops.op(LogSoftmax {}, &[x])),
        OpKind::SoftmaxGrad => softmax(|ops, x, g| {
            let y = ops.op(Softmax {}, &[x]);
            ops.op(SoftmaxGrad {}, &[g, y])
        }),
        OpKind::LogSoftmaxGrad => softmax(|ops, x, g| {
            let y = ops.op(LogSoftmax {}, &[x]);
            ops.op(LogSoftmaxGrad {}, &[g, y])
        }),
        OpKind::CrossEntropy | OpKind::CrossEntropyGrad => {
            let (x, g) = (ops.input("x", &[3]), ops.parameter("g", &[]));
            let labels = integers(&mut ops, "labels", Shape::new([Dim::batch()]));
            let loss = ops.op(CrossEntropy {}, &[x, labels]);
            let dx = ops.op(CrossEntropyGrad {}, &[g, x, labels]);
            let rows = (0..ROWS.len()).map(|row| vec![("x", Fill::Row(row)), ("g", Fill::All(2.0))]);
            let of_gradient = EDGES.map(|g| vec![("g", Fill::All(f64::from(g)))]);
            let runs = rows.chain(of_gradient).collect();
            let graph = ops.output("loss", loss).output("dx", dx).finish();
            vec![Case { graph, agreement: Agreement::Edges { part: 3e-6, floor: 3e-6 }, runs }]
        }
        OpKind::OneHot => {
            let labels = integers(&mut ops, "labels", Shape::new([Dim::batch()]));
            let few = ops.op(OneHot { classes: 5 }, &[labels]);
            let many = ops.op(OneHot { classes: 37 }, &[labels]);
            vec![Case::exact(ops.output("few", few).output("many", many), &[&[]])]
        }
        // Samples without labels and steps; `ctc.rs` has all others.
        OpKind::Ctc => {
            let x = ops.input("x", &[7, 4]);
            let labels = integers(&mut ops, "labels", Shape::batched(&[2]));
            let lengths = integers(&mut ops, "lengths", Shape::new([Dim::batch()]));
            let op = Ctc { blank: 1, per_label: false, zero_infinity: false };
            let results = ops.ops(op, &[x, labels, lengths, lengths]);
            vec![Case::exact(ops.output("losses", results[0]).output("slopes", results[1]), &[edges])]
        }
        OpKind::Gather => gather::rows(ops),
        OpKind::GatherGrad => gather::sums_of_rows(ops),
        OpKind::MeanSquaredError => {
            let (x, t) = (ops.input("x", &[33]), ops.input("t", &[33]));
            let loss = ops.op(MeanSquaredError {}, &[x, t]);
            vec![sums(ops.output("loss", loss), ["x", "t"])]
        }
        OpKind::MeanSquaredErrorGrad => {
            let (x, t, g) = (ops.input("x", &[PAIRS]), ops.input("t", &[PAIRS]), ops.parameter("g", &[]));
            let dx = ops.op(MeanSquaredErrorGrad {}, &[g, x, t]);
            let run = |g: f32| vec![("x", Fill::Edges), ("t", Fill::Against), ("g", Fill::All(f64::from(g)))];
            let runs = EDGES.map(run).to_vec();
            vec![Case { graph: ops.output("dx", dx).finish(), agreement: Agreement::Exact, runs }]
        }
        OpKind::Sgd => {
            vec![sgd(0.0, false, 0.0), sgd(0.0, false, 0.1), sgd(0.9, false, 0.0), sgd(0.9, true, 0.1)]
        }
        OpKind::Adam => vec![adam(0.0, false), adam(0.1, false), adam(0.0, true), adam(0.1, true)],
        OpKind::Adaptive => {
            let rms =
                |momentum, centered| AdaptiveRule::RmsProp { alpha: 0.99, epsilon: 1e-8, momentum, centered };
            let rules = [
                rms(0.0, false),
                rms(0.9, false),
                rms(0.0, true),
                rms(0.9, true),
                AdaptiveRule::Adagrad { epsilon: 1e-10 },
                AdaptiveRule::Adadelta { rho: 0.9, epsilon: 1e-6 },
                AdaptiveRule::Lion { beta1: 0.9, beta2: 0.99 },
            ];
            rules.into_iter().flat_map(|rule| [adaptive(rule, 0.0), adaptive(rule, 0.1)]).collect()
        }
        OpKind::ClipValue => {
            let x = ops.input("x", &[PAIRS]);
            let y = ops.op(ClipValue { max: 1.0 }, &[x]);
            vec![Case::exact(ops.output("y", y), &[edges])]
        }
        OpKind::ClipFactor => {
            let (a, b) = (ops.parameter("a", &[33]), ops.parameter("b", &[5]));
            let results = ops.ops(ClipFactor { max_norm: 1.0 }, &[a, b]);
            vec![sums(ops.output("factor", results[0]).output("norm", results[1]), ["a", "b"])]
        }
    }
}

#[test]
fn every_operator() {
    for &kind in OpKind::ALL {
        for (index, case) in cases(kind).iter().enumerate() {
            assert!(case.graph.nodes().iter().any(|node| node.op.kind() == kind), "{kind:?}");
            case.check(&format!("{}, case {index}", kind.name()));
        }
    }
}

/// A step in which a ReLU reads NaN: the gradient passes through the ReLU, so every parameter before it becomes NaN, in
/// the interpreter and in every program.
#[track_caller]
fn check_divergence(item: &[usize], layers: &[Layer], nan: &str, first: &[&str]) {
    let step = training(&network(item, layers), Optimizer::sgd());
    let mut bindings = sources(&step, 2, Values::Reals, 3);
    let sizes = bindings[nan].sizes.clone();
    bindings.insert(nan.to_owned(), Fill::All(f64::NAN).array(&sizes, 0));
    let updates = interpreted::<f32>(&step, 2, &bindings);
    for &name in first {
        assert!(updates[name].iter().all(|value| value.is_nan()), "{name}: {:?}", updates[name]);
    }
    let mut expectation = Expectation::of(&step, Agreement::Edges { part: 1e-4, floor: 1e-5 });
    expectation.add(2, bindings);
    expectation.check_variants(Mode::Training, &format!("{layers:?}"));
}

#[test]
fn what_is_not_a_number_reaches_parameters_before_a_relu() {
    let dense = [Layer::linear(9), Layer::linear(11), Layer::Relu, Layer::linear(3)];
    check_divergence(&[7], &dense, "l1.bias", &["l0.weight", "l0.bias", "l1.weight"]);
    check_divergence(&[7], &dense, "x", &["l0.weight", "l0.bias", "l1.weight"]);
    let conv = |channels| Layer::conv(channels, Window::square(3, 1, 1));
    let pool = Layer::max_pool(Window::square(2, 2, 0));
    for last in
        [vec![pool.clone()], vec![Layer::Dropout { rate: 0.3 }], vec![pool, Layer::Dropout { rate: 0.3 }]]
    {
        let head = vec![conv(8), conv(16), Layer::Relu];
        let layers = [head, last, vec![Layer::Flatten, Layer::linear(3)]].concat();
        check_divergence(&[2, 6, 6], &layers, "l1.bias", &["l0.weight", "l0.bias", "l1.weight"]);
    }
}

/// Nothing disables denormals, for programs or for their callers.
#[test]
fn denormals_stay_after_a_run() {
    let mut ops = Ops::new();
    let (x, g) = (ops.input("x", &[PAIRS]), ops.input("g", &[PAIRS]));
    let y = ops.op(Binary { kind: BinaryKind::Add }, &[x, g]);
    Case::exact(ops.output("y", y), &[&[("x", Fill::Denormal), ("g", Fill::Denormal)]]).check("denormals");
    let half = black_box(f32::MIN_POSITIVE) / black_box(2.0);
    assert_eq!(half.to_bits(), 0x0040_0000);
}
