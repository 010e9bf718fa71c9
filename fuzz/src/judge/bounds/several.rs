//! The bounds of operators with several results: batch normalisation, sequences of labels, and adaptive optimisers.

use windlass_compiler::interp::Array;
use windlass_compiler::ops::Op;
use windlass_compiler::ops::optimizer::{Adaptive, AdaptiveRule};

use super::{U, channel, overflows, reals, sum_part};

pub(super) fn batch_norm_training(
    epsilon: f64,
    momentum: f64,
    operands: &[&Array<f64>],
) -> Vec<Option<Vec<f64>>> {
    let x = reals(operands, 0);
    let sizes = &operands[0].sizes;
    let mut of_y = vec![0.0; x.len()];
    let mut of_statistics: [Vec<f64>; 4] = Default::default();
    let count = x.len() / sizes[1];
    let part = sum_part(count);
    for c in 0..sizes[1] {
        let [gamma, beta, old_mean, old_variance] = [1, 2, 3, 4].map(|index| reals(operands, index)[c]);
        let indices = channel(sizes, c);
        let elements = count as f64;
        let mean = indices.clone().map(|i| x[i]).sum::<f64>() / elements;
        let of_mean = part * indices.clone().map(|i| x[i].abs()).sum::<f64>() / elements + U * mean.abs();
        let squares: f64 = indices.clone().map(|i| (x[i] - mean).powi(2)).sum();
        // The sum of the differences from the true mean is zero, so that an error of the mean counts squared; the
        // rounding of each difference counts once.
        let of_squares = (part + 4.0 * U) * squares + elements * of_mean.powi(2) * 2.0;
        let of_squares = if overflows(squares) { f64::INFINITY } else { of_squares };
        let inverse = 1.0 / (squares / elements + epsilon).sqrt();
        let of_inverse = inverse * (of_squares / elements / 2.0 * inverse.powi(2) + 4.0 * U);
        for i in indices {
            let difference = (x[i] - mean).abs();
            of_y[i] = gamma.abs() * (inverse * of_mean + difference * of_inverse)
                + 5.0 * U * (gamma.abs() * difference * inverse + beta.abs());
        }
        let variance = squares / (elements.max(2.0) - 1.0);
        let of_variance = of_squares / (elements.max(2.0) - 1.0);
        let rest = 1.0 - momentum;
        let running = |old: f64, new: f64, error: f64| {
            momentum * error + 4.0 * U * ((rest * old).abs() + (momentum * new).abs())
        };
        let numbers = [
            of_mean,
            of_inverse,
            running(old_mean, mean, of_mean),
            running(old_variance, variance, of_variance),
        ];
        for (list, number) in of_statistics.iter_mut().zip(numbers) {
            list.push(number);
        }
    }
    std::iter::once(of_y).chain(of_statistics).map(Some).collect()
}

/// Logarithms grow by at most the largest of a step and `ln 3`. Each step rounds a sum of logarithms, which is as large as
/// all of them, and adds the error of three powers, their sum and its logarithm.
pub(super) fn ctc(operands: &[&Array<f64>], results: &[Array<f64>]) -> Vec<Option<Vec<f64>>> {
    let x = reals(operands, 0);
    let sizes = &operands[0].sizes;
    let (steps, states) = (sizes[1] as f64, 2.0 * operands[1].sizes[1] as f64 + 1.0);
    let item = sizes[1] * sizes[2];
    let (mut of_losses, mut of_slopes) = (Vec::new(), Vec::new());
    for (index, x) in x.chunks(item).enumerate() {
        let largest =
            |row: &[f64]| row.iter().filter(|x| **x != f64::NEG_INFINITY).fold(0.0f64, |m, x| m.max(x.abs()));
        let is_number = x.iter().all(|x| *x < f64::INFINITY);
        let total: f64 = x.chunks(sizes[2]).map(|row| largest(row) + 3f64.ln()).sum();
        // Where a sum of logarithms overflows, an alignment is lost.
        let error = match is_number && !overflows(total) {
            true => U * (steps + 2.0) * (2.0 * total + 12.0 + states),
            false => f64::INFINITY,
        };
        of_losses.push(error + 2.0 * U * results[0].real()[index].abs());
        let part = (2.0 * error).exp_m1() + (states + 6.0) * U;
        let slopes = &results[1].real()[index * item..(index + 1) * item];
        of_slopes.extend(slopes.iter().map(|slope| if part.is_finite() { part * slope.abs() } else { part }));
    }
    vec![Some(of_losses), Some(of_slopes)]
}

pub(super) fn batch_norm_grad(operands: &[&Array<f64>]) -> Vec<Option<Vec<f64>>> {
    let (g, x) = (reals(operands, 0), reals(operands, 1));
    let sizes = &operands[0].sizes;
    let count = x.len() / sizes[1];
    let (elements, part) = (count as f64, sum_part(count));
    let mut of_x = vec![0.0; x.len()];
    let (mut of_gamma, mut of_beta) = (Vec::new(), Vec::new());
    for c in 0..sizes[1] {
        let [gamma, mean, inverse] = [2, 3, 4].map(|index| reals(operands, index)[c]);
        let indices = channel(sizes, c);
        let normalised = |i: usize| (x[i] - mean) * inverse;
        // The difference is rounded once, and so is the product.
        let of_normalised = |i: usize| 3.0 * U * normalised(i).abs();
        let sum: f64 = indices.clone().map(|i| g[i]).sum();
        let products: f64 = indices.clone().map(|i| g[i] * normalised(i)).sum();
        let of_sum = part * indices.clone().map(|i| g[i].abs()).sum::<f64>();
        let of_products =
            (part + 3.0 * U) * indices.clone().map(|i| (g[i] * normalised(i)).abs()).sum::<f64>();
        for i in indices {
            if overflows(normalised(i) * products) || overflows(gamma * inverse) {
                of_x[i] = f64::INFINITY;
                continue;
            }
            let terms = g[i].abs() + sum.abs() / elements + (normalised(i) * products).abs() / elements;
            let inner =
                (of_sum + normalised(i).abs() * of_products + of_normalised(i) * products.abs()) / elements;
            of_x[i] = (gamma * inverse).abs() * (inner + 6.0 * U * terms);
        }
        of_gamma.push(of_products);
        of_beta.push(of_sum);
    }
    vec![Some(of_x), Some(of_gamma), Some(of_beta)]
}

pub(super) fn adam(op: &Op, operands: &[&Array<f64>], results: &[Array<f64>]) -> Vec<Option<Vec<f64>>> {
    let Op::Adam(adam) = op else { return vec![] };
    let (w, g, first) = (reals(operands, 0), reals(operands, 1), reals(operands, 4));
    let (rate, correction) = (reals(operands, 2)[0], reals(operands, 3));
    let (new_first, new_second) = (results[1].real(), results[2].real());
    let (mut of_w, mut of_first, mut of_second) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..w.len() {
        let decay = if adam.decoupled { 0.0 } else { (adam.weight_decay * w[i]).abs() };
        let gradient = g[i].abs() + decay;
        let first_error = 6.0 * U * ((adam.beta1 * first[i]).abs() + (1.0 - adam.beta1) * gradient);
        let second_error = 6.0 * U * new_second[i].abs() + (1.0 - adam.beta2) * 6.0 * U * gradient.powi(2);
        let root = (new_second[i] / correction[1]).sqrt();
        let inner = second_error / correction[1].abs();
        // Near zero the root errs by the root of the error.
        let of_root = (inner / (2.0 * root)).min(inner.sqrt()) + 2.0 * U * root;
        let denominator = root + adam.epsilon;
        let step = rate.abs() / correction[0].abs();
        // The denominator is at least its epsilon.
        let least = (denominator - of_root).max(adam.epsilon);
        let is_lost = overflows(new_second[i]) || overflows(inner) || overflows(gradient.powi(2));
        of_w.push(match is_lost {
            true => f64::INFINITY,
            false => {
                step * (first_error / least + new_first[i].abs() * of_root / (denominator * least))
                    + 8.0 * U * (w[i].abs() + step * new_first[i].abs() / least)
            }
        });
        of_first.push(first_error);
        // The square may be computed before it is scaled down.
        of_second.push(if overflows(gradient.powi(2)) { f64::INFINITY } else { second_error });
    }
    vec![Some(of_w), Some(of_first), Some(of_second)]
}

pub(super) fn adaptive(step: &Adaptive, operands: &[&Array<f64>]) -> Vec<Option<Vec<f64>>> {
    let (w, g, rate) = (reals(operands, 0), reals(operands, 1), reals(operands, 2)[0]);
    let is_decoupled = matches!(step.rule, AdaptiveRule::Lion { .. });
    let mut errors = vec![Vec::with_capacity(w.len()); operands.len() - 2];
    for i in 0..w.len() {
        let state: Vec<f64> = operands[3..].iter().map(|state| state.real()[i]).collect();
        let decay = if is_decoupled { 0.0 } else { step.weight_decay * w[i] };
        let gradient = Rounded { value: g[i] + decay, error: 3.0 * U * (g[i].abs() + decay.abs()) };
        let (direction, of_state) = direction(&step.rule, gradient, &state);
        let kept = w[i].abs() * (1.0 + if is_decoupled { (rate * step.weight_decay).abs() } else { 0.0 });
        let of_w = rate.abs() * (direction.error + 3.0 * U * direction.value.abs()) + 5.0 * U * kept;
        let all = std::iter::once(of_w).chain(of_state);
        for (errors, error) in errors.iter_mut().zip(all) {
            // What is not finite anywhere may be anything.
            errors.push(if error.is_finite() { error } else { f64::INFINITY });
        }
    }
    errors.into_iter().map(Some).collect()
}

/// A number and a bound of its error.
#[derive(Clone, Copy)]
struct Rounded {
    value: f64,
    error: f64,
}

impl Rounded {
    fn exact(value: f64) -> Self {
        Rounded { value, error: 0.0 }
    }

    /// The square times a factor; infinite errors where it may overflow.
    fn square(self, factor: f64) -> Self {
        let most = self.value.abs() + self.error;
        if overflows(most * most) {
            return Rounded { value: self.value * self.value * factor, error: f64::INFINITY };
        }
        let of_square = 2.0 * self.value.abs() * self.error + self.error * self.error;
        let value = factor * self.value * self.value;
        Rounded { value, error: factor.abs() * of_square + 4.0 * U * value.abs() }
    }

    fn times(self, factor: f64) -> Self {
        let value = self.value * factor;
        Rounded { value, error: self.error * factor.abs() + 2.0 * U * value.abs() }
    }

    fn plus(self, other: Rounded) -> Self {
        let value = self.value + other.value;
        // Each term may be rounded by itself.
        Rounded { value, error: self.error + other.error + U * (self.value.abs() + other.value.abs()) }
    }

    /// The root of a number that is at least 0; near zero it errs by the root of the error.
    fn root(self) -> Self {
        let value = self.value.max(0.0).sqrt();
        let error = if value > 0.0 { (self.error / value).min(self.error.sqrt()) } else { self.error.sqrt() };
        Rounded { value, error: error + 2.0 * U * value }
    }

    /// The quotient by a divisor that is at least `least`.
    fn over(self, divisor: Rounded, least: f64) -> Self {
        let smallest = (divisor.value - divisor.error).max(least);
        let value = self.value / divisor.value;
        let error = self.error / smallest + self.value.abs() * divisor.error / (divisor.value * smallest);
        Rounded { value, error: error + 2.0 * U * value.abs() }
    }
}

/// The direction of a step, and the errors of the new states.
fn direction(rule: &AdaptiveRule, g: Rounded, state: &[f64]) -> (Rounded, Vec<f64>) {
    let mean = |old: f64, decay: f64, new: Rounded| Rounded::exact(old).times(decay).plus(new);
    match *rule {
        AdaptiveRule::RmsProp { alpha, epsilon, momentum, centered } => {
            let v = mean(state[0], alpha, g.square(1.0 - alpha));
            let (mut errors, mut variance) = (vec![v.error], v);
            if centered {
                let a = Rounded::exact(state[1]);
                let a = a.plus(g.plus(a.times(-1.0)).times(1.0 - alpha));
                errors.push(a.error);
                let square = a.square(1.0);
                variance = v.plus(Rounded { value: -square.value, error: square.error });
            }
            let direction = g.over(variance.root().plus(Rounded::exact(epsilon)), epsilon);
            if momentum == 0.0 {
                return (direction, errors);
            }
            let velocity = mean(state[1 + usize::from(centered)], momentum, direction);
            errors.push(velocity.error);
            (velocity, errors)
        }
        AdaptiveRule::Adagrad { epsilon } => {
            let sum = Rounded::exact(state[0]).plus(g.square(1.0));
            (g.over(sum.root().plus(Rounded::exact(epsilon)), epsilon), vec![sum.error])
        }
        AdaptiveRule::Adadelta { rho, epsilon } => {
            let v = mean(state[0], rho, g.square(1.0 - rho));
            let above = Rounded::exact(state[1]).plus(Rounded::exact(epsilon)).root();
            let ratio = above.over(v.plus(Rounded::exact(epsilon)).root(), epsilon.sqrt());
            let value = ratio.value * g.value;
            let error =
                ratio.error * (g.value.abs() + g.error) + ratio.value * g.error + 2.0 * U * value.abs();
            let direction = Rounded { value, error };
            let u = mean(state[1], rho, direction.square(1.0 - rho));
            (direction, vec![v.error, u.error])
        }
        AdaptiveRule::Lion { beta1, beta2 } => {
            let direction = mean(state[0], beta1, g.times(1.0 - beta1));
            let moment = mean(state[0], beta2, g.times(1.0 - beta2));
            let is_sure = direction.value.abs() > direction.error;
            let value = if direction.value == 0.0 { 0.0 } else { direction.value.signum() };
            (Rounded { value, error: if is_sure { 0.0 } else { 2.0 } }, vec![moment.error])
        }
    }
}
