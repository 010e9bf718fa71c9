//! Batches of samples: the values of inputs.

use std::borrow::Cow;
use std::fmt;

use ndarray::{ArrayBase, ArrayView, Data, Dimension, IxDyn};
use windlass_compiler::shape::Symbol;

/// A batch of samples: elements with the last axis contiguous, borrowed if they are contiguous in memory. Inputs of
/// numbers are [`Input`]s, inputs of indices [`IndexInput`]s.
///
/// A slice has no shape of its own: the network reads as many samples from it as fit, so two images with one channel
/// are read as one with two channels by a network that takes those. An array's shape is checked: its first axis is the
/// batch, and an array with exactly one sample's shape is a batch of one.
///
/// ```
/// use windlass::Input;
/// let pixels = vec![0.0; 2 * 28 * 28];
/// assert_eq!(Input::from(&pixels).batch(&[1, 28, 28])?, 2);
/// # Ok::<(), windlass_runtime::network::InputError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Samples<'a, E: Element> {
    elements: Cow<'a, [E]>,
    /// Holds up to four axes without allocating.
    shape: Option<IxDyn>,
}

/// A batch of samples of numbers.
pub type Input<'a> = Samples<'a, f32>;

/// A batch of samples of indices, such as the tokens of texts. They are checked against the vocabulary before a run.
///
/// ```
/// use windlass::IndexInput;
/// let tokens = ndarray::array![[4, 0, 2], [1, 1, 3]]; // two texts of three tokens
/// assert_eq!(IndexInput::from(&tokens).batch(&[3])?, 2);
/// # Ok::<(), windlass_runtime::network::InputError>(())
/// ```
///
/// Numbers are no indices, and the compiler says so:
///
/// ```compile_fail,E0271
/// # use windlass::IndexInput;
/// let tokens = ndarray::array![[4.0f32, 0.0, 2.0]];
/// let input = IndexInput::from(&tokens);
/// ```
pub type IndexInput<'a> = Samples<'a, i32>;

/// The type of an input's elements: `f32` for numbers, `i32` for indices.
pub trait Element: Copy + fmt::Debug + PartialEq + sealed::Sealed + 'static {
    /// A batch of such elements, as an input of any kind.
    fn feed(samples: Samples<'_, Self>) -> Feed<'_>;
}

mod sealed {
    /// Prevents implementations elsewhere: programs take no other elements.
    pub trait Sealed {}

    impl Sealed for f32 {}
    impl Sealed for i32 {}
}

impl Element for f32 {
    fn feed(samples: Samples<'_, Self>) -> Feed<'_> {
        Feed::Numbers(samples)
    }
}

impl Element for i32 {
    fn feed(samples: Samples<'_, Self>) -> Feed<'_> {
        Feed::Indices(samples)
    }
}

/// An input of either kind. Slices, arrays, [`Input`]s and [`IndexInput`]s convert to it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Feed<'a> {
    /// Numbers.
    Numbers(Input<'a>),
    /// Indices, such as tokens.
    Indices(IndexInput<'a>),
}

impl Feed<'_> {
    /// The shape, if it has one.
    pub fn shape(&self) -> Option<&[usize]> {
        match self {
            Feed::Numbers(samples) => samples.shape(),
            Feed::Indices(samples) => samples.shape(),
        }
    }

    /// The number of samples of the given sizes.
    ///
    /// # Errors
    /// Those of [`Samples::batch`].
    pub fn batch(&self, item: &[usize]) -> Result<usize, InputError> {
        match self {
            Feed::Numbers(samples) => samples.batch(item),
            Feed::Indices(samples) => samples.batch(item),
        }
    }

    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        match self {
            Feed::Numbers(samples) => samples.elements.len(),
            Feed::Indices(samples) => samples.elements.len(),
        }
    }
}

impl<E: Element> Samples<'_, E> {
    /// The elements, with the last axis contiguous.
    pub fn elements(&self) -> &[E] {
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
    /// An input of the wrong kind, of a network known only at run time.
    #[error("takes {expected}, but receives {got}")]
    Kind {
        /// The kind it takes, in words.
        expected: &'static str,
        /// The kind it was given.
        got: &'static str,
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

impl<'a, E: Element> From<&'a [E]> for Samples<'a, E> {
    fn from(elements: &'a [E]) -> Self {
        Samples { elements: Cow::Borrowed(elements), shape: None }
    }
}

impl<'a, E: Element, const LENGTH: usize> From<&'a [E; LENGTH]> for Samples<'a, E> {
    fn from(elements: &'a [E; LENGTH]) -> Self {
        Samples::from(elements.as_slice())
    }
}

impl<'a, E: Element> From<&'a Vec<E>> for Samples<'a, E> {
    fn from(elements: &'a Vec<E>) -> Self {
        Samples::from(elements.as_slice())
    }
}

impl<E: Element> From<Vec<E>> for Samples<'_, E> {
    fn from(elements: Vec<E>) -> Self {
        Samples { elements: Cow::Owned(elements), shape: None }
    }
}

impl<'a, E: Element, D: Dimension> From<ArrayView<'a, E, D>> for Samples<'a, E> {
    fn from(view: ArrayView<'a, E, D>) -> Self {
        let elements = match view.to_slice() {
            Some(elements) => Cow::Borrowed(elements),
            None => Cow::Owned(view.iter().copied().collect()),
        };
        Samples { elements, shape: Some(IxDyn(view.shape())) }
    }
}

impl<'a, E: Element, S: Data<Elem = E>, D: Dimension> From<&'a ArrayBase<S, D>> for Samples<'a, E> {
    fn from(array: &'a ArrayBase<S, D>) -> Self {
        Samples::from(array.view())
    }
}

impl<'a, E: Element> From<Samples<'a, E>> for Feed<'a> {
    fn from(samples: Samples<'a, E>) -> Self {
        E::feed(samples)
    }
}

/// Everything that converts to samples converts to an input of either kind.
macro_rules! feed_from {
    ($([$($generics:tt)*] $from:ty;)*) => {$(
        impl<'a, E: Element, $($generics)*> From<$from> for Feed<'a> {
            fn from(samples: $from) -> Self {
                E::feed(samples.into())
            }
        }
    )*};
}

feed_from! {
    [] &'a [E];
    [const LENGTH: usize] &'a [E; LENGTH];
    [] &'a Vec<E>;
    [] Vec<E>;
    [D: Dimension] ArrayView<'a, E, D>;
    [S: Data<Elem = E>, D: Dimension] &'a ArrayBase<S, D>;
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array4, s};

    use super::{Cow, Feed, IndexInput, Input, InputError};

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

    #[test]
    fn elements_decide_the_kind_of_an_input() {
        assert_eq!(Feed::from(&[0.5, 1.0]), Feed::Numbers(Input::from(&[0.5, 1.0])));
        assert_eq!(Feed::from(&[4, 1]), Feed::Indices(IndexInput::from(&[4, 1])));
        let tokens = Array2::from_elem((2, 3), 1);
        let feed = Feed::from(&tokens);
        assert_eq!((feed.shape(), feed.batch(&[3]), feed.len()), (Some(&[2, 3][..]), Ok(2), 6));
        assert_eq!(IndexInput::from(&tokens).elements(), [1; 6]);
    }
}
