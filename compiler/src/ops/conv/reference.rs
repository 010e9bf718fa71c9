//! Reference evaluation of convolution. The forward pass and both gradients are sums over the same triples of one
//! input, one weight and one output element.

use super::{Conv, ConvGradInput, ConvGradWeight};
use crate::interp::{Array, Evaluate, Real, Total, window_elements};
use crate::ops::epilogue::EpilogueStep;
use crate::ops::window::Window;

/// Calls `product(input, weight, output)` with the flat indices of every triple of elements that a convolution
/// multiplies: item by item, output by output, and within an output channel by channel and through the window in
/// row-major order.
pub(super) fn for_each_product(
    window: &Window,
    groups: usize,
    input_sizes: &[usize],
    output_channels: usize,
    mut product: impl FnMut(usize, usize, usize),
) {
    let (batch, input_channels) = (input_sizes[0], input_sizes[1]);
    let windows = window_elements(window, &input_sizes[2..]);
    let (input_area, positions) = (input_sizes[2..].iter().product::<usize>(), windows.len());
    let (inputs, outputs) = (input_channels / groups, output_channels / groups);
    for item in 0..batch {
        for output in 0..output_channels {
            let first_input = output / outputs * inputs;
            for (position, elements) in windows.iter().enumerate() {
                for input in 0..inputs {
                    let x = (item * input_channels + first_input + input) * input_area;
                    let weight = (output * inputs + input) * window.elements();
                    let y = (item * output_channels + output) * positions + position;
                    for element in elements {
                        product(x + element.input, weight + element.place, y);
                    }
                }
            }
        }
    }
}

impl Evaluate for Conv {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (x, weight) = (operands[0].real(), operands[1].real());
        let mut y = vec![Total::default(); results[0].iter().product()];
        for_each_product(&self.window, self.groups, &operands[0].sizes, results[0][1], |i, w, o| {
            y[o].add_product(x[i], weight[w]);
        });
        let y = Array::new(results[0].clone(), Total::round_all(y));
        vec![EpilogueStep::apply_all(&self.epilogue, y, &operands[2..])]
    }
}

impl Evaluate for ConvGradInput {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (gradient, weight) = (operands[0].real(), operands[1].real());
        let mut x = vec![Total::default(); results[0].iter().product()];
        for_each_product(&self.window, self.groups, &results[0], operands[0].sizes[1], |i, w, o| {
            x[i].add_product(gradient[o], weight[w]);
        });
        let x = Array::new(results[0].clone(), Total::round_all(x));
        vec![EpilogueStep::apply_all(&self.epilogue, x, &operands[2..])]
    }
}

impl Evaluate for ConvGradWeight {
    fn evaluate<T: Real>(&self, operands: &[&Array<T>], results: &[Vec<usize>]) -> Vec<Array<T>> {
        let (gradient, x) = (operands[0].real(), operands[1].real());
        let mut weight = vec![Total::default(); results[0].iter().product()];
        for_each_product(&self.window, self.groups, &operands[1].sizes, results[0][0], |i, w, o| {
            weight[w].add_product(gradient[o], x[i]);
        });
        vec![Array::new(results[0].clone(), Total::round_all(weight))]
    }
}
