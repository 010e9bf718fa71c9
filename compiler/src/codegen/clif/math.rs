//! Elementary functions in vector registers: the classic range reductions with minimax polynomials of the Cephes
//! library (Moshier 1989). Each function states its maximum error over the whole range of f32, in units in the last
//! place (ulp), with and without fused multiply-add, and preserves NaN, infinities and signs of zeros. The square root
//! is rounded correctly; its reciprocal is within 1.5 ulp.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, Value};

use super::value::{Emit, VectorOrScalar};
use crate::functions::UnaryKind;
use crate::functions::formula::{Formula, Operation, Step, Term};

impl Emit<'_, '_> {
    pub(super) fn unary(&mut self, width: VectorOrScalar, kind: UnaryKind, x: Value) -> Value {
        match kind {
            UnaryKind::Relu => self.relu(width, x),
            UnaryKind::Sigmoid => self.sigmoid(width, x),
            UnaryKind::Tanh => self.tanh(width, x),
            UnaryKind::Exp => self.exp(width, x),
            UnaryKind::Log => self.log(width, x),
            UnaryKind::Sqrt => self.builder.ins().sqrt(x),
            UnaryKind::Rsqrt => {
                let root = self.builder.ins().sqrt(x);
                let one = self.float(width, 1.0);
                self.builder.ins().fdiv(one, root)
            }
            UnaryKind::Negate => self.builder.ins().fneg(x),
            UnaryKind::Square => self.builder.ins().fmul(x, x),
            UnaryKind::Activation(activation) => self.formula(width, &activation.formula(), x),
        }
    }

    /// The value of a formula at `x`.
    pub(super) fn formula(&mut self, width: VectorOrScalar, formula: &Formula, x: Value) -> Value {
        let mut values = vec![x];
        for step in &formula.steps {
            let of = |term: Term, emit: &mut Self| match term {
                Term::Value(value) => values[value.0],
                Term::Number(number) => emit.float(width, number),
            };
            let y = match *step {
                Step::Unary(kind, x) => self.unary(width, kind, values[x.0]),
                Step::Magnitude(x) => self.builder.ins().fabs(values[x.0]),
                Step::WithSign(x, sign) => {
                    let sign_bit = self.float(width, -0.0);
                    let sign = self.builder.ins().band(values[sign.0], sign_bit);
                    self.builder.ins().bor(values[x.0], sign)
                }
                Step::Binary(operation, a, b) => {
                    let (a, b) = (of(a, self), of(b, self));
                    match operation {
                        Operation::Add => self.builder.ins().fadd(a, b),
                        Operation::Subtract => self.builder.ins().fsub(a, b),
                        Operation::Multiply => self.builder.ins().fmul(a, b),
                        Operation::Divide => self.builder.ins().fdiv(a, b),
                    }
                }
                Step::MultiplyAdd(a, b, c) => {
                    let (b, c) = (of(b, self), of(c, self));
                    self.multiply_add(values[a.0], b, c)
                }
                Step::AtLeast(x, bound) => {
                    let bound = self.float(width, bound);
                    let below = self.compare(FloatCC::LessThan, values[x.0], bound);
                    self.select(width, below, bound, values[x.0])
                }
                Step::AtMost(x, bound) => {
                    let bound = self.float(width, bound);
                    let above = self.compare(FloatCC::LessThan, bound, values[x.0]);
                    self.select(width, above, bound, values[x.0])
                }
                Step::IfBelow { x, bound, yes, no } => {
                    let (yes, no, bound) = (of(yes, self), of(no, self), self.float(width, bound));
                    let below = self.compare(FloatCC::LessThan, values[x.0], bound);
                    self.select(width, below, yes, no)
                }
            };
            values.push(y);
        }
        values.last().copied().unwrap_or(x)
    }

    /// `c₀ + x·(c₁ + x·(c₂ + …))`.
    fn polynomial(&mut self, width: VectorOrScalar, x: Value, coefficients: &[f32]) -> Value {
        let mut result = None;
        for &coefficient in coefficients.iter().rev() {
            let coefficient = self.float(width, coefficient);
            result = Some(match result {
                None => coefficient,
                Some(sum) => self.multiply_add(sum, x, coefficient),
            });
        }
        result.unwrap_or(x)
    }

    /// `x` clamped to two bounds; NaN stays NaN.
    fn clamp(&mut self, width: VectorOrScalar, x: Value, low: f32, high: f32) -> Value {
        let (low, high) = (self.float(width, low), self.float(width, high));
        let below = self.compare(FloatCC::LessThan, x, low);
        let x = self.select(width, below, low, x);
        let above = self.compare(FloatCC::LessThan, high, x);
        self.select(width, above, high, x)
    }

    /// `2ⁿ` for an integer between −126 and 127.
    fn power_of_two(&mut self, width: VectorOrScalar, n: Value) -> Value {
        let bias = self.integer(width, 127);
        let exponent = self.builder.ins().iadd(n, bias);
        let bits = self.builder.ins().ishl_imm_s(exponent, 23);
        self.bits(width.float(), bits)
    }

    /// `eˣ = 2ⁿ·eʳ`, with `n` the integer nearest to `x / ln 2`. The power is applied in two halves, so that results
    /// can reach infinity and denormals. Within 1.1 ulp.
    fn exp(&mut self, width: VectorOrScalar, x: Value) -> Value {
        // Adding this number rounds to an integer and leaves it in the low bits.
        const ROUND: f32 = 12_582_912.0;
        let x = self.clamp(width, x, -104.0, 89.0);
        let log2e = self.float(width, std::f32::consts::LOG2_E);
        let round = self.float(width, ROUND);
        let shifted = self.multiply_add(x, log2e, round);
        let n = self.builder.ins().fsub(shifted, round);
        let negative_high = self.float(width, -0.693_359_4);
        let negative_low = self.float(width, 2.121_944_4e-4);
        let r = self.multiply_add(n, negative_high, x);
        let r = self.multiply_add(n, negative_low, r);
        let p = self.polynomial(
            width,
            r,
            &[0.5, 1.666_666_5e-1, 4.166_579_6e-2, 8.333_452e-3, 1.398_199_9e-3, 1.987_569_1e-4],
        );
        let square = self.builder.ins().fmul(r, r);
        let tail = self.multiply_add(p, square, r);
        let one = self.float(width, 1.0);
        let power = self.builder.ins().fadd(tail, one);
        let shifted_bits = self.bits(width.integer(), shifted);
        let round_bits = self.integer(width, ROUND.to_bits().cast_signed());
        let n = self.builder.ins().isub(shifted_bits, round_bits);
        let half = self.builder.ins().sshr_imm_s(n, 1);
        let rest = self.builder.ins().isub(n, half);
        let (half, rest) = (self.power_of_two(width, half), self.power_of_two(width, rest));
        let scaled = self.builder.ins().fmul(power, half);
        self.builder.ins().fmul(scaled, rest)
    }

    /// `1/(1 + e⁻ˣ)`, within 2.3 ulp. The result is 0 instead of a denormal where `e⁻ˣ` is infinite.
    fn sigmoid(&mut self, width: VectorOrScalar, x: Value) -> Value {
        let sign_bit = self.float(width, -0.0);
        let negative = self.builder.ins().bxor(x, sign_bit);
        let power = self.exp(width, negative);
        let one = self.float(width, 1.0);
        let denominator = self.builder.ins().fadd(power, one);
        self.builder.ins().fdiv(one, denominator)
    }

    /// An odd polynomial near zero, where the quotient would cancel; elsewhere `1 − 2/(e^2|x| + 1)` with the sign of
    /// `x`. Within 1.3 ulp.
    fn tanh(&mut self, width: VectorOrScalar, x: Value) -> Value {
        let magnitude = self.builder.ins().fabs(x);
        let square = self.builder.ins().fmul(x, x);
        let p = self.polynomial(
            width,
            square,
            &[-3.333_328e-1, 1.333_144_2e-1, -5.373_971_6e-2, 2.063_909e-2, -5.704_988_7e-3],
        );
        let cube = self.builder.ins().fmul(square, x);
        let near = self.multiply_add(p, cube, x);
        let doubled = self.builder.ins().fadd(magnitude, magnitude);
        let power = self.exp(width, doubled);
        let (one, two) = (self.float(width, 1.0), self.float(width, 2.0));
        let denominator = self.builder.ins().fadd(power, one);
        let quotient = self.builder.ins().fdiv(two, denominator);
        let far = self.builder.ins().fsub(one, quotient);
        let bound = self.float(width, 0.625);
        let is_near = self.compare(FloatCC::LessThan, magnitude, bound);
        let y = self.select(width, is_near, near, far);
        // The sign comes last, because the polynomial would lose the sign of a zero.
        let sign_bit = self.float(width, -0.0);
        let sign = self.builder.ins().band(x, sign_bit);
        self.builder.ins().bor(y, sign)
    }

    /// `ln x = e·ln 2 + ln m`, with the mantissa `m` between √½ and √2. Within 0.8 ulp.
    fn log(&mut self, width: VectorOrScalar, x: Value) -> Value {
        let (integer, float) = (width.integer(), width.float());
        // Denormals are scaled into the normal range first.
        let smallest = self.float(width, f32::MIN_POSITIVE);
        let denormal = self.compare(FloatCC::LessThan, x, smallest);
        let scale = self.float(width, 8_388_608.0);
        let enlarged = self.builder.ins().fmul(x, scale);
        let normal = self.select(width, denormal, enlarged, x);
        let (minus_23, nothing) = (self.float(width, -23.0), self.float(width, 0.0));
        let correction = self.select(width, denormal, minus_23, nothing);

        // Moving √½ to an exponent boundary splits mantissa and exponent in one subtraction.
        let bits = self.bits(integer, normal);
        let root_half = self.integer(width, std::f32::consts::FRAC_1_SQRT_2.to_bits().cast_signed());
        let offset = self.builder.ins().isub(bits, root_half);
        let exponent = self.builder.ins().sshr_imm_s(offset, 23);
        let exponent_bits = self.builder.ins().ishl_imm_s(exponent, 23);
        let mantissa_bits = self.builder.ins().isub(bits, exponent_bits);
        let mantissa = self.bits(float, mantissa_bits);
        let exponent = self.builder.ins().fcvt_from_sint(float, exponent);
        let exponent = self.builder.ins().fadd(exponent, correction);

        let one = self.float(width, 1.0);
        let z = self.builder.ins().fsub(mantissa, one);
        let square = self.builder.ins().fmul(z, z);
        let p = self.polynomial(
            width,
            z,
            &[
                3.333_333e-1,
                -2.499_999_4e-1,
                2.000_071_5e-1,
                -1.666_805_8e-1,
                1.424_932_3e-1,
                -1.242_014_1e-1,
                1.167_699_9e-1,
                -1.151_461e-1,
                7.037_683_6e-2,
            ],
        );
        let cube = self.builder.ins().fmul(square, z);
        let y = self.builder.ins().fmul(p, cube);
        let low = self.float(width, -2.121_944_4e-4);
        let y = self.multiply_add(exponent, low, y);
        let minus_half = self.float(width, -0.5);
        let y = self.multiply_add(square, minus_half, y);
        let y = self.builder.ins().fadd(y, z);
        let high = self.float(width, 0.693_359_4);
        let y = self.multiply_add(exponent, high, y);

        // Zero gives −∞, infinity gives infinity, and negative numbers give NaN.
        let zero = self.float(width, 0.0);
        let infinity = self.float(width, f32::INFINITY);
        let negative_infinity = self.float(width, f32::NEG_INFINITY);
        let not_a_number = self.float(width, f32::NAN);
        let is_zero = self.compare(FloatCC::Equal, x, zero);
        let is_infinite = self.compare(FloatCC::Equal, x, infinity);
        let is_regular = self.compare(FloatCC::GreaterThanOrEqual, x, zero);
        let y = self.select(width, is_zero, negative_infinity, y);
        let y = self.select(width, is_infinite, infinity, y);
        self.select(width, is_regular, y, not_a_number)
    }

    /// `x` rotated left.
    pub(super) fn rotate_left(&mut self, width: VectorOrScalar, x: Value, bits: u32) -> Value {
        match width {
            VectorOrScalar::Scalar => self.builder.ins().rotl_imm_s(x, i64::from(bits)),
            VectorOrScalar::Vector => {
                let high = self.builder.ins().ishl_imm_s(x, i64::from(bits));
                let low = self.builder.ins().ushr_imm_s(x, i64::from(32 - bits));
                self.builder.ins().bor(high, low)
            }
        }
    }

    /// The mask of `a < b`, unsigned.
    pub(super) fn below_unsigned(&mut self, a: Value, b: Value) -> Value {
        self.compare_integers(IntCC::UnsignedLessThan, a, b)
    }
}
