//! Shapes and element types of graph values. Sizes may be open, that is, known only at run time. The number of samples
//! in the batch is always open.

mod error;
mod polynomial;
mod sizes;
mod symbol;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use error::ShapeError;
pub use polynomial::Polynomial;
pub use sizes::Sizes;
pub use symbol::Symbol;

/// The size of one axis of a [`Shape`]. It prints as `28` or `T`, also for debugging.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A size known when the network is declared.
    Fixed(usize),
    /// A size known at run time: a polynomial with at least one symbol.
    Open(Polynomial),
}

impl Dim {
    /// The number of samples in the batch: `N`.
    pub fn batch() -> Self {
        Dim::from(Symbol::BATCH)
    }

    /// The size, if it is known when the network is declared.
    pub fn fixed(&self) -> Option<usize> {
        match self {
            Dim::Fixed(size) => Some(*size),
            Dim::Open(_) => None,
        }
    }

    /// The size as a polynomial.
    pub fn polynomial(&self) -> Polynomial {
        match self {
            Dim::Fixed(size) => Polynomial::from(*size),
            Dim::Open(size) => size.clone(),
        }
    }

    /// The size for given open sizes.
    pub fn at(&self, sizes: &Sizes) -> usize {
        match self {
            Dim::Fixed(size) => *size,
            Dim::Open(size) => size.at(sizes),
        }
    }
}

impl From<usize> for Dim {
    fn from(size: usize) -> Self {
        Dim::Fixed(size)
    }
}

impl From<Symbol> for Dim {
    fn from(symbol: Symbol) -> Self {
        Dim::Open(symbol.into())
    }
}

impl From<Polynomial> for Dim {
    fn from(size: Polynomial) -> Self {
        match size.as_number().map(usize::try_from) {
            Some(Ok(number)) => Dim::Fixed(number),
            _ => Dim::Open(size),
        }
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(size) => write!(f, "{size}"),
            Dim::Open(size) => write!(f, "{size}"),
        }
    }
}

/// The axes of a value, outermost first.
///
/// A *batched* value has the batch in its first axis, alone (`[N, 40]`) or times other sizes: `[N*T, 40]` is a batch of
/// all steps of all sequences. Later axes may have open sizes too: `[N, T, 40]` is a batch of sequences of any length.
///
/// ```
/// use windlass::{Shape, Sizes};
/// let images = Shape::batched(&[1, 28, 28]);
/// assert_eq!(images.to_string(), "[N, 1, 28, 28]");
/// assert_eq!(images.concrete(64), [64, 1, 28, 28]);
/// let sequences: Shape = "[N, T, 40]".parse()?;
/// assert_eq!(sequences.concrete(Sizes::from(64).with("T".parse()?, 35)), [64, 35, 40]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It prints the same for debugging.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Shape(Vec<Dim>);

/// The maximum number of elements of an item or parameter, which keeps address computations far from overflow.
pub const MAX_ELEMENTS: usize = 1 << 31;

/// The maximum number of open sizes of a shape.
const MOST_OPEN_SIZES: usize = 8;

impl Shape {
    /// A shape from its axes.
    pub fn new(dims: impl Into<Vec<Dim>>) -> Self {
        Shape(dims.into())
    }

    /// The shape of a scalar: no axes.
    pub fn scalar() -> Self {
        Shape(Vec::new())
    }

    /// A shape without a batch axis, as parameters have.
    pub fn fixed(sizes: &[usize]) -> Self {
        Shape(sizes.iter().map(|&size| Dim::Fixed(size)).collect())
    }

    /// A batch of items of the given sizes.
    pub fn batched(item: &[usize]) -> Self {
        Shape(std::iter::once(Dim::batch()).chain(item.iter().map(|&size| Dim::Fixed(size))).collect())
    }

    /// A batch of items of the given sizes, which may be open.
    pub fn batch_of(item: impl IntoIterator<Item = Dim>) -> Self {
        Shape(std::iter::once(Dim::batch()).chain(item).collect())
    }

    /// The same first axis, followed by items of other sizes: the result shape of an operator on each item of a batch.
    #[must_use]
    pub fn with_item(&self, item: &[usize]) -> Self {
        let first = self.0.iter().take(usize::from(self.is_batched())).cloned();
        Shape(first.chain(item.iter().map(|&size| Dim::Fixed(size))).collect())
    }

    /// The same elements as a batch of items of fixed sizes: the axes up to the last open one are folded into the
    /// first, as `[N, T, 40]` into `[N*T, 40]`.
    #[must_use]
    pub fn folded(&self) -> Self {
        let open = self.0.iter().rposition(|dim| dim.fixed().is_none());
        open.map_or_else(|| self.clone(), |axis| self.with_first_folded(axis + 1))
    }

    /// The same elements with the first `axes` axes folded into one.
    #[must_use]
    pub fn with_first_folded(&self, axes: usize) -> Self {
        let (first, rest) = self.0.split_at(axes);
        let size = Shape(first.to_vec()).count();
        Shape(std::iter::once(Dim::from(size)).chain(rest.iter().cloned()).collect())
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
        matches!(self.0.first(), Some(Dim::Open(_)))
    }

    /// The axes of one item: all except the batch axis.
    pub fn item_dims(&self) -> &[Dim] {
        &self.0[usize::from(self.is_batched())..]
    }

    /// Whether items are sequences of vectors: `[steps, features]`.
    pub fn is_sequence(&self) -> bool {
        self.is_batched() && self.rank() == 3
    }

    /// Whether items are sequences of channels, `[channels, length]`, whose length is open.
    pub fn is_open_sequence(&self) -> bool {
        let is_fixed = self.item_dims().iter().map(|dim| dim.fixed().is_some());
        self.is_batched() && is_fixed.eq([true, false])
    }

    /// The same first axis, followed by items of some channels and spatial sizes, which may be open.
    #[must_use]
    pub fn with_image(&self, channels: usize, sizes: impl IntoIterator<Item = Dim>) -> Self {
        let first = self.0.iter().take(usize::from(self.is_batched())).cloned();
        Shape(first.chain([Dim::Fixed(channels)]).chain(sizes).collect())
    }

    /// Whether an item has an open size.
    pub fn has_open_item(&self) -> bool {
        self.item_dims().iter().any(|dim| dim.fixed().is_none())
    }

    /// The sizes of one item: every axis except the batch axis. An open size counts as if each symbol were 1; operators
    /// that need sizes reject such shapes ([`ShapeError::OpenSize`]).
    pub fn item(&self) -> Vec<usize> {
        self.item_dims().iter().map(|dim| dim.at(&Sizes::new())).collect()
    }

    /// The number of elements of one item (of the whole value if it has no batch axis). It saturates, though not for
    /// shapes that passed [`Shape::check`].
    pub fn item_elements(&self) -> usize {
        self.item().into_iter().fold(1, usize::saturating_mul)
    }

    /// The number of elements as a polynomial of the open sizes.
    pub fn count(&self) -> Polynomial {
        let mut fixed = 1i64;
        let mut count = Polynomial::from(1usize);
        for dim in &self.0 {
            match dim {
                Dim::Fixed(size) => fixed = fixed.saturating_mul(i64::try_from(*size).unwrap_or(i64::MAX)),
                Dim::Open(size) => count = count.times(size),
            }
        }
        count.scaled(fixed)
    }

    /// The number of elements for given open sizes, or for a batch of the given number of samples. It saturates.
    pub fn elements(&self, sizes: impl Into<Sizes>) -> usize {
        let sizes = sizes.into();
        self.0.iter().map(|dim| dim.at(&sizes)).fold(1, usize::saturating_mul)
    }

    /// The sizes for given open sizes, or for a batch of the given number of samples.
    pub fn concrete(&self, sizes: impl Into<Sizes>) -> Vec<usize> {
        let sizes = sizes.into();
        self.0.iter().map(|dim| dim.at(&sizes)).collect()
    }

    /// The symbols of its open sizes, without duplicates, in order.
    pub fn symbols(&self) -> Vec<Symbol> {
        let open = self.0.iter().filter(|dim| dim.fixed().is_none());
        let mut symbols: Vec<Symbol> = open.flat_map(|dim| dim.polynomial().symbols()).collect();
        symbols.sort_unstable();
        symbols.dedup();
        symbols
    }

    /// Checks the invariants of a shape: only the first axis may be the batch, open sizes require a batch, no axis has
    /// size zero, and nothing overflows.
    ///
    /// # Errors
    /// [`ShapeError::ZeroSize`], [`ShapeError::TooLarge`], [`ShapeError::BatchNotFirst`] or
    /// [`ShapeError::OpenWithoutBatch`].
    pub fn check(&self) -> Result<(), ShapeError> {
        if self.symbols().len() > MOST_OPEN_SIZES {
            return Err(ShapeError::TooLarge { shape: self.clone() });
        }
        let mut elements = 1usize;
        let mut open = 0;
        for (axis, dim) in self.0.iter().enumerate() {
            let coefficient = match dim {
                Dim::Fixed(0) => return Err(ShapeError::ZeroSize { shape: self.clone() }),
                Dim::Fixed(size) => *size,
                Dim::Open(size) => {
                    let holds_batch = size.symbols().contains(&Symbol::BATCH);
                    let batches =
                        |monomial: &[Symbol]| monomial.iter().filter(|&&it| it == Symbol::BATCH).count();
                    let is_multiple = size.terms().all(|(monomial, _)| batches(monomial) == 1);
                    if holds_batch && (axis > 0 || !is_multiple) {
                        return Err(ShapeError::BatchNotFirst { shape: self.clone() });
                    }
                    if axis == 0 && !holds_batch || axis > 0 && !self.is_batched() {
                        return Err(ShapeError::OpenWithoutBatch { shape: self.clone() });
                    }
                    if !size.is_positive() {
                        return Err(ShapeError::MayBeEmpty { shape: self.clone() });
                    }
                    open += size.terms().map(|(monomial, _)| monomial.len()).max().unwrap_or(0);
                    let terms = size.terms().map(|(_, coefficient)| coefficient.unsigned_abs() as usize);
                    terms.fold(0, usize::saturating_add)
                }
            };
            elements = elements
                .checked_mul(coefficient)
                .filter(|&elements| elements <= MAX_ELEMENTS && open <= MOST_OPEN_SIZES)
                .ok_or_else(|| ShapeError::TooLarge { shape: self.clone() })?;
        }
        Ok(())
    }

    /// Prints only the item's sizes, as users write them: `[6, 28, 28]`.
    pub fn display_item(&self) -> String {
        list(self.item_dims())
    }
}

fn list(dims: &[Dim]) -> String {
    format!("[{}]", dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(", "))
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&list(&self.0))
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

/// Text that is not a shape or type.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTypeError {
    /// A syntax error.
    #[error("`{text}` is not {expected}")]
    Syntax {
        /// The text.
        text: String,
        /// The expected form, in words.
        expected: &'static str,
    },
    /// A well-formed shape that is invalid.
    #[error("`{text}` {error}")]
    Shape {
        /// The text.
        text: String,
        /// The reason.
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
            .map(|dim| match dim.trim().parse::<usize>() {
                Ok(size) => Ok(Dim::Fixed(size)),
                Err(_) => dim.parse::<Polynomial>().map(Dim::from).map_err(|_| error()),
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
