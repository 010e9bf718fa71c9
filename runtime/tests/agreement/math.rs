//! The error of elementary functions, in units in the last place, over the whole range of f32. The bounds are those in
//! the documentation of each function.

use windlass_compiler::codegen::available_vector_bits;
use windlass_compiler::dump::Dump;
use windlass_compiler::ops::elementwise::{Activation, Unary, UnaryKind};
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::{CompileOptions, compile};
use windlass_compiler::plan::Features;
use windlass_runtime::executor::{Binding, Executor};

use crate::graphs::Ops;

/// The distance between tested bit patterns: a prime, so that low bits vary.
const STRIDE: usize = 1021;

fn program(kind: UnaryKind, (features, vector_bits): (Features, usize)) -> Executor {
    let mut ops = Ops::new();
    let x = ops.input("x", &[1]);
    let y = ops.op(Unary { kind }, &[x]);
    let mut options = CompileOptions::default();
    options.plan.features = features;
    options.plan.vector_bits = Some(vector_bits);
    let graph = ops.output("y", y).finish();
    Executor::new(compile(&graph, Mode::Inference, &options, &Dump::none()).unwrap().0).unwrap()
}

fn evaluate(executor: &Executor, x: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    executor.run(&mut [Binding::Floats(x), Binding::Written(&mut y)], x.len(), 0).unwrap();
    y
}

/// Numbers of every magnitude and sign, and the thresholds between the formulas of functions.
fn arguments() -> Vec<f32> {
    let mut x: Vec<f32> = (0..=u32::MAX).step_by(STRIDE).map(f32::from_bits).collect();
    let corners = [
        0.0,
        f32::MIN_POSITIVE,
        f32::from_bits(1),
        f32::from_bits(0x007F_FFFF),
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
        1.0,
        0.5,
        2.0,
        0.625,
        88.722_83,
        88.722_84,
        87.336_54,
        87.336_55,
        89.0,
        103.97,
        103.98,
        104.0,
        9.01,
        16.6,
        1e-4,
        0.1,
        std::f32::consts::SQRT_2,
        std::f32::consts::FRAC_1_SQRT_2,
        std::f32::consts::LN_2,
    ];
    for corner in corners {
        for bits in corner.to_bits().saturating_sub(2)..=corner.to_bits() + 2 {
            x.extend([f32::from_bits(bits), -f32::from_bits(bits)]);
        }
    }
    // The jumps of roundings, and where all numbers are whole.
    for half in
        (0..=64u32).map(|half| half as f32 / 2.0).chain([4_194_303.5, 8_388_607.5, 8_388_608.0, 16_777_216.0])
    {
        x.extend([half, half.next_up(), half.next_down()].iter().flat_map(|&it| [it, -it]));
    }
    // The range in which functions of the exponential are not constant: every magnitude again, more densely.
    x.extend((-120_000..=120_000).map(|step| step as f32 / 1000.0));
    x
}

/// The error of a result in units in the last place of the exact value; `None` for a wrong NaN, infinity or zero.
fn error(got: f32, truth: f64) -> Option<f64> {
    let rounded = truth as f32;
    if rounded.is_nan() || rounded.is_infinite() {
        let same = rounded == got || rounded.is_nan() && got.is_nan();
        return same.then_some(0.0);
    }
    if got.is_nan() {
        return None;
    }
    if truth == 0.0 {
        return (got.to_bits() == rounded.to_bits()).then_some(0.0);
    }
    let exponent = (rounded.abs().max(f32::MIN_POSITIVE).to_bits() >> 23) as i32 - 127;
    // An infinity that should be finite counts as the unit after the largest number.
    let got = if got.is_infinite() {
        f64::from(f32::MAX.copysign(got)) * (1.0 + f64::from(f32::EPSILON))
    } else {
        f64::from(got)
    };
    Some((got - truth).abs() / 2f64.powi(exponent - 23))
}

/// Checks a function on every argument, in vectors and as scalars. Results smaller than `smallest` may be zero.
#[track_caller]
fn check(kind: UnaryKind, bound: f64, smallest: f64, truth: impl Fn(f64) -> f64) {
    check_by(kind, |_| bound, [smallest, 0.0], truth);
}

/// The same with a bound for each argument. Below `smallest`, an error of `least` is allowed.
#[track_caller]
fn check_by(
    kind: UnaryKind,
    bound: impl Fn(f64) -> f64,
    [smallest, least]: [f64; 2],
    truth: impl Fn(f64) -> f64,
) {
    let arguments = arguments();
    let native = available_vector_bits().into_iter().map(|bits| (Features::Native, bits));
    for code in native.chain([(Features::Baseline, 128)]) {
        let executor = program(kind, code);
        let results = evaluate(&executor, &arguments);
        let mut worst = (0.0, 0.0f32, 0.0f32);
        for (&x, &y) in arguments.iter().zip(&results) {
            let truth = truth(f64::from(x));
            let is_small = truth.abs() < smallest;
            if is_small && (y == 0.0 && least == 0.0 || (f64::from(y) - truth).abs() <= least) {
                continue;
            }
            let error = error(y, truth).unwrap_or_else(|| panic!("{kind:?}({x:?}) is {y:?}, not {truth:?}"));
            let part = error / bound(f64::from(x)).max(f64::MIN_POSITIVE);
            if part > worst.0 {
                worst = (part, x, y);
            }
        }
        let (part, x, y) = worst;
        let error = part * bound(f64::from(x));
        println!("{kind} with {code:?}: at most {error:.2} units, at {x:?}");
        assert!(
            part <= 1.0,
            "{kind:?}({x:?}) is {y:?} with {code:?}: {error:.3} units from {:?}",
            truth(f64::from(x))
        );
        // Batches of three fill no vector: single lanes must give the same bits.
        for (x, y) in arguments.chunks_exact(3).zip(results.chunks_exact(3)).step_by(499) {
            let singles = evaluate(&executor, x);
            let same =
                singles.iter().zip(y).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan());
            assert!(same, "{kind:?}({x:?}) is {singles:?} one by one, {y:?} in a vector");
        }
    }
}

#[test]
fn exp() {
    check(UnaryKind::Exp, 1.1, 0.0, f64::exp);
}

#[test]
fn log() {
    check(UnaryKind::Log, 0.8, 0.0, f64::ln);
}

#[test]
fn tanh() {
    check(UnaryKind::Tanh, 1.3, 0.0, f64::tanh);
}

#[test]
fn sigmoid() {
    check(UnaryKind::Sigmoid, 2.3, f64::from(f32::MIN_POSITIVE), |x| 1.0 / (1.0 + (-x).exp()));
}

#[test]
fn square_root() {
    check(UnaryKind::Sqrt, 0.5, 0.0, f64::sqrt);
}

#[test]
fn reciprocal_square_root() {
    check(UnaryKind::Rsqrt, 1.5, 0.0, |x| 1.0 / x.sqrt());
}

/// An activation, whose results below 2·10⁻³⁶ may have a factor that is denormal.
#[track_caller]
fn check_activation(activation: Activation, bound: impl Fn(f64) -> f64) {
    check_by(UnaryKind::Activation(activation), bound, [2e-36, 1e-43], |x| activation.value(x));
}

#[test]
fn piecewise_linear_activations() {
    check_activation(Activation::Relu6, |_| 0.0);
    check_activation(Activation::Abs, |_| 0.0);
    check_activation(Activation::leaky_relu(0.01), |_| 1.5);
    check_activation(Activation::HardSigmoid, |_| 1.5);
    check_activation(Activation::HardSwish, |_| 2.0);
    check_activation(Activation::huber(0.3), |_| 2.5);
}

#[test]
fn roundings() {
    for activation in [Activation::Floor, Activation::Ceil, Activation::Round] {
        // No result is small but not zero, so signs of zeros are checked as well.
        check(UnaryKind::Activation(activation), 0.0, 0.0, |x| activation.value(x));
    }
}

#[test]
fn exponential_linear_units() {
    check_activation(Activation::elu(1.0), |_| 3.5);
    check_activation(Activation::elu(0.7), |_| 3.5);
    check_activation(Activation::Selu, |_| 3.5);
}

#[test]
fn smooth_activations() {
    check_activation(Activation::Gelu, |_| 8.0);
    check_activation(Activation::Silu, |_| 4.0);
    check_activation(Activation::Softplus, |_| 4.0);
    check_activation(Activation::ScaledTanh, |_| 4.0);
    check_activation(Activation::Erf, |_| 4.0);
    check_activation(Activation::GeluTanh, |x| 4.0 + 3.0 * (x * (1.6 + 0.0714 * x * x)).abs());
}
