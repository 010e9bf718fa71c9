//! The body of an assembled map: straight-line code for one vector of lanes.

mod stores;

use iced_x86::Register;

use super::super::emit::Emitter;
use super::super::formula;
use super::super::lanes::Comparison;
use super::super::math;
use super::super::operands::{Binary, Fused, Lanes, MemoryRef, Source, Vector, Width};
use super::key::{Count, MapKey, MapNode, Operand, Over};
use super::registers::{Held, Registers};
use super::schedule::{BodyStep, Schedule, commutes};
use crate::codegen::fallback::{Failure, FallbackReason};
use crate::kernel::{Element, Reducer};

/// The general register for addresses that have no register of their own.
pub(super) const ADDRESS: Register = Register::RAX;
/// The general register of the table of arguments.
pub(super) const TABLE: Register = Register::RDI;

/// An accumulator of a reducer, with the argmax index or, on the stack, the sum of all blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accumulator {
    pub(super) best: Vector,
    pub(super) argmax: Option<Vector>,
    pub(super) whole: Option<Whole>,
}

/// The sum of all blocks and its rounding error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole {
    pub(super) sum: MemoryRef,
    pub(super) lost: MemoryRef,
}

/// The position of a body in the loops.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// Lanes before this vector, apart from those that pointers have moved over.
    pub(super) lane: usize,
    /// Whether pointers have not moved, so that `lane` is the index of the first lane.
    pub(super) is_known: bool,
    /// The lanes that exist.
    pub(super) lanes: Lanes,
    /// Steps of each window loop, apart from those that pointers have moved over.
    pub(super) step: Vec<usize>,
    /// The number of the window step.
    pub(super) window_index: WindowIndex,
}

/// Where the number of the window step is.
#[derive(Clone, Copy, Debug)]
pub(super) enum WindowIndex {
    Known(usize),
    At(MemoryRef),
}

/// Registers that do not change while a body runs.
#[derive(Clone, Copy)]
pub(super) struct HeldRegisters<'w> {
    /// General registers of table entries that have one.
    pub(super) pointers: &'w [Option<Register>],
    pub(super) held: &'w [Held],
    pub(super) accumulators: &'w [Accumulator],
}

/// Emits one body.
pub(super) struct Body<'w, 's> {
    emitter: &'w mut Emitter,
    key: &'s MapKey,
    pointers: &'w [Option<Register>],
    registers: Registers,
    site: &'w Site,
    accumulators: &'w [Accumulator],
    folded: Vec<bool>,
}

type Written = Result<(), Failure>;

impl<'w, 's> Body<'w, 's> {
    /// Emits the code for `roots` and returns the final state of the registers.
    pub(super) fn write(
        emitter: &'w mut Emitter,
        key: &'s MapKey,
        held_registers: HeldRegisters<'w>,
        site: &'w Site,
        roots: &[BodyStep],
    ) -> Result<Registers, Failure> {
        let mut ready = vec![false; key.nodes.len()];
        let HeldRegisters { pointers, held, accumulators } = held_registers;
        for node in held.iter().filter_map(|held| held.node) {
            ready[node] = true;
        }
        let order = Schedule::new(key, roots, &ready, site.lanes == Lanes::All);
        let registers = Registers::new(emitter.width, key, &order, held);
        let Schedule { steps, folded } = order;
        let mut body = Body { emitter, key, pointers, registers, site, accumulators, folded };
        for (position, &step) in steps.iter().enumerate() {
            match step {
                BodyStep::Evaluate(node) => body.evaluate(node, position)?,
                BodyStep::Store(store) => body.store(store)?,
                BodyStep::Reduce(reducer) => body.reduce(reducer)?,
            }
            body.registers.end(&step.operands(key), position);
        }
        Ok(body.registers)
    }

    /// A vector register that holds a value.
    fn vector(&mut self, node: usize) -> Result<Vector, Failure> {
        self.registers.lock(node);
        if let Some(register) = self.registers.of(node) {
            return Ok(Vector(register));
        }
        let from = match (self.registers.slot_of(node), &self.key.nodes[node]) {
            (Some(slot), _) => slot,
            (None, MapNode::Bits(bits)) => self.bits(*bits),
            (None, MapNode::Load(load)) if self.folded[node] => self.load_memory(&self.key.loads[*load]),
            (None, _) => return Err(Failure::Fault(format!("value {node} is nowhere"))),
        };
        let register = Vector(self.registers.take(self.emitter, node)?);
        self.emitter.load(register, from, Lanes::All);
        Ok(register)
    }

    /// A value as an instruction operand, possibly in memory.
    fn source(&mut self, node: usize) -> Result<Source, Failure> {
        self.registers.lock(node);
        if let Some(register) = self.registers.of(node) {
            return Ok(Vector(register).into());
        }
        match (self.registers.slot_of(node), &self.key.nodes[node]) {
            (Some(slot), _) => Ok(slot.into()),
            (None, MapNode::Bits(bits)) => Ok(self.bits(*bits).into()),
            (None, MapNode::Load(load)) if self.folded[node] => {
                Ok(self.load_memory(&self.key.loads[*load]).into())
            }
            (None, _) => Err(Failure::Fault(format!("value {node} is nowhere"))),
        }
    }

    fn bits(&mut self, bits: u32) -> MemoryRef {
        self.emitter.integer(bits.cast_signed())
    }

    /// The address of the first lane of an operand.
    fn load_memory(&mut self, place: &Operand) -> MemoryRef {
        let super::key::Entry::Pointer { window, .. } = &self.key.entries[place.entry] else {
            return self.memory(place, 0);
        };
        let steps: usize = self.site.step.iter().zip(window).map(|(step, stride)| step * stride).sum();
        self.memory(place, steps)
    }

    fn memory(&mut self, place: &Operand, steps: usize) -> MemoryRef {
        let elements = self.site.lane / place.repeat * place.lane + steps;
        let displacement = place.displacement + (elements * place.element.bytes()) as i64;
        let base = match self.pointers[place.entry] {
            Some(register) => register,
            None => {
                self.emitter.load_register(ADDRESS, MemoryRef::at(TABLE, 8 * place.entry as i64));
                ADDRESS
            }
        };
        MemoryRef::at(base, displacement)
    }

    /// The register for a value, after its operands are looked up.
    fn result(&mut self, node: usize, position: usize) -> Result<Vector, Failure> {
        self.registers.release(&self.key.nodes[node].operands(), position);
        Ok(Vector(self.registers.take(self.emitter, node)?))
    }

    fn evaluate(&mut self, node: usize, position: usize) -> Written {
        match self.key.nodes[node] {
            MapNode::Load(load) => self.load(node, load)?,
            MapNode::Bits(bits) => {
                let to = self.result(node, position)?;
                let from = self.bits(bits);
                self.emitter.load(to, from, Lanes::All);
            }
            MapNode::Index(entry) => {
                let to = self.result(node, position)?;
                self.emitter.broadcast(to, MemoryRef::at(TABLE, 8 * entry as i64));
                let lanes = self.site.lane..self.site.lane + self.emitter.width.lanes();
                let distances = lanes.map(|lane| self.key.entries[entry].over_lanes(lane) as u32).collect();
                let lanes = self.emitter.constant(distances);
                self.emitter.binary(Binary::AddIntegers, to, to, lanes);
            }
            MapNode::Entry(entry) => {
                let to = self.result(node, position)?;
                self.emitter.broadcast(to, MemoryRef::at(TABLE, 8 * entry as i64));
            }
            MapNode::Phase(period) => {
                self.check_groups(period)?;
                let to = self.result(node, position)?;
                let lanes = self.site.lane..self.site.lane + self.emitter.width.lanes();
                let phases = self.emitter.constant(lanes.map(|lane| (lane % period) as u32).collect());
                self.emitter.load(to, phases, Lanes::All);
            }
            MapNode::WindowIndex => {
                let to = self.result(node, position)?;
                self.window_index(to);
            }
            MapNode::Reduced(_) | MapNode::Argmax(_) => {
                return Err(Failure::Fault("a result before the reduction".to_owned()));
            }
            MapNode::Unary(kind, x) => {
                let write = |emitter: &mut Emitter, x, temporaries: &[Vector]| {
                    math::unary(emitter, kind, x, temporaries);
                };
                self.unary(node, x, position, math::temporaries(kind), write)?;
            }
            MapNode::Slope(activation, x) => {
                let slope = activation.slope_formula();
                let write = |emitter: &mut Emitter, x, temporaries: &[Vector]| {
                    formula::write(emitter, &slope, x, temporaries);
                };
                self.unary(node, x, position, formula::temporaries(&slope), write)?;
            }
            MapNode::Binary(op, a, b) => self.binary(node, (op, a, b), position)?,
            MapNode::MultiplyAdd(a, b, c) => self.multiply_add(node, [a, b, c], position)?,
            MapNode::Largest(a, b) => {
                let (a, b) = (self.vector(a)?, self.vector(b)?);
                let to = Vector(self.registers.take(self.emitter, node)?);
                let temporary = match self.emitter.width {
                    Width::Bits256 => self.registers.temporary(self.emitter)?,
                    Width::Bits512 => to,
                };
                math::largest(self.emitter, to, [a, b], temporary);
            }
            MapNode::Less(a, b) => self.compare(node, Comparison::Less, (a, b), position)?,
            MapNode::AtMost(a, b) => self.compare(node, Comparison::AtMost, (a, b), position)?,
            MapNode::SameInteger(a, b) => {
                let (a, b) = (self.vector(a)?, self.source(b)?);
                let to = self.result(node, position)?;
                self.emitter.compare_equal_integers(to.0, a, b);
            }
            MapNode::BelowUnsigned(a, b) => {
                let (a, b) = (self.vector(a)?, self.vector(b)?);
                let to = self.registers.take(self.emitter, node)?;
                self.emitter.compare_below_unsigned(to, a, b);
            }
            MapNode::Select(mask, yes, no) => {
                let (mask, no, yes) = (self.vector(mask)?, self.vector(no)?, self.source(yes)?);
                let to = self.result(node, position)?;
                self.emitter.choose(to, mask.0, yes, no);
            }
            MapNode::RotateLeft(x, bits) => {
                let x = self.vector(x)?;
                let to = Vector(self.registers.take(self.emitter, node)?);
                let temporary = match self.emitter.width {
                    Width::Bits256 => self.registers.temporary(self.emitter)?,
                    Width::Bits512 => to,
                };
                self.emitter.rotate_left(to, x, bits, temporary);
            }
        }
        Ok(())
    }

    /// Groups of lanes must start at vector boundaries, or at known lanes.
    fn check_groups(&self, group: usize) -> Written {
        if self.site.is_known || self.emitter.width.lanes().is_multiple_of(group) {
            Ok(())
        } else {
            Err(FallbackReason::Groups { lanes: group }.into())
        }
    }

    fn window_index(&mut self, to: Vector) {
        match self.site.window_index {
            WindowIndex::Known(index) => {
                let index = self.bits(index as u32);
                self.emitter.load(to, index, Lanes::All);
            }
            WindowIndex::At(memory) => self.emitter.broadcast(to, memory),
        }
    }

    fn load(&mut self, node: usize, load: usize) -> Written {
        let place = &self.key.loads[load];
        let to = Vector(self.registers.take(self.emitter, node)?);
        self.check_groups(place.repeat)?;
        if place.element == Element::U8 {
            return self.load_bytes(to, place);
        }
        let (width, lanes) = (self.emitter.width, self.site.lanes);
        match (place.lane, place.repeat, lanes) {
            (0, ..) => {
                let from = self.load_memory(place);
                self.emitter.broadcast(to, from);
            }
            (1, 1, _) => {
                let from = self.load_memory(place);
                self.emitter.load(to, from, lanes);
            }
            (2, 1, Lanes::All) => {
                let temporary = match width {
                    Width::Bits256 => to,
                    Width::Bits512 => self.registers.temporary(self.emitter)?,
                };
                let from = self.load_memory(place);
                self.emitter.load_every_second(to, from, temporary);
            }
            (1, 2, Lanes::All) if self.site.lane.is_multiple_of(2) => {
                let temporary = self.registers.temporary(self.emitter)?;
                let from = self.load_memory(place);
                self.emitter.load_pairs(to, from, temporary);
            }
            _ => {
                let first = self.site.lane % place.repeat;
                let element = |lane: usize| (first + lane) / place.repeat * place.lane;
                if i32::try_from(element(width.lanes() - 1)).is_err() {
                    let bytes = 4 * element(width.lanes() - 1) as u64;
                    return Err(FallbackReason::Distance { bytes }.into());
                }
                let order = (0..width.lanes()).map(|lane| element(lane) as u32).collect();
                let order = self.emitter.constant(order);
                let elements = self.registers.temporary(self.emitter)?;
                self.emitter.load(elements, order, Lanes::All);
                let temporary = match width {
                    Width::Bits256 => self.registers.temporary(self.emitter)?,
                    Width::Bits512 => elements,
                };
                let from = self.load_memory(place);
                self.emitter.gather(to, from, elements, lanes, (math::MASK, temporary));
            }
        }
        Ok(())
    }

    /// Loads bytes. Only the bytes of existing lanes may be touched, and 256 bits have no byte masks.
    fn load_bytes(&mut self, to: Vector, place: &Operand) -> Written {
        let (width, lanes, repeat) = (self.emitter.width, self.site.lanes, place.repeat);
        match (width, lanes) {
            _ if place.lane != 1 => Err(FallbackReason::ScatteredBytes.into()),
            (Width::Bits512, _) | (_, Lanes::All) if repeat == 1 => {
                let from = self.load_memory(place);
                self.emitter.load_bytes(to, from, lanes);
                Ok(())
            }
            (Width::Bits256, Lanes::All) if repeat == 2 && self.site.lane.is_multiple_of(2) => {
                let temporary = self.registers.temporary(self.emitter)?;
                let from = self.load_memory(place);
                self.emitter.load_pairs_of_bytes(to, from, temporary);
                Ok(())
            }
            (Width::Bits512, _) => {
                let count = match (lanes, self.key.lanes) {
                    (Lanes::All, _) => width.lanes(),
                    (Lanes::Masked(_), Count::Fixed(count)) if self.site.is_known => count - self.site.lane,
                    (Lanes::Masked(_), _) => return Err(FallbackReason::SomeBytes.into()),
                };
                let first = self.site.lane % repeat;
                let temporary = self.registers.temporary(self.emitter)?;
                self.emitter.mask_of_first(math::MASK, (first + count).div_ceil(repeat), ADDRESS);
                let from = self.load_memory(place);
                self.emitter.load_bytes(to, from, Lanes::Masked(math::MASK));
                let order = (0..width.lanes()).map(|lane| ((first + lane) / repeat) as u32).collect();
                let order = self.emitter.constant(order);
                self.emitter.load(temporary, order, Lanes::All);
                self.emitter.permute(to, temporary, to);
                Ok(())
            }
            (Width::Bits256, _) => Err(FallbackReason::SomeBytes.into()),
        }
    }

    /// Computes a function in place, with a number of temporaries.
    fn unary(
        &mut self,
        node: usize,
        x: usize,
        position: usize,
        temporaries: usize,
        write: impl FnOnce(&mut Emitter, Vector, &[Vector]),
    ) -> Written {
        let from = self.vector(x)?;
        let to = if self.registers.dies(x, position) {
            self.registers.inherit(node, x);
            from
        } else {
            Vector(self.registers.take(self.emitter, node)?)
        };
        self.registers.lock(node);
        let mut taken = Vec::new();
        for _ in 0..temporaries {
            taken.push(self.registers.temporary(self.emitter)?);
        }
        self.emitter.copy(to, from);
        write(self.emitter, to, &taken);
        Ok(())
    }

    fn binary(&mut self, node: usize, (op, a, b): (Binary, usize, usize), position: usize) -> Written {
        // The memory operand comes second where possible.
        let swap = commutes(op) && self.registers.of(a).is_none() && self.registers.of(b).is_some();
        let (a, b) = if swap { (b, a) } else { (a, b) };
        let first = self.vector(a)?;
        let second = self.source(b)?;
        let to = self.result(node, position)?;
        self.emitter.binary(op, to, first, second);
        Ok(())
    }

    fn multiply_add(&mut self, node: usize, [a, b, c]: [usize; 3], position: usize) -> Written {
        // The memory operand is a factor.
        let swap = self.registers.of(a).is_none() && self.registers.of(b).is_some();
        let (a, b) = if swap { (b, a) } else { (a, b) };
        let first = self.vector(a)?;
        let from = self.vector(c)?;
        let second = self.source(b)?;
        let to = if self.registers.dies(c, position) && c != a && c != b {
            self.registers.inherit(node, c);
            from
        } else {
            Vector(self.registers.take(self.emitter, node)?)
        };
        self.emitter.copy(to, from);
        self.emitter.fused(Fused::Accumulate, to, first, second);
        Ok(())
    }

    fn compare(&mut self, node: usize, op: Comparison, (a, b): (usize, usize), position: usize) -> Written {
        let (a, b) = (self.vector(a)?, self.source(b)?);
        let to = self.result(node, position)?;
        self.emitter.compare(op, to.0, a, b);
        Ok(())
    }

    /// Adds a value to a reduction.
    fn reduce(&mut self, reducer: usize) -> Written {
        let accumulator = self.accumulators[reducer];
        let reducer = self.key.reducers[reducer];
        let is_cut = self.key.over == Over::Lanes && self.site.lanes != Lanes::All;
        if let Reducer::Sum(value) = reducer
            && !is_cut
        {
            let value = self.source(value.0)?;
            self.emitter.binary(Binary::Add, accumulator.best, accumulator.best, value);
            return Ok(());
        }
        let mut value = self.vector(reducer.value().0)?;
        let temporary = self.registers.temporary(self.emitter)?;
        if let (true, Lanes::Masked(mask)) = (is_cut, self.site.lanes) {
            // Lanes that do not exist must not change the result.
            let kept = self.registers.temporary(self.emitter)?;
            match reducer {
                Reducer::Sum(_) => {
                    self.emitter.zero(kept);
                    self.emitter.choose(kept, mask, value, kept);
                }
                Reducer::Max(_) | Reducer::MaxWithArgmax(_) => {
                    self.emitter.choose(kept, mask, value, accumulator.best);
                }
            }
            value = kept;
        }
        if let Some(argmax) = accumulator.argmax {
            let index = self.registers.temporary(self.emitter)?;
            self.window_index(index);
            let [beats, unordered] = match self.emitter.width {
                Width::Bits512 => [math::MASK, math::MASK - 1],
                Width::Bits256 => [temporary.0, self.registers.temporary(self.emitter)?.0],
            };
            // Larger, or NaN.
            self.emitter.compare(Comparison::Less, beats, accumulator.best, value);
            self.emitter.compare(Comparison::Unordered, unordered, value, value);
            self.emitter.either(beats, unordered);
            self.emitter.choose(argmax, beats, index, argmax);
            self.emitter.choose(accumulator.best, beats, value, accumulator.best);
            return Ok(());
        }
        combine(self.emitter, reducer, accumulator.best, value, temporary);
        Ok(())
    }
}

/// Reduces `best` with a value; `temporary` is overwritten.
pub(super) fn combine(
    emitter: &mut Emitter,
    reducer: Reducer,
    best: Vector,
    value: Vector,
    temporary: Vector,
) {
    match reducer {
        Reducer::Sum(_) => emitter.binary(Binary::Add, best, best, value),
        Reducer::Max(_) | Reducer::MaxWithArgmax(_) => {
            math::largest(emitter, best, [best, value], temporary);
        }
    }
}
