//! A convolution as a matrix: its affine map from the elements of an input to those of a result.

use super::reference::for_each_product;
use super::{Conv, weight_type};
use crate::error::ShapeError;
use crate::interp::Total;
use crate::ops::Operator;
use crate::ops::window::Window;
use crate::shape::{MAX_ELEMENTS, Shape, Type};

/// A linear map from the elements of an image to those of another, as a dense matrix; [`affine_map`] makes it. With a
/// bias, which adds a number to all rows of an output channel, it is the affine map of a convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct AffineMap {
    rows: usize,
    columns: usize,
    /// Row by row.
    elements: Vec<f32>,
}

/// The matrix of a convolution with this weight, `[out_channels, in_channels / groups, kernel…]`, for inputs of the sizes
/// `[in_channels, spatial…]`: row `i` holds the factors of every input element in element `i` of the result, both in
/// row-major order.
///
/// For one channel and stride 1 it is a Toeplitz matrix along one axis, whose diagonals are constant, and a doubly block
/// Toeplitz matrix along two. Its transpose is the gradient to the input, and the map of the transposed convolution
/// with the same weight and window (Dumoulin and Visin 2016, arXiv:1603.07285, section 4).
///
/// ```
/// use windlass::Window;
/// use windlass::convolution::affine_map;
///
/// let window = Window::cube(1, 2, 1, 0); // along one axis: kernel size 2, stride 1, no padding
/// let map = affine_map(&[1.0, -1.0], 1, &window, 1, &[1, 4])?;
/// assert_eq!(map.row(0), [1.0, -1.0, 0.0, 0.0]);
/// assert_eq!(map.row(1), [0.0, 1.0, -1.0, 0.0]);
/// assert_eq!(map.row(2), [0.0, 0.0, 1.0, -1.0]);
/// assert_eq!(map.apply(&[5.0, 5.0, 2.0, 0.0])?, [0.0, 3.0, 2.0]);
/// assert_eq!(map.transpose().apply(&[0.0, 1.0, 0.0])?, [0.0, 1.0, -1.0, 0.0]);
/// # Ok::<(), windlass::ShapeError>(())
/// ```
///
/// # Errors
/// Those of a convolution layer with this window: sizes of zero, groups that do not divide the channels, a window that
/// exceeds the padded input. [`ShapeError::Operand`] for a weight with the wrong number of elements,
/// [`ShapeError::TooLarge`] for a matrix of more than 2³¹ elements.
pub fn affine_map(
    weight: &[f32],
    out_channels: usize,
    window: &Window,
    groups: usize,
    input: &[usize],
) -> Result<AffineMap, ShapeError> {
    window.check_arguments()?;
    let image = Shape::fixed(input);
    let Some((&channels, sizes)) = input.split_first() else {
        return Err(ShapeError::Rank { expected: "an image".to_owned(), got: image });
    };
    let x = Shape::batched(input);
    x.check()?;
    if out_channels == 0 {
        return Err(ShapeError::ZeroArgument { argument: "out_channels" });
    }
    let expected = weight_type(window, groups, [channels, out_channels])?;
    expected.shape.check()?;
    let conv = Conv { window: window.clone(), groups, epilogue: Vec::new() };
    let result = conv.infer(&[Type::f32(x), expected.clone()])?.remove(0);
    result.shape.check()?;
    if weight.len() != expected.shape.item_elements() {
        let got = Type::f32(Shape::fixed(&[weight.len()]));
        return Err(ShapeError::Operand { operand: "weight", expected: expected.to_string(), got });
    }
    let (rows, columns) = (result.shape.item_elements(), image.item_elements());
    let size = rows.checked_mul(columns).filter(|size| *size <= MAX_ELEMENTS);
    let Some(size) = size else {
        return Err(ShapeError::TooLarge { shape: Shape::fixed(&[rows, columns]) });
    };
    let mut elements = vec![0.0; size];
    let item: Vec<usize> = [1, channels].iter().chain(sizes).copied().collect();
    for_each_product(window, groups, &item, out_channels, |i, w, o| elements[o * columns + i] = weight[w]);
    Ok(AffineMap { rows, columns, elements })
}

impl AffineMap {
    /// The number of elements of a result.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of elements of an input.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The elements, row by row.
    pub fn elements(&self) -> &[f32] {
        &self.elements
    }

    /// The factors of every input element in one element of the result.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.elements[index * self.columns..(index + 1) * self.columns]
    }

    /// The transposed matrix: of a convolution, its gradient to the input.
    #[must_use]
    pub fn transpose(&self) -> Self {
        let column = |column| (0..self.rows).map(move |row| self.elements[row * self.columns + column]);
        let elements = (0..self.columns).flat_map(column).collect();
        AffineMap { rows: self.columns, columns: self.rows, elements }
    }

    /// The product of the matrix and a vector: every sum is accumulated in double precision and rounded once.
    ///
    /// # Errors
    /// [`ShapeError::Operand`] for a vector whose number of elements is not that of the columns.
    pub fn apply(&self, x: &[f32]) -> Result<Vec<f32>, ShapeError> {
        if x.len() != self.columns {
            let [expected, got] = [self.columns, x.len()].map(|size| Type::f32(Shape::fixed(&[size])));
            return Err(ShapeError::Operand { operand: "vector", expected: expected.to_string(), got });
        }
        let product = |row: &[f32]| Total::of_products(row.iter().copied().zip(x.iter().copied()));
        Ok(self.elements.chunks_exact(self.columns).map(product).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interp::{Array, Evaluate};
    use crate::ops::conv::ConvGradInput;
    use crate::ops::window::{Sides, fixed_sizes};

    /// Small integers, so that every sum is exact.
    fn integers(count: usize, seed: u64) -> Vec<f32> {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..count).map(|_| random.i8(-4..=4).into()).collect()
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    /// Compares the map with the interpreter's convolution, and its transpose with the gradient to the input.
    fn check(window: &Window, groups: usize, out_channels: usize, input: &[usize]) {
        let per_group = input[0] / groups;
        let weight = integers(out_channels * per_group * window.elements(), 1);
        let map = affine_map(&weight, out_channels, window, groups, input).unwrap();
        let sizes = |channels, spatial: &[usize]| [&[1, channels][..], spatial].concat();
        let input_sizes = sizes(input[0], &input[1..]);
        let output_sizes = sizes(out_channels, &window.output_sizes(&input[1..]));
        let weight = Array::new([&[out_channels, per_group][..], &window.kernel_size].concat(), weight);

        let x = Array::new(input_sizes.clone(), integers(map.columns(), 2));
        let conv = Conv { window: window.clone(), groups, epilogue: Vec::new() };
        let y = conv.evaluate(&[&x, &weight], std::slice::from_ref(&output_sizes)).remove(0);
        assert_eq!(bits(&map.apply(x.real()).unwrap()), bits(y.real()), "{window:?} forward");

        let g = Array::new(output_sizes, integers(map.rows(), 3));
        let backward = ConvGradInput {
            window: window.clone(),
            groups,
            input_sizes: fixed_sizes(&input[1..]),
            epilogue: Vec::new(),
        };
        let x = backward.evaluate(&[&g, &weight], &[input_sizes]).remove(0);
        assert_eq!(bits(&map.transpose().apply(g.real()).unwrap()), bits(x.real()), "{window:?} backward");
    }

    #[test]
    fn maps_are_the_interpreters_convolutions_forward_and_backward() {
        check(&Window::square(3, 1, 0), 1, 1, &[1, 4, 4]);
        check(&Window::square(3, 1, 2), 1, 3, &[2, 4, 5]);
        check(&Window::square(3, 2, 1), 2, 4, &[6, 6, 5]);
        check(&Window::square(2, 3, 0), 4, 4, &[4, 7, 8]);
        check(&Window { dilation: vec![2, 3], ..Window::square(3, 1, 3) }, 1, 2, &[2, 6, 7]);
        let uneven = Window {
            kernel_size: vec![1, 4],
            stride: vec![2, 1],
            padding: vec![Sides { before: 0, after: 2 }, Sides { before: 3, after: 1 }],
            dilation: vec![1, 2],
        };
        check(&uneven, 3, 6, &[3, 5, 6]);
        check(&Window::cube(1, 5, 2, 2), 1, 2, &[3, 9]);
        check(&Window { dilation: vec![1, 2, 1], ..Window::cube(3, 2, 1, 1) }, 2, 2, &[2, 3, 4, 3]);
    }

    #[test]
    fn a_matrix_of_two_axes_is_doubly_block_toeplitz() {
        let map = affine_map(&integers(9, 5), 1, &Window::square(3, 1, 1), 1, &[1, 4, 5]).unwrap();
        assert_eq!([map.rows(), map.columns()], [20, 20]);
        let at = |(row, column): (usize, usize), (y, x): (usize, usize)| map.row(5 * row + column)[5 * y + x];
        for ((row, column), (y, x)) in (0..3)
            .flat_map(|row| (0..4).map(move |column| (row, column)))
            .flat_map(|from| (0..3).flat_map(move |y| (0..4).map(move |x| (from, (y, x)))))
        {
            // Moving both elements by a row or by a column gives the same factor.
            let factor = at((row, column), (y, x));
            assert_eq!(at((row + 1, column), (y + 1, x)), factor);
            assert_eq!(at((row, column + 1), (y, x + 1)), factor);
        }
    }

    #[test]
    fn what_is_no_convolution_is_refused() {
        let weight = vec![0.0; 9];
        let message = |outputs, window: &Window, groups, input: &[usize]| {
            affine_map(&weight, outputs, window, groups, input).unwrap_err().to_string()
        };
        let square = Window::square(3, 1, 0);
        for (outputs, window, groups, input, expected) in [
            (1, square.clone(), 1, &[1, 2, 2][..], "has a 3×3 kernel, which exceeds its 2×2 input"),
            (1, square.clone(), 0, &[1, 4, 4], "has `groups` 0, which must be at least 1"),
            (1, square.clone(), 2, &[1, 4, 4], "has 2 groups, which must divide its 1 input"),
            (0, square.clone(), 1, &[1, 4, 4], "has `out_channels` 0, which must be at least 1"),
            (1, Window::square(3, 0, 0), 1, &[1, 4, 4], "has `stride` 0, which must be at least 1"),
            (1, square.clone(), 1, &[], "needs an image but receives"),
            (1, square.clone(), 1, &[4], "needs an image [channels, height, width] but receives [4]"),
            (1, square.clone(), 1, &[1, 0, 4], "would produce the empty shape [1, 0, 4]"),
            (1, square.clone(), 1, &[2, 4, 4], "needs f32[1, 2, 3, 3] for its weight but receives f32[9]"),
            (1, square, 1, &[1, 300, 300], "[88804, 90000], which has more than 2^31 elements"),
        ] {
            let got = message(outputs, &window, groups, input);
            assert!(got.contains(expected), "{got}\nshould contain\n{expected}");
        }
        let map = affine_map(&weight, 1, &Window::square(3, 1, 0), 1, &[1, 4, 4]).unwrap();
        let error = map.apply(&[0.0; 4]).unwrap_err();
        assert_eq!(error.to_string(), "needs f32[16] for its vector but receives f32[4]");
    }
}
