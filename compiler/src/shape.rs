//! Shapes and element types of graph values. The batch size is symbolic: it is known only when a program runs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ShapeError;

/// One axis of a [`Shape`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// The number of items in the batch, known when a program runs; printed as `N`.
    Batch,
    /// A size known when the network is declared.
    Fixed(usize),
}

/// The axes of a value, outermost first. Only the first axis may be [`Dim::Batch`].
///
/// ```
/// use windlass_compiler::shape::Shape;
/// let images = Shape::batched(&[1, 28, 28]);
/// assert_eq!(images.to_string(), "[N, 1, 28, 28]");
/// assert_eq!(images.concrete(64), [64, 1, 28, 28]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Shape(Vec<Dim>);

/// The most elements an item or a parameter may have: sizes stay far from overflow in every address computation.
pub const MAX_ELEMENTS: usize = 1 << 31;

impl Shape {
    /// A shape from its axes.
    pub fn new(dims: impl Into<Vec<Dim>>) -> Self {
        Shape(dims.into())
    }

    /// The shape of a single number: no axes.
    pub fn scalar() -> Self {
        Shape(Vec::new())
    }

    /// A shape without a batch axis, as parameters have.
    pub fn fixed(sizes: &[usize]) -> Self {
        Shape(sizes.iter().map(|&size| Dim::Fixed(size)).collect())
    }

    /// A batch of items of the given sizes.
    pub fn batched(item: &[usize]) -> Self {
        Shape(std::iter::once(Dim::Batch).chain(item.iter().map(|&size| Dim::Fixed(size))).collect())
    }

    /// The axes, outermost first.
    pub fn dims(&self) -> &[Dim] {
        &self.0
    }

    /// The number of axes, the batch axis included.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Whether the first axis is the batch.
    pub fn is_batched(&self) -> bool {
        self.0.first() == Some(&Dim::Batch)
    }

    /// The sizes of one item: every axis but the batch axis.
    pub fn item(&self) -> Vec<usize> {
        self.0
            .iter()
            .filter_map(|dim| match dim {
                Dim::Batch => None,
                Dim::Fixed(size) => Some(*size),
            })
            .collect()
    }

    /// The number of elements of one item (of the whole value when it has no batch axis). What does not fit a number, as it
    /// does in every shape that passed [`Shape::check`], is the largest number.
    pub fn item_elements(&self) -> usize {
        self.elements(1)
    }

    /// The number of elements at a batch size; what does not fit a number is the largest number.
    pub fn elements(&self, batch: usize) -> usize {
        let size = |dim: &Dim| match dim {
            Dim::Batch => batch,
            Dim::Fixed(size) => *size,
        };
        self.0.iter().map(size).fold(1, usize::saturating_mul)
    }

    /// The sizes at a batch size.
    pub fn concrete(&self, batch: usize) -> Vec<usize> {
        self.0
            .iter()
            .map(|dim| match dim {
                Dim::Batch => batch,
                Dim::Fixed(size) => *size,
            })
            .collect()
    }

    /// Checks the invariants of a shape: the batch axis first if at all, no axis of size zero, no overflow.
    ///
    /// # Errors
    /// [`ShapeError::ZeroSize`], [`ShapeError::TooLarge`] or [`ShapeError::BatchNotFirst`].
    pub fn check(&self) -> Result<(), ShapeError> {
        let mut elements = 1usize;
        for (axis, dim) in self.0.iter().enumerate() {
            match dim {
                Dim::Batch if axis > 0 => return Err(ShapeError::BatchNotFirst { shape: self.clone() }),
                Dim::Batch => {}
                Dim::Fixed(0) => return Err(ShapeError::ZeroSize { shape: self.clone() }),
                Dim::Fixed(size) => {
                    elements = elements
                        .checked_mul(*size)
                        .filter(|&elements| elements <= MAX_ELEMENTS)
                        .ok_or_else(|| ShapeError::TooLarge { shape: self.clone() })?;
                }
            }
        }
        Ok(())
    }

    /// Prints the item's sizes alone, as users write them: `[6, 28, 28]`.
    pub fn display_item(&self) -> String {
        format!("{:?}", self.item())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (axis, dim) in self.0.iter().enumerate() {
            if axis > 0 {
                f.write_str(", ")?;
            }
            match dim {
                Dim::Batch => f.write_str("N")?,
                Dim::Fixed(size) => write!(f, "{size}")?,
            }
        }
        f.write_str("]")
    }
}

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DType {
    /// A 32-bit float (the interpreter may widen it to 64 bits).
    F32,
    /// A 32-bit integer: class labels, pooling indices, random seeds.
    I32,
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::I32 => "i32",
        })
    }
}

/// The type of a graph value: printed as `f32[N, 10]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Type {
    /// The type of each element.
    pub dtype: DType,
    /// The axes.
    pub shape: Shape,
}

impl Type {
    /// 32-bit floats of a shape.
    pub fn f32(shape: Shape) -> Self {
        Type { dtype: DType::F32, shape }
    }

    /// 32-bit integers of a shape.
    pub fn i32(shape: Shape) -> Self {
        Type { dtype: DType::I32, shape }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}

/// Text that is no shape or type.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTypeError {
    /// It is written otherwise.
    #[error("`{text}` is not {expected}")]
    Syntax {
        /// The text.
        text: String,
        /// What it should be, in words.
        expected: &'static str,
    },
    /// It is written as a shape, but there is no such shape.
    #[error("`{text}` {error}")]
    Shape {
        /// The text.
        text: String,
        /// Why.
        error: ShapeError,
    },
}

impl FromStr for Shape {
    type Err = ParseTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error =
            || ParseTypeError::Syntax { text: text.to_owned(), expected: "a shape such as [N, 6, 28, 28]" };
        let inner =
            text.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or_else(error)?;
        if inner.trim().is_empty() {
            return Ok(Shape::scalar());
        }
        let dims = inner
            .split(',')
            .map(|dim| match dim.trim() {
                "N" => Ok(Dim::Batch),
                size => size.parse().map(Dim::Fixed).map_err(|_| error()),
            })
            .collect::<Result<Vec<Dim>, _>>()?;
        let shape = Shape(dims);
        let broken = |error| ParseTypeError::Shape { text: text.to_owned(), error };
        shape.check().map_err(broken)?;
        Ok(shape)
    }
}

impl FromStr for Type {
    type Err = ParseTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error =
            || ParseTypeError::Syntax { text: text.to_owned(), expected: "a type such as f32[N, 10]" };
        let (dtype, shape) = text.split_at(text.find('[').ok_or_else(error)?);
        let dtype = match dtype.trim() {
            "f32" => DType::F32,
            "i32" => DType::I32,
            _ => return Err(error()),
        };
        Ok(Type { dtype, shape: shape.parse()? })
    }
}

macro_rules! text_conversions {
    ($($name:ident),*) => {$(
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseTypeError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
    )*};
}

text_conversions!(Shape, Type);
