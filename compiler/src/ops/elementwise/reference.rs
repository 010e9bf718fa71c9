//! Reference evaluation of elementwise functions. The comparisons propagate NaN and the sign of zero.

use super::{Bias, Binary, BinaryKind, Scale, SumChannels, Unary, UnaryKind};
use crate::interp::{Array, Evaluate, Real, Total, channel_sizes};

impl UnaryKind {
    /// The function's value at `x`.
    pub fn apply<T: Real>(self, x: T) -> T {
        match self {
            // Unlike `max`, this preserves NaN and negative zero.
            UnaryKind::Relu => {
                if T::zero() > x {
                    T::zero()
                } else {
                    x
                }
            }
            UnaryKind::Sigmoid => T::one() / (T::one() + (-x).exp()),
            UnaryKind::Tanh => x.tanh(),
            UnaryKind::Exp => x.exp(),
            UnaryKind::Log => x.ln(),
            UnaryKind::Sqrt => x.sqrt(),
            UnaryKind::Rsqrt => T::one() / x.sqrt(),
            UnaryKind::Negate => -x,
            UnaryKind::Square => x * x,
            UnaryKind::Activation(activation) => T::from_f64(activation.value(x.to_f64())),
        }
    }
}

impl BinaryKind {
    /// The function's value at `a`, `b`.
    pub fn apply<T: Real>(self, a: T, b: T) -> T {
        match self {
            BinaryKind::Add => a + b,
            BinaryKind::Subtract => a - b,
            BinaryKind::Multiply => a * b,
            BinaryKind::Divide => a / b,
            BinaryKind::Maximum if b <= a => a,
            BinaryKind::Maximum if a <= b => b,
            BinaryKind::Minimum if a <= b => a,
            BinaryKind::Minimum if b <= a => b,
            // One of them is NaN.
            BinaryKind::Maximum | BinaryKind::Minimum => a + b,
            BinaryKind::AtMost => {
                if a <= b {
                    T::one()
                } else {
                    T::zero()
                }
            }
            BinaryKind::ReluGrad => {
                if b <= T::zero() {
                    T::zero()
                } else {
                    a
                }
            }
            BinaryKind::SigmoidGrad => a * b * (T::one() - b),
            BinaryKind::TanhGrad => a * (T::one() - b * b),
            BinaryKind::ActivationGrad(activation) => a * T::from_f64(activation.slope(b.to_f64())),
        }
    }
}

impl Evaluate for Unary {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], _: &[Vec<usize>]) -> Vec<Array<T>> {
        vec![operands[0].map(|x| self.kind.apply(x))]
    }
}

impl Evaluate for Binary {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (a, b) = (operands[0], operands[1]);
        if b.sizes.is_empty() {
            let b = b.real()[0];
            return vec![a.map(|a| self.kind.apply(a, b))];
        }
        let values = a.real().iter().zip(b.real()).map(|(&a, &b)| self.kind.apply(a, b)).collect();
        vec![Array::new(results[0].clone(), values)]
    }
}

/// Combines each element with the value of its index along an axis, or of some axes of which this is the last.
pub(crate) fn along_axis<T: Real>(
    x: &Array<T>,
    axis: usize,
    numbers: &[T],
    combine: impl Fn(T, T) -> T,
) -> Array<T> {
    let inner: usize = x.sizes[axis + 1..].iter().product();
    let values = x.real().iter().enumerate();
    let values = values.map(|(i, &x)| combine(x, numbers[i / inner % numbers.len()])).collect();
    Array::new(x.sizes.clone(), values)
}

impl Evaluate for Bias {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], _: &[Vec<usize>]) -> Vec<Array<T>> {
        vec![along_axis(operands[0], 1, operands[1].real(), |x, bias| x + bias)]
    }
}

impl Evaluate for Scale {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], _: &[Vec<usize>]) -> Vec<Array<T>> {
        vec![along_axis(operands[0], self.axis + self.count - 1, operands[1].real(), |x, scale| x * scale)]
    }
}

impl Evaluate for SumChannels {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let [_, channels, inner] = channel_sizes(&operands[0].sizes);
        let mut sums = vec![Total::default(); channels];
        for (row, values) in operands[0].real().chunks(inner).enumerate() {
            for &x in values {
                sums[row % channels].add(x);
            }
        }
        vec![Array::new(results[0].clone(), Total::round_all(sums))]
    }
}
