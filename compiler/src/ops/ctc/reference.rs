//! Reference evaluation of connectionist temporal classification: sums over alignments from both ends.

use super::Ctc;
use crate::interp::{Array, Evaluate, Real};

/// The logarithm of a sum, from the logarithms of its terms.
fn log_sum<T: Real>(terms: &[T]) -> T {
    // Without a finite term, the differences would be NaN.
    let largest = terms.iter().copied().fold(T::min_value(), T::max);
    terms.iter().fold(T::zero(), |sum, &term| sum + (term - largest).exp()).ln() + largest
}

/// One item. Its alignments pass through states: a blank before each label and behind the last one, and the labels.
struct Item<'a, T> {
    /// The logarithms of its steps.
    rows: Vec<&'a [T]>,
    labels: &'a [i32],
    blank: usize,
}

impl<T: Real> Item<'_, T> {
    fn states(&self) -> usize {
        2 * self.labels.len() + 1
    }

    /// The class of a state, if it is one.
    fn class(&self, state: usize) -> Option<usize> {
        let classes = self.rows.first().map_or(0, |row| row.len());
        match state % 2 {
            0 => Some(self.blank),
            _ => usize::try_from(self.labels[state / 2]).ok().filter(|class| *class < classes),
        }
    }

    /// The logarithm of the probability of a state's class in a step.
    fn emission(&self, step: usize, state: usize) -> T {
        self.class(state).map_or(T::neg_infinity(), |class| self.rows[step][class])
    }

    /// The states that may come directly before a state: itself, the one before, and the label before if it differs.
    fn before(&self, state: usize) -> impl Iterator<Item = usize> {
        let is_new = state % 2 == 1 && state > 1 && self.labels[state / 2] != self.labels[state / 2 - 1];
        (state.saturating_sub(if is_new { 2 } else { 1 })..=state).rev()
    }

    /// The logarithms of the probabilities of the first steps that end in each state, after each number of steps.
    fn forward(&self) -> Vec<Vec<T>> {
        let mut start = vec![T::neg_infinity(); self.states()];
        start[0] = T::zero();
        let mut all = vec![start];
        for step in 0..self.rows.len() {
            let last = &all[step];
            let next = (0..self.states()).map(|state| {
                let terms: Vec<T> = self.before(state).map(|before| last[before]).collect();
                log_sum(&terms) + self.emission(step, state)
            });
            let next = next.collect();
            all.push(next);
        }
        all
    }

    /// The logarithms of the probabilities of the steps that follow each state, after each number of steps.
    fn backward(&self) -> Vec<Vec<T>> {
        let states = self.states();
        let mut end = vec![T::neg_infinity(); states];
        end[states.saturating_sub(2)..].fill(T::zero());
        let mut all = vec![end];
        for step in (0..self.rows.len()).rev() {
            let next = &all[all.len() - 1];
            let mut terms: Vec<Vec<T>> = vec![Vec::new(); states];
            for (state, &following) in next.iter().enumerate() {
                for before in self.before(state) {
                    terms[before].push(following + self.emission(step, state));
                }
            }
            let this = terms.iter().map(|terms| log_sum(terms)).collect();
            all.push(this);
        }
        all.reverse();
        all
    }
}

impl Evaluate for Ctc {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (logarithms, labels) = (operands[0].real(), operands[1].int());
        let (counts, lengths) = (operands[2].int(), operands[3].int());
        let [items, steps, classes] = [0, 1, 2].map(|axis| results[1][axis]);
        let most = operands[1].sizes[1];
        let mut losses = Vec::with_capacity(items);
        let mut slopes = vec![T::zero(); logarithms.len()];
        for index in 0..items {
            let of_item = index * steps * classes..(index + 1) * steps * classes;
            let length = usize::try_from(lengths[index]).unwrap_or(0).min(steps);
            let count = usize::try_from(counts[index]).ok().filter(|count| *count <= most);
            let mut loss = T::infinity();
            let share = T::from_f64(if self.per_label { count.unwrap_or(0).max(1) as f64 } else { 1.0 });
            if let Some(count) = count {
                let item = Item {
                    rows: logarithms[of_item.clone()].chunks(classes).take(length).collect(),
                    labels: &labels[index * most..index * most + count],
                    blank: self.blank,
                };
                let (forward, backward) = (item.forward(), item.backward());
                let both = |step: usize, state: usize| forward[step][state] + backward[step][state];
                let ends: Vec<T> = (0..item.states()).map(|state| both(length, state)).collect();
                let likelihood = log_sum(&ends);
                loss = T::zero() - likelihood;
                let likelihood = likelihood.max(T::min_value());
                let slopes = slopes[of_item].chunks_mut(classes).take(length).enumerate();
                for (step, slopes) in slopes {
                    for state in 0..item.states() {
                        if let Some(class) = item.class(state) {
                            let part = (both(step + 1, state) - likelihood).exp();
                            slopes[class] = slopes[class] - part / share;
                        }
                    }
                }
            }
            let is_dropped = self.zero_infinity && loss == T::infinity();
            losses.push(if is_dropped { T::zero() } else { loss / share });
        }
        vec![Array::new(results[0].clone(), losses), Array::new(results[1].clone(), slopes)]
    }
}

#[cfg(test)]
mod tests {
    use super::Ctc;
    use crate::interp::{Array, Evaluate};

    fn ctc(op: Ctc, probabilities: &[f64], labels: &[i32], count: i32, steps: i32) -> (f64, Vec<f64>) {
        let sizes = vec![1, probabilities.len() / 3, 3];
        let logarithms = Array::new(sizes.clone(), probabilities.iter().map(|p| p.ln()).collect());
        let labels = Array::ints([1, labels.len()], labels.to_vec());
        let numbers = [count, steps].map(|number| Array::ints([1], vec![number]));
        let operands = [&logarithms, &labels, &numbers[0], &numbers[1]];
        let results = op.evaluate(&operands, &[vec![1], sizes]);
        (results[0].real()[0], results[1].real().to_vec())
    }

    const PLAIN: Ctc = Ctc { blank: 0, per_label: false, zero_infinity: false };
    const STEPS: [f64; 9] = [0.5, 0.3, 0.2, 0.6, 0.1, 0.3, 0.2, 0.7, 0.1];

    /// Every alignment one by one.
    fn enumerated(labels: &[i32], steps: usize) -> f64 {
        let mut sum = 0.0;
        for number in 0..3usize.pow(steps as u32) {
            let classes: Vec<i32> = (0..steps).map(|t| (number / 3usize.pow(t as u32) % 3) as i32).collect();
            let mut read = classes.clone();
            read.dedup();
            read.retain(|&class| class != 0);
            if read == labels {
                sum += classes.iter().enumerate().map(|(t, &c)| STEPS[3 * t + c as usize]).product::<f64>();
            }
        }
        -sum.ln()
    }

    #[test]
    fn all_alignments_count() {
        for labels in [&[][..], &[1], &[2], &[1, 2], &[2, 1], &[1, 1], &[1, 2, 1]] {
            for steps in 1..=3usize {
                let padded = [labels, &[-1, 7, 0]].concat();
                let (loss, slopes) = ctc(PLAIN, &STEPS, &padded, labels.len() as i32, steps as i32);
                let expected = enumerated(labels, steps);
                let is_same = (loss - expected).abs() < 1e-12 || loss == expected;
                assert!(is_same, "{labels:?} in {steps}: {loss}, not {expected}");
                // In each step, the shares of all classes are one alignment.
                for (step, row) in slopes.chunks(3).enumerate() {
                    let sum = if step < steps && expected.is_finite() { -1.0 } else { 0.0 };
                    assert!((row.iter().sum::<f64>() - sum).abs() < 1e-12, "{labels:?} in {steps}: {row:?}");
                }
            }
        }
    }

    #[test]
    fn impossible_items_have_no_gradient() {
        let zero = Ctc { zero_infinity: true, ..PLAIN };
        for (labels, count, steps) in [(vec![1, 1], 2, 2), (vec![1], 2, 3), (vec![1], -1, 3), (vec![5], 1, 3)]
        {
            let (loss, slopes) = ctc(PLAIN, &STEPS, &labels, count, steps);
            assert_eq!((loss, slopes), (f64::INFINITY, vec![0.0; 9]), "{labels:?}");
            assert_eq!(ctc(zero, &STEPS, &labels, count, steps), (0.0, vec![0.0; 9]), "{labels:?}");
        }
    }

    #[test]
    fn losses_may_be_divided_by_the_number_of_labels() {
        let mean = Ctc { per_label: true, ..PLAIN };
        for count in 0..=2 {
            let (whole, slopes) = ctc(PLAIN, &STEPS, &[1, 2], count, 3);
            let (part, parts) = ctc(mean, &STEPS, &[1, 2], count, 3);
            let share = f64::from(count.max(1));
            assert!((whole / share - part).abs() < 1e-12);
            assert!(slopes.iter().zip(&parts).all(|(whole, part)| (whole / share - part).abs() < 1e-12));
        }
    }
}
