//! Reference evaluation of optimiser updates.

use super::{Adam, Adaptive, AdaptiveRule, ClipFactor, ClipValue, Sgd};
use crate::interp::{Array, Evaluate, Real, Total};

impl Evaluate for Sgd {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let [momentum, weight_decay] = [self.momentum, self.weight_decay].map(T::from_f64);
        let learning_rate = operands[2].real()[0];
        let mut parameter = operands[0].real().to_vec();
        let mut velocity = operands.get(3).map(|velocity| velocity.real().to_vec());
        for (i, (w, &g)) in parameter.iter_mut().zip(operands[1].real()).enumerate() {
            // Without weight decay the parameter does not contribute to the gradient, even if it is infinite.
            let mut step = if self.weight_decay == 0.0 { g } else { g + weight_decay * *w };
            if let Some(velocity) = &mut velocity {
                velocity[i] = momentum * velocity[i] + step;
                step = if self.nesterov { step + momentum * velocity[i] } else { velocity[i] };
            }
            *w = *w - learning_rate * step;
        }
        let new = std::iter::once(parameter).chain(velocity);
        new.zip(results).map(|(values, sizes)| Array::new(sizes.clone(), values)).collect()
    }
}

impl Evaluate for Adam {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let [beta1, beta2, epsilon, weight_decay] =
            [self.beta1, self.beta2, self.epsilon, self.weight_decay].map(T::from_f64);
        // Rounds the difference: 1 − β in single precision would lose most digits of a β near 1.
        let [rest1, rest2] = [1.0 - self.beta1, 1.0 - self.beta2].map(T::from_f64);
        let (learning_rate, correction) = (operands[2].real()[0], operands[3].real());
        let mut new = [operands[0], operands[4], operands[5]].map(|old| old.real().to_vec());
        let [parameter, first, second] = &mut new;
        for (i, &g) in operands[1].real().iter().enumerate() {
            let (mut w, mut g) = (parameter[i], g);
            // Without weight decay there is no product, as in SGD, so that an infinite weight gives no NaN.
            if self.weight_decay != 0.0 && self.decoupled {
                w = w * (T::one() - learning_rate * weight_decay);
            } else if self.weight_decay != 0.0 {
                g = g + weight_decay * w;
            }
            first[i] = beta1 * first[i] + rest1 * g;
            second[i] = beta2 * second[i] + rest2 * g * g;
            let denominator = (second[i] / correction[1]).sqrt() + epsilon;
            parameter[i] = w - learning_rate * (first[i] / correction[0]) / denominator;
        }
        new.into_iter().zip(results).map(|(values, sizes)| Array::new(sizes.clone(), values)).collect()
    }
}

impl Evaluate for Adaptive {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (learning_rate, weight_decay) = (operands[2].real()[0], T::from_f64(self.weight_decay));
        let is_decoupled = matches!(self.rule, AdaptiveRule::Lion { .. });
        let mut parameter = operands[0].real().to_vec();
        let mut states: Vec<Vec<T>> = operands[3..].iter().map(|state| state.real().to_vec()).collect();
        for (i, &g) in operands[1].real().iter().enumerate() {
            let (mut w, mut g) = (parameter[i], g);
            // Without weight decay there is no product, as in SGD, so that an infinite weight gives no NaN.
            if self.weight_decay != 0.0 && is_decoupled {
                w = w * (T::one() - learning_rate * weight_decay);
            } else if self.weight_decay != 0.0 {
                g = g + weight_decay * w;
            }
            let mut state: Vec<T> = states.iter().map(|state| state[i]).collect();
            let direction = scaled(&self.rule, g, &mut state);
            for (states, new) in states.iter_mut().zip(state) {
                states[i] = new;
            }
            parameter[i] = w - learning_rate * direction;
        }
        let new = std::iter::once(parameter).chain(states);
        new.zip(results).map(|(values, sizes)| Array::new(sizes.clone(), values)).collect()
    }
}

/// The direction of an element's step, and its new states.
fn scaled<T: Real>(rule: &AdaptiveRule, g: T, state: &mut [T]) -> T {
    let of = T::from_f64;
    let square = |g: T, rest: f64| of(rest) * g * g;
    match *rule {
        AdaptiveRule::RmsProp { alpha, epsilon, momentum, centered } => {
            state[0] = of(alpha) * state[0] + square(g, 1.0 - alpha);
            let mut variance = state[0];
            if centered {
                state[1] = state[1] + of(1.0 - alpha) * (g - state[1]);
                variance = variance - state[1] * state[1];
                variance = if variance < T::zero() { T::zero() } else { variance };
            }
            let direction = g / (variance.sqrt() + of(epsilon));
            if momentum == 0.0 {
                return direction;
            }
            let velocity = &mut state[1 + usize::from(centered)];
            *velocity = of(momentum) * *velocity + direction;
            *velocity
        }
        AdaptiveRule::Adagrad { epsilon } => {
            state[0] = state[0] + g * g;
            g / (state[0].sqrt() + of(epsilon))
        }
        AdaptiveRule::Adadelta { rho, epsilon } => {
            state[0] = of(rho) * state[0] + square(g, 1.0 - rho);
            let ratio = (state[1] + of(epsilon)).sqrt() / (state[0] + of(epsilon)).sqrt();
            let direction = ratio * g;
            state[1] = of(rho) * state[1] + square(direction, 1.0 - rho);
            direction
        }
        AdaptiveRule::Lion { beta1, beta2 } => {
            let direction = of(beta1) * state[0] + of(1.0 - beta1) * g;
            state[0] = of(beta2) * state[0] + of(1.0 - beta2) * g;
            match direction {
                d if d > T::zero() => T::one(),
                d if d < T::zero() => -T::one(),
                // Zero or NaN.
                d => d,
            }
        }
    }
}

impl Evaluate for ClipFactor {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], _: &[Vec<usize>]) -> Vec<Array<T>> {
        let values = operands.iter().flat_map(|gradient| gradient.real());
        let norm = Total::of_products(values.map(|&g| (g, g))).sqrt();
        let factor = T::from_f64(self.max_norm) / (norm + T::from_f64(1e-6));
        // Unlike `min`, this propagates a norm of NaN to the factor.
        let factor = if factor > T::one() { T::one() } else { factor };
        vec![Array::scalar(factor), Array::scalar(norm)]
    }
}

impl Evaluate for ClipValue {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let max = T::from_f64(self.max);
        // Unlike `min` and `max`, this keeps a NaN.
        let clip = |&x: &T| match x {
            x if x > max => max,
            x if x < -max => -max,
            x => x,
        };
        vec![Array::new(results[0].clone(), operands[0].real().iter().map(clip).collect())]
    }
}
