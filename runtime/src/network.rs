//! Networks, declared with `network!` or built at run time, and the values of their inputs and outputs.

mod any;
mod dynamic;
mod named;
pub(crate) mod ports;

use std::borrow::Cow;

use ndarray::{ArrayBase, ArrayD, ArrayView, Data, Dimension, IxDyn};
use windlass_compiler::graph::Graph;
use windlass_compiler::shape::Symbol;

pub use self::any::AnyNetwork;
pub use self::dynamic::Dynamic;
pub use self::named::{DynamicInputs, DynamicOutputs};

/// A network declared with `network!`: its graph is known at compile time.
///
/// The macro implements it. Models, predictors and trainers accept [`AnyNetwork`], which every such network implements.
pub trait Network: Copy + Send + Sync + 'static {
    /// The network's name.
    const NAME: &'static str;

    /// The names of the inputs, in declaration order.
    const INPUTS: &'static [&'static str];

    /// The names of the outputs, in declaration order.
    const OUTPUTS: &'static [&'static str];

    /// The network: the only value of its type.
    const VALUE: Self;

    /// The input type of a run: an [`Input`], or a struct with a field for each of several inputs.
    type Inputs<'a>;

    /// The output type of a run: an array, or a struct with a field for each named output.
    type Outputs;

    /// The inputs as an array.
    type Feeds<'a>: AsRef<[Input<'a>]>;

    /// The outputs as an array.
    type Results: AsMut<[ArrayD<f32>]>;

    /// The network as declared, shapes checked.
    fn graph() -> &'static Graph;

    /// The inputs in declaration order.
    fn feeds(inputs: Self::Inputs<'_>) -> Self::Feeds<'_>;

    /// An array for each output, built from its index, in declaration order.
    fn results(make: impl FnMut(usize) -> ArrayD<f32>) -> Self::Results;

    /// Converts the results of a run to the output type.
    fn outputs(results: Self::Results) -> Self::Outputs;
}

/// A batch of samples: numbers with the last axis contiguous, borrowed if they are contiguous in memory.
///
/// A slice has no shape of its own: the network reads as many samples from it as fit, so two images with one channel
/// are read as one with two channels by a network that takes those. An array's shape is checked: its first axis is the
/// batch, and an array with exactly one sample's shape is a batch of one.
///
/// ```
/// use windlass_runtime::network::Input;
/// let pixels = vec![0.0; 2 * 28 * 28];
/// assert_eq!(Input::from(&pixels).batch(&[1, 28, 28])?, 2);
/// # Ok::<(), windlass_runtime::network::InputError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Input<'a> {
    elements: Cow<'a, [f32]>,
    /// Holds up to four axes without allocating.
    shape: Option<IxDyn>,
}

impl Input<'_> {
    /// The numbers, with the last axis contiguous.
    pub fn elements(&self) -> &[f32] {
        &self.elements
    }

    /// The shape, if it has one.
    pub fn shape(&self) -> Option<&[usize]> {
        self.shape.as_ref().map(Dimension::slice)
    }

    /// The number of samples of the given sizes.
    ///
    /// # Errors
    /// [`InputError`] if the numbers do not divide into samples, or the shape is wrong.
    pub fn batch(&self, item: &[usize]) -> Result<usize, InputError> {
        match self.shape() {
            Some(shape) if shape == item => Ok(1),
            Some([batch, rest @ ..]) if rest == item => Ok(*batch),
            Some(shape) => Err(InputError::Shape { expected: format!("{item:?}"), got: shape.to_vec() }),
            None => {
                let size: usize = item.iter().product();
                let elements = self.elements.len();
                if size > 0 && elements.is_multiple_of(size) {
                    Ok(elements / size)
                } else {
                    Err(InputError::Length { item: format!("{item:?}"), size, got: elements })
                }
            }
        }
    }
}

/// An input that does not fit its network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// An array with the wrong shape.
    #[error(
        "needs an array of shape {expected}, or a batch of these along a first axis, but receives {got:?}"
    )]
    Shape {
        /// The shape of one sample.
        expected: String,
        /// The array's shape.
        got: Vec<usize>,
    },
    /// A slice that does not divide into samples.
    #[error(
        "needs {size} numbers per sample of shape {item} but receives {got}, which is not a multiple of it"
    )]
    Length {
        /// The shape of one sample.
        item: String,
        /// Numbers per sample.
        size: usize,
        /// The given numbers.
        got: usize,
    },
    /// A slice for samples of open sizes, which it does not determine.
    #[error("is a slice, which does not determine {size} in samples of shape {item}; pass an array")]
    OpenSize {
        /// The shape of one sample.
        item: String,
        /// The size.
        size: Symbol,
    },
}

impl<'a> From<&'a [f32]> for Input<'a> {
    fn from(elements: &'a [f32]) -> Self {
        Input { elements: Cow::Borrowed(elements), shape: None }
    }
}

impl<'a, const LENGTH: usize> From<&'a [f32; LENGTH]> for Input<'a> {
    fn from(elements: &'a [f32; LENGTH]) -> Self {
        Input::from(elements.as_slice())
    }
}

impl<'a> From<&'a Vec<f32>> for Input<'a> {
    fn from(elements: &'a Vec<f32>) -> Self {
        Input::from(elements.as_slice())
    }
}

impl From<Vec<f32>> for Input<'_> {
    fn from(elements: Vec<f32>) -> Self {
        Input { elements: Cow::Owned(elements), shape: None }
    }
}

impl<'a, D: Dimension> From<ArrayView<'a, f32, D>> for Input<'a> {
    fn from(view: ArrayView<'a, f32, D>) -> Self {
        let elements = match view.to_slice() {
            Some(elements) => Cow::Borrowed(elements),
            None => Cow::Owned(view.iter().copied().collect()),
        };
        Input { elements, shape: Some(IxDyn(view.shape())) }
    }
}

impl<'a, S: Data<Elem = f32>, D: Dimension> From<&'a ArrayBase<S, D>> for Input<'a> {
    fn from(array: &'a ArrayBase<S, D>) -> Self {
        Input::from(array.view())
    }
}

/// Called by the expansion of `network!`; not part of the public interface.
#[doc(hidden)]
pub mod expansion {
    use super::Graph;

    /// Parses the graph that the macro embedded in the program.
    ///
    /// # Panics
    /// If the text is not one that this version of Windlass writes.
    pub fn embedded(text: &str) -> Graph {
        match text.parse() {
            Ok(graph) => graph,
            Err(error) => panic!("the macro and the runtime disagree (a fault in Windlass): {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array4, s};

    use super::{Cow, Input, InputError};

    #[test]
    fn contiguous_arrays_are_borrowed_and_others_copied() {
        let array = Array2::from_shape_fn((3, 4), |(row, column)| (4 * row + column) as f32);
        let whole = Input::from(&array);
        assert!(matches!(whole.elements, Cow::Borrowed(_)));
        assert_eq!(whole.shape(), Some(&[3, 4][..]));
        let columns = Input::from(array.slice(s![.., 1..3]));
        assert!(matches!(columns.elements, Cow::Owned(_)));
        assert_eq!(columns.elements(), [1.0, 2.0, 5.0, 6.0, 9.0, 10.0]);
        let transposed = array.t();
        assert_eq!(Input::from(&transposed).elements()[..3], [0.0, 4.0, 8.0]);
    }

    #[test]
    fn an_array_is_one_item_or_a_batch() {
        let images = Array4::<f32>::zeros((5, 1, 2, 3));
        assert_eq!(Input::from(&images).batch(&[1, 2, 3]), Ok(5));
        assert_eq!(Input::from(&images).batch(&[5, 1, 2, 3]), Ok(1));
        let error = Input::from(&images).batch(&[2, 3]).unwrap_err();
        assert_eq!(error, InputError::Shape { expected: "[2, 3]".to_owned(), got: vec![5, 1, 2, 3] });
    }

    #[test]
    fn a_slice_holds_whole_items() {
        assert_eq!(Input::from(&[0.0; 12]).batch(&[2, 3]), Ok(2));
        assert_eq!(Input::from(Vec::new()).batch(&[2, 3]), Ok(0));
        let error = Input::from(&[0.0; 7]).batch(&[2, 3]).unwrap_err();
        assert_eq!(error, InputError::Length { item: "[2, 3]".to_owned(), size: 6, got: 7 });
    }
}
