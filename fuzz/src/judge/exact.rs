//! Determines which values are exact: computed without rounding, for any order of sums and any fused operations.
//!
//! For each tensor it tracks two numbers: a power of two that divides all elements, and the largest magnitude. If the
//! largest intermediate number of an operator has at most 24 bits above the smallest step, f32 represents all of them
//! exactly. `TOLERANCES.md` explains this.

use windlass_compiler::interp::{Array, Data};
use windlass_compiler::ops::Op;
use windlass_compiler::ops::elementwise::{Activation, BinaryKind, UnaryKind};
use windlass_compiler::ops::epilogue::EpilogueStep;
use windlass_compiler::ops::reduce::ReduceKind;

/// Bits of a number of f32.
const BITS: i32 = 24;

/// All numbers are multiples of `2^step` and none is larger than `largest`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Dyadic {
    step: i32,
    largest: f64,
}

impl Dyadic {
    const ZERO: Dyadic = Dyadic { step: 0, largest: 0.0 };

    fn of(values: &[f64]) -> Option<Self> {
        let mut all = Dyadic { step: i32::MAX, largest: 0.0 };
        for &value in values {
            if !value.is_finite() {
                return None;
            }
            if value != 0.0 {
                all.step = all.step.min(lowest_bit(value));
                all.largest = all.largest.max(value.abs());
            }
        }
        Some(if all.largest == 0.0 { Dyadic::ZERO } else { all })
    }

    /// A sum of this many of these.
    fn sum(self, count: usize) -> Self {
        Dyadic { largest: self.largest * count as f64, ..self }
    }

    fn plus(self, other: Self) -> Self {
        if self.largest == 0.0 {
            return other;
        }
        if other.largest == 0.0 {
            return self;
        }
        Dyadic { step: self.step.min(other.step), largest: self.largest + other.largest }
    }

    fn times(self, other: Self) -> Self {
        if self.largest == 0.0 || other.largest == 0.0 {
            return Dyadic::ZERO;
        }
        Dyadic { step: self.step + other.step, largest: self.largest * other.largest }
    }

    /// Whether f32 represents every multiple of the step up to the largest.
    fn fits(self) -> bool {
        self.largest == 0.0
            || (self.step >= -126
                && self.largest.log2() <= f64::from(self.step + BITS)
                && self.largest < 1e30)
    }

    fn exactly(self) -> Option<Self> {
        self.fits().then_some(self)
    }
}

/// The exponent of the lowest bit of a number that is not zero.
fn lowest_bit(value: f64) -> i32 {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7FF) as i32;
    let mantissa = bits & ((1 << 52) - 1);
    match exponent {
        0 => -1074 + mantissa.trailing_zeros() as i32,
        _ => exponent - 1075 + (mantissa | (1 << 52)).trailing_zeros() as i32,
    }
}

fn is_power_of_two(value: f64) -> bool {
    value.to_bits() & ((1 << 52) - 1) == 0 && value.is_normal()
}

/// Whether f32 represents every element.
fn is_single(values: &[f64]) -> bool {
    values.iter().all(|&value| f64::from(value as f32) == value)
}

/// Whether an operator computes its results without rounding, from exact operands. The results are those in double
/// precision.
pub(super) fn is_exact(op: &Op, operands: &[&Array<f64>], results: &[Array<f64>]) -> bool {
    within(op, operands, results).is_some()
}

/// A sum of terms over the steps of a scan, in any order.
#[derive(Debug)]
pub(super) struct Total(Option<Dyadic>);

impl Total {
    /// A sum that begins with these values.
    pub(super) fn of(values: &[f64]) -> Self {
        Total(Dyadic::of(values))
    }

    /// Adds the first result of an operator.
    pub(super) fn add(&mut self, op: &Op, operands: &[&Array<f64>], results: &[Array<f64>]) {
        // A sum of products has partial sums that are larger than its results.
        match within(op, operands, results) {
            Some(bound) if bound.largest > 0.0 => self.plus(Some(bound)),
            Some(_) => self.add_values(results[0].real()),
            None => self.0 = None,
        }
    }

    pub(super) fn add_values(&mut self, values: &[f64]) {
        self.plus(Dyadic::of(values));
    }

    fn plus(&mut self, term: Option<Dyadic>) {
        self.0 = self.0.zip(term).map(|(sum, term)| sum.plus(term));
    }

    /// Whether f32 represents every partial sum.
    pub(super) fn is_exact(&self) -> bool {
        self.0.is_some_and(Dyadic::fits)
    }
}

/// Like [`is_exact`]; returns a placeholder for exact results without a bound.
fn within(op: &Op, operands: &[&Array<f64>], results: &[Array<f64>]) -> Option<Dyadic> {
    let of = |index: usize| -> Option<Dyadic> {
        match &operands[index].data {
            Data::Real(values) => Dyadic::of(values),
            Data::Int(_) => Some(Dyadic::ZERO),
        }
    };
    let product = |count: usize| Some(of(0)?.times(of(1)?).sum(count));
    match op {
        Op::Input(_)
        | Op::Parameter(_)
        | Op::State(_)
        | Op::Constant(_)
        | Op::Reshape(_)
        | Op::Concat(_)
        | Op::Slice(_)
        | Op::Pad(_)
        | Op::Transpose(_)
        | Op::Dropout(_)
        | Op::Fill(_)
        | Op::FoldSteps(_)
        | Op::UnfoldSteps(_)
        | Op::MaxPool(_)
        | Op::OneHot(_)
        | Op::Gather(_)
        | Op::SignMask(_)
        | Op::MaskedSelect(_) => Some(Dyadic::ZERO),
        // Scans are judged step by step; fused operators are not drawn.
        Op::Scan(_) | Op::Fused(_) => None,
        Op::Conv(conv) => {
            let sum = product(operands[1].sizes[1..].iter().product())?.exactly()?;
            epilogue(&conv.epilogue, sum, &of)
        }
        Op::Linear(linear) => epilogue(&linear.epilogue, product(operands[1].sizes[1])?.exactly()?, &of),
        Op::ConvGradInput(conv) => {
            let weight = &operands[1].sizes;
            let sum = product(weight[0] * weight[2..].iter().product::<usize>())?.exactly()?;
            epilogue(&conv.epilogue, sum, &of)
        }
        Op::ConvGradWeight(_) => {
            let g = &operands[0].sizes;
            product(g[0] * g[2..].iter().product::<usize>())?.exactly()
        }
        Op::LinearGradInput(_) => product(operands[1].sizes[0])?.exactly(),
        Op::LinearGradWeight(_) => product(operands[0].sizes[0])?.exactly(),
        Op::Matmul(op) => product(operands[0].sizes[if op.transpose_left { 1 } else { 2 }])?.exactly(),
        Op::ClipValue(_) => is_single(results[0].real()).then_some(Dyadic::ZERO),
        // −∞ at masked positions.
        Op::Mask(_) => Some(Dyadic::ZERO),
        Op::Reduce(reduce) => {
            let count = operands[0].elements() / results[0].elements();
            match reduce.kind {
                ReduceKind::Sum => of(0)?.sum(count).exactly(),
                ReduceKind::Mean => mean(of(0)?, count),
                // The maximum of zeros of both signs is either.
                ReduceKind::Max => {
                    let is_zero = |negative: bool| {
                        move |value: &f64| *value == 0.0 && value.is_sign_negative() == negative
                    };
                    let has = |values: &[f64], negative| values.iter().any(is_zero(negative));
                    let is_open = has(operands[0].real(), true) && has(operands[0].real(), false);
                    (!is_open || !results[0].real().contains(&0.0)).then_some(Dyadic::ZERO)
                }
            }
        }
        Op::Expand(expand) if expand.divided => is_single(results[0].real()).then_some(Dyadic::ZERO),
        Op::Expand(_) => Some(Dyadic::ZERO),
        Op::MaxPoolGrad(pool) => of(0)?.sum(pool.window.elements()).exactly(),
        Op::AvgPool(pool) => mean(of(0)?, pool.window.elements()),
        Op::AvgPoolGrad(pool) => mean(of(0)?, pool.window.elements()),
        Op::Unary(unary) => match unary.kind {
            UnaryKind::Relu | UnaryKind::Negate => Some(Dyadic::ZERO),
            UnaryKind::Square => of(0)?.times(of(0)?).exactly(),
            // One correctly rounded operation: exact if f32 represents its result.
            UnaryKind::Sqrt => is_single(results[0].real()).then_some(Dyadic::ZERO),
            UnaryKind::Activation(Activation::Relu6 | Activation::Abs) => Some(Dyadic::ZERO),
            UnaryKind::Activation(activation) if activation.is_rounding() => Some(Dyadic::ZERO),
            UnaryKind::Sigmoid
            | UnaryKind::Tanh
            | UnaryKind::Exp
            | UnaryKind::Log
            | UnaryKind::Rsqrt
            | UnaryKind::Activation(_) => None,
        },
        Op::Binary(binary) => match binary.kind {
            BinaryKind::Add | BinaryKind::Subtract => of(0)?.plus(of(1)?).exactly(),
            BinaryKind::Multiply => of(0)?.times(of(1)?).exactly(),
            BinaryKind::Divide => is_single(results[0].real()).then_some(Dyadic::ZERO),
            BinaryKind::ReluGrad | BinaryKind::Maximum | BinaryKind::Minimum | BinaryKind::AtMost => {
                Some(Dyadic::ZERO)
            }
            BinaryKind::SigmoidGrad => {
                let one = Dyadic { step: 0, largest: 1.0 };
                let rest = one.plus(of(1)?).exactly()?;
                of(0)?.times(of(1)?).exactly()?.times(rest).exactly()
            }
            BinaryKind::TanhGrad => {
                let one = Dyadic { step: 0, largest: 1.0 };
                of(0)?.times(one.plus(of(1)?.times(of(1)?).exactly()?).exactly()?).exactly()
            }
            // Slopes of 0, 1 and −1.
            BinaryKind::ActivationGrad(Activation::Relu6 | Activation::Abs) => Some(Dyadic::ZERO),
            BinaryKind::ActivationGrad(activation) if activation.is_rounding() => Some(Dyadic::ZERO),
            BinaryKind::ActivationGrad(_) => None,
        },
        Op::Bias(_) => of(0)?.plus(of(1)?).exactly(),
        Op::Scale(_) => of(0)?.times(of(1)?).exactly(),
        Op::GatherGrad(_) => of(0)?.sum(operands[1].elements()).exactly(),
        Op::SumChannels(_) => {
            let channels = operands[0].sizes[1];
            of(0)?.sum(operands[0].elements() / channels).exactly()
        }
        Op::DropoutTraining(dropout) => {
            is_power_of_two(dropout.scale()).then_some(())?;
            of(0)?.times(Dyadic::of(&[dropout.scale()])?).exactly()
        }
        Op::MeanSquaredError(_) => {
            let difference = of(0)?.plus(of(1)?).exactly()?;
            mean(difference.times(difference).exactly()?, operands[0].elements())
        }
        Op::MeanSquaredErrorGrad(_) => {
            let twice = Dyadic { step: 1, largest: 2.0 }.times(of(1)?.plus(of(2)?).exactly()?);
            mean(twice.exactly()?.times(of(0)?).exactly()?, operands[1].elements())
        }
        Op::Sgd(sgd) => {
            // A factor that f32 rounds differs in double precision.
            let [momentum, decay] = [sgd.momentum, sgd.weight_decay].map(|factor| {
                let is_kept = f64::from(factor as f32) == factor;
                if is_kept { Dyadic::of(&[factor]) } else { None }
            });
            let mut step = of(1)?.plus(decay?.times(of(0)?).exactly()?).exactly()?;
            if sgd.momentum != 0.0 {
                let velocity = step.plus(momentum?.times(of(3)?).exactly()?).exactly()?;
                step = match sgd.nesterov {
                    true => step.plus(momentum?.times(velocity).exactly()?).exactly()?,
                    false => velocity,
                };
            }
            of(0)?.plus(of(2)?.times(step).exactly()?).exactly()
        }
        Op::BatchNorm(_)
        | Op::BatchNormTraining(_)
        | Op::BatchNormGrad(_)
        | Op::AddPositions(_)
        | Op::Softmax(_)
        | Op::LogSoftmax(_)
        | Op::SoftmaxGrad(_)
        | Op::LogSoftmaxGrad(_)
        | Op::CrossEntropy(_)
        | Op::CrossEntropyGrad(_)
        | Op::Ctc(_)
        | Op::Adam(_)
        | Op::Adaptive(_)
        | Op::ClipFactor(_) => None,
    }
}

/// An exact sum divided by the number of its terms.
fn mean(value: Dyadic, count: usize) -> Option<Dyadic> {
    if !count.is_power_of_two() {
        return None;
    }
    let sum = value.sum(count).exactly()?;
    Dyadic { step: sum.step - count.trailing_zeros() as i32, ..sum }.exactly()
}

fn epilogue(
    steps: &[EpilogueStep],
    mut value: Dyadic,
    of: &dyn Fn(usize) -> Option<Dyadic>,
) -> Option<Dyadic> {
    let mut operand = 2;
    for step in steps {
        match step {
            EpilogueStep::Bias | EpilogueStep::Add => {
                value = value.plus(of(operand)?).exactly()?;
                operand += 1;
            }
            EpilogueStep::Relu => {}
            EpilogueStep::Activation(Activation::Abs) => {}
            EpilogueStep::Sigmoid | EpilogueStep::Tanh | EpilogueStep::Activation(_) => return None,
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use windlass_compiler::ops::reduce::Reduce;

    use super::*;

    #[test]
    fn steps_and_magnitudes_of_numbers() {
        assert_eq!(lowest_bit(1.0), 0);
        assert_eq!(lowest_bit(-6.0), 1);
        assert_eq!(lowest_bit(0.75), -2);
        assert_eq!(lowest_bit(f64::from_bits(1)), -1074);
        assert_eq!(Dyadic::of(&[0.0, -3.0, 0.5]), Some(Dyadic { step: -1, largest: 3.0 }));
        assert_eq!(Dyadic::of(&[f64::NAN]), None);
    }

    #[test]
    fn sums_fit_as_long_as_every_partial_sum_does() {
        let ones = Dyadic::of(&[1.0, -1.0]).unwrap();
        assert!(ones.sum(1 << 24).fits());
        assert!(!ones.sum((1 << 24) + 1).fits());
        let halves = Dyadic::of(&[0.5]).unwrap();
        assert!(ones.plus(halves).sum(1 << 22).fits());
        assert!(!ones.plus(halves).sum(1 << 24).fits());
        assert!(!Dyadic::of(&[1.0 + f64::EPSILON]).unwrap().fits());
    }

    #[test]
    fn the_maximum_of_zeros_of_both_signs_may_be_either() {
        let max: Op = Reduce { kind: ReduceKind::Max, axis: 1, count: 1 }.into();
        let is_exact = |x: [f64; 2], y: f64| {
            super::is_exact(&max, &[&Array::new([1, 2], x.to_vec())], &[Array::new([1], vec![y])])
        };
        assert!(is_exact([0.0, 0.0], 0.0) && is_exact([-0.0, -0.0], -0.0));
        assert!(!is_exact([0.0, -0.0], 0.0) && !is_exact([-0.0, 0.0], -0.0));
        assert!(is_exact([1.0, -0.0], 1.0));
    }

    #[test]
    fn a_total_fits_if_all_of_its_terms_do() {
        let mut total = Total::of(&[0.5, -1.0]);
        total.add_values(&[f64::from(1 << 22)]);
        assert!(total.is_exact());
        total.add_values(&[f64::from(1 << 23)]);
        assert!(!total.is_exact());
        assert!(!Total::of(&[f64::NAN]).is_exact());
    }
}
