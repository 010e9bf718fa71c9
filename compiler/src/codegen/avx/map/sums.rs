//! Sums of an assembled map in blocks: where blocks end, and how their sums are added.

use super::super::lanes::Comparison;
use super::super::math;
use super::super::operands::{Binary, Lanes, Vector, Width};
use super::body::{Accumulator, Whole};
use super::key::Over;
use super::walk::{Walk, Written};
use crate::codegen::fallback::{Failure, FallbackReason};
use crate::kernel::{Reducer, SumBlocks};

impl Walk<'_> {
    /// The number of sums among the reductions.
    pub(super) fn sums(&self) -> usize {
        self.key.reducers.iter().filter(|reducer| matches!(reducer, Reducer::Sum(_))).count()
    }

    /// Where the blocks of sums end: in a window loop or, outside of these, in the loop over the span.
    pub(super) fn sum_blocks(&self) -> Option<SumBlocks> {
        if self.sums() == 0 {
            return None;
        }
        let mut counts: Vec<Option<usize>> = self.key.window.iter().map(|count| count.fixed()).collect();
        if self.key.over == Over::Lanes {
            let (vector, turn) = (self.width.lanes(), self.copies() * self.width.lanes());
            // The first accumulator also takes the vectors that do not fill an iteration.
            counts.push(self.key.lanes.fixed().map(|lanes| lanes / turn + (lanes % turn).div_ceil(vector)));
        }
        SumBlocks::of(&counts)
    }

    /// Iterations of the span loop in a block, if blocks end there.
    pub(super) fn turns_in_span(&self) -> Option<usize> {
        self.blocks.filter(|blocks| blocks.depth == self.key.window.len()).map(|blocks| blocks.turns)
    }

    /// Steps of a window of known size in a block, if blocks end in the window.
    pub(super) fn steps_of_block(&self) -> Option<usize> {
        let blocks = self.blocks.filter(|blocks| blocks.depth < self.key.window.len())?;
        let counts: Option<Vec<usize>> = self.key.window.iter().map(|count| count.fixed()).collect();
        counts.map(|counts| blocks.steps(&counts))
    }

    /// Adds the sums of blocks to the totals, with the exact rounding error of each addition (Knuth 1969).
    pub(super) fn end_blocks(&mut self) -> Written {
        let accumulators = self.accumulators.clone();
        let [old, new, part] = self.free()?;
        for Accumulator { best: block, whole, .. } in accumulators {
            let Some(Whole { sum, lost }) = whole else { continue };
            let emitter = &mut self.emitter;
            emitter.load(old, sum, Lanes::All);
            emitter.binary(Binary::Add, new, old, block);
            emitter.store(new, sum, Lanes::All);
            // The part that came from the block, then the part that was kept of the old sum.
            emitter.binary(Binary::Subtract, part, new, old);
            emitter.binary(Binary::Subtract, block, block, part);
            emitter.binary(Binary::Subtract, part, new, part);
            emitter.binary(Binary::Subtract, old, old, part);
            emitter.binary(Binary::Add, old, old, block);
            emitter.binary(Binary::Add, old, old, lost);
            emitter.store(old, lost, Lanes::All);
            emitter.zero(block);
        }
        Ok(())
    }

    /// Moves the totals into the accumulators.
    pub(super) fn end_sums(&mut self) -> Written {
        if self.blocks.is_none() {
            return Ok(());
        }
        self.end_blocks()?;
        let accumulators = self.accumulators.clone();
        let [kept, none] = self.free()?;
        let is_broken = match self.width {
            Width::Bits256 => none.0,
            Width::Bits512 => math::MASK,
        };
        for Accumulator { best, whole, .. } in accumulators {
            let Some(Whole { sum, lost }) = whole else { continue };
            let emitter = &mut self.emitter;
            let zero = emitter.number(0.0);
            emitter.load(kept, lost, Lanes::All);
            // An overflow leaves a value that is not finite, and neither is its difference from itself.
            emitter.binary(Binary::Subtract, none, kept, kept);
            emitter.compare(Comparison::Unordered, is_broken, none, none);
            emitter.choose(kept, is_broken, zero, kept);
            emitter.binary(Binary::Add, best, kept, sum);
        }
        Ok(())
    }

    /// Free vector registers.
    pub(super) fn free<const COUNT: usize>(&self) -> Result<[Vector; COUNT], Failure> {
        let mut held: Vec<u8> = self.held.iter().map(|held| held.register).collect();
        held.extend(self.reserved(Lanes::Masked(self.mask())));
        let mut free = (0..self.width.registers() as u8).filter(|register| !held.contains(register));
        let mut registers = [Vector(0); COUNT];
        for register in &mut registers {
            *register = Vector(free.next().ok_or(FallbackReason::Reductions)?);
        }
        Ok(registers)
    }
}
