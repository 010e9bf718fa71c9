//! The loops of a wide map's function, and what stands around them: pointers, what is the same for all lanes, the
//! accumulators of reductions.

use iced_x86::code_asm::CodeLabel;
use iced_x86::{Code, Instruction, Register};

use super::super::emit::{Emitter, Lanes, Memory, Vector, Width};
use super::body::{ADDRESS, Accumulator, Body, Site, TABLE, WindowIndex, combine};
use super::order::{Order, Step};
use super::registers::{Held, Registers, SLOT_COUNT};
use super::span::{Count, Entry, Node, Over, Span};
use crate::kernel::Reducer;

/// The general register of the constants.
const CONSTANTS: Register = Register::R11;
/// The general register that counts lanes.
const LANES_LEFT: Register = Register::RCX;
/// Counters of window loops, outermost first.
const COUNTERS: [Register; 3] = [Register::RBX, Register::RBP, Register::R15];
/// Pointers, those to use first first.
const POINTERS: [Register; 8] = [
    Register::RSI,
    Register::RDX,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R12,
    Register::R13,
    Register::R14,
];
/// General registers that belong to the caller.
const SAVED: [Register; 6] =
    [Register::RBX, Register::RBP, Register::R12, Register::R13, Register::R14, Register::R15];
/// A span or window is written out without a loop up to so many instructions, roughly.
const WRITTEN_OUT: usize = 192;
/// Vectors a reduction keeps apart, so that their additions need not wait for each other.
const STREAMS: usize = 4;
/// The mask of the last lanes: a mask register at 512 bits, at 256 the last vector register.
const MASK: u8 = 1;

type Written = Result<(), String>;

pub(super) fn build(span: &Span, width: Width) -> Result<Vec<u8>, String> {
    let mut walk = Walk::new(span, width)?;
    walk.enter();
    walk.prepare()?;
    match span.over {
        Over::Nothing | Over::Window => {
            let copies = walk.copies();
            walk.lanes(copies, &mut |walk, sites| walk.elements(sites))?;
        }
        Over::Lanes => walk.fold_lanes()?,
    }
    walk.leave();
    walk.emitter.finish()
}

/// Bodies of neighbouring vectors.
struct Group {
    /// Lanes before the first of them, beside those that pointers have moved over.
    lane: usize,
    is_known: bool,
    lanes: Lanes,
    copies: usize,
}

impl Group {
    fn site(&self, copy: usize, width: Width, step: &[usize], window_index: WindowIndex) -> Site {
        Site {
            lane: self.lane + copy * width.lanes(),
            is_known: self.is_known,
            lanes: self.lanes,
            step: step.to_vec(),
            window_index,
        }
    }
}

struct Walk<'s> {
    span: &'s Span,
    width: Width,
    emitter: Emitter,
    /// General registers of entries.
    pointers: Vec<Option<Register>>,
    /// Values that are the same for all lanes and steps.
    held: Vec<Held>,
    /// Accumulators in use.
    accumulators: Vec<Accumulator>,
}

impl<'s> Walk<'s> {
    fn new(span: &'s Span, width: Width) -> Result<Self, String> {
        let mut uses = vec![0; span.entries.len()];
        for place in span.loads.iter().chain(span.stores.iter().map(|store| &store.place)) {
            uses[place.entry] += 1;
        }
        let mut used: Vec<usize> = (0..uses.len()).filter(|&entry| uses[entry] > 0).collect();
        used.sort_by_key(|&entry| std::cmp::Reverse(uses[entry]));
        let mut pointers = vec![None; span.entries.len()];
        for (&entry, register) in used.iter().zip(POINTERS) {
            pointers[entry] = Some(register);
        }
        let emitter = Emitter::new(width)?;
        let walk = Walk { span, width, emitter, pointers, held: Vec::new(), accumulators: Vec::new() };
        if walk.frame() > 4096 {
            return Err("more pointers than the stack is to hold".to_owned());
        }
        Ok(walk)
    }

    // The stack: slots of values, pointers as they were before each loop, the number of the window's step, the caller's
    // stack pointer.

    fn slots(&self) -> i64 {
        SLOT_COUNT as i64 * self.width.bytes()
    }

    fn kept(&self, depth: usize, entry: usize) -> Memory {
        Memory::at(Register::RSP, self.slots() + 8 * (depth * self.span.entries.len() + entry) as i64)
    }

    fn window_index(&self) -> Memory {
        self.kept(self.span.window.len() + 1, 0)
    }

    fn frame(&self) -> i64 {
        self.window_index().displacement + 16
    }

    fn saved(&self) -> impl Iterator<Item = Register> + use<> {
        let counters = self.span.window.len();
        let pointers: Vec<Register> = self.pointers.iter().flatten().copied().collect();
        SAVED.into_iter().filter(move |register| {
            pointers.contains(register) || COUNTERS[..counters.min(COUNTERS.len())].contains(register)
        })
    }

    fn enter(&mut self) {
        for register in self.saved() {
            self.emitter.push(register);
        }
        let (frame, old) = (self.frame(), Memory::at(Register::RSP, self.frame() - 8));
        self.emitter.move_register(ADDRESS, Register::RSP);
        self.emitter.add_number(Register::RSP, -frame);
        self.emitter.put(Instruction::with2(Code::And_rm64_imm8, Register::RSP, -64));
        self.emitter.store_register(ADDRESS, old);
        self.emitter.use_constants(CONSTANTS);
        for entry in 0..self.pointers.len() {
            if let Some(register) = self.pointers[entry] {
                self.emitter.load_register(register, Memory::at(TABLE, 8 * entry as i64));
            }
        }
    }

    fn leave(&mut self) {
        let old = Memory::at(Register::RSP, self.frame() - 8);
        self.emitter.load_register(Register::RSP, old);
        let saved: Vec<Register> = self.saved().collect();
        for &register in saved.iter().rev() {
            self.emitter.pop(register);
        }
        self.emitter.leave();
    }

    // What is the same everywhere.

    /// Computes once what is the same for all lanes and steps, as far as there are registers to hold it.
    fn prepare(&mut self) -> Written {
        let mut same = self.unchanging();
        let span = self.span;
        let is_load = |node: &usize| !matches!(span.nodes[*node], Node::Bits(_));
        same.sort_by_key(|node| !is_load(node));
        let masks = usize::from(self.width == Width::Bits256);
        // Registers left by the body at its fullest: 5 for the temporaries of a step.
        let room = |walk: &Self, held: &[usize]| {
            let mut ready = vec![false; span.nodes.len()];
            for &node in held {
                ready[node] = true;
            }
            let pressure = walk
                .roots()
                .iter()
                .map(|roots| Order::new(span, roots, &ready, true).pressure(span))
                .max()
                .unwrap_or(0);
            let accumulators = walk.copies() * walk.accumulators_per_copy();
            walk.width.registers().saturating_sub(pressure + masks + 5 + accumulators)
        };
        let mut held = Vec::new();
        for node in same {
            held.push(node);
            if held.len() > room(self, &held) {
                held.pop();
                break;
            }
        }
        let site = Group { lane: 0, is_known: true, lanes: Lanes::All, copies: 1 }.site(
            0,
            self.width,
            &vec![0; span.window.len()],
            WindowIndex::Known(0),
        );
        // The mask of the last lanes will be there.
        let reserved: &[Held] = match self.width {
            Width::Bits256 => &[Held { node: None, register: self.mask() }],
            Width::Bits512 => &[],
        };
        for node in held {
            let registers = self.body(reserved, &site, &[Step::Evaluate(node)])?;
            let register = registers.of(node).ok_or("a value that is nowhere")?;
            self.held.push(Held { node: Some(node), register });
        }
        Ok(())
    }

    /// The roots of every kind of body.
    fn roots(&self) -> Vec<Vec<Step>> {
        let stores = (0..self.span.stores.len()).map(Step::Store).collect();
        let reductions = (0..self.span.reducers.len()).map(Step::Reduce).collect();
        vec![reductions, stores]
    }

    /// Nodes that are the same for all lanes and steps and that others or roots need, and constants that must be in
    /// registers.
    fn unchanging(&self) -> Vec<usize> {
        let span = self.span;
        let mut same: Vec<bool> = Vec::with_capacity(span.nodes.len());
        for node in &span.nodes {
            same.push(match node {
                Node::Load(load) => {
                    let place = &span.loads[*load];
                    let moves = match &span.entries[place.entry] {
                        Entry::Pointer { window, .. } => window.iter().any(|&stride| stride > 0),
                        Entry::Index | Entry::Number => true,
                    };
                    place.lane == 0 && !moves && !span.is_stored(place)
                }
                Node::Bits(_) | Node::Entry(_) => true,
                Node::Index(_) | Node::Phase(_) | Node::WindowIndex | Node::Reduced(_) | Node::Place(_) => {
                    false
                }
                _ if node.is_mask() => false,
                _ => node.operands().iter().all(|&operand| same[operand]),
            });
        }
        let is_bits = |node: usize| matches!(span.nodes[node], Node::Bits(_));
        let ready = vec![false; span.nodes.len()];
        let mut wanted = Vec::new();
        let mut want = |node: usize| {
            if same[node] && !wanted.contains(&node) {
                wanted.push(node);
            }
        };
        for roots in self.roots() {
            for step in Order::new(span, &roots, &ready, false).steps {
                let changes = !matches!(step, Step::Evaluate(node) if same[node]);
                if !changes {
                    continue;
                }
                let operands = step.operands(span);
                for (index, &operand) in operands.iter().enumerate() {
                    // A constant may stay in memory as the second operand.
                    let second = match step {
                        Step::Evaluate(node) => match span.nodes[node] {
                            Node::Binary(op, a, b) => {
                                a != b && (index == 1 || super::order::commutes(op) && !is_bits(b))
                            }
                            Node::Less(..) | Node::SameInteger(..) | Node::Select(..) => index == 1,
                            _ => false,
                        },
                        Step::Store(_) | Step::Reduce(_) => false,
                    };
                    if !is_bits(operand) || !second {
                        want(operand);
                    }
                }
            }
        }
        wanted
    }

    // Bodies.

    fn body(&mut self, held: &[Held], site: &Site, roots: &[Step]) -> Result<Registers, String> {
        self.body_with(&self.accumulators.clone(), held, site, roots)
    }

    /// A body that adds to some of the accumulators.
    fn body_with(
        &mut self,
        own: &[Accumulator],
        held: &[Held],
        site: &Site,
        roots: &[Step],
    ) -> Result<Registers, String> {
        let mut all = self.held.clone();
        all.extend(held);
        let reserve = |all: &mut Vec<Held>, register: u8| {
            if all.iter().all(|held| held.register != register) {
                all.push(Held { node: None, register });
            }
        };
        for accumulator in &self.accumulators {
            reserve(&mut all, accumulator.best.0);
            if let Some(place) = accumulator.place {
                reserve(&mut all, place.0);
            }
        }
        if let (Lanes::Masked(mask), Width::Bits256) = (site.lanes, self.width) {
            reserve(&mut all, mask);
        }
        Body::write(&mut self.emitter, self.span, &self.pointers, (&all, own), site, roots)
    }

    /// How many vectors each turn of the loop over lanes works on.
    fn copies(&self) -> usize {
        let steps: usize = self.roots().iter().map(|roots| self.steps(roots)).sum();
        let groups = match self.span.lanes {
            Count::Fixed(lanes) => (lanes / self.width.lanes()).max(1),
            Count::Argument(_) => usize::MAX,
        };
        let wanted = match self.span.over {
            Over::Nothing => match steps {
                0..=8 => 4,
                9..=20 => 2,
                _ => 1,
            },
            // Several vectors keep a loop over the window busy.
            Over::Window if self.written_out_window(STREAMS).is_none() => STREAMS,
            Over::Window => 1,
            Over::Lanes => STREAMS,
        };
        let fitting = self.width.registers() / 2 / self.accumulators_per_copy().max(1);
        wanted.min(groups).min(fitting.max(1))
    }

    fn accumulators_per_copy(&self) -> usize {
        let registers = self.span.reducers.iter().map(|reducer| match reducer {
            Reducer::MaxWithPlace(_) => 2,
            Reducer::Sum(_) | Reducer::Max(_) => 1,
        });
        registers.sum()
    }

    fn steps(&self, roots: &[Step]) -> usize {
        let ready = vec![false; self.span.nodes.len()];
        Order::new(self.span, roots, &ready, true).steps.len()
    }

    /// Everything for some vectors: the window's reduction if there is one, and the stores.
    fn elements(&mut self, group: &Group) -> Written {
        let span = self.span;
        let stores: Vec<Step> = (0..span.stores.len()).map(Step::Store).collect();
        let still = vec![0; span.window.len()];
        if span.over == Over::Nothing {
            for copy in 0..group.copies {
                let site = group.site(copy, self.width, &still, WindowIndex::Known(0));
                self.body(&[], &site, &stores)?;
            }
            return Ok(());
        }
        let streams = self.take_accumulators(group.copies, group.lanes)?;
        self.window(group, &mut |walk, step, index| {
            for (copy, stream) in streams.iter().enumerate() {
                let site = group.site(copy, walk.width, step, index);
                walk.accumulate(stream, &site)?;
            }
            Ok(())
        })?;
        for (copy, stream) in streams.iter().enumerate() {
            let site = group.site(copy, self.width, &still, WindowIndex::Known(0));
            let results = self.results(stream);
            self.body(&results, &site, &stores)?;
        }
        self.accumulators.clear();
        Ok(())
    }

    /// One step of the window added to every reduction.
    fn accumulate(&mut self, stream: &[Accumulator], site: &Site) -> Written {
        let roots: Vec<Step> = (0..stream.len()).map(Step::Reduce).collect();
        self.body_with(stream, &[], site, &roots)?;
        Ok(())
    }

    /// Nodes of `finish` that are accumulators.
    fn results(&self, stream: &[Accumulator]) -> Vec<Held> {
        let of = |(index, node): (usize, &Node)| match *node {
            Node::Reduced(reducer) => Some(Held { node: Some(index), register: stream[reducer].best.0 }),
            Node::Place(reducer) => {
                stream[reducer].place.map(|place| Held { node: Some(index), register: place.0 })
            }
            _ => None,
        };
        self.span.nodes.iter().enumerate().filter_map(of).collect()
    }

    /// Registers for accumulators, with what a reduction starts from.
    fn take_accumulators(&mut self, streams: usize, lanes: Lanes) -> Result<Vec<Vec<Accumulator>>, String> {
        let mut free: Vec<u8> = (0..self.width.registers() as u8)
            .rev()
            .filter(|&register| self.held.iter().all(|held| held.register != register))
            .filter(|&register| self.width == Width::Bits512 || lanes != Lanes::Masked(register))
            .filter(|&register| self.width == Width::Bits512 || register != self.mask())
            .collect();
        let mut next = || free.pop().map(Vector).ok_or("more reductions than registers");
        let mut all = Vec::new();
        for _ in 0..streams {
            let mut stream = Vec::new();
            for reducer in &self.span.reducers {
                let best = next()?;
                let place = match reducer {
                    Reducer::MaxWithPlace(_) => Some(next()?),
                    Reducer::Sum(_) | Reducer::Max(_) => None,
                };
                stream.push(Accumulator { best, place });
            }
            all.push(stream);
        }
        for stream in &all {
            for (accumulator, reducer) in stream.iter().zip(&self.span.reducers) {
                match reducer {
                    Reducer::Sum(_) => self.emitter.zero(accumulator.best),
                    Reducer::Max(_) | Reducer::MaxWithPlace(_) => {
                        self.emitter.load_number(accumulator.best, f32::NEG_INFINITY);
                    }
                }
                if let Some(place) = accumulator.place {
                    self.emitter.zero(place);
                }
            }
        }
        self.accumulators = all.concat();
        Ok(all)
    }

    // Reductions over lanes.

    fn fold_lanes(&mut self) -> Written {
        let copies = self.copies();
        let streams = self.take_accumulators(copies, Lanes::All)?;
        let all = Group { lane: 0, is_known: true, lanes: Lanes::All, copies: 1 };
        self.window(&all, &mut |walk, step, index| {
            walk.keep(walk.span.window.len(), &mut |walk| {
                walk.lanes(copies, &mut |walk, group| {
                    for (copy, stream) in streams.iter().enumerate().take(group.copies) {
                        let site = group.site(copy, walk.width, step, index);
                        walk.accumulate(stream, &site)?;
                    }
                    Ok(())
                })
            })
        })?;
        let [temporary, other] = self.two_free()?;
        for (index, &reducer) in self.span.reducers.iter().enumerate() {
            let best = streams[0][index].best;
            for stream in &streams[1..] {
                combine(&mut self.emitter, reducer, best, stream[index].best, temporary);
            }
            // Each lane meets all others: first those half a vector away.
            let lanes = self.width.lanes();
            let mut distance = lanes / 2;
            while distance > 0 {
                let order = (0..lanes).map(|lane| ((lane + distance) % lanes) as u32).collect();
                let order = self.emitter.constant(order);
                self.emitter.load(temporary, order, Lanes::All);
                self.emitter.permute(other, temporary, best);
                combine(&mut self.emitter, reducer, best, other, temporary);
                distance /= 2;
            }
        }
        self.accumulators = streams[0].clone();
        let results = self.results(&streams[0]);
        let still = vec![0; self.span.window.len()];
        let site = all.site(0, self.width, &still, WindowIndex::Known(0));
        let stores: Vec<Step> = (0..self.span.stores.len()).map(Step::Store).collect();
        let site = Site { lanes: Lanes::Masked(self.mask()), ..site };
        self.emitter.mask_of_first(self.mask(), 1, ADDRESS);
        self.body(&results, &site, &stores)?;
        Ok(())
    }

    /// Two vector registers that nothing holds.
    fn two_free(&self) -> Result<[Vector; 2], String> {
        let is_free = |register: &u8| {
            let held = self.held.iter().any(|held| held.register == *register);
            let accumulates = self.accumulators.iter().any(|accumulator| accumulator.best.0 == *register);
            !held && !accumulates
        };
        let mut free = (0..self.width.registers() as u8).filter(is_free);
        match (free.next(), free.next()) {
            (Some(a), Some(b)) => Ok([Vector(a), Vector(b)]),
            _ => Err("more reductions than registers".to_owned()),
        }
    }

    // Loops.

    fn mask(&self) -> u8 {
        match self.width {
            Width::Bits256 => self.width.registers() as u8 - 1,
            Width::Bits512 => MASK,
        }
    }

    /// Runs `body` for all lanes: several vectors at once, then one by one, then the rest under a mask.
    fn lanes(&mut self, copies: usize, body: &mut dyn FnMut(&mut Self, &Group) -> Written) -> Written {
        let vector = self.width.lanes();
        let mask = Lanes::Masked(self.mask());
        if let Some(lanes) = self.written_out_lanes(copies) {
            let mut lane = 0;
            while lane + vector <= lanes {
                let copies = ((lanes - lane) / vector).min(copies);
                body(self, &Group { lane, is_known: true, lanes: Lanes::All, copies })?;
                lane += copies * vector;
            }
            if lane < lanes {
                self.emitter.mask_of_first(self.mask(), lanes - lane, ADDRESS);
                body(self, &Group { lane, is_known: true, lanes: mask, copies: 1 })?;
            }
            return Ok(());
        }
        match self.span.lanes {
            Count::Fixed(lanes) => self.emitter.move_number(LANES_LEFT, lanes as i64),
            Count::Argument(entry) => {
                self.emitter.load_register(LANES_LEFT, Memory::at(TABLE, 8 * entry as i64));
            }
        }
        for copies in if copies > 1 { vec![copies, 1] } else { vec![1] } {
            self.whole_vectors(copies, body)?;
        }
        if !matches!(self.span.lanes, Count::Fixed(lanes) if lanes.is_multiple_of(vector)) {
            let mut done = self.emitter.label();
            self.emitter.jump_if_zero(LANES_LEFT, done);
            self.emitter.mask_of_counted(self.mask(), ADDRESS);
            body(self, &Group { lane: 0, is_known: false, lanes: mask, copies: 1 })?;
            self.emitter.here(&mut done);
        }
        Ok(())
    }

    /// How many lanes there are if they are written out.
    fn written_out_lanes(&self, copies: usize) -> Option<usize> {
        let Count::Fixed(lanes) = self.span.lanes else { return None };
        let vector = self.width.lanes();
        let steps: usize = self.roots().iter().map(|roots| self.steps(roots)).sum();
        let is_short = lanes <= vector * copies || lanes.div_ceil(vector) * steps <= WRITTEN_OUT;
        (is_short || self.needs_known_lanes()).then_some(lanes)
    }

    /// A loop over so many vectors at once, while so many are left.
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
        for entry in 0..self.span.entries.len() {
            self.advance(entry, self.span.entries[entry].over_lanes(turn));
        }
        self.subtract(LANES_LEFT, turn as i64);
        self.emitter.jump_if_not_below(again);
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
                let place = Memory::at(TABLE, 8 * entry as i64);
                self.emitter.load_register(ADDRESS, place);
                self.emitter.add_number(ADDRESS, distance);
                self.emitter.store_register(ADDRESS, place);
            }
        }
    }

    /// Whether groups of lanes do not start where vectors do.
    fn needs_known_lanes(&self) -> bool {
        let lanes = self.width.lanes();
        self.span.loads.iter().any(|load| !lanes.is_multiple_of(load.repeat))
            || self.span.nodes.iter().any(|node| match node {
                Node::Phase(period) => !lanes.is_multiple_of(*period),
                _ => false,
            })
    }

    /// The steps of the window if they are written out.
    fn written_out_window(&self, copies: usize) -> Option<usize> {
        let counts = self.span.window.iter().map(|count| match count {
            Count::Fixed(count) => Some(*count),
            Count::Argument(_) => None,
        });
        let steps = counts.product::<Option<usize>>()?;
        let roots: Vec<Step> = (0..self.span.reducers.len()).map(Step::Reduce).collect();
        (steps <= 1 || steps * copies * self.steps(&roots) <= WRITTEN_OUT).then_some(steps)
    }

    /// Runs `body` for every step of the window.
    fn window(
        &mut self,
        group: &Group,
        body: &mut dyn FnMut(&mut Self, &[usize], WindowIndex) -> Written,
    ) -> Written {
        if let Some(steps) = self.written_out_window(group.copies) {
            for index in 0..steps {
                let mut rest = index;
                let mut step = vec![0; self.span.window.len()];
                for (position, count) in self.span.window.iter().enumerate().rev() {
                    if let Count::Fixed(count) = count {
                        step[position] = rest % count;
                        rest /= count;
                    }
                }
                body(self, &step, WindowIndex::Known(index))?;
            }
            return Ok(());
        }
        if self.span.window.len() > COUNTERS.len() {
            return Err("more window loops than counters".to_owned());
        }
        let index = self.window_index();
        let counts_steps = self.span.nodes.contains(&Node::WindowIndex)
            || self.span.reducers.iter().any(|reducer| matches!(reducer, Reducer::MaxWithPlace(_)));
        if counts_steps {
            self.emitter.move_number(ADDRESS, 0);
            self.emitter.store_register(ADDRESS, index);
        }
        self.window_loop(0, &mut |walk| {
            body(walk, &vec![0; walk.span.window.len()], WindowIndex::At(index))?;
            if counts_steps {
                walk.emitter.load_register(ADDRESS, index);
                walk.emitter.add_number(ADDRESS, 1);
                walk.emitter.store_register(ADDRESS, index);
            }
            Ok(())
        })
    }

    fn window_loop(&mut self, depth: usize, body: &mut dyn FnMut(&mut Self) -> Written) -> Written {
        let Some(&count) = self.span.window.get(depth) else { return body(self) };
        let counter = COUNTERS[depth];
        let (mut again, mut done) = (self.emitter.label(), self.emitter.label());
        self.keep(depth, &mut |walk| {
            match count {
                Count::Fixed(count) => walk.emitter.move_number(counter, count as i64),
                Count::Argument(entry) => {
                    walk.emitter.load_register(counter, Memory::at(TABLE, 8 * entry as i64));
                    walk.emitter.jump_if_zero(counter, done);
                }
            }
            walk.emitter.here(&mut again);
            walk.window_loop(depth + 1, body)?;
            for entry in 0..walk.span.entries.len() {
                walk.advance(entry, walk.span.entries[entry].over_step(depth));
            }
            walk.emitter.count_down(counter, again);
            walk.emitter.here(&mut done);
            Ok(())
        })
    }

    /// Runs `body`, and moves what it has moved back: at the depth of a window loop what moves with it, behind the last
    /// what moves with lanes.
    fn keep(&mut self, depth: usize, body: &mut dyn FnMut(&mut Self) -> Written) -> Written {
        let moves = |entry: &Entry| {
            if depth < self.span.window.len() { entry.over_step(depth) } else { entry.over_lanes(16) }
        };
        if depth == self.span.window.len() && self.written_out_lanes(self.copies()).is_some() {
            return body(self);
        }
        let moving: Vec<usize> =
            (0..self.span.entries.len()).filter(|&entry| moves(&self.span.entries[entry]) != 0).collect();
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
                    self.emitter.store_register(ADDRESS, Memory::at(TABLE, 8 * entry as i64));
                }
            }
        }
        Ok(())
    }

    /// An entry in a register: its own, or that of addresses.
    fn fetched(&mut self, entry: usize) -> Register {
        self.pointers[entry].unwrap_or_else(|| {
            self.emitter.load_register(ADDRESS, Memory::at(TABLE, 8 * entry as i64));
            ADDRESS
        })
    }
}
