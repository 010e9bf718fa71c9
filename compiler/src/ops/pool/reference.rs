//! Reference evaluation of pooling and its gradients. Each image of the batch and each channel is pooled alone.

use super::{AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad};
use crate::interp::{Array, Evaluate, Real, Tap, Total, taps};
use crate::ops::window::Window;

/// One result per window of every channel of every image.
fn pool<T: Real, R>(window: &Window, x: &Array<T>, one: impl Fn(&[T], &[Tap]) -> R) -> Vec<R> {
    let taps = taps(window, &x.sizes[2..]);
    let mut pooled = Vec::new();
    for image in x.real().chunks(x.sizes[2..].iter().product()) {
        pooled.extend(taps.iter().map(|taps| one(image, taps)));
    }
    pooled
}

/// The input's gradient: every window adds `one(output, tap)` to the element under each of its taps, where it is any.
fn unpool<T: Real>(window: &Window, sizes: &[usize], one: impl Fn(usize, &Tap) -> Option<T>) -> Array<T> {
    let taps = taps(window, &sizes[2..]);
    let positions = taps.len();
    let mut x = vec![Total::default(); sizes.iter().product()];
    for (channel, image) in x.chunks_mut(sizes[2..].iter().product()).enumerate() {
        for (position, taps) in taps.iter().enumerate() {
            for tap in taps {
                if let Some(addend) = one(channel * positions + position, tap) {
                    image[tap.input].add(addend);
                }
            }
        }
    }
    Array::new(sizes, Total::round_all(x))
}

impl Evaluate for MaxPool {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let largest = pool(&self.window, operands[0], |image, taps| {
            taps.iter().fold((T::neg_infinity(), 0), |(largest, place), tap| {
                let value = image[tap.input];
                if value > largest || value.is_nan() { (value, tap.place as i32) } else { (largest, place) }
            })
        });
        let (values, places) = largest.into_iter().unzip();
        vec![Array::new(results[0].clone(), values), Array::ints(results[1].clone(), places)]
    }
}

impl Evaluate for MaxPoolGrad {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (gradient, places) = (operands[0].real(), operands[1].int());
        // A place in the padding has no tap: its gradient is dropped.
        vec![unpool(&self.window, &results[0], |output, tap| {
            (places[output] == tap.place as i32).then_some(gradient[output])
        })]
    }
}

impl Evaluate for AvgPool {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let elements = T::from_f64(self.window.elements() as f64);
        let means = pool(&self.window, operands[0], |image, taps| {
            Total::of(taps.iter().map(|tap| image[tap.input])) / elements
        });
        vec![Array::new(results[0].clone(), means)]
    }
}

impl Evaluate for AvgPoolGrad {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let gradient = operands[0].real();
        let elements = T::from_f64(self.window.elements() as f64);
        let sums = unpool(&self.window, &results[0], |output, _| Some(gradient[output]));
        vec![sums.map(|sum| sum / elements)]
    }
}
