//! The elements of each window, for any number of spatial axes; used by convolution and pooling.

use crate::ops::window::Window;

/// One element of a window that lies inside the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowElement {
    /// Its index in the window, row-major.
    pub(crate) place: usize,
    /// The flat index of the corresponding input element.
    pub(crate) input: usize,
}

/// For every output position, in row-major order, the elements of its window, in row-major order. Elements in the
/// padding are left out.
pub(crate) fn window_elements(window: &Window, input_sizes: &[usize]) -> Vec<Vec<WindowElement>> {
    let output_sizes = window.output_sizes(input_sizes);
    let places = window.elements();
    (0..output_sizes.iter().product())
        .map(|position| {
            let corner = coordinates(position, &output_sizes);
            (0..places)
                .filter_map(|place| {
                    let offset = coordinates(place, &window.kernel_size);
                    let mut input = 0;
                    for (axis, &size) in input_sizes.iter().enumerate() {
                        let padded =
                            corner[axis] * window.stride[axis] + offset[axis] * window.dilation[axis];
                        let coordinate = padded.checked_sub(window.padding[axis].before)?;
                        if coordinate >= size {
                            return None;
                        }
                        input = input * size + coordinate;
                    }
                    Some(WindowElement { place, input })
                })
                .collect()
        })
        .collect()
}

/// A flat index as one coordinate per axis.
fn coordinates(mut index: usize, sizes: &[usize]) -> Vec<usize> {
    let mut coordinates = vec![0; sizes.len()];
    for (coordinate, &size) in coordinates.iter_mut().zip(sizes).rev() {
        *coordinate = index % size;
        index /= size;
    }
    coordinates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_padded_strided_dilated_window() {
        let window =
            Window { kernel_size: vec![2], stride: vec![2], padding: vec![1.into()], dilation: vec![3] };
        // Padded input: one element of padding, inputs 0..4, one of padding; windows at 0 and 2.
        let element = |place, input| WindowElement { place, input };
        assert_eq!(window_elements(&window, &[4]), [vec![element(1, 2)], vec![element(0, 1)]]);
    }

    #[test]
    fn rows_come_first() {
        let inputs: Vec<usize> = window_elements(&Window::square(2, 1, 0), &[3, 3])[1]
            .iter()
            .map(|element| element.input)
            .collect();
        assert_eq!(inputs, [1, 2, 4, 5]);
    }
}
