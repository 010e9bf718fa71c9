//! Elementary functions in AVX registers, with the same range reductions, polynomials and error bounds as
//! `clif/math.rs`.
//!
//! Every function works in place and uses the temporaries it is given; [`temporaries`] says how many. The only mask it
//! changes is [`Emitter::mask`].

use super::emit::Emitter;
use super::formula;
use super::lanes::{Comparison, Shift};
use super::operands::{Binary, Fused, Vector, Width};
use crate::functions::UnaryKind;

/// The mask register that functions overwrite at 512 bits, unless several are computed side by side.
pub(super) const MASK: u8 = 7;

/// Adding this number rounds to an integer and leaves it in the low bits.
const ROUND: f32 = 12_582_912.0;

/// How many vector registers a function overwrites besides its operand's.
pub(super) fn temporaries(kind: UnaryKind) -> usize {
    match kind {
        UnaryKind::Sqrt | UnaryKind::Negate | UnaryKind::Square => 0,
        UnaryKind::Relu | UnaryKind::Rsqrt => 1,
        UnaryKind::Sigmoid | UnaryKind::Exp => 2,
        UnaryKind::Tanh => 3,
        UnaryKind::Log => 4,
        UnaryKind::Activation(activation) => formula::temporaries(&activation.formula()),
    }
}

/// `x ← f(x)`. At least as many temporaries are required as [`temporaries`] says.
pub(super) fn unary(emitter: &mut Emitter, kind: UnaryKind, x: Vector, temporaries: &[Vector]) {
    match kind {
        UnaryKind::Relu => relu(emitter, x, temporaries),
        UnaryKind::Sigmoid => sigmoid(emitter, x, temporaries),
        UnaryKind::Tanh => tanh(emitter, x, temporaries),
        UnaryKind::Exp => exp(emitter, x, temporaries),
        UnaryKind::Log => log(emitter, x, temporaries),
        UnaryKind::Sqrt => emitter.square_root(x, x),
        UnaryKind::Rsqrt => {
            emitter.square_root(x, x);
            emitter.load_number(temporaries[0], 1.0);
            emitter.binary(Binary::Divide, x, temporaries[0], x);
        }
        UnaryKind::Negate => {
            let sign = emitter.number(-0.0);
            emitter.binary(Binary::Xor, x, x, sign);
        }
        UnaryKind::Square => emitter.binary(Binary::Multiply, x, x, x),
        UnaryKind::Activation(activation) => formula::write(emitter, &activation.formula(), x, temporaries),
    }
}

/// `0 > x ? 0 : x`: NaN stays NaN, and a zero keeps its sign.
fn relu(emitter: &mut Emitter, x: Vector, temporaries: &[Vector]) {
    let zero = temporaries[0];
    emitter.zero(zero);
    emitter.binary(Binary::Maximum, x, zero, x);
}

/// `to ←` the larger of two, or the first if they are equal. If one is NaN, the result is that NaN; if both are, the
/// second. `to` may be the first, and `temporary` is overwritten at 256 bits.
pub(super) fn largest(emitter: &mut Emitter, to: Vector, [best, value]: [Vector; 2], temporary: Vector) {
    let mask = mask(emitter, temporary);
    // The instruction returns its second operand if one is NaN.
    emitter.binary(Binary::Maximum, to, value, best);
    emitter.compare(Comparison::Unordered, mask, value, value);
    emitter.choose(to, mask, value, to);
}

/// `to ← to·x + c` for each of the coefficients, starting with the highest power.
fn horner(emitter: &mut Emitter, to: Vector, x: Vector, coefficients: &[f32]) {
    for &coefficient in coefficients {
        let coefficient = emitter.number(coefficient);
        emitter.fused(Fused::MultiplyThenAdd, to, x, coefficient);
    }
}

/// `eˣ = 2ⁿ·eʳ`, with `n` the integer nearest to `x / ln 2`. Within 1.1 ulp, denormals and infinity included.
fn exp(emitter: &mut Emitter, x: Vector, temporaries: &[Vector]) {
    let (a, b) = (temporaries[0], temporaries[1]);
    // Of a number and NaN, the second stays.
    emitter.load_number(a, -104.0);
    emitter.binary(Binary::Maximum, x, a, x);
    emitter.load_number(a, 89.0);
    emitter.binary(Binary::Minimum, x, a, x);
    emitter.load_number(a, std::f32::consts::LOG2_E);
    let round = emitter.number(ROUND);
    emitter.fused(Fused::MultiplyThenAdd, a, x, round);
    emitter.binary(Binary::Subtract, b, a, round);
    let high = emitter.number(-0.693_359_4);
    emitter.fused(Fused::Accumulate, x, b, high);
    let low = emitter.number(2.121_944_4e-4);
    emitter.fused(Fused::Accumulate, x, b, low);
    if emitter.width == Width::Bits512 {
        emitter.binary(Binary::Subtract, a, a, round);
    }
    emitter.load_number(b, 1.987_569_1e-4);
    let coefficients = [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5, 1.0, 1.0];
    horner(emitter, b, x, &coefficients);
    match emitter.width {
        Width::Bits512 => emitter.scale(x, b, a),
        // The power is applied in two halves, so that results can reach infinity and denormals.
        Width::Bits256 => {
            emitter.binary(Binary::SubtractIntegers, a, a, round);
            emitter.shift(Shift::RightSigned, x, a, 1);
            emitter.binary(Binary::SubtractIntegers, a, a, x);
            let one = emitter.number(1.0);
            for half in [x, a] {
                emitter.shift(Shift::Left, half, half, 23);
                emitter.binary(Binary::AddIntegers, half, half, one);
            }
            emitter.binary(Binary::Multiply, x, x, b);
            emitter.binary(Binary::Multiply, x, x, a);
        }
    }
}

/// `1/(1 + e⁻ˣ)`, within 2.3 ulp. The result is 0 instead of a denormal where `e⁻ˣ` is infinite.
fn sigmoid(emitter: &mut Emitter, x: Vector, temporaries: &[Vector]) {
    let sign = emitter.number(-0.0);
    emitter.binary(Binary::Xor, x, x, sign);
    exp(emitter, x, temporaries);
    let one = emitter.number(1.0);
    emitter.binary(Binary::Add, x, x, one);
    reciprocal(emitter, x, temporaries[0]);
}

/// `x ← 1/x` for `x` of at least 1, within 0.6 ulp. The result may be 0 instead of a denormal.
fn reciprocal(emitter: &mut Emitter, x: Vector, temporary: Vector) {
    match emitter.width {
        Width::Bits256 => {
            emitter.load_number(temporary, 1.0);
            emitter.binary(Binary::Divide, x, temporary, x);
        }
        // A step of Newton's method keeps the divider free: networks of sigmoids take 1 to 2 % less time.
        Width::Bits512 => {
            emitter.approximate_reciprocal(temporary, x);
            let one = emitter.number(1.0);
            emitter.fused(Fused::MultiplyThenSubtract, x, temporary, one);
            // The error of the approximation: NaN if infinity is multiplied with its reciprocal, which any number corrects.
            let any = emitter.number(-1.0);
            emitter.binary(Binary::Maximum, x, x, any);
            emitter.fused(Fused::MultiplyThenAdd, x, temporary, temporary);
        }
    }
}

/// An odd polynomial near zero, where the quotient would cancel; elsewhere `1 − 2/(e^2|x| + 1)` with the sign of `x`.
/// Within 1.3 ulp.
fn tanh(emitter: &mut Emitter, x: Vector, temporaries: &[Vector]) {
    let (far, near, rest) = (temporaries[0], temporaries[1], temporaries[2]);
    let magnitude = emitter.integer(i32::MAX);
    emitter.binary(Binary::And, far, x, magnitude);
    emitter.binary(Binary::Add, far, far, far);
    exp(emitter, far, &[near, rest]);
    let one = emitter.number(1.0);
    emitter.binary(Binary::Add, far, far, one);
    reciprocal(emitter, far, near);
    emitter.load_number(near, 2.0);
    emitter.fused(Fused::MultiplyThenSubtract, far, near, one);

    emitter.binary(Binary::Multiply, rest, x, x);
    emitter.load_number(near, -5.704_988_7e-3);
    horner(emitter, near, rest, &[2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1]);
    emitter.binary(Binary::Multiply, rest, rest, x);
    emitter.fused(Fused::MultiplyThenAdd, near, rest, x);
    emitter.binary(Binary::And, rest, x, magnitude);
    let bound = emitter.number(0.625);
    let mask = mask(emitter, rest);
    emitter.compare(Comparison::Less, mask, rest, bound);
    emitter.choose(far, mask, near, far);
    // The sign comes last, because the polynomial would lose the sign of a zero.
    let sign = emitter.number(-0.0);
    emitter.binary(Binary::And, x, x, sign);
    emitter.binary(Binary::Or, x, x, far);
}

/// `ln x = e·ln 2 + ln m`, with the mantissa `m` between √½ and √2. Within 0.8 ulp.
fn log(emitter: &mut Emitter, x: Vector, temporaries: &[Vector]) {
    let [z, exponent, square, y] = [0, 1, 2, 3].map(|index| temporaries[index]);
    // Denormals are scaled into the normal range first.
    let smallest = emitter.number(f32::MIN_POSITIVE);
    let denormal = mask(emitter, square);
    emitter.compare(Comparison::Less, denormal, x, smallest);
    let scale = emitter.number(8_388_608.0);
    emitter.binary(Binary::Multiply, z, x, scale);
    emitter.choose(z, denormal, z, x);
    emitter.zero(y);
    let scaled_by = emitter.number(-23.0);
    emitter.choose(y, denormal, scaled_by, y);

    // Moving √½ to an exponent boundary splits mantissa and exponent in one subtraction.
    let root_half = emitter.number(std::f32::consts::FRAC_1_SQRT_2);
    emitter.binary(Binary::SubtractIntegers, exponent, z, root_half);
    emitter.shift(Shift::RightSigned, exponent, exponent, 23);
    emitter.shift(Shift::Left, square, exponent, 23);
    emitter.binary(Binary::SubtractIntegers, z, z, square);
    emitter.convert_integers(exponent, exponent);
    emitter.binary(Binary::Add, exponent, exponent, y);

    let one = emitter.number(1.0);
    emitter.binary(Binary::Subtract, z, z, one);
    emitter.binary(Binary::Multiply, square, z, z);
    emitter.load_number(y, 7.037_683_6e-2);
    let coefficients = [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    horner(emitter, y, z, &coefficients);
    emitter.binary(Binary::Multiply, y, y, square);
    emitter.binary(Binary::Multiply, y, y, z);
    let low = emitter.number(-2.121_944_4e-4);
    emitter.fused(Fused::Accumulate, y, exponent, low);
    let minus_half = emitter.number(-0.5);
    emitter.fused(Fused::Accumulate, y, square, minus_half);
    emitter.binary(Binary::Add, y, y, z);
    let high = emitter.number(0.693_359_4);
    emitter.fused(Fused::Accumulate, y, exponent, high);

    // Zero gives −∞, infinity gives infinity, and negative numbers give NaN.
    let mask = mask(emitter, square);
    for (comparison, operand, result) in [
        (Comparison::Equal, 0.0, f32::NEG_INFINITY),
        (Comparison::Equal, f32::INFINITY, f32::INFINITY),
        (Comparison::NotAtLeast, 0.0, f32::NAN),
    ] {
        let (operand, result) = (emitter.number(operand), emitter.number(result));
        emitter.compare(comparison, mask, x, operand);
        emitter.choose(y, mask, result, y);
    }
    emitter.copy(x, y);
}

/// A mask to overwrite: the emitter's at 512 bits, the given vector register at 256.
pub(super) fn mask(emitter: &Emitter, vector: Vector) -> u8 {
    match emitter.width {
        Width::Bits256 => vector.0,
        Width::Bits512 => emitter.mask,
    }
}
