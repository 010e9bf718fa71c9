//! Arrays of the interpreter, and its two floating-point types.

use std::fmt::Debug;
use std::iter::Sum;

use num_traits::Float;

use crate::shape::DType;

/// A floating-point type of the interpreter: `f32`, as in compiled programs, or `f64`, to check them.
pub trait Real: Float + Send + Sync + Debug + Sum + 'static {
    /// The nearest number of this type.
    fn from_f64(value: f64) -> Self;

    /// The number as `f64`.
    fn to_f64(self) -> f64;
}

impl Real for f32 {
    fn from_f64(value: f64) -> Self {
        value as f32
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }

    fn to_f64(self) -> f64 {
        self
    }
}

/// The elements of an [`Array`], with the last axis varying fastest.
#[derive(Clone, Debug, PartialEq)]
pub enum Data<T> {
    /// Floating-point numbers.
    Real(Vec<T>),
    /// Integers: labels, argmax indices, seeds.
    Int(Vec<i32>),
}

/// Elements with the size of each axis.
///
/// ```
/// use windlass_compiler::interp::Array;
/// let x = Array::new(vec![2, 2], vec![1.0f32, 2.0, 3.0, 4.0]);
/// assert_eq!(x.convert::<f64>().real(), [1.0, 2.0, 3.0, 4.0]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T> {
    /// The sizes, outermost first.
    pub sizes: Vec<usize>,
    /// The elements.
    pub data: Data<T>,
}

impl<T> Array<T> {
    /// Floating-point numbers of the given sizes. The number of elements is checked where the array is used.
    pub fn new(sizes: impl Into<Vec<usize>>, values: Vec<T>) -> Self {
        Array { sizes: sizes.into(), data: Data::Real(values) }
    }

    /// Integers of the given sizes.
    pub fn ints(sizes: impl Into<Vec<usize>>, values: Vec<i32>) -> Self {
        Array { sizes: sizes.into(), data: Data::Int(values) }
    }

    /// A scalar.
    pub fn scalar(value: T) -> Self {
        Array::new([], vec![value])
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        match &self.data {
            Data::Real(values) => values.len(),
            Data::Int(values) => values.len(),
        }
    }

    /// The type of the elements; floats of any width count as [`DType::F32`].
    pub fn dtype(&self) -> DType {
        match self.data {
            Data::Real(_) => DType::F32,
            Data::Int(_) => DType::I32,
        }
    }

    /// The floating-point elements.
    ///
    /// # Panics
    /// If the array holds integers: the shape rules determine the type.
    pub fn real(&self) -> &[T] {
        match &self.data {
            Data::Real(values) => values,
            Data::Int(_) => panic!("an array of integers was read as floats"),
        }
    }

    /// The integer elements.
    ///
    /// # Panics
    /// If the array holds floats: the shape rules determine the type.
    pub fn int(&self) -> &[i32] {
        match &self.data {
            Data::Int(values) => values,
            Data::Real(_) => panic!("an array of floats was read as integers"),
        }
    }
}

impl<T: Real> Array<T> {
    /// Zeros of the given sizes.
    pub fn zeros(sizes: impl Into<Vec<usize>>) -> Self {
        let sizes = sizes.into();
        let elements = sizes.iter().product();
        Array::new(sizes, vec![T::zero(); elements])
    }

    /// The same elements in another floating-point type, rounded to nearest.
    pub fn convert<U: Real>(&self) -> Array<U> {
        let data = match &self.data {
            Data::Real(values) => {
                Data::Real(values.iter().map(|&value| U::from_f64(Real::to_f64(value))).collect())
            }
            Data::Int(values) => Data::Int(values.clone()),
        };
        Array { sizes: self.sizes.clone(), data }
    }

    /// A function of each floating-point element.
    pub(crate) fn map(&self, function: impl Fn(T) -> T) -> Self {
        Array::new(self.sizes.clone(), self.real().iter().map(|&x| function(x)).collect())
    }
}

/// The sizes `[N, C, …]` as batch, channels, and the product of the rest.
pub(crate) fn channel_sizes(sizes: &[usize]) -> [usize; 3] {
    [sizes[0], sizes[1], sizes[2..].iter().product()]
}
