//! Which values share memory, and which memory is outside the program: inputs, outputs, parameters and states.

use std::collections::{HashMap, HashSet};

use super::{
    Buffer, Layout, Location, Lower, Lowering, Once, Size, SlotKind, layout::ImageLayouts, lowering,
};
use crate::entity::{NodeId, ValueId};
use crate::graph::{Graph, Named, Node};
use crate::kernel::{Address, BufferId, Element, Kernel};
use crate::ops::source::Source;
use crate::ops::{Move, Operator, Role};
use crate::shape::{DType, Type};

/// Gives the location of a value that is bound from outside: its kind, name, type and size.
pub(super) type Bound<'b> = dyn FnMut(SlotKind, &str, &Type, Size) -> Location + 'b;

/// The value whose memory each value shares, and the memory outside the program.
pub(super) struct Aliases {
    /// For each value, the value whose elements it shares (through reshapes).
    root: Vec<ValueId>,
    /// Roots stored directly in an output slot, by output index.
    output: HashMap<ValueId, usize>,
    /// Roots stored directly over the parameter or state that they replace.
    update: HashMap<ValueId, ValueId>,
}

impl Aliases {
    pub(super) fn of(graph: &Graph, images: &ImageLayouts, once: &Once) -> Self {
        let in_order = |value: ValueId| {
            let layout = images.of_result(graph, graph.producer(value), value);
            layout.is_of_shape()
        };
        let mut root: Vec<ValueId> = (0..graph.value_count()).map(ValueId::new).collect();
        for node in graph.nodes() {
            if let Role::Move(Move::Reshape) = node.op.facts().role
                && in_order(node.operands[0])
            {
                root[node.results[0].index()] = root[node.operands[0].index()];
            }
        }
        let is_source = |value: ValueId| graph.producer(value).op.source().is_some();
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
        let mut output = HashMap::new();
        for (index, named) in graph.outputs().iter().enumerate() {
            let owner = root[named.value.index()];
            if !is_source(owner)
                && in_order(owner)
                && !update.contains_key(&owner)
                && !once.contains(graph.producer_id(owner))
            {
                output.entry(owner).or_insert(index);
            }
        }
        Aliases { root, output, update }
    }

    pub(super) fn place_results(
        &self,
        graph: &Graph,
        node: &Node,
        lowering: &mut Lowering<'_>,
        bound: &mut Bound<'_>,
    ) {
        for (index, &value) in node.results.iter().enumerate() {
            let ty = graph.ty(value);
            let owner = self.root[value.index()];
            if owner != value {
                let address = lowering.view(owner).address.clone();
                let element = lowering.elements[value.index()];
                let layout = Layout::channels_first(ty.shape.rank());
                let view = lowering.dense_view(address, ty.shape.dims(), layout, element);
                lowering.bind_view(value, view);
                continue;
            }
            // The inputs of a loop's body have views already.
            if lowering.views.contains_key(&value) {
                continue;
            }
            if let Some(&target) = self.update.get(&value) {
                let view = lowering.view(target).clone();
                lowering.bind_view(value, view);
                continue;
            }
            let source = node.op.source();
            let slot = match source {
                Some(Source::Input(input)) => Some((SlotKind::Input, input.name.clone())),
                Some(Source::Parameter(parameter)) => Some((SlotKind::Parameter, parameter.name.clone())),
                Some(Source::State(state)) => Some((SlotKind::Parameter, state.name.clone())),
                Some(Source::Constant(_)) => None,
                None => self
                    .output
                    .get(&value)
                    .map(|&output| (SlotKind::Output, graph.outputs()[output].name.clone())),
            };
            let (name, place) = match slot {
                Some((kind, name)) => {
                    let ty = match kind {
                        SlotKind::Output => graph.ty(graph.outputs()[self.output[&value]].value).clone(),
                        SlotKind::Input | SlotKind::Parameter => ty.clone(),
                    };
                    let size = lowering.sizes.of_type(&ty);
                    let place = bound(kind, &name, &ty, size);
                    (name, place)
                }
                None => {
                    if let Some(view) = lowering.view_of_scan_result(node, index) {
                        lowering.bind_view(value, view);
                        continue;
                    }
                    let name = if node.label.is_empty() { node.op.name() } else { &node.label };
                    let suffix = if index == 0 { String::new() } else { format!(".{index}") };
                    (format!("{name}{suffix} {value}"), Location::Nowhere)
                }
            };
            let element = lowering.elements[value.index()];
            let size = lowering.stored_size(ty, element);
            let layout = lowering.images.of_result(graph, node, value);
            let may_have_gaps = place == Location::Nowhere && lowering.may_have_gaps(node, value);
            let buffer = Buffer { name, size, element, location: place };
            let view = lowering.own_view(buffer, &ty.shape, layout, may_have_gaps);
            let buffer = view.address.buffer;
            lowering.bind_view(value, view);
            if let Some(Source::Constant(constant)) = source {
                lowering.constants.push((buffer, constant.values.clone()));
            }
        }
    }

    /// Gives outputs that share no memory with the value they name separate memory and a copy.
    pub(super) fn place_outputs(&self, graph: &Graph, lowering: &mut Lowering<'_>, bound: &mut Bound<'_>) {
        for (index, named) in graph.outputs().iter().enumerate() {
            if self.output.get(&self.root[named.value.index()]) == Some(&index) {
                continue;
            }
            let ty = graph.ty(named.value).clone();
            let (size, element) = (lowering.sizes.of_type(&ty), ty.dtype.into());
            let place = bound(SlotKind::Output, &named.name, &ty, size);
            let buffer =
                lowering.new_buffer(Buffer { name: named.name.clone(), size, element, location: place });
            lowering.output_copies.push((named.value, buffer));
        }
    }

    /// The copies at the end of a run: outputs and updates that could not be computed in place.
    pub(super) fn copies(&self, graph: &Graph, lowering: &mut Lowering<'_>) -> Vec<Kernel> {
        let copy = |from, to, size| {
            lowering::copy("store", Address::start(from), Address::start(to), size, Element::F32)
        };
        let mut copies = Vec::new();
        for (value, to) in std::mem::take(&mut lowering.output_copies) {
            let (ty, view) = (graph.ty(value), lowering.view(value).clone());
            if view.layout.is_of_shape() {
                copies.push(lowering::copy(
                    "store",
                    view.address,
                    Address::start(to),
                    lowering.size(value),
                    view.element,
                ));
            } else {
                let node = graph.producer(value);
                let draft = lowering.draft(node, "results leave channels first").part("store");
                let layout = Layout::channels_first(ty.shape.rank());
                let to = lowering.whole_view(to, &ty.shape, layout, ty.dtype.into());
                lowering.reorder(draft, &view, &to);
                copies.extend(lowering.take().run);
            }
        }
        let buffer = |lowering: &Lowering<'_>, value| lowering.view(value).address.buffer;
        let updates: Vec<(BufferId, BufferId, Size)> = graph
            .updates()
            .iter()
            .filter_map(|named| {
                let target = buffer(lowering, graph.source(&named.name)?);
                Some((buffer(lowering, named.value), target, lowering.size(named.value)))
            })
            .filter(|(from, to, _)| from != to)
            .collect();
        // Updates happen simultaneously: an update that reads memory which another overwrites reads it before.
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

/// The last uses of values' memory, by root.
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

/// Whether a new value may overwrite the old one: its operator allows it ([`over`](super::MemoryRules::over)), and no
/// other operator reads the old value at that point or later.
fn update_in_place(graph: &Graph, target: ValueId, value: ValueId, root: &[ValueId], ends: &Ends) -> bool {
    let producer = graph.producer_id(value);
    let node = graph.node(producer);
    let over = node.op.memory().over.into_iter();
    let mut over = over.map(|(operand, result)| (node.operands[operand], node.results[result]));
    let replaces_target = over.any(|pair| pair == (target, value));
    let is_target = |value: ValueId| root[value.index()] == target;
    let read_once = node.operands.iter().filter(|&&operand| is_target(operand)).count() == 1;
    let read_later = ends.last_reader.get(&target).is_some_and(|last| *last > producer);
    let named = ends.outputs.contains(&target) || ends.updates.contains(&target);
    replaces_target && read_once && !read_later && !named && graph.ty(target).dtype == DType::F32
}
