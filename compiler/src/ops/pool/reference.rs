//! Reference evaluation of pooling and its gradients, separately for each image of the batch and each channel.

use super::{AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad};
use crate::interp::{Array, Evaluate, Real, Total, WindowElement, window_elements};
use crate::ops::window::Window;

/// Computes one result per window of every channel of every image.
fn pool<T: Real, R>(window: &Window, x: &Array<T>, one: impl Fn(&[T], &[WindowElement]) -> R) -> Vec<R> {
    let windows = window_elements(window, &x.sizes[2..]);
    let mut pooled = Vec::new();
    for image in x.real().chunks(x.sizes[2..].iter().product()) {
        pooled.extend(windows.iter().map(|elements| one(image, elements)));
    }
    pooled
}

/// The input's gradient: every window adds `one(output, element)` to each of its elements, if it is not `None`.
fn unpool<T: Real>(
    window: &Window,
    sizes: &[usize],
    one: impl Fn(usize, &WindowElement) -> Option<T>,
) -> Array<T> {
    let windows = window_elements(window, &sizes[2..]);
    let positions = windows.len();
    let mut x = vec![Total::default(); sizes.iter().product()];
    for (channel, image) in x.chunks_mut(sizes[2..].iter().product()).enumerate() {
        for (position, elements) in windows.iter().enumerate() {
            for element in elements {
                if let Some(addend) = one(channel * positions + position, element) {
                    image[element.input].add(addend);
                }
            }
        }
    }
    Array::new(sizes, Total::round_all(x))
}

impl Evaluate for MaxPool {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let largest = pool(&self.window, operands[0], |image, elements| {
            elements.iter().fold((T::neg_infinity(), 0), |(largest, place), element| {
                let value = image[element.input];
                if value > largest || value.is_nan() {
                    (value, element.place as i32)
                } else {
                    (largest, place)
                }
            })
        });
        let (values, argmax) = largest.into_iter().unzip();
        vec![Array::new(results[0].clone(), values), Array::ints(results[1].clone(), argmax)]
    }
}

impl Evaluate for MaxPoolGrad {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (gradient, argmax) = (operands[0].real(), operands[1].int());
        // A position in the padding has no element, so its gradient is dropped.
        vec![unpool(&self.window, &results[0], |output, element| {
            (argmax[output] == element.place as i32).then_some(gradient[output])
        })]
    }
}

impl Evaluate for AvgPool {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let count = T::from_f64(self.window.elements() as f64);
        let means = pool(&self.window, operands[0], |image, elements| {
            Total::of(elements.iter().map(|element| image[element.input])) / count
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
