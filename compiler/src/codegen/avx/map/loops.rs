//! The loops of an assembled map, over lanes and over the window, and the pointers they move.

use iced_x86::code_asm::CodeLabel;
use iced_x86::{Code, Instruction, Register};

use super::super::operands::{Lanes, MemoryRef, Width};
use super::body::{ADDRESS, TABLE, WindowIndex};
use super::key::{Count, Entry, MapNode};
use super::schedule::BodyStep;
use super::vectors::Group;
use super::walk::{COUNTERS, LANES_LEFT, Walk, Written};
use crate::codegen::fallback::FallbackReason;
use crate::faults::{Fault, armed};
use crate::kernel::Reducer;

/// A span or window of at most this many steps of bodies is unrolled completely.
const UNROLLED: usize = 192;
/// The mask of the last lanes: a mask register at 512 bits, the last vector register at 256.
const MASK: u8 = 1;

impl Walk<'_> {
    pub(super) fn mask(&self) -> u8 {
        match self.width {
            Width::Bits256 => self.width.registers() as u8 - 1,
            Width::Bits512 => MASK,
        }
    }

    /// Runs `body` for all lanes: several vectors at once, then single vectors, then the rest under a mask.
    pub(super) fn lanes(
        &mut self,
        copies: usize,
        body: &mut dyn FnMut(&mut Self, &Group) -> Written,
    ) -> Written {
        let vector = self.width.lanes();
        let mask = Lanes::Masked(self.mask());
        if let Some(lanes) = self.unrolled_lanes(copies) {
            let (mut lane, mut turn) = (0, 0);
            while lane + vector <= lanes {
                let copies = ((lanes - lane) / vector).min(copies);
                body(self, &Group { lane, is_known: true, lanes: Lanes::All, copies })?;
                lane += copies * vector;
                turn += 1;
                if self.turns_in_span().is_some_and(|turns| turn % turns == 0) {
                    self.end_blocks()?;
                }
            }
            if lane < lanes {
                let kept = lanes - lane + usize::from(armed(Fault::LanePastEnd));
                self.emitter.mask_of_first(self.mask(), kept, ADDRESS);
                body(self, &Group { lane, is_known: true, lanes: mask, copies: 1 })?;
            }
            return Ok(());
        }
        match self.key.lanes {
            Count::Fixed(lanes) => self.emitter.move_number(LANES_LEFT, lanes as i64),
            Count::Argument(entry) => {
                self.emitter.load_register(LANES_LEFT, MemoryRef::at(TABLE, 8 * entry as i64));
            }
        }
        for copies in if copies > 1 { vec![copies, 1] } else { vec![1] } {
            self.whole_vectors(copies, body)?;
        }
        if !matches!(self.key.lanes, Count::Fixed(lanes) if lanes.is_multiple_of(vector)) {
            let mut done = self.emitter.label();
            self.emitter.jump_if_zero(LANES_LEFT, done);
            self.emitter.mask_of_counted(self.mask(), ADDRESS);
            body(self, &Group { lane: 0, is_known: false, lanes: mask, copies: 1 })?;
            self.emitter.here(&mut done);
        }
        Ok(())
    }

    /// The number of lanes, if they are unrolled.
    fn unrolled_lanes(&self, copies: usize) -> Option<usize> {
        let Count::Fixed(lanes) = self.key.lanes else { return None };
        let vector = self.width.lanes();
        let steps: usize = self.roots().iter().map(|roots| self.steps(roots)).sum();
        let is_short = lanes <= vector * copies || lanes.div_ceil(vector) * steps <= UNROLLED;
        (is_short || self.needs_known_lanes()).then_some(lanes)
    }

    /// A loop over `copies` vectors at once, while that many are left.
    fn whole_vectors(
        &mut self,
        copies: usize,
        body: &mut dyn FnMut(&mut Self, &Group) -> Written,
    ) -> Written {
        let turn = copies * self.width.lanes();
        let (mut again, mut done): (CodeLabel, CodeLabel) = (self.emitter.label(), self.emitter.label());
        self.subtract(LANES_LEFT, turn as i64);
        self.emitter.jump_if_below(done);
        self.emitter.here(&mut again);
        body(self, &Group { lane: 0, is_known: false, lanes: Lanes::All, copies })?;
        for entry in 0..self.key.entries.len() {
            self.advance(entry, self.key.entries[entry].over_lanes(turn));
        }
        self.subtract(LANES_LEFT, turn as i64);
        match self.turns_in_span() {
            Some(turns) if copies == self.copies() => {
                if !turn.is_power_of_two() {
                    return Err(FallbackReason::Blocks { lanes: turn }.into());
                }
                self.emitter.jump_if_below(done);
                self.emitter.jump_if_any(LANES_LEFT, ((turns - 1) * turn) as i32, again);
                self.end_blocks()?;
                self.emitter.jump(again);
            }
            _ => self.emitter.jump_if_not_below(again),
        }
        self.emitter.here(&mut done);
        self.emitter.add_number(LANES_LEFT, turn as i64);
        Ok(())
    }

    fn subtract(&mut self, register: Register, number: i64) {
        self.emitter.put(Instruction::with2(Code::Sub_rm64_imm32, register, number as i32));
    }

    fn advance(&mut self, entry: usize, distance: i64) {
        if distance == 0 {
            return;
        }
        match self.pointers[entry] {
            Some(register) => self.emitter.add_number(register, distance),
            None => {
                let place = MemoryRef::at(TABLE, 8 * entry as i64);
                self.emitter.load_register(ADDRESS, place);
                self.emitter.add_number(ADDRESS, distance);
                self.emitter.store_register(ADDRESS, place);
            }
        }
    }

    /// Whether groups of lanes do not start at vector boundaries.
    fn needs_known_lanes(&self) -> bool {
        let lanes = self.width.lanes();
        self.key.loads.iter().any(|load| !lanes.is_multiple_of(load.repeat))
            || self.key.nodes.iter().any(|node| match node {
                MapNode::Phase(period) => !lanes.is_multiple_of(*period),
                _ => false,
            })
    }

    /// The steps of the window, if they are unrolled.
    pub(super) fn unrolled_window(&self, copies: usize) -> Option<usize> {
        let steps = self.key.window.iter().map(|count| count.fixed()).product::<Option<usize>>()?;
        let roots: Vec<BodyStep> = (0..self.key.reducers.len()).map(BodyStep::Reduce).collect();
        (steps <= 1 || steps * copies * self.steps(&roots) <= UNROLLED).then_some(steps)
    }

    /// Runs `body` for every step of the window.
    pub(super) fn window(
        &mut self,
        group: &Group,
        body: &mut dyn FnMut(&mut Self, &[usize], WindowIndex) -> Written,
    ) -> Written {
        if let Some(steps) = self.unrolled_window(group.copies) {
            let block = self.steps_of_block();
            for index in 0..steps {
                let mut rest = index;
                let mut step = vec![0; self.key.window.len()];
                for (position, count) in self.key.window.iter().enumerate().rev() {
                    if let Count::Fixed(count) = count {
                        step[position] = rest % count;
                        rest /= count;
                    }
                }
                body(self, &step, WindowIndex::Known(index))?;
                // As in loops, whose counters count down: the first block has the remainder.
                if block.is_some_and(|block| (steps - 1 - index) % block == 0) {
                    self.end_blocks()?;
                }
            }
            return Ok(());
        }
        if self.key.window.len() > COUNTERS.len() {
            return Err(FallbackReason::Loops { depth: self.key.window.len(), most: COUNTERS.len() }.into());
        }
        let index = self.window_index();
        let counts_steps = self.key.nodes.contains(&MapNode::WindowIndex)
            || self.key.reducers.iter().any(|reducer| matches!(reducer, Reducer::MaxWithArgmax(_)));
        if counts_steps {
            self.emitter.move_number(ADDRESS, 0);
            self.emitter.store_register(ADDRESS, index);
        }
        self.window_loop(0, &mut |walk| {
            body(walk, &vec![0; walk.key.window.len()], WindowIndex::At(index))?;
            if counts_steps {
                walk.emitter.load_register(ADDRESS, index);
                walk.emitter.add_number(ADDRESS, 1);
                walk.emitter.store_register(ADDRESS, index);
            }
            Ok(())
        })
    }

    fn window_loop(&mut self, depth: usize, body: &mut dyn FnMut(&mut Self) -> Written) -> Written {
        let Some(&count) = self.key.window.get(depth) else { return body(self) };
        let counter = COUNTERS[depth];
        let (mut again, mut done) = (self.emitter.label(), self.emitter.label());
        self.keep(depth, &mut |walk| {
            match count {
                Count::Fixed(count) => walk.emitter.move_number(counter, count as i64),
                Count::Argument(entry) => {
                    walk.emitter.load_register(counter, MemoryRef::at(TABLE, 8 * entry as i64));
                    walk.emitter.jump_if_zero(counter, done);
                }
            }
            walk.emitter.here(&mut again);
            walk.window_loop(depth + 1, body)?;
            for entry in 0..walk.key.entries.len() {
                walk.advance(entry, walk.key.entries[entry].over_step(depth));
            }
            match walk.blocks {
                Some(blocks) if blocks.depth == depth => {
                    walk.emitter.add_number(counter, -1);
                    walk.emitter.jump_if_any(counter, (blocks.turns - 1) as i32, again);
                    walk.end_blocks()?;
                    walk.emitter.jump_if_not_zero(counter, again);
                }
                _ => walk.emitter.count_down(counter, again),
            }
            walk.emitter.here(&mut done);
            Ok(())
        })
    }

    /// Runs `body`, and then restores the pointers it moved: those that move with the window loop at `depth`, or after
    /// the last depth those that move with lanes.
    pub(super) fn keep(&mut self, depth: usize, body: &mut dyn FnMut(&mut Self) -> Written) -> Written {
        let moves = |entry: &Entry| {
            if depth < self.key.window.len() { entry.over_step(depth) } else { entry.over_lanes(16) }
        };
        if depth == self.key.window.len() && self.unrolled_lanes(self.copies()).is_some() {
            return body(self);
        }
        let moving: Vec<usize> =
            (0..self.key.entries.len()).filter(|&entry| moves(&self.key.entries[entry]) != 0).collect();
        for &entry in &moving {
            let register = self.fetched(entry);
            let kept = self.kept(depth, entry);
            self.emitter.store_register(register, kept);
        }
        body(self)?;
        for &entry in &moving {
            let kept = self.kept(depth, entry);
            match self.pointers[entry] {
                Some(register) => self.emitter.load_register(register, kept),
                None => {
                    self.emitter.load_register(ADDRESS, kept);
                    self.emitter.store_register(ADDRESS, MemoryRef::at(TABLE, 8 * entry as i64));
                }
            }
        }
        Ok(())
    }

    /// An entry in a register: its own, or the address register.
    fn fetched(&mut self, entry: usize) -> Register {
        self.pointers[entry].unwrap_or_else(|| {
            self.emitter.load_register(ADDRESS, MemoryRef::at(TABLE, 8 * entry as i64));
            ADDRESS
        })
    }
}
