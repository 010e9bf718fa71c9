//! Runs assembled functions: the elementary functions over all of f32, maps (`maps`), and the limits of tiles
//! (`tiles`).

mod maps;
mod tiles;

use cranelift_codegen::ir::{AbiParam, Signature, types::I64};
use cranelift_codegen::isa::CallConv;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, default_libcall_names};
use iced_x86::Register;

use super::Width;
use super::emit::Emitter;
use super::math;
use super::operands::{Lanes, MemoryRef, Vector};
use crate::functions::{Activation, UnaryKind};

/// The vector widths of this machine.
fn widths() -> Vec<Width> {
    let mut widths = Vec::new();
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        widths.push(Width::Bits256);
    }
    if is_x86_feature_detected!("avx512f") {
        widths.push(Width::Bits512);
    }
    widths
}

/// Calls machine code that takes two numbers.
fn call(code: &[u8], first: usize, second: usize) {
    let mut module = JITModule::new(JITBuilder::new(default_libcall_names()).unwrap());
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params = vec![AbiParam::new(I64); 2];
    let id = module.declare_function("assembled", Linkage::Local, &signature).unwrap();
    module.define_function_bytes(id, 64, code, &[]).unwrap();
    module.finalize_definitions().unwrap();
    let address = module.get_finalized_function(id);
    // SAFETY: the code follows the convention, takes two numbers and returns nothing.
    let function =
        unsafe { std::mem::transmute::<*const u8, unsafe extern "sysv64" fn(usize, usize)>(address) };
    // SAFETY: the tests give code pointers to memory of theirs that is as large as the code expects.
    unsafe { function(first, second) };
    // SAFETY: the function is not called again.
    unsafe { module.free_memory() };
}

/// Applies a function to whole vectors of numbers.
fn apply(width: Width, kind: UnaryKind, numbers: &mut [f32]) {
    let mut emitter = Emitter::new(width).unwrap();
    emitter.use_constants(Register::R11);
    let mut again = emitter.label();
    emitter.here(&mut again);
    let (x, temporaries) = (Vector(3), [5, 9, 0, 15].map(Vector));
    let place = MemoryRef::at(Register::RDI, 0);
    emitter.load(x, place, Lanes::All);
    math::unary(&mut emitter, kind, x, &temporaries[..math::temporaries(kind)]);
    emitter.store(x, place, Lanes::All);
    emitter.add_number(Register::RDI, width.bytes());
    emitter.count_down(Register::RSI, again);
    emitter.leave();
    let code = emitter.finish().unwrap();
    assert!(numbers.len().is_multiple_of(width.lanes()));
    call(&code, numbers.as_mut_ptr().addr(), numbers.len() / width.lanes());
}

/// The error in units in the last place; infinite for a wrong NaN, infinity or zero.
fn error(got: f32, truth: f64) -> f64 {
    let rounded = truth as f32;
    if rounded.is_nan() || rounded.is_infinite() || truth == 0.0 || got.is_nan() {
        let invariants = rounded.to_bits() == got.to_bits() || rounded.is_nan() && got.is_nan();
        return if invariants { 0.0 } else { f64::INFINITY };
    }
    let exponent = (rounded.abs().max(f32::MIN_POSITIVE).to_bits() >> 23) as i32 - 127;
    (f64::from(got) - truth).abs() / 2f64.powi(exponent - 23)
}

/// A function, its maximum error in units in the last place, and its exact definition.
type Bounded = (UnaryKind, f64, fn(f64) -> f64);

/// The maximum error of an activation at `x` in units in the last place.
fn bound(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Relu6 | Activation::Abs | Activation::Floor | Activation::Ceil | Activation::Round => 0.0,
        Activation::LeakyRelu(_) | Activation::HardSigmoid => 1.5,
        Activation::HardSwish => 2.0,
        Activation::Huber(_) => 2.5,
        Activation::Elu(_) | Activation::Selu => 3.5,
        Activation::Silu | Activation::Softplus | Activation::ScaledTanh | Activation::Erf => 4.0,
        Activation::Gelu => 8.0,
        Activation::GeluTanh => 4.0 + 3.0 * (x * (1.6 + 0.0714 * x * x)).abs(),
    }
}

/// Numbers over all of f32, many of usual size, and special ones; whole vectors.
fn arguments() -> Vec<f32> {
    let mut arguments: Vec<f32> = (0..=u32::MAX).step_by(5003).map(f32::from_bits).collect();
    arguments.extend((-104_000..=104_000).map(|step| step as f32 / 1000.0));
    arguments.extend([0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE]);
    arguments.extend([f32::from_bits(1), f32::MAX, f32::MIN]);
    arguments.resize(arguments.len().next_multiple_of(16), 1.0);
    arguments
}

#[test]
fn elementary_functions_keep_their_bounds() {
    let functions: [Bounded; 9] = [
        (UnaryKind::Exp, 1.1, f64::exp),
        (UnaryKind::Log, 0.8, f64::ln),
        (UnaryKind::Tanh, 1.3, f64::tanh),
        (UnaryKind::Sigmoid, 2.3, |x| 1.0 / (1.0 + (-x).exp())),
        (UnaryKind::Sqrt, 0.5, f64::sqrt),
        (UnaryKind::Rsqrt, 1.5, |x| 1.0 / x.sqrt()),
        (UnaryKind::Square, 0.5, |x| x * x),
        (UnaryKind::Negate, 0.0, |x| -x),
        (UnaryKind::Relu, 0.0, |x| if x < 0.0 { 0.0 } else { x }),
    ];
    let arguments = arguments();
    for width in widths() {
        for (kind, bound, truth) in functions {
            let mut results = arguments.clone();
            apply(width, kind, &mut results);
            let mut worst = (0.0, 0.0, 0.0);
            for (&x, &y) in arguments.iter().zip(&results) {
                let truth = truth(f64::from(x));
                // Where the exponential is infinite, its reciprocal is zero.
                let is_tail = kind == UnaryKind::Sigmoid && y == 0.0 && truth < f64::from(f32::MIN_POSITIVE);
                let error = if is_tail { 0.0 } else { error(y, truth) };
                if error > worst.0 {
                    worst = (error, x, y);
                }
            }
            let (error, x, y) = worst;
            assert!(error <= bound, "{kind:?}({x:?}) is {y:?} at {width:?}: {error} units off");
        }
    }
}

/// Errors of results below 2⁻¹¹⁹ count relative to that: their factors may be denormal.
#[test]
fn activations_keep_their_bounds() {
    let arguments = arguments();
    let others = [Activation::leaky_relu(0.3), Activation::elu(0.7), Activation::huber(2.5)];
    for activation in Activation::ALL.into_iter().chain(others) {
        for width in widths() {
            let mut results = arguments.clone();
            apply(width, UnaryKind::Activation(activation), &mut results);
            let mut worst = (0.0, 0.0, 0.0, 0.0);
            for (&x, &y) in arguments.iter().zip(&results) {
                let truth = activation.value(f64::from(x));
                let is_small = y.abs() < 2e-36 && truth.abs() < 2e-36 && (f64::from(y) - truth).abs() < 1e-43;
                let error = if is_small { 0.0 } else { error(y, truth) };
                if error / bound(activation, f64::from(x)).max(1e-9) > worst.0 {
                    worst = (error / bound(activation, f64::from(x)).max(1e-9), error, x, y);
                }
            }
            let (part, error, x, y) = worst;
            assert!(part <= 1.0, "{activation}({x:?}) is {y:?} at {width:?}: {error} units off");
        }
    }
}
