//! Edits that make a graph smaller. If an edit changes an operand's type, a new source replaces the operand.

mod scans;

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use windlass_compiler::entity::ValueId;
use windlass_compiler::error::ShapeError;
use windlass_compiler::graph::initializer::Initializer;
use windlass_compiler::graph::{Graph, Node};
use windlass_compiler::ops::source::{Input, InputRole, Parameter};
use windlass_compiler::ops::structure::Reshape;
use windlass_compiler::ops::{Op, Operator};
use windlass_compiler::shape::{DType, Dim, Shape, Symbol, Type};

use crate::values::POSITIVE;

/// An edit of a graph.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    /// Removes an output.
    Output(usize),
    /// Removes an update.
    Update(usize),
    /// Makes a node's first result the only output.
    Only(usize),
    /// Replaces a node's results by sources, perhaps of positive numbers.
    Source { node: usize, positive: bool },
    /// Replaces a node's first result by an operand.
    Forward { node: usize, operand: usize },
    /// Changes an operator's attributes.
    Operator { node: usize, op: Op, without: Option<usize> },
    /// Replaces a size everywhere.
    Resize { from: usize, to: usize },
}

impl Edit {
    /// Every edit of a graph, those that remove much first.
    pub(super) fn all(graph: &Graph) -> Vec<Edit> {
        let mut edits = Vec::new();
        if graph.outputs().len() + graph.updates().len() > 1 {
            edits.extend((0..graph.outputs().len()).map(Edit::Output));
            edits.extend((0..graph.updates().len()).map(Edit::Update));
        }
        let computed: Vec<usize> =
            (0..graph.nodes().len()).filter(|&node| graph.nodes()[node].op.source().is_none()).collect();
        edits.extend(computed.into_iter().map(Edit::Only));
        for (node, data) in graph.nodes().iter().enumerate().rev() {
            if data.op.source().is_none() {
                edits.extend([false, true].map(|positive| Edit::Source { node, positive }));
                edits.extend((0..data.operands.len()).map(|operand| Edit::Forward { node, operand }));
            }
        }
        let sizes: BTreeSet<usize> = graph
            .nodes()
            .iter()
            .flat_map(|node| &node.results)
            .flat_map(|&value| graph.ty(value).shape.item())
            .collect();
        for &from in sizes.iter().rev() {
            edits.extend(smaller(from, 1).into_iter().map(|to| Edit::Resize { from, to }));
        }
        for (node, data) in graph.nodes().iter().enumerate() {
            edits.extend(attributes(node, data));
        }
        edits
    }

    /// The edited graph, without unused nodes; `None` if it would not be valid.
    pub(super) fn apply(&self, graph: &Graph) -> Option<Graph> {
        let mut made = Graph::new(graph.name());
        let mut values: HashMap<ValueId, ValueId> = HashMap::new();
        for (index, node) in graph.nodes().iter().enumerate() {
            match self {
                Edit::Source { node: changed, positive } if *changed == index => {
                    for &result in &node.results {
                        let source = source(&mut made, graph.ty(result), *positive)?;
                        values.insert(result, source);
                    }
                }
                Edit::Forward { node: changed, operand } if *changed == index => {
                    let (first, others) = node.results.split_first()?;
                    values.insert(*first, values[node.operands.get(*operand)?]);
                    for &result in others {
                        let source = source(&mut made, graph.ty(result), false)?;
                        values.insert(result, source);
                    }
                }
                Edit::Operator { node: changed, op, without } if *changed == index => {
                    let mut operands = node.operands.clone();
                    if let Some(without) = without {
                        operands.remove(*without);
                    }
                    let changed = Node { op: op.clone(), operands, ..node.clone() };
                    add(&mut made, &changed, &mut values)?;
                }
                Edit::Resize { from, to } => {
                    let op = resized(&node.op, *from, *to)?;
                    add(&mut made, &Node { op, ..node.clone() }, &mut values)?;
                }
                _ => add(&mut made, node, &mut values)?,
            }
        }
        if let Edit::Only(node) = self {
            made.add_output("y", values[&graph.nodes()[*node].results[0]]).ok()?;
            return needed(&made).filter(is_whole);
        }
        for (index, output) in graph.outputs().iter().enumerate() {
            if !matches!(self, Edit::Output(dropped) if *dropped == index) {
                made.add_output(&output.name, values[&output.value]).ok()?;
            }
        }
        for (index, update) in graph.updates().iter().enumerate() {
            if !matches!(self, Edit::Update(dropped) if *dropped == index) {
                // An update whose type has changed or whose target is gone is removed.
                let _ = made.add_update(&update.name, values[&update.value]);
            }
        }
        needed(&made).filter(is_whole)
    }
}

/// Whether a graph has results, only floats, and an input for every open size.
fn is_whole(graph: &Graph) -> bool {
    let mut ends = graph.outputs().iter().chain(graph.updates()).peekable();
    let known: BTreeSet<_> = graph.inputs().flat_map(|(_, input)| input.ty.shape.symbols()).collect();
    let values = (0..graph.value_count()).map(ValueId::new);
    ends.peek().is_some()
        && ends.all(|named| graph.ty(named.value).dtype == DType::F32)
        && values
            .flat_map(|value| graph.ty(value).shape.symbols())
            .all(|size| size == Symbol::BATCH || known.contains(&size))
}

/// Smaller values to try for a size, down to `least`.
fn smaller(size: usize, least: usize) -> BTreeSet<usize> {
    [least, size / 2, size.saturating_sub(1)].into_iter().filter(|to| (least..size).contains(to)).collect()
}

/// A new source of a type.
fn source(graph: &mut Graph, ty: &Type, positive: bool) -> Option<ValueId> {
    let prefix = if positive { POSITIVE } else { "v" };
    let name = (0..).map(|index| format!("{prefix}{index}")).find(|name| graph.source(name).is_none())?;
    let op: Op = match ty.shape.is_batched() || ty.dtype == DType::I32 {
        true => Input { name, role: InputRole::Data, ty: ty.clone() }.into(),
        false => Parameter { name, shape: ty.shape.clone(), init: Initializer::ZEROS }.into(),
    };
    graph.add_single(op, &[], "").ok()
}

/// Adds a node; operands whose type has changed are replaced by sources of the required type.
fn add(graph: &mut Graph, node: &Node, values: &mut HashMap<ValueId, ValueId>) -> Option<()> {
    let mut op = node.op.clone();
    let mut operands: Vec<ValueId> = node.operands.iter().map(|operand| values[operand]).collect();
    for _ in 0..=operands.len() {
        let types = graph.types(&operands);
        let (at, ty) = match op.infer(&types) {
            Ok(_) => break,
            Err(ShapeError::Operand { expected, got, .. }) => {
                let ty: Type = expected.parse().ok()?;
                (types.iter().rposition(|ty| *ty == got)?, ty)
            }
            Err(ShapeError::UnequalShapes { left, .. }) => {
                (types.iter().rposition(|ty| ty.shape != left)?, Type::f32(left))
            }
            Err(ShapeError::ElementsDiffer { from, .. }) if matches!(op, Op::Reshape(_)) => {
                let elements = from.item_elements();
                let shape = match from.is_batched() {
                    true => Shape::batched(&[elements]),
                    false => Shape::fixed(&[elements]),
                };
                op = Reshape { shape }.into();
                continue;
            }
            Err(_) => return None,
        };
        operands[at] = source(graph, &ty, false)?;
    }
    let results = graph.add(op, &operands, "").ok()?;
    values.extend(node.results.iter().copied().zip(results));
    Some(())
}

/// The graph without nodes that no output and no update needs.
fn needed(graph: &Graph) -> Option<Graph> {
    let targets = graph.updates().iter().filter_map(|update| graph.source(&update.name));
    let ends = graph.outputs().iter().chain(graph.updates()).map(|named| named.value);
    let needed = graph.reachable(ends.chain(targets));
    let mut made = Graph::new(graph.name());
    let mut values = HashMap::new();
    for node in graph.nodes() {
        if node.results.iter().any(|result| needed.contains(result)) {
            made.copy_node(node, &mut values).ok()?;
        }
    }
    made.copy_ends(graph, &values).ok()?;
    Some(made)
}

fn resized(op: &Op, from: usize, to: usize) -> Option<Op> {
    let swap = |size: usize| if size == from { to } else { size };
    if let Op::Constant(constant) = op {
        // No other source of its elements exists.
        let mut constant = constant.clone();
        constant.shape = swapped(&constant.shape, &swap);
        let first = *constant.values.first()?;
        constant.values.resize(constant.shape.item_elements(), first);
        return Some(constant.into());
    }
    let mut value = serde_json::to_value(op).ok()?;
    for (name, field) in value.as_object_mut()? {
        match (name.as_str(), &mut *field) {
            ("type", Value::String(text)) => {
                let mut ty: Type = text.parse().ok()?;
                ty.shape = swapped(&ty.shape, &swap);
                *text = ty.to_string();
            }
            ("shape", Value::String(text)) => *text = swapped(&text.parse().ok()?, &swap).to_string(),
            ("input_sizes" | "kernel_size", Value::Array(sizes)) => {
                for size in sizes {
                    *size = swap(usize::try_from(size.as_u64()?).ok()?).into();
                }
            }
            ("length" | "groups", size) => *size = swap(usize::try_from(size.as_u64()?).ok()?).into(),
            _ => {}
        }
    }
    serde_json::from_value(value).ok()
}

fn swapped(shape: &Shape, swap: &impl Fn(usize) -> usize) -> Shape {
    let dims = shape.dims().iter().map(|dim| match dim {
        Dim::Open(size) => Dim::Open(size.clone()),
        Dim::Fixed(size) => Dim::Fixed(swap(*size)),
    });
    Shape::new(dims.collect::<Vec<_>>())
}

/// A node with one attribute closer to its default, or one smaller size of a source.
fn attributes(node: usize, data: &Node) -> Vec<Edit> {
    let mut edits = Vec::new();
    if let Op::Scan(scan) = &data.op {
        let smaller = scans::smaller(scan).into_iter();
        return smaller.map(|(scan, without)| Edit::Operator { node, op: scan.into(), without }).collect();
    }
    let Ok(value) = serde_json::to_value(&data.op) else { return edits };
    let Some(fields) = value.as_object() else { return edits };
    let mut push = |change: &dyn Fn(&mut Value), without: Option<usize>| {
        let mut changed = value.clone();
        change(&mut changed);
        if let Ok(op) = serde_json::from_value::<Op>(changed) {
            edits.push(Edit::Operator { node, op, without });
        }
    };
    for (name, field) in fields {
        match (name.as_str(), field) {
            ("kernel_size" | "stride" | "dilation" | "padding" | "input_sizes", Value::Array(sizes)) => {
                let least = usize::from(name != "padding");
                for (index, entry) in sizes.iter().enumerate() {
                    if entry.is_array() {
                        push(&|value| value[name.as_str()][index] = 0.into(), None);
                    }
                    let size = entry.as_u64().map_or(0, |size| size as usize);
                    for to in smaller(size, least) {
                        push(&|value| value[name.as_str()][index] = to.into(), None);
                    }
                }
            }
            ("groups", _) => push(&|value| value["groups"] = 1.into(), None),
            ("length" | "start", size) => {
                let least = usize::from(name == "length");
                for to in smaller(size.as_u64().map_or(0, |size| size as usize), least) {
                    push(&|value| value[name.as_str()] = to.into(), None);
                }
            }
            ("epilogue", Value::Array(steps)) => {
                let mut operand = 2;
                for (index, step) in steps.iter().enumerate() {
                    let takes = step == "bias" || step == "add";
                    push(
                        &|value| drop(value["epilogue"].as_array_mut().map(|steps| steps.remove(index))),
                        takes.then_some(operand),
                    );
                    operand += usize::from(takes);
                }
            }
            ("type", Value::String(text)) => {
                let Ok(ty) = text.parse::<Type>() else { continue };
                for shape in smaller_shapes(&ty.shape) {
                    let ty = Type { dtype: ty.dtype, shape };
                    push(&|value| value["type"] = ty.to_string().into(), None);
                }
            }
            ("shape", Value::String(text)) if data.operands.is_empty() => {
                let Ok(shape) = text.parse::<Shape>() else { continue };
                for shape in smaller_shapes(&shape) {
                    push(&|value| value["shape"] = shape.to_string().into(), None);
                }
            }
            _ => {}
        }
    }
    edits
}

/// Shapes with one smaller size.
fn smaller_shapes(shape: &Shape) -> Vec<Shape> {
    let mut shapes = Vec::new();
    for (axis, dim) in shape.dims().iter().enumerate() {
        let Dim::Fixed(size) = dim else {
            // An open size other than the batch: a number, or only a symbol of it.
            if axis > 0 {
                let symbols = dim.polynomial().symbols().into_iter().map(Dim::from);
                for simpler in [Dim::Fixed(1)].into_iter().chain(symbols).filter(|simpler| simpler != dim) {
                    let mut dims = shape.dims().to_vec();
                    dims[axis] = simpler;
                    shapes.push(Shape::new(dims));
                }
            }
            continue;
        };
        for to in smaller(*size, 1) {
            let mut dims = shape.dims().to_vec();
            dims[axis] = Dim::Fixed(to);
            shapes.push(Shape::new(dims));
        }
    }
    shapes
}
