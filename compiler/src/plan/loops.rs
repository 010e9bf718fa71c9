//! Loops of a plan: kernels that run once for each step of a scan, and the parts of buffers that they access.
//!
//! Kernels of a loop do not know the step. The buffers they access are *windows*: parts of other buffers that the loop
//! moves along between steps. A carried value that is also collected is written once, behind its value of the step before;
//! another one alternates between two places.

use std::convert::Infallible;
use std::fmt;
use std::ops::Range;

use super::{Buffer, Location, Lowered, Lowering, Once, Size, View, lower, lowering};
use crate::abi::entry;
use crate::entity::ValueId;
use crate::graph::{Graph, Node};
use crate::kernel::{Address, BufferId};
use crate::ops::{Op, scan::Scan};
use crate::shape::{Polynomial, Type};

/// Kernels that run once for each step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// The kernels, in [`Plan::run`](super::Plan::run).
    pub kernels: Range<usize>,
    /// The number of steps.
    pub steps: Size,
    /// Whether the last step comes first.
    pub reverse: bool,
    /// The windows that it moves, in [`Plan::windows`](super::Plan::windows).
    pub windows: Vec<usize>,
    /// The number of loops inside it, which follow it in [`Plan::loops`](super::Plan::loops).
    pub inside: usize,
}

impl Loop {
    /// The same loop behind some more kernels.
    pub(super) fn behind(self, kernels: usize) -> Self {
        Loop { kernels: self.kernels.start + kernels..self.kernels.end + kernels, ..self }
    }
}

/// A part of a buffer that moves with the steps of a loop, by multiples of its own size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Position 0 in the whole buffer.
    pub start: Address,
    /// The size of the part.
    pub size: Size,
    /// How it moves.
    pub motion: Motion,
}

/// How a window moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Motion {
    /// To the position of the step, plus a number.
    Along(usize),
    /// Between positions 0 and 1; the number is the first of them.
    Alternating(usize),
}

impl Motion {
    /// The position in a step of the sequence, the `turn`-th that the loop runs.
    fn position(self, step: usize, turn: usize) -> usize {
        match self {
            Motion::Along(ahead) => step + ahead,
            Motion::Alternating(first) => (turn + first) % 2,
        }
    }
}

impl Window {
    /// The words from the start of the whole buffer to a position, at the values of a plan's open sizes.
    pub fn distance(&self, position: usize, values: &[usize]) -> usize {
        let open = self.start.offset.open.iter().map(|term| term.factor * values[term.size.index()] as i64);
        let start = self.start.offset.constant + open.sum::<i64>();
        usize::try_from(start).unwrap_or(0) + position * self.size.at(values).unwrap_or(0)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buffer = self.start.buffer.index();
        match self.motion {
            Motion::Along(0) => write!(f, "moves along b{buffer}"),
            Motion::Along(ahead) => write!(f, "moves along b{buffer}, {ahead} ahead"),
            Motion::Alternating(first) => write!(f, "alternates in b{buffer}, from {first}"),
        }
    }
}

/// What happens next in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A kernel of [`Plan::run`](super::Plan::run) runs.
    Kernel(usize),
    /// A window of [`Plan::windows`](super::Plan::windows) moves.
    Move {
        /// The window.
        window: usize,
        /// Its new position, in multiples of its size.
        position: usize,
    },
}

impl super::Plan {
    /// Calls `visit` for everything that happens in a run, in order, at the values of the plan's open sizes.
    pub fn walk(&self, values: &[usize], visit: &mut impl FnMut(Event)) {
        let result: Result<(), Infallible> = self.try_walk(values, &mut |event| {
            visit(event);
            Ok(())
        });
        result.unwrap_or_else(|never| match never {});
    }

    /// Like [`Plan::walk`](Self::walk), until `visit` fails.
    ///
    /// # Errors
    /// Those of `visit`.
    pub fn try_walk<E>(
        &self,
        values: &[usize],
        visit: &mut impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        self.walk_kernels(0..self.run.len(), 0..self.loops.len(), values, visit)
    }

    fn walk_kernels<E>(
        &self,
        kernels: Range<usize>,
        loops: Range<usize>,
        values: &[usize],
        visit: &mut impl FnMut(Event) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut kernel, mut next) = (kernels.start, loops.start);
        while next < loops.end {
            let inner = &self.loops[next];
            (kernel..inner.kernels.start).try_for_each(|kernel| visit(Event::Kernel(kernel)))?;
            let inside = next + 1..next + 1 + inner.inside;
            let steps = inner.steps.at(values).unwrap_or(0);
            for turn in 0..steps {
                let step = if inner.reverse { steps - 1 - turn } else { turn };
                self.move_windows(inner, visit, |motion| Some(motion.position(step, turn)))?;
                self.walk_kernels(inner.kernels.clone(), inside.clone(), values, visit)?;
            }
            // The last carried values are where the next step would read them.
            self.move_windows(inner, visit, |motion| match motion {
                Motion::Alternating(_) => Some(motion.position(0, steps)),
                Motion::Along(_) => None,
            })?;
            (kernel, next) = (inner.kernels.end, inside.end);
        }
        (kernel..kernels.end).try_for_each(|kernel| visit(Event::Kernel(kernel)))
    }

    fn move_windows<E>(
        &self,
        inner: &Loop,
        visit: &mut impl FnMut(Event) -> Result<(), E>,
        position: impl Fn(Motion) -> Option<usize>,
    ) -> Result<(), E> {
        inner.windows.iter().try_for_each(|&window| match position(self.windows[window].motion) {
            Some(position) => visit(Event::Move { window, position }),
            None => Ok(()),
        })
    }

    /// Moves a window in a table of addresses ([`crate::abi`]): its entry becomes the address of its current part. The
    /// entries of the arenas and slots must be set.
    pub fn move_window(&self, table: &mut [*mut f32], window: usize, position: usize, values: &[usize]) {
        let moving = &self.windows[window];
        let whole = moving.start.buffer;
        let arenas = self.memory.open.len();
        let (base, first) = match self.buffers[whole.index()].location {
            Location::Slot(slot) => (entry::slot(arenas, slot), 0),
            Location::Open { arena, offset } => {
                (entry::arena(arena), offset * values[self.memory.open[arena].0.index()])
            }
            Location::Fixed(offset) => (entry::FIXED, offset),
            Location::Prepacked(offset) => (entry::PREPACKED, offset),
            Location::Window(outer) => (entry::window(arenas, self.slots.len(), outer), 0),
            Location::Prepacking(_) | Location::Scratch(_) | Location::Nowhere => {
                unreachable!("loops move along values of a run")
            }
        };
        let words = first + moving.distance(position, values);
        table[entry::window(arenas, self.slots.len(), window)] = table[base].wrapping_add(words);
    }

    /// The number of times that each kernel of a run runs, at the values of the plan's open sizes.
    pub fn turns(&self, values: &[usize]) -> Vec<usize> {
        let mut turns = vec![1usize; self.run.len()];
        for inner in &self.loops {
            let steps = inner.steps.at(values).unwrap_or(0);
            turns[inner.kernels.clone()].iter_mut().for_each(|turns| *turns = turns.saturating_mul(steps));
        }
        turns
    }
}

/// The memory of a value that a scan carries.
#[derive(Debug)]
pub(super) struct CarriedMemory {
    /// The whole buffer, and the window on the value of the step before, the window on the new value.
    whole: BufferId,
    before: usize,
    after: usize,
    /// Whether the whole buffer holds the values of all steps: it is collected.
    is_collected: bool,
}

/// Where the values that a scan collects are stored.
enum Collected {
    /// With those of a carried value: its values before each step, or after.
    Carried { index: usize, after: bool },
    /// In memory of its own.
    Own,
}

impl Collected {
    fn of(scan: &Scan, index: usize) -> Self {
        let outputs = scan.body.outputs();
        let value = outputs[scan.carried + index].value;
        if let Some(index) = outputs[..scan.carried].iter().position(|output| output.value == value) {
            return Collected::Carried { index, after: true };
        }
        let inputs = scan.body.inputs().map(|(input, _)| input).skip(scan.constants() + scan.slices);
        match inputs.into_iter().position(|input| input == value) {
            Some(index) => Collected::Carried { index, after: false },
            None => Collected::Own,
        }
    }
}

impl Lowering<'_> {
    /// A new window, and the buffer that kernels access through it.
    fn window(&mut self, name: String, start: Address, ty: &Type, motion: Motion) -> (usize, BufferId) {
        let size = self.sizes.add(&ty.shape.count());
        self.windows.push(Window { start, size, motion });
        let window = self.windows.len() - 1;
        let location = Location::Window(window);
        (window, self.new_buffer(Buffer { name, size, element: ty.dtype.into(), location }))
    }

    /// The buffer that kernels access through a window.
    fn buffer_of(&self, window: usize) -> BufferId {
        let place = Location::Window(window);
        let index = self.buffers.iter().position(|buffer| buffer.location == place);
        BufferId(index.expect("every window has a buffer"))
    }

    fn count_of(&mut self, ty: &Type) -> Size {
        self.sizes.add(&ty.shape.count())
    }

    /// Allocates the memory of the values that a scan carries.
    fn carry(&mut self, scan: &Scan, node: &Node) {
        let id = self.graph.producer_id(node.results[0]);
        if self.carried.contains_key(&id) {
            return;
        }
        let name = if node.label.is_empty() { node.op.name() } else { &node.label };
        let collected: Vec<Collected> =
            (0..scan.collected()).map(|index| Collected::of(scan, index)).collect();
        let mut all = Vec::with_capacity(scan.carried);
        for index in 0..scan.carried {
            let ty = self.graph.ty(node.results[index]).clone();
            let is_collected = collected
                .iter()
                .any(|place| matches!(place, Collected::Carried { index: of, .. } if *of == index));
            let places = match is_collected {
                true => scan.steps.plus(&Polynomial::from(1usize)),
                false => Polynomial::from(2usize),
            };
            let size = self.sizes.add(&ty.shape.count().times(&places));
            let whole = self.new_buffer(Buffer {
                name: format!("{name} carried {index}"),
                size,
                element: ty.dtype.into(),
                location: Location::Nowhere,
            });
            let motions = match (is_collected, scan.reverse) {
                (true, false) => [Motion::Along(0), Motion::Along(1)],
                (true, true) => [Motion::Along(1), Motion::Along(0)],
                (false, _) => [Motion::Alternating(0), Motion::Alternating(1)],
            };
            let [before, after] = motions.map(|motion| {
                self.window(format!("{name} carried {index}"), Address::start(whole), &ty, motion).0
            });
            all.push(CarriedMemory { whole, before, after, is_collected });
        }
        self.carried.insert(id, all);
    }

    /// The view of a scan's result that shares the memory of a carried value; `None` for other values.
    pub(super) fn view_of_scan_result(&mut self, node: &Node, result: usize) -> Option<View> {
        let Op::Scan(scan) = &node.op else { return None };
        let (index, start) = match result.checked_sub(scan.carried) {
            None => (result, None),
            Some(collected) => match Collected::of(scan, collected) {
                // Behind the initial value, which is the first in the order of the loop.
                Collected::Carried { index, after } => (index, Some(after != scan.reverse)),
                Collected::Own => return None,
            },
        };
        let address = self.carried_address(scan, node, index, start);
        let ty = self.graph.ty(node.results[result]);
        let layout = super::Layout::channels_first(ty.shape.rank());
        Some(self.dense_view(address, ty.shape.dims(), layout, ty.dtype.into()))
    }

    /// The address of all values of a carried value, one ahead of the first or not; of the last value for `None`.
    fn carried_address(&mut self, scan: &Scan, node: &Node, index: usize, ahead: Option<bool>) -> Address {
        self.carry(scan, node);
        let memory = &self.carried[&self.graph.producer_id(node.results[0])][index];
        let (whole, before, is_collected) = (memory.whole, memory.before, memory.is_collected);
        let ty = self.graph.ty(node.results[index]);
        let places = match ahead {
            Some(ahead) => Polynomial::from(usize::from(ahead)),
            None if !is_collected => return Address::start(self.buffer_of(before)),
            None if scan.reverse => Polynomial::from(0usize),
            None => scan.steps.clone(),
        };
        let distance = self.sizes.add(&ty.shape.count().times(&places));
        let mut address = Address::start(whole);
        address.offset = address.offset.offset_size(distance);
        address
    }

    /// Adds the kernels of a scan: copies of the initial values, the loop, and copies of results whose memory is not that
    /// of carried values.
    pub(crate) fn lower_scan(&mut self, scan: &Scan, node: &Node) {
        self.carry(scan, node);
        let id = self.graph.producer_id(node.results[0]);
        let own: Vec<usize> = (0..scan.collected())
            .filter(|&index| matches!(Collected::of(scan, index), Collected::Own))
            .collect();
        let outputs: Vec<usize> =
            (0..scan.carried).chain(own.iter().map(|index| scan.carried + index)).collect();
        let body = scan.body.with_outputs(&outputs);
        let (constants, slices) = (scan.constants(), scan.slices);
        let mut windows = Vec::new();
        let mut inputs: Vec<(ValueId, View)> = Vec::new();
        let mut places: Vec<Location> = Vec::new();
        let declared: Vec<(ValueId, Type)> =
            body.inputs().map(|(value, input)| (value, input.ty.clone())).collect();
        for (index, (value, ty)) in declared.into_iter().enumerate() {
            let view = match index {
                _ if index < constants => self.plain(node.operands[index]),
                _ if index < constants + slices => {
                    let start = self.plain(node.operands[index]).address;
                    let name = format!("step of {value}");
                    let (window, buffer) = self.window(name, start, &ty, Motion::Along(0));
                    windows.push(window);
                    self.body_view(buffer, &ty)
                }
                _ => {
                    let carried = index - constants - slices;
                    let CarriedMemory { before, after, .. } = self.carried[&id][carried];
                    windows.extend([before, after]);
                    places.push(Location::Window(after));
                    self.initialize(scan, node, carried);
                    let buffer = self.buffer_of(before);
                    self.body_view(buffer, &ty)
                }
            };
            inputs.push((value, view));
        }
        for &index in &own {
            let value = scan.body.outputs()[scan.carried + index].value;
            let start = self.plain(node.results[scan.carried + index]).address;
            let ty = scan.body.ty(value).clone();
            let (window, _) = self.window(format!("step of {value}"), start, &ty, Motion::Along(0));
            windows.push(window);
            places.push(Location::Window(window));
        }
        // What is computed before this loop, in the body of another, does change between runs.
        let is_prepacked =
            |operand: &ValueId| self.is_prepacked(*operand) && !self.before_loop.contains(operand);
        let prepacked: Vec<bool> = node.operands[..constants].iter().map(is_prepacked).collect();
        let lowered = self.lower_body(&body, inputs, &prepacked, &places);
        let Lowered { prepack, before, run, loops } = lowered;
        self.lowered.prepack.extend(prepack);
        self.lowered.run.extend(before);
        let steps = self.sizes.add(&scan.steps);
        let inner = Lowered { run, loops, ..Lowered::default() };
        self.push_loop(inner, steps, scan.reverse, windows);
        self.copy_results(scan, node);
    }

    fn body_view(&mut self, buffer: BufferId, ty: &Type) -> View {
        let layout = super::Layout::channels_first(ty.shape.rank());
        self.whole_view(buffer, &ty.shape, layout, ty.dtype.into())
    }

    /// Copies the initial value of a carried value to the place where the first step reads it.
    fn initialize(&mut self, scan: &Scan, node: &Node, carried: usize) {
        let operand = node.operands[scan.constants() + scan.slices + carried];
        let ty = self.graph.ty(operand).clone();
        let memory = &self.carried[&self.graph.producer_id(node.results[0])][carried];
        let (whole, is_collected) = (memory.whole, memory.is_collected);
        let places = if is_collected && scan.reverse { scan.steps.clone() } else { Polynomial::from(0usize) };
        let distance = self.sizes.add(&ty.shape.count().times(&places));
        let mut to = Address::start(whole);
        to.offset = to.offset.offset_size(distance);
        let (from, size) = (self.plain(operand).address, self.count_of(&ty));
        self.push(lowering::copy("initial value", from, to, size, ty.dtype.into()));
    }

    /// Copies results that have memory of their own, though a carried value holds them.
    fn copy_results(&mut self, scan: &Scan, node: &Node) {
        for (result, &value) in node.results.iter().enumerate() {
            let Some(from) = self.view_of_scan_result(node, result) else { continue };
            let to = self.plain(value).address;
            if from.address != to && self.is_used(value) {
                let size = self.size(value);
                self.push(lowering::copy("result", from.address, to, size, from.element));
            }
        }
        debug_assert_eq!(scan.carried + scan.collected(), node.results.len());
    }

    /// Lowers the body of a loop, whose inputs have views and whose outputs have locations.
    fn lower_body(
        &mut self,
        body: &Graph,
        inputs: Vec<(ValueId, View)>,
        prepacked: &[bool],
        places: &[Location],
    ) -> Lowered {
        let mut inner = Lowering::within(body, self);
        let mut once = Once::default();
        let constants = body.inputs().map(|(value, _)| body.producer_id(value)).zip(prepacked);
        for (id, &is_prepacked) in constants {
            if is_prepacked { &mut once.prepacked } else { &mut once.before }.insert(id.index());
        }
        for (id, node) in body.node_ids() {
            if matches!(node.op, Op::Input(_) | Op::Scan(_)) {
                continue;
            }
            let of = |value: &ValueId| body.producer_id(*value);
            if node.operands.iter().all(|value| once.prepacked.contains(&of(value).index())) {
                once.prepacked.insert(id.index());
            } else if node.operands.iter().all(|value| once.contains(of(value))) {
                once.before.insert(id.index());
            }
        }
        for (value, view) in inputs {
            inner.bind_view(value, view);
        }
        let names: Vec<&str> = body.outputs().iter().map(|output| output.name.as_str()).collect();
        let mut bound = |_, name: &str, _: &Type, _| {
            let output = names.iter().position(|known| *known == name);
            places[output.expect("inputs of a body have views, and outputs have names")]
        };
        let lowered = lower(&mut inner, &once, &mut bound);
        inner.give_back(self);
        lowered
    }
}
