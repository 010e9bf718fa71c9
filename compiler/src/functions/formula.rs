//! Activations as formulas of elementary functions in single precision: the one definition that both code generators
//! follow, with vectors or scalars.
//!
//! Each formula states its maximum error in units in the last place (ulp), with and without fused multiply-add. Where
//! an approximation is a polynomial, its own error is below 2⁻²⁶ of the value.

use super::UnaryKind;
use super::activation::{Activation, GELU_CUBIC, GELU_LINEAR, SELU_SCALE, SELU_SCALED_ALPHA, TANH_SCALE};

/// A value of a formula: 0 is the operand, and `i + 1` the result of step `i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value(pub usize);

/// An operand of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Term {
    /// A value.
    Value(Value),
    /// A constant.
    Number(f32),
}

impl From<Value> for Term {
    fn from(value: Value) -> Self {
        Term::Value(value)
    }
}

impl From<f32> for Term {
    fn from(number: f32) -> Self {
        Term::Number(number)
    }
}

/// An operation with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Sum.
    Add,
    /// Difference.
    Subtract,
    /// Product.
    Multiply,
    /// Quotient.
    Divide,
}

/// One step of a formula.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// An elementary function.
    Unary(UnaryKind, Value),
    /// `|x|`.
    Magnitude(Value),
    /// The first value, whose sign bit is 0, with the sign bit of the second.
    WithSign(Value, Value),
    /// An operation; at least one operand is a value.
    Binary(Operation, Term, Term),
    /// `a·b + c`, fused if the CPU supports it.
    MultiplyAdd(Value, Term, Term),
    /// The larger of a value and a number; NaN stays NaN.
    AtLeast(Value, f32),
    /// The smaller of a value and a number; NaN stays NaN.
    AtMost(Value, f32),
    /// `if x < bound { yes } else { no }`.
    IfBelow {
        /// The compared value.
        x: Value,
        /// The bound.
        bound: f32,
        /// The result below it.
        yes: Term,
        /// The result elsewhere, and for NaN.
        no: Term,
    },
}

impl Step {
    /// The values it uses.
    pub fn values(&self) -> Vec<Value> {
        let terms = match *self {
            Step::Unary(_, x) | Step::Magnitude(x) | Step::AtLeast(x, _) | Step::AtMost(x, _) => {
                return vec![x];
            }
            Step::WithSign(x, sign) => return vec![x, sign],
            Step::Binary(_, a, b) => vec![a, b],
            Step::MultiplyAdd(a, b, c) => vec![a.into(), b, c],
            Step::IfBelow { x, yes, no, .. } => vec![x.into(), yes, no],
        };
        let value = |term| match term {
            Term::Value(value) => Some(value),
            Term::Number(_) => None,
        };
        terms.into_iter().filter_map(value).collect()
    }
}

/// Steps whose last one gives the result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Formula {
    /// The steps; each uses the operand and earlier ones.
    pub steps: Vec<Step>,
}

/// The operand of a formula.
const X: Value = Value(0);

impl Formula {
    fn push(&mut self, step: Step) -> Value {
        self.steps.push(step);
        Value(self.steps.len())
    }

    fn unary(&mut self, kind: UnaryKind, x: Value) -> Value {
        self.push(Step::Unary(kind, x))
    }

    fn magnitude(&mut self, x: Value) -> Value {
        self.push(Step::Magnitude(x))
    }

    fn with_sign(&mut self, x: Value, sign: Value) -> Value {
        self.push(Step::WithSign(x, sign))
    }

    fn add(&mut self, a: impl Into<Term>, b: impl Into<Term>) -> Value {
        self.push(Step::Binary(Operation::Add, a.into(), b.into()))
    }

    fn subtract(&mut self, a: impl Into<Term>, b: impl Into<Term>) -> Value {
        self.push(Step::Binary(Operation::Subtract, a.into(), b.into()))
    }

    fn multiply(&mut self, a: impl Into<Term>, b: impl Into<Term>) -> Value {
        self.push(Step::Binary(Operation::Multiply, a.into(), b.into()))
    }

    fn divide(&mut self, a: impl Into<Term>, b: impl Into<Term>) -> Value {
        self.push(Step::Binary(Operation::Divide, a.into(), b.into()))
    }

    /// `a·b + c`.
    fn multiply_add(&mut self, a: Value, b: impl Into<Term>, c: impl Into<Term>) -> Value {
        self.push(Step::MultiplyAdd(a, b.into(), c.into()))
    }

    fn at_least(&mut self, x: Value, bound: f32) -> Value {
        self.push(Step::AtLeast(x, bound))
    }

    fn at_most(&mut self, x: Value, bound: f32) -> Value {
        self.push(Step::AtMost(x, bound))
    }

    fn if_below(&mut self, x: Value, bound: f32, yes: impl Into<Term>, no: impl Into<Term>) -> Value {
        self.push(Step::IfBelow { x, bound, yes: yes.into(), no: no.into() })
    }

    /// `if x > 0 { yes } else { no }`.
    fn if_positive(&mut self, x: Value, yes: impl Into<Term>, no: impl Into<Term>) -> Value {
        let negative = self.multiply(x, -1.0);
        self.if_below(negative, 0.0, yes, no)
    }

    /// `c₀ + x·(c₁ + x·(c₂ + …))`, of at least two coefficients.
    fn polynomial(&mut self, x: Value, coefficients: &[f32]) -> Value {
        let [rest @ .., next, last] = coefficients else { return x };
        let highest = self.multiply_add(x, *last, *next);
        rest.iter().rev().fold(highest, |sum, &coefficient| self.multiply_add(sum, x, coefficient))
    }

    /// `eˣ − 1` for `x` of at most 0.
    fn exp_minus_one(&mut self, x: Value) -> Value {
        // Above this, the difference would cancel; below, it is exact.
        const NEAR: f32 = -std::f32::consts::LN_2;
        let power = self.unary(UnaryKind::Exp, x);
        let far = self.subtract(power, 1.0);
        let coefficients = [0.499_999_34, 0.166_653_41, 4.157_927e-2, 8.077_613e-3, 1.038_518_4e-3];
        let p = self.polynomial(x, &coefficients);
        let square = self.multiply(x, x);
        let near = self.multiply_add(p, square, x);
        self.if_below(x, NEAR, far, near)
    }

    /// `λ·x`, or `limit·(eˣ − 1)` below zero.
    fn elu(&mut self, scale: f64, limit: f64) -> Value {
        let below = self.exp_minus_one(X);
        let below = self.multiply(below, limit as f32);
        let above = if scale == 1.0 { X } else { self.multiply(X, scale as f32) };
        self.if_below(X, 0.0, below, above)
    }

    /// `e^(−|x|)`.
    fn decay(&mut self, x: Value) -> Value {
        let magnitude = self.magnitude(x);
        let negative = self.multiply(magnitude, -1.0);
        self.unary(UnaryKind::Exp, negative)
    }

    /// `ln(1 + z)` for `z` from 0 to 1, as `2·artanh(z / (2 + z))`.
    fn log_one_plus(&mut self, z: Value) -> Value {
        let denominator = self.add(z, 2.0);
        let s = self.divide(z, denominator);
        let square = self.multiply(s, s);
        let p = self.polynomial(square, &[2.0, 0.666_664_2, 0.400_215_27, 0.280_018_03, 0.280_12]);
        self.multiply(p, s)
    }

    /// `c = min(|x|, 14.5)`, from where on the upper tail of the normal distribution is below the smallest f32.
    fn tail_at(&mut self) -> Value {
        let magnitude = self.magnitude(X);
        self.at_most(magnitude, 14.5)
    }

    /// `e^(−c²/2)` and `r = e^(c²/2)·(1 − Φ(c))` for `c` from 0 to 14.5.
    fn normal_tail(&mut self, c: Value) -> (Value, Value) {
        // Adding this number rounds to a multiple of 2⁻⁸, whose square is exact.
        const ROUND: f32 = 49_152.0;
        let rounded = |formula: &mut Self| {
            let shifted = formula.add(c, ROUND);
            formula.subtract(shifted, ROUND)
        };
        let h = rounded(self);
        let half = self.multiply(h, -0.5);
        let exponent = self.multiply(half, h);
        let power = self.unary(UnaryKind::Exp, exponent);
        // The rest of the exponent, (h² − c²)/2, is at most 0.03. Computing `h` again leaves its register to `exp`.
        let h = rounded(self);
        let low = self.subtract(c, h);
        let high = self.add(c, h);
        let rest = self.multiply(low, high);
        let rest = self.multiply(rest, -0.5);
        let correction = self.polynomial(rest, &[1.0, 1.0, 0.5, 1.0 / 6.0]);
        let power = self.multiply(power, correction);
        let t = self.multiply_add(c, 0.25, 1.0);
        let t = self.divide(1.0, t);
        let p = self.polynomial(
            t,
            &[
                9.974_633e-2,
                9.952_148e-2,
                9.528_768e-2,
                7.301_365e-2,
                8.384_878e-2,
                1.773_927_7e-2,
                2.260_540_5e-2,
                5.588_36e-2,
                -6.453_892_6e-2,
                1.689_273e-2,
            ],
        );
        (power, self.multiply(t, p))
    }

    /// `w·σ(u)` for `w` with the sign of `u`.
    fn times_sigmoid(&mut self, w: Value, u: Value) -> Value {
        let z = self.decay(u);
        let numerator = self.if_below(w, 0.0, z, 1.0);
        let product = self.multiply(w, numerator);
        let denominator = self.add(z, 1.0);
        self.divide(product, denominator)
    }

    /// `σ(u) + rise·σ(u)·σ(−u)` for `w` with the sign of `u`.
    fn slope_of_times_sigmoid(&mut self, w: Value, u: Value, rise: Value) -> Value {
        let z = self.decay(u);
        let denominator = self.add(z, 1.0);
        let inverse = self.divide(1.0, denominator);
        let other = self.multiply(z, inverse);
        let sigmoid = self.if_below(w, 0.0, other, inverse);
        let both = self.multiply(other, inverse);
        self.multiply_add(both, rise, sigmoid)
    }

    /// The integer nearest to `x`, of two the even one, with the sign of `x`. No instruction of every CPU rounds, but a sum does.
    fn nearest(&mut self, x: Value) -> Value {
        // From here on, all numbers are integers; just above it, neighbouring numbers differ by 1.
        const WHOLE: f32 = 8_388_608.0;
        let magnitude = self.magnitude(x);
        let shifted = self.add(magnitude, WHOLE);
        let rounded = self.subtract(shifted, WHOLE);
        let rounded = self.if_below(magnitude, WHOLE, rounded, magnitude);
        self.with_sign(rounded, x)
    }

    /// The largest integer of at most `x`.
    fn floor(&mut self, x: Value) -> Value {
        let nearest = self.nearest(x);
        // The difference is exact. Of infinities it is NaN, which is not below 0.
        let rest = self.subtract(x, nearest);
        let below = self.subtract(nearest, 1.0);
        self.if_below(rest, 0.0, below, nearest)
    }

    /// `a·w + b·w³` of the approximation of `gelu`.
    fn gelu_exponent(&mut self, w: Value) -> Value {
        let square = self.multiply(w, w);
        let factor = self.multiply_add(square, GELU_CUBIC as f32, GELU_LINEAR as f32);
        self.multiply(factor, w)
    }
}

impl Activation {
    /// The formula of the value.
    ///
    /// Maximum errors: `relu6`, `abs`, `floor`, `ceil`, `round` 0; `leaky_relu` 1.5 ulp; `elu` 3.5; `selu` 3.5; `gelu` 8; `silu` 4; `hard_sigmoid`
    /// 1.5; `hard_swish` 2; `softplus` 4; `scaled_tanh` 4; `huber` 2.5; `erf` 4. That of `gelu_tanh` is 4 + 3·|2u| ulp, where
    /// σ(2u) is its factor.
    pub fn formula(self) -> Formula {
        let mut f = Formula::default();
        match self {
            Activation::Relu6 => {
                let positive = f.at_least(X, 0.0);
                f.at_most(positive, 6.0);
            }
            Activation::LeakyRelu(slope) => {
                let below = f.multiply(X, slope.get() as f32);
                f.if_below(X, 0.0, below, X);
            }
            Activation::Elu(alpha) => {
                f.elu(1.0, alpha.get());
            }
            Activation::Selu => {
                f.elu(SELU_SCALE, SELU_SCALED_ALPHA);
            }
            Activation::Gelu => {
                // The tail of |x| is subtracted from `relu(x)`: nothing cancels on either side.
                let c = f.tail_at();
                let (power, ratio) = f.normal_tail(c);
                let tail = f.multiply(power, ratio);
                let correction = f.multiply(tail, c);
                let positive = f.at_least(X, 0.0);
                f.subtract(positive, correction);
            }
            Activation::GeluTanh => {
                let w = f.at_least(X, -20.0);
                let u = f.gelu_exponent(w);
                f.times_sigmoid(w, u);
            }
            Activation::Silu => {
                let w = f.at_least(X, -150.0);
                f.times_sigmoid(w, w);
            }
            Activation::HardSwish => {
                let w = f.at_least(X, -3.0);
                let shifted = f.add(w, 3.0);
                let shifted = f.at_most(shifted, 6.0);
                let factor = f.divide(shifted, 6.0);
                f.multiply(factor, w);
            }
            Activation::HardSigmoid => {
                let shifted = f.add(X, 3.0);
                let shifted = f.at_least(shifted, 0.0);
                let shifted = f.at_most(shifted, 6.0);
                f.divide(shifted, 6.0);
            }
            Activation::Softplus => {
                let z = f.decay(X);
                let logarithm = f.log_one_plus(z);
                let positive = f.at_least(X, 0.0);
                f.add(positive, logarithm);
            }
            Activation::ScaledTanh => {
                let scaled = f.multiply(X, 2.0 / 3.0);
                let y = f.unary(UnaryKind::Tanh, scaled);
                f.multiply(y, TANH_SCALE as f32);
            }
            Activation::Abs => {
                f.magnitude(X);
            }
            Activation::Erf => {
                // A series near 0, and elsewhere 1 less both tails of the normal distribution.
                let magnitude = f.magnitude(X);
                let c = f.multiply(magnitude, std::f32::consts::SQRT_2);
                let c = f.at_most(c, 14.5);
                let (power, ratio) = f.normal_tail(c);
                let tail = f.multiply(power, ratio);
                let above = f.multiply_add(tail, -2.0, 1.0);
                let below = f.multiply(above, -1.0);
                let far = f.if_below(X, 0.0, below, above);
                let square = f.multiply(X, X);
                let series = f.polynomial(
                    square,
                    &[
                        std::f32::consts::FRAC_2_SQRT_PI,
                        -0.376_126_38,
                        0.112_837_83,
                        -2.686_543_8e-2,
                        5.221_053_5e-3,
                        -8.484_396_4e-4,
                        1.126_825_4e-4,
                        -9.673_59e-6,
                    ],
                );
                let near = f.multiply(series, X);
                let magnitude = f.magnitude(X);
                f.if_below(magnitude, 1.0, near, far);
            }
            Activation::Floor => {
                f.floor(X);
            }
            Activation::Ceil => {
                let negative = f.multiply(X, -1.0);
                let floor = f.floor(negative);
                f.multiply(floor, -1.0);
            }
            Activation::Round => {
                f.nearest(X);
            }
            Activation::Huber(delta) => {
                let magnitude = f.magnitude(X);
                let near = f.at_most(magnitude, delta.get() as f32);
                let rest = f.multiply_add(near, -0.5, magnitude);
                f.multiply(rest, near);
            }
        }
        f
    }

    /// The formula of the slope: see [`Activation::slope_takes_result`].
    ///
    /// Where a slope is a sum, its error is relative to the larger summand.
    pub fn slope_formula(self) -> Formula {
        let mut f = Formula::default();
        match self {
            Activation::Relu6 => {
                let end = f.subtract(X, 6.0);
                let inside = f.if_positive(X, 1.0, 0.0);
                f.if_below(X, 6.0, inside, end);
            }
            Activation::LeakyRelu(slope) => {
                f.if_positive(X, 1.0, slope.get() as f32);
            }
            Activation::Elu(alpha) => {
                let below = f.add(X, alpha.get() as f32);
                f.if_positive(X, 1.0, below);
            }
            Activation::Selu => {
                let below = f.add(X, SELU_SCALED_ALPHA as f32);
                f.if_positive(X, SELU_SCALE as f32, below);
            }
            Activation::Gelu => {
                // Φ(x) + x·φ(x), which is 1 less its value at −x.
                let c = f.tail_at();
                let (power, ratio) = f.normal_tail(c);
                let density = f.multiply_add(c, -0.398_942_3, ratio);
                let below = f.multiply(power, density);
                let above = f.subtract(1.0, below);
                f.if_below(X, 0.0, below, above);
            }
            Activation::GeluTanh => {
                let w = f.at_least(X, -20.0);
                let w = f.at_most(w, 20.0);
                let u = f.gelu_exponent(w);
                let square = f.multiply(w, w);
                let slope = f.multiply_add(square, 3.0 * GELU_CUBIC as f32, GELU_LINEAR as f32);
                let rise = f.multiply(slope, w);
                f.slope_of_times_sigmoid(w, u, rise);
            }
            Activation::Silu => {
                let w = f.at_least(X, -150.0);
                let w = f.at_most(w, 150.0);
                f.slope_of_times_sigmoid(w, w, w);
            }
            Activation::HardSwish => {
                let third = f.divide(X, 3.0);
                let middle = f.add(third, 0.5);
                let negative = f.multiply(X, -1.0);
                let above = f.if_below(negative, -3.0, 1.0, middle);
                f.if_below(X, -3.0, 0.0, above);
            }
            Activation::HardSigmoid => {
                let end = f.subtract(X, 1.0);
                let inside = f.if_positive(X, 1.0 / 6.0, 0.0);
                f.if_below(X, 1.0, inside, end);
            }
            Activation::Softplus => {
                f.unary(UnaryKind::Sigmoid, X);
            }
            Activation::ScaledTanh => {
                let square = f.multiply(X, X);
                let factor = (-2.0 / 3.0 / TANH_SCALE) as f32;
                f.multiply_add(square, factor, (2.0 / 3.0 * TANH_SCALE) as f32);
            }
            Activation::Abs => {
                let above = f.if_positive(X, 1.0, X);
                f.if_below(X, 0.0, -1.0, above);
            }
            Activation::Erf => {
                let magnitude = f.magnitude(X);
                let c = f.multiply(magnitude, std::f32::consts::SQRT_2);
                let c = f.at_most(c, 14.5);
                let (power, _) = f.normal_tail(c);
                f.multiply(power, std::f32::consts::FRAC_2_SQRT_PI);
            }
            Activation::Floor | Activation::Ceil | Activation::Round => {
                f.if_below(X, 0.0, 0.0, 0.0);
            }
            Activation::Huber(delta) => {
                let delta = delta.get() as f32;
                let x = f.at_least(X, -delta);
                f.at_most(x, delta);
            }
        }
        f
    }
}
