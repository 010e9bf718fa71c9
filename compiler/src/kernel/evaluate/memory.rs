//! The bounds-checked memory that kernels are evaluated on.

use thiserror::Error;

use super::number;
use crate::kernel::{Address, Element, Kernel};

/// Why a kernel cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The kernel breaks an invariant.
    #[error("{reason}")]
    Invalid {
        /// The kernel and the invariant.
        reason: String,
    },
    /// An element lies outside its buffer.
    #[error("kernel {kernel}: element {index} of b{buffer} is {access}, which has {elements}")]
    OutOfBounds {
        /// The kernel.
        kernel: String,
        /// The buffer.
        buffer: usize,
        /// The element, saturated if it overflows.
        index: i64,
        /// Elements of the buffer.
        elements: usize,
        /// "read" or "written".
        access: &'static str,
    },
    /// A buffer has no memory.
    #[error("kernel {kernel}: b{buffer} is {access} but has no memory here")]
    NoMemory {
        /// The kernel.
        kernel: String,
        /// The buffer.
        buffer: usize,
        /// "read" or "written".
        access: &'static str,
    },
    /// A buffer may not be written.
    #[error("kernel {kernel}: b{buffer} is written but may only be read here")]
    ReadOnly {
        /// The kernel.
        kernel: String,
        /// The buffer.
        buffer: usize,
    },
}

/// The range of words that a buffer occupies in an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The area.
    pub(crate) area: usize,
    /// The first word.
    pub(crate) first: usize,
    /// How many words.
    pub(crate) words: usize,
    /// Whether it may be written.
    pub(crate) writable: bool,
}

/// Memory of kernels: words of 32 bits, each a float, an integer or four bytes in little-endian order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelMemory {
    pub(crate) areas: Vec<Vec<u32>>,
    pub(crate) spans: Vec<Option<Span>>,
}

impl KernelMemory {
    /// Gives each buffer its own memory.
    pub fn of(buffers: Vec<Vec<u32>>) -> Self {
        let span = |(area, words): (usize, &Vec<u32>)| {
            Some(Span { area, first: 0, words: words.len(), writable: true })
        };
        KernelMemory { spans: buffers.iter().enumerate().map(span).collect(), areas: buffers }
    }

    /// The contents of a buffer, if it has memory.
    pub fn words(&self, buffer: usize) -> Option<&[u32]> {
        let span = (*self.spans.get(buffer)?)?;
        self.areas.get(span.area)?.get(span.first..span.first.checked_add(span.words)?)
    }

    /// The area, word and bit offset of an element.
    fn place(
        &self,
        kernel: &Kernel,
        (address, index): (&Address, i64),
        element: Element,
        is_written: bool,
    ) -> Result<(usize, usize, u32), EvaluateError> {
        let buffer = address.buffer.index();
        let access = if is_written { "written" } else { "read" };
        let Some(span) = self.spans.get(buffer).copied().flatten() else {
            return Err(EvaluateError::NoMemory { kernel: kernel.name.clone(), buffer, access });
        };
        if is_written && !span.writable {
            return Err(EvaluateError::ReadOnly { kernel: kernel.name.clone(), buffer });
        }
        let of_word = 4 / element.bytes();
        let elements = span.words.saturating_mul(of_word);
        let place = usize::try_from(index).ok().filter(|&index| index < elements).map(|index| {
            (span.first.saturating_add(index / of_word), 8 * (index % of_word * element.bytes()) as u32)
        });
        let is_there =
            |&(word, _): &(usize, u32)| self.areas.get(span.area).is_some_and(|area| word < area.len());
        match place.filter(is_there) {
            Some((word, bits)) => Ok((span.area, word, bits)),
            None => {
                let kernel = kernel.name.clone();
                Err(EvaluateError::OutOfBounds { kernel, buffer, index, elements, access })
            }
        }
    }

    /// Reads the word or byte of an element.
    pub(super) fn read(
        &self,
        kernel: &Kernel,
        place: (&Address, i64),
        element: Element,
    ) -> Result<u32, EvaluateError> {
        let (area, word, bits) = self.place(kernel, place, element, false)?;
        let word = self.areas[area][word];
        Ok(match element {
            Element::F32 | Element::I32 => word,
            Element::U8 => word >> bits & 0xFF,
        })
    }

    /// Stores a word, or the low byte of it.
    pub(super) fn write(
        &mut self,
        kernel: &Kernel,
        place: (&Address, i64),
        element: Element,
        value: u32,
    ) -> Result<(), EvaluateError> {
        let (area, word, bits) = self.place(kernel, place, element, true)?;
        let word = &mut self.areas[area][word];
        *word = match element {
            Element::F32 | Element::I32 => value,
            Element::U8 => *word & !(0xFF << bits) | (value & 0xFF) << bits,
        };
        Ok(())
    }
}

/// The index of the element `steps` times `distance` after another.
pub(super) fn moved(index: i64, steps: usize, distance: usize) -> i64 {
    index.saturating_add(number(steps).saturating_mul(number(distance)))
}
