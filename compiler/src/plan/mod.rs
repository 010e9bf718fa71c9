//! The plan: which kernels compute a graph, in which order, and where every value lives.
//!
//! What depends on parameters alone is computed by `prepare`, once per change of the parameters; the rest by `run`. Batch
//! sizes stay open: a value of a batched type is placed at an offset per item, which a run multiplies by its batch size.

mod axis;
mod bounds;
mod channels;
mod choice;
mod costs;
mod cover;
mod layout;
mod lowering;
mod memory;
mod options;
mod product;
mod reuse;
mod sharing;
mod storage;
mod text;
mod traffic;

use std::collections::{BTreeSet, HashMap, HashSet};

pub use axis::{AxisReduction, AxisView};
pub use channels::{Epilogue, PixelBlock, PixelBlocks};
pub use choice::{Candidate, Choice, Choices, Verdict, tuning_key};
pub use costs::{Costs, PerWidth};
pub use cover::Cover;
pub use layout::{Layout, Layouts, View};
pub use lowering::{KernelDraft, Lower, Lowering};
pub(crate) use lowering::{copy_span, fill};
pub use options::{Accuracy, Convolution, Features, Im2col, PlanOptions, WINOGRAD_RESULTS};
pub use product::{Block, Vectors};
pub use sharing::Sharing;
pub use traffic::Traffic;

use crate::entity::{NodeId, ValueId};
use crate::error::GraphError;
use crate::graph::{Graph, Named, Node};
use crate::kernel::{Address, BufferId, Element, Kernel, Stmt};
use crate::ops::Op;
use crate::pipeline::CompileError;
use crate::shape::{DType, Type};
use crate::target::Target;

/// Elements a buffer has, in words of 4 bytes: a multiple of the batch size, or a fixed number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Whether there are so many for each item of the batch.
    pub batched: bool,
    /// How many.
    pub elements: usize,
}

impl Size {
    /// The size of a value.
    pub fn of(ty: &Type) -> Self {
        Size { batched: ty.shape.is_batched(), elements: ty.shape.item_elements() }
    }

    /// The size of a value stored in a given way: of each item whole words.
    pub(crate) fn stored(ty: &Type, element: Element) -> Self {
        Size { batched: ty.shape.is_batched(), elements: Size::words(ty.shape.item_elements(), element) }
    }

    /// The words of 4 bytes that so many elements take.
    fn words(elements: usize, element: Element) -> usize {
        (elements * element.bytes()).div_ceil(4)
    }
}

/// Where a buffer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Not placed: nothing uses it.
    Nowhere,
    /// Memory bound to each run: an index into [`Plan::slots`].
    Slot(usize),
    /// The batch arena, at so many elements times the batch size.
    Batch(usize),
    /// The fixed arena, at an element.
    Fixed(usize),
    /// Memory that lives as long as the program: constants, and what `prepare` computes for `run`.
    Prepared(usize),
    /// Memory that exists only while `prepare` runs, at an element: its intermediates.
    Preparing(usize),
    /// The running thread's own scratch, at an element.
    Scratch(usize),
}

/// Memory that kernels refer to.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// What it holds.
    pub name: String,
    /// How large it is.
    pub size: Size,
    /// How its elements are stored.
    pub element: Element,
    /// Where it lives.
    pub place: Place,
}

/// Memory that comes from outside the program.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// What it is bound to.
    pub kind: SlotKind,
    /// The name of the source or output.
    pub name: String,
    /// Its type.
    pub ty: Type,
}

/// What a [`Slot`] is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotKind {
    /// An input of the graph.
    Input,
    /// A parameter or state, read and (in training) updated in place.
    Stored,
    /// An output of the graph.
    Output,
}

/// Elements of each arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Elements of the batch arena per item.
    pub batch: usize,
    /// Elements of the fixed arena.
    pub fixed: usize,
    /// Elements of the prepared memory.
    pub prepared: usize,
    /// Elements of the arena that exists only while preparing.
    pub preparing: usize,
    /// Elements of scratch per thread.
    pub scratch: usize,
}

impl Memory {
    /// Bytes of all arenas of a run at a batch size and thread count: all but what exists only while preparing. What does not
    /// fit a number is the largest number.
    pub fn bytes(&self, batch: usize, threads: usize) -> usize {
        let parts = [
            self.batch.saturating_mul(batch),
            self.fixed,
            self.prepared,
            self.scratch.saturating_mul(threads),
        ];
        parts.into_iter().fold(0, usize::saturating_add).saturating_mul(4)
    }
}

/// Which kernels compute a graph, and where every value lives.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The network's name.
    pub name: String,
    /// Every buffer; kernels refer to them by index.
    pub buffers: Vec<Buffer>,
    /// Memory from outside.
    pub slots: Vec<Slot>,
    /// Constants, to be written into prepared memory once.
    pub constants: Vec<(BufferId, Vec<f32>)>,
    /// Kernels to run when parameters have changed.
    pub prepare: Vec<Kernel>,
    /// Kernels to run for every batch.
    pub run: Vec<Kernel>,
    /// Elements of each arena.
    pub memory: Memory,
    /// Threads that share a run.
    pub threads: usize,
    /// What it is made for.
    pub target: Target,
    /// What there was to choose from, and why it was chosen so.
    pub choices: Choices,
}

impl Plan {
    /// Where a constant lives in prepared memory.
    pub fn prepared_offset(&self, buffer: BufferId) -> usize {
        match self.buffers[buffer.index()].place {
            Place::Prepared(offset) => offset,
            _ => unreachable!("constants live in prepared memory"),
        }
    }

    /// The slots that some of its kernels read or write, in order.
    pub fn slots_of(&self, kernels: &[Kernel]) -> Vec<usize> {
        let places =
            kernels.iter().flat_map(Kernel::buffers).map(|buffer| self.buffers[buffer.index()].place);
        let slots: BTreeSet<usize> = places
            .filter_map(|place| match place {
                Place::Slot(slot) => Some(slot),
                _ => None,
            })
            .collect();
        slots.into_iter().collect()
    }

    /// The slots that some of its kernels write, in order.
    pub fn slots_written(&self, kernels: &[Kernel]) -> Vec<usize> {
        let mut slots = BTreeSet::new();
        let mut written = |buffer: BufferId| {
            if let Place::Slot(slot) = self.buffers[buffer.index()].place {
                slots.insert(slot);
            }
        };
        for kernel in kernels {
            kernel.visit(&mut |stmt| match stmt {
                Stmt::Tile(call) => written(call.output.buffer),
                Stmt::Map(map) => map.stores.iter().for_each(|store| written(store.address.buffer)),
                Stmt::For { .. } | Stmt::Branch { .. } => {}
            });
        }
        slots.into_iter().collect()
    }

    /// Whether a run writes parameters or states.
    pub fn writes_stored(&self) -> bool {
        let phases = [&self.prepare, &self.run];
        let mut written = phases.into_iter().flat_map(|kernels| self.slots_written(kernels));
        written.any(|slot| self.slots[slot].kind == SlotKind::Stored)
    }
}

/// Makes the plan of a graph for a target.
///
/// # Errors
/// [`CompileError`] for a setting out of its range ([`PlanOptions::check`]) or where the graph is at fault.
pub fn plan(graph: &Graph, options: &PlanOptions, target: &Target) -> Result<Plan, CompileError> {
    options.check()?;
    crate::graph::verify(graph)?;
    let mut lowering = Lowering::new(graph, options, target);
    let homes = Homes::of(graph, options);
    let mut slots = Vec::new();
    for node in graph.nodes() {
        homes.place_results(graph, node, &mut lowering, &mut slots);
    }
    homes.place_outputs(graph, &mut lowering, &mut slots);
    layout::join_in_place(graph, &mut lowering);
    let prepared = prepared_nodes(graph);
    lowering.steady = graph
        .node_ids()
        .filter(|(id, _)| prepared.contains(&id.index()))
        .flat_map(|(_, node)| node.results.iter().copied())
        .collect();
    reuse::reuse_operands(graph, &mut lowering);
    let mut prepare = Vec::new();
    let mut run = Vec::new();
    for (id, node) in graph.node_ids() {
        if lowering.absorbed.contains(&id) {
            continue;
        }
        lowering.node = id;
        if !layout::takes_any_layout(&node.op) {
            lowering.operands_in_order(node);
        }
        crate::ops::dispatch!(&node.op, op => op.lower(&mut lowering, node));
        let (from_parameters, kernels) = lowering.take();
        prepare.extend(from_parameters);
        if prepared.contains(&id.index()) { &mut prepare } else { &mut run }.extend(kernels);
    }
    run.extend(homes.copies(graph, &mut lowering));
    for kernel in prepare.iter().chain(&run) {
        crate::kernel::verify(kernel)
            .and_then(|()| storage::verify(kernel, &lowering.buffers))
            .and_then(|()| bounds::verify(kernel, &lowering.buffers, options.threads))
            .map_err(|reason| GraphError::Invalid { reason })?;
    }
    let Lowering { mut buffers, constants, choices, .. } = lowering;
    let memory = memory::place(&mut buffers, &constants, &prepare, &run);
    Ok(Plan {
        name: graph.name().to_owned(),
        buffers,
        slots,
        constants,
        prepare,
        run,
        memory,
        threads: options.threads,
        target: *target,
        choices: Choices(choices),
    })
}

/// Nodes that depend on parameters, states and constants alone, in a graph that does not update them.
fn prepared_nodes(graph: &Graph) -> HashSet<usize> {
    let mut prepared = HashSet::new();
    if !graph.updates().is_empty() {
        return prepared;
    }
    for (id, node) in graph.node_ids() {
        let is_source = matches!(node.op, Op::Input(_));
        if !is_source
            && node.operands.iter().all(|&value| prepared.contains(&graph.producer_id(value).index()))
        {
            prepared.insert(id.index());
        }
    }
    prepared
}

/// Which value's memory each value shares, and which memory comes from outside.
struct Homes {
    /// The value whose elements a value shares (through reshapes).
    root: Vec<ValueId>,
    /// Roots stored directly into an output slot, by output index.
    output: HashMap<ValueId, usize>,
    /// Roots stored directly over the parameter or state they replace.
    update: HashMap<ValueId, ValueId>,
}

impl Homes {
    fn of(graph: &Graph, options: &PlanOptions) -> Self {
        let in_order = |value: ValueId| {
            let layout = layout::result_layout(options.layouts, graph, graph.producer(value), value);
            layout == Layout::ChannelsFirst
        };
        let mut root: Vec<ValueId> = (0..graph.value_count()).map(ValueId::new).collect();
        for node in graph.nodes() {
            if let Op::Reshape(_) = node.op
                && in_order(node.operands[0])
            {
                root[node.results[0].index()] = root[node.operands[0].index()];
            }
        }
        let is_source = |value: ValueId| {
            matches!(
                graph.producer(value).op,
                Op::Input(_) | Op::Parameter(_) | Op::State(_) | Op::Constant(_)
            )
        };
        let mut update = HashMap::new();
        let ends = Ends::of(graph, &root);
        for named in graph.updates() {
            let Some(target) = graph.source(&named.name) else { continue };
            if !ends.outputs.contains(&named.value)
                && update_in_place(graph, target, named.value, &root, &ends)
            {
                update.insert(named.value, target);
            }
        }
        let prepared = prepared_nodes(graph);
        let mut output = HashMap::new();
        for (index, named) in graph.outputs().iter().enumerate() {
            let home = root[named.value.index()];
            if !is_source(home)
                && in_order(home)
                && !update.contains_key(&home)
                && !prepared.contains(&graph.producer_id(home).index())
            {
                output.entry(home).or_insert(index);
            }
        }
        Homes { root, output, update }
    }

    fn place_results(&self, graph: &Graph, node: &Node, lowering: &mut Lowering<'_>, slots: &mut Vec<Slot>) {
        for (index, &value) in node.results.iter().enumerate() {
            let ty = graph.ty(value);
            let home = self.root[value.index()];
            if home != value {
                let buffer = lowering.view(home).address.buffer;
                let element = lowering.elements[value.index()];
                lowering.bind_view(value, View::whole(buffer, &ty.shape, Layout::ChannelsFirst, element));
                continue;
            }
            if let Some(&target) = self.update.get(&value) {
                let view = lowering.view(target).clone();
                lowering.bind_view(value, view);
                continue;
            }
            let slot = match &node.op {
                Op::Input(input) => Some((SlotKind::Input, input.name.clone())),
                Op::Parameter(parameter) => Some((SlotKind::Stored, parameter.name.clone())),
                Op::State(state) => Some((SlotKind::Stored, state.name.clone())),
                _ => self
                    .output
                    .get(&value)
                    .map(|&output| (SlotKind::Output, graph.outputs()[output].name.clone())),
            };
            let (name, place) = match slot {
                Some((kind, name)) => {
                    let ty = match kind {
                        SlotKind::Output => graph.ty(graph.outputs()[self.output[&value]].value).clone(),
                        SlotKind::Input | SlotKind::Stored => ty.clone(),
                    };
                    slots.push(Slot { kind, name: name.clone(), ty });
                    (name, Place::Slot(slots.len() - 1))
                }
                None => {
                    let name = if node.label.is_empty() { node.op.name() } else { &node.label };
                    let suffix = if index == 0 { String::new() } else { format!(".{index}") };
                    (format!("{name}{suffix} {value}"), Place::Nowhere)
                }
            };
            let element = lowering.elements[value.index()];
            let size = Size::stored(ty, element);
            let buffer = lowering.new_buffer(Buffer { name, size, element, place });
            let layout = layout::result_layout(lowering.options.layouts, graph, node, value);
            lowering.bind_view(value, View::whole(buffer, &ty.shape, layout, element));
            if let Op::Constant(constant) = &node.op {
                lowering.constants.push((buffer, constant.values.clone()));
            }
        }
    }

    /// Outputs that share no memory with the value they name get memory and a copy of their own.
    fn place_outputs(&self, graph: &Graph, lowering: &mut Lowering<'_>, slots: &mut Vec<Slot>) {
        for (index, named) in graph.outputs().iter().enumerate() {
            if self.output.get(&self.root[named.value.index()]) == Some(&index) {
                continue;
            }
            let ty = graph.ty(named.value).clone();
            let (size, element) = (Size::of(&ty), ty.dtype.into());
            slots.push(Slot { kind: SlotKind::Output, name: named.name.clone(), ty });
            let place = Place::Slot(slots.len() - 1);
            let buffer = lowering.new_buffer(Buffer { name: named.name.clone(), size, element, place });
            lowering.output_copies.push((named.value, buffer));
        }
    }

    /// Copies to make at the end of a run: outputs and updates that could not be computed in place.
    fn copies(&self, graph: &Graph, lowering: &mut Lowering<'_>) -> Vec<Kernel> {
        let copy = |from, to, size| lowering::copy("store", Address::start(from), Address::start(to), size);
        let mut copies = Vec::new();
        for (value, to) in std::mem::take(&mut lowering.output_copies) {
            let (ty, view) = (graph.ty(value), lowering.view(value).clone());
            if view.layout == Layout::ChannelsFirst {
                copies.push(copy(view.address.buffer, to, Size::of(ty)));
            } else {
                let node = graph.producer(value);
                let draft = lowering.draft(node, "results leave channels first").part("store");
                let to = View::whole(to, &ty.shape, Layout::ChannelsFirst, ty.dtype.into());
                lowering.reorder(draft, &view, &to);
                copies.extend(lowering.take().1);
            }
        }
        let buffer = |lowering: &Lowering<'_>, value| lowering.view(value).address.buffer;
        let updates: Vec<(BufferId, BufferId, Size)> = graph
            .updates()
            .iter()
            .filter_map(|named| {
                let target = buffer(lowering, graph.source(&named.name)?);
                Some((buffer(lowering, named.value), target, Size::of(graph.ty(named.value))))
            })
            .filter(|(from, to, _)| from != to)
            .collect();
        // Updates happen at once: one that takes what another overwrites takes it before.
        let overwritten: HashSet<BufferId> = updates.iter().map(|&(_, to, _)| to).collect();
        let mut last = Vec::new();
        for &(from, to, size) in &updates {
            if overwritten.contains(&from) {
                let kept = lowering.temporary("old value", size);
                copies.push(copy(from, kept, size));
                last.push(copy(kept, to, size));
            } else {
                last.push(copy(from, to, size));
            }
        }
        copies.extend(last);
        copies
    }
}

/// How the memory of values ends to be read, by their root.
struct Ends {
    /// The last node that reads a root's memory.
    last_reader: HashMap<ValueId, NodeId>,
    outputs: HashSet<ValueId>,
    updates: HashSet<ValueId>,
}

impl Ends {
    fn of(graph: &Graph, root: &[ValueId]) -> Self {
        let reads =
            graph.node_ids().flat_map(|(id, node)| node.operands.iter().map(move |value| (value, id)));
        let roots = |named: &[Named]| named.iter().map(|named| root[named.value.index()]).collect();
        Ends {
            last_reader: reads.map(|(value, id)| (root[value.index()], id)).collect(),
            outputs: roots(graph.outputs()),
            updates: roots(graph.updates()),
        }
    }
}

/// Whether a new value may be written over the old one: it comes from an operator that reads each element of the old one
/// before it writes it, and nothing else reads the old value then or later.
fn update_in_place(graph: &Graph, target: ValueId, value: ValueId, root: &[ValueId], ends: &Ends) -> bool {
    let producer = graph.producer_id(value);
    let node = graph.node(producer);
    let replaces_target =
        replaced_operand(node, value).is_some_and(|operand| node.operands[operand] == target);
    let is_target = |value: ValueId| root[value.index()] == target;
    let read_once = node.operands.iter().filter(|&&operand| is_target(operand)).count() == 1;
    let read_later = ends.last_reader.get(&target).is_some_and(|last| *last > producer);
    let named = ends.outputs.contains(&target) || ends.updates.contains(&target);
    replaces_target && read_once && !read_later && !named && graph.ty(target).dtype == DType::F32
}

/// The operand that a result is the new value of, in operators that read each of its elements before they write it.
fn replaced_operand(node: &Node, value: ValueId) -> Option<usize> {
    let result = node.results.iter().position(|&result| result == value)?;
    let replaced: &[Option<usize>] = match node.op {
        Op::Sgd(_) => &[Some(0), Some(3)],
        Op::Adam(_) => &[Some(0), Some(4), Some(5)],
        Op::BatchNormTraining(_) => &[None, None, None, Some(3), Some(4)],
        _ => &[],
    };
    replaced.get(result).copied().flatten()
}
