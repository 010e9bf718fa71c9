//! Reference evaluation of losses and their gradients.

use super::{CrossEntropy, CrossEntropyGrad, MeanSquaredError, MeanSquaredErrorGrad, OneHot};
use crate::interp::{Array, Evaluate, Real, Total};
use crate::ops::softmax::shifted_sum;

/// The logit of an item's label; NaN for a label that is not a class (the interpreter rejects those earlier).
fn labelled<T: Real>(logits: &[T], label: i32) -> T {
    usize::try_from(label).ok().and_then(|label| logits.get(label).copied()).unwrap_or_else(T::nan)
}

impl Evaluate for CrossEntropy {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], _: &[Vec<usize>]) -> Vec<Array<T>> {
        let (logits, labels) = (operands[0], operands[1].int());
        let items = logits.real().chunks(logits.sizes[1]).zip(labels);
        let losses = items.map(|(logits, &label)| {
            let (largest, sum) = shifted_sum(logits.iter().copied());
            // The difference of the logits comes first: adding the logarithm to a large logit would lose it.
            sum.ln() - (labelled(logits, label) - largest)
        });
        vec![Array::scalar(Total::of(losses) / T::from_f64(labels.len() as f64))]
    }
}

impl Evaluate for OneHot {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let row = |label: i32| {
            (0..self.classes).map(
                move |class| {
                    if usize::try_from(label) == Ok(class) { T::one() } else { T::zero() }
                },
            )
        };
        let values = operands[0].int().iter().flat_map(|&label| row(label)).collect();
        vec![Array::new(results[0].clone(), values)]
    }
}

impl Evaluate for CrossEntropyGrad {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (gradient, logits, labels) = (operands[0].real()[0], operands[1], operands[2].int());
        let batch = T::from_f64(labels.len() as f64);
        let mut result = Vec::with_capacity(logits.elements());
        for (logits, &label) in logits.real().chunks(logits.sizes[1]).zip(labels) {
            let (largest, sum) = shifted_sum(logits.iter().copied());
            result.extend(logits.iter().enumerate().map(|(class, &x)| {
                let expected = if usize::try_from(label) == Ok(class) { T::one() } else { T::zero() };
                ((x - largest).exp() / sum - expected) * gradient / batch
            }));
        }
        vec![Array::new(results[0].clone(), result)]
    }
}

impl Evaluate for MeanSquaredError {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], _: &[Vec<usize>]) -> Vec<Array<T>> {
        let (prediction, target) = (operands[0].real(), operands[1].real());
        let pairs = prediction.iter().zip(target);
        let sum = Total::of_products(pairs.map(|(&p, &t)| (p - t, p - t)));
        vec![Array::scalar(sum / T::from_f64(prediction.len() as f64))]
    }
}

impl Evaluate for MeanSquaredErrorGrad {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (gradient, prediction, target) = (operands[0].real()[0], operands[1].real(), operands[2].real());
        let (two, elements) = (T::from_f64(2.0), T::from_f64(prediction.len() as f64));
        // Doubles the scalar, not the differences, which may be near the largest number.
        let share = two * (gradient / elements);
        let values = prediction.iter().zip(target).map(|(&p, &t)| (p - t) * share);
        vec![Array::new(results[0].clone(), values.collect())]
    }
}
