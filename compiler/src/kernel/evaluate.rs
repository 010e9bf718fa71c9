//! Evaluates kernels element by element: the reference semantics that code generation is compared with.
//!
//! Arithmetic is in `f32`, except for sums, which are accumulated in `f64` in loop order and rounded once: those of a
//! [`Tile`](super::Tile)'s reduction and of [`Reducer::Sum`](super::Reducer::Sum). Compiled code sums in other orders,
//! rounds in between and may overflow on the way; its error is within the bound of [`SumBlocks`](super::SumBlocks).
//! Sums that are exact in every order have the same bits here. Elementary functions are those of `f64`, rounded.
//! Integers and bytes are exact.
//!
//! ```
//! use windlass_compiler::kernel::{Kernel, KernelMemory, Turn, evaluate};
//!
//! let kernel: Kernel = "kernel double {
//!     variables 1
//!     parallel elements i0 of N*2 {
//!         map chunk lanes {
//!             e0 = load f32 b0[i0] by 1
//!             e1 = e0 + e0
//!             store f32 b1[i0] by 1 = e1
//!         }
//!     }
//! }".parse()?;
//! let mut memory = KernelMemory::of(vec![[1.0f32, 2.0, 3.0, 4.0].map(f32::to_bits).to_vec(), vec![0; 4]]);
//! for thread in 0..2 {
//!     evaluate(&kernel, &mut memory, Turn::chunk(&kernel, &[2], thread, 2))?;
//! }
//! assert_eq!(memory.words(1), Some(&[2.0f32, 4.0, 6.0, 8.0].map(f32::to_bits)[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod map;
mod memory;
mod tile;

pub(crate) use memory::Span;
pub use memory::{EvaluateError, KernelMemory};

use super::{Affine, Element, Extent, Kernel, OpenTerm, SizeId, Split, Stmt, Units};

/// The part of a kernel's work that one thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn<'v> {
    /// The values of the plan's open sizes, the number of samples first. A missing one counts as 0.
    pub values: &'v [usize],
    /// The index of the thread.
    pub thread: usize,
    /// The first work unit.
    pub first: usize,
    /// One past the last unit.
    pub last: usize,
}

impl<'v> Turn<'v> {
    /// The chunk of one of several threads, divided as compiled code divides the work.
    pub fn chunk(kernel: &Kernel, values: &'v [usize], thread: usize, threads: usize) -> Self {
        let (first, last) = Units::of(kernel).chunk(values, thread, threads.max(1));
        Turn { values, thread, first, last }
    }
}

/// Evaluates a part of a kernel.
///
/// # Errors
/// [`EvaluateError`] when the kernel breaks an invariant or accesses memory out of bounds.
pub fn evaluate(kernel: &Kernel, memory: &mut KernelMemory, turn: Turn<'_>) -> Result<(), EvaluateError> {
    super::verify(kernel).map_err(|reason| EvaluateError::Invalid { reason })?;
    let mut evaluator =
        Evaluator { kernel, memory, values: turn.values, variables: vec![0; kernel.variables], chunk: 0 };
    if let Some(thread) = kernel.thread {
        evaluator.variables[thread.0] = number(turn.thread);
    }
    evaluator.body(&kernel.setup)?;
    if turn.first >= turn.last {
        return Ok(());
    }
    match &kernel.split {
        Split::Serial => evaluator.body(&kernel.body),
        Split::Lanes(var, _) => {
            evaluator.variables[var.0] = number(turn.first);
            evaluator.chunk = turn.last - turn.first;
            evaluator.body(&kernel.body)
        }
        Split::Axes(axes) => (turn.first..turn.last).try_for_each(|unit| {
            let mut rest = unit;
            for (position, &(var, extent)) in axes.iter().enumerate().rev() {
                let size = if position == 0 { usize::MAX } else { evaluator.extent(extent).max(1) };
                evaluator.variables[var.0] = number(rest % size);
                rest /= size;
            }
            evaluator.body(&kernel.body)
        }),
    }
}

/// A size as a signed number.
fn number(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

struct Evaluator<'k, 'm> {
    kernel: &'k Kernel,
    memory: &'m mut KernelMemory,
    values: &'k [usize],
    variables: Vec<i64>,
    chunk: usize,
}

impl Evaluator<'_, '_> {
    fn size(&self, size: SizeId) -> usize {
        self.values.get(size.index()).copied().unwrap_or_default()
    }

    fn extent(&self, extent: Extent) -> usize {
        match extent {
            Extent::Fixed(count) => count,
            Extent::Open(size, times) => self.size(size).saturating_mul(times),
            Extent::Floor { size, times, multiple } => {
                let whole = self.size(size).saturating_mul(times);
                whole - whole % multiple
            }
            Extent::Chunk => self.chunk,
            Extent::ChunkFloor(multiple) => self.chunk - self.chunk % multiple,
        }
    }

    /// The value of an affine sum. A value that overflows is outside every buffer.
    fn affine(&self, affine: &Affine) -> i64 {
        let term =
            |&(var, factor): &(super::Var, i64)| i128::from(self.variables[var.0]) * i128::from(factor);
        let open = |term: &OpenTerm| {
            let var = term.var.map_or(1, |var| i128::from(self.variables[var.0]));
            var.saturating_mul(self.size(term.size) as i128).saturating_mul(term.factor.into())
        };
        let terms = affine.terms.iter().map(term).chain(affine.open.iter().map(open));
        let sum = terms.fold(i128::from(affine.constant), i128::saturating_add);
        sum.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    fn body(&mut self, body: &[Stmt]) -> Result<(), EvaluateError> {
        body.iter().try_for_each(|stmt| match stmt {
            Stmt::For { var, start, end, step, body } => {
                (self.extent(*start)..self.extent(*end)).step_by(*step).try_for_each(|value| {
                    self.variables[var.0] = number(value);
                    self.body(body)
                })
            }
            Stmt::Branch { value, bound, below, rest } => {
                let is_below = self.affine(value) < *bound;
                self.body(if is_below { below } else { rest })
            }
            Stmt::Lookup { var, from, bound, found, rest } => {
                let element = (from, self.affine(&from.offset));
                let index = self.memory.read(self.kernel, element, Element::I32)?.cast_signed();
                match usize::try_from(index) {
                    Ok(index) if index < *bound => {
                        self.variables[var.0] = number(index);
                        self.body(found)
                    }
                    _ => self.body(rest),
                }
            }
            Stmt::Tile(call) => self.tile(call),
            Stmt::Map(map) => self.map(map),
        })
    }
}

#[cfg(test)]
mod tests;
