//! Evaluates a whole plan, kernel after kernel, without generating code. If its results are wrong, the plan is wrong;
//! if only those of the compiled program are, code generation is wrong.

use thiserror::Error;

use super::{Event, Location, Plan, SlotKind};
use crate::kernel::{EvaluateError, Kernel, KernelMemory, Span, Turn, evaluate};
use crate::shape::Sizes;

/// Why a plan cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EvaluatePlanError {
    /// The batch is empty.
    #[error("the plan of `{plan}` needs a batch of at least one item but gets none")]
    EmptyBatch {
        /// The plan.
        plan: String,
    },
    /// Not every slot is bound.
    #[error("the plan of `{plan}` has {expected} slots but {got} are bound")]
    Slots {
        /// The plan.
        plan: String,
        /// The number of slots.
        expected: usize,
        /// The number of bound slots.
        got: usize,
    },
    /// A slot is bound to memory of the wrong size.
    #[error("`{name}` of the plan of `{plan}` needs {expected} elements at a batch of {batch} but has {got}")]
    Slot {
        /// The plan.
        plan: String,
        /// The slot.
        name: String,
        /// The batch.
        batch: usize,
        /// The required number of elements.
        expected: usize,
        /// The actual number.
        got: usize,
    },
    /// An arena cannot be allocated.
    #[error(
        "the plan of `{plan}` needs {words} words of memory for an arena at a batch of {batch}, which there are not"
    )]
    OutOfMemory {
        /// The plan.
        plan: String,
        /// The batch.
        batch: usize,
        /// The words of the arena.
        words: usize,
    },
    /// A kernel accesses memory that it must not.
    #[error(transparent)]
    Kernel(#[from] EvaluateError),
}

/// The content of memory before it is written: a NaN that no computation produces.
const UNWRITTEN: u32 = 0xFFC0_BEEF;

/// The first memory areas; the arenas of open sizes and the slots follow.
const FIXED: usize = 0;
const PREPACKED: usize = 1;
const PREPACKING: usize = 2;
const SCRATCH: usize = 3;

impl Plan {
    /// Runs the plan once on a batch of the given number of samples, or at values of all its open sizes: it prepacks,
    /// then runs, with the threads of each kernel one after the other. The words of the slots, in the order of the
    /// plan, are floats or integers; outputs are written, and parameters and states are updated.
    ///
    /// A kernel may only access its buffers within their sizes, and the memory of its phase: `prepack` must not access
    /// an arena of a run, and a run must not access intermediates of `prepack`. No kernel writes inputs, and no run
    /// writes prepacked memory.
    ///
    /// # Errors
    /// [`EvaluatePlanError`] for slots that do not fit, for too little memory, and for a kernel that accesses memory
    /// that it must not.
    pub fn evaluate(&self, sizes: impl Into<Sizes>, slots: &mut [Vec<u32>]) -> Result<(), EvaluatePlanError> {
        let (sizes, plan) = (sizes.into(), || self.name.clone());
        let batch = sizes.batch();
        let mut values = Vec::new();
        self.sizes.values_into(&sizes, &mut values);
        if batch == 0 {
            return Err(EvaluatePlanError::EmptyBatch { plan: plan() });
        }
        if slots.len() != self.slots.len() {
            return Err(EvaluatePlanError::Slots {
                plan: plan(),
                expected: self.slots.len(),
                got: slots.len(),
            });
        }
        for (slot, words) in self.slots.iter().zip(&*slots) {
            let (expected, got) = (slot.ty.shape.elements(&sizes), words.len());
            if got != expected {
                let name = slot.name.clone();
                return Err(EvaluatePlanError::Slot { plan: plan(), name, batch, expected, got });
            }
        }
        let mut areas = self.areas(batch, &values)?;
        areas.extend(slots.iter_mut().map(std::mem::take));
        let mut memory = KernelMemory { areas, spans: Vec::new() };
        let result = self.phases(&values, &mut memory);
        let bound = memory.areas.drain(self.first_slot()..);
        slots.iter_mut().zip(bound).for_each(|(slot, words)| *slot = words);
        result
    }

    /// The prepacked memory of all runs with these parameters, computed without code. The words of the slots are as for
    /// [`Plan::evaluate`]; only parameters are read.
    ///
    /// # Errors
    /// As [`Plan::evaluate`].
    pub fn prepacked(&self, slots: &[Vec<u32>]) -> Result<Vec<u32>, EvaluatePlanError> {
        let values = vec![1; self.sizes.polynomials().len()];
        let mut areas = self.areas(1, &values)?;
        areas.extend_from_slice(slots);
        let mut memory = KernelMemory { areas, spans: Vec::new() };
        self.prepack_phase(&values, &mut memory)?;
        Ok(std::mem::take(&mut memory.areas[PREPACKED]))
    }

    /// The memory of a run without its slots. Constants are written.
    fn areas(&self, batch: usize, values: &[usize]) -> Result<Vec<Vec<u32>>, EvaluatePlanError> {
        let plan = || self.name.clone();
        let arenas = [self.memory.fixed, self.memory.prepacked, self.memory.prepacking];
        let scratch = std::iter::repeat_n(self.memory.scratch, self.threads);
        let open = self.memory.open_words(values);
        let mut areas = Vec::new();
        for words in arenas.into_iter().chain(scratch).chain(open) {
            let mut area = Vec::new();
            let reserved = area.try_reserve_exact(words);
            reserved.map_err(|_| EvaluatePlanError::OutOfMemory { plan: plan(), batch, words })?;
            area.resize(words, UNWRITTEN);
            areas.push(area);
        }
        for (buffer, numbers) in &self.constants {
            let first = self.prepacked_offset(*buffer);
            for (word, number) in areas[PREPACKED][first..].iter_mut().zip(numbers) {
                *word = number.to_bits();
            }
        }
        Ok(areas)
    }

    /// The area of the first slot.
    fn first_slot(&self) -> usize {
        SCRATCH + self.threads + self.memory.open.len()
    }

    fn phases(&self, values: &[usize], memory: &mut KernelMemory) -> Result<(), EvaluatePlanError> {
        self.prepack_phase(values, memory)?;
        let mut spans = self.spans_of(false, values);
        self.try_walk(values, &mut |event| match event {
            Event::Kernel(kernel) => self.evaluate_kernel(&self.run[kernel], &spans, values, memory),
            Event::Move { window, position } => {
                spans.iter_mut().for_each(|spans| self.move_span(window, position, values, spans));
                Ok(())
            }
        })
    }

    fn prepack_phase(&self, values: &[usize], memory: &mut KernelMemory) -> Result<(), EvaluatePlanError> {
        let spans = self.spans_of(true, values);
        self.prepack.iter().try_for_each(|kernel| self.evaluate_kernel(kernel, &spans, values, memory))
    }

    /// The memory of each buffer that each thread may access in a phase.
    fn spans_of(&self, prepacking: bool, values: &[usize]) -> Vec<Vec<Option<Span>>> {
        (0..self.threads).map(|thread| self.spans(prepacking, values, thread)).collect()
    }

    fn evaluate_kernel(
        &self,
        kernel: &Kernel,
        spans: &[Vec<Option<Span>>],
        values: &[usize],
        memory: &mut KernelMemory,
    ) -> Result<(), EvaluatePlanError> {
        for (thread, spans) in spans.iter().enumerate() {
            memory.spans.clone_from(spans);
            evaluate(kernel, memory, Turn::chunk(kernel, values, thread, self.threads))?;
        }
        Ok(())
    }

    /// Points the buffers of a window to a part of the window's whole buffer.
    fn move_span(&self, window: usize, position: usize, values: &[usize], spans: &mut [Option<Span>]) {
        let moving = &self.windows[window];
        let distance = moving.distance(position, values);
        let words = moving.size.at(values).unwrap_or(usize::MAX);
        // A part that leaves the whole buffer has no memory.
        let part = spans[moving.start.buffer.index()]
            .filter(|whole| distance.saturating_add(words) <= whole.words)
            .map(|whole| Span { first: whole.first + distance, words, ..whole });
        for (index, buffer) in self.buffers.iter().enumerate() {
            if buffer.location == Location::Window(window) {
                spans[index] = part;
            }
        }
    }

    /// The memory of each buffer that a thread may access in a phase.
    fn spans(&self, prepacking: bool, values: &[usize], thread: usize) -> Vec<Option<Span>> {
        let span = |buffer: &super::Buffer| {
            let words = buffer.size.at(values).unwrap_or(usize::MAX);
            let (area, first, writable) = match buffer.location {
                Location::Slot(slot) => {
                    (self.first_slot() + slot, 0, self.slots[slot].kind != SlotKind::Input)
                }
                Location::Open { arena, offset } if !prepacking => {
                    let (size, _) = self.memory.open[arena];
                    let first = offset.saturating_mul(values[size.index()]);
                    (SCRATCH + self.threads + arena, first, true)
                }
                Location::Fixed(offset) if !prepacking => (FIXED, offset, true),
                Location::Prepacked(offset) => (PREPACKED, offset, prepacking),
                Location::Prepacking(offset) if prepacking => (PREPACKING, offset, true),
                Location::Scratch(offset) => (SCRATCH + thread, offset, true),
                // Until a loop moves them.
                Location::Window(_) => return None,
                Location::Nowhere | Location::Open { .. } | Location::Fixed(_) | Location::Prepacking(_) => {
                    return None;
                }
            };
            Some(Span { area, first, words, writable })
        };
        self.buffers.iter().map(span).collect()
    }
}
