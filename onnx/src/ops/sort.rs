//! The places of the largest and smallest elements.

use windlass_compiler::ops::elementwise::{BinaryKind, UnaryKind};
use windlass_compiler::ops::gather::Gather;
use windlass_compiler::ops::pool::MaxPool;
use windlass_compiler::ops::source::Constant;
use windlass_compiler::ops::window::Window;
use windlass_compiler::shape::{Dim, Shape};

use super::{Rule, one};
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::node::Node;
use crate::value::{Data, Meaning, Value};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("ArgMax", |importer, node| place(importer, node, false)),
    ("ArgMin", |importer, node| place(importer, node, true)),
    ("Hardmax", hardmax),
    ("TopK", top_k),
];

/// The longest axis whose indices a float holds exactly, and a table of which is small.
const MOST_PLACES: usize = 1 << 20;

impl Importer<'_> {
    /// For each vector along an axis, the entry of a table `[size, columns]` at the index of its first maximum: the axis
    /// becomes the last, with `columns` elements.
    fn at_maximum(&mut self, value: &Value, axis: usize, table: Vec<f32>) -> Result<(Data, usize), Reason> {
        let rank = value.rank();
        let size = value.fixed(axis)?;
        if size == 0 {
            return unsupported("its operand has no elements");
        }
        let columns = table.len() / size;
        let order: Vec<usize> = (0..rank).filter(|&other| other != axis).chain([axis]).collect();
        let moved = self.transpose(value, &order)?;
        let data = self.data(&moved)?;
        self.expect_numbers(&data)?;
        let data = self.with_axes(&data, &[rank - 1])?;
        let shape = data.shape();
        let first = shape.with_first_folded(shape.rank() - 1).dims()[0].clone();
        let rows = self.shaped(data.value, Shape::new([first.clone(), Dim::Fixed(1), Dim::Fixed(size)]))?;
        let window = Window { kernel_size: vec![size], ..Window::cube(1, 1, 1, 0) };
        let label = self.label.clone();
        let results = self.builder.ops(MaxPool { window }, &[rows], &label)?;
        let indices = self.shaped(results[1], Shape::new([first]))?;
        let table = self.op(Constant { shape: Shape::fixed(&[size, columns]), values: table }, &[])?;
        let entries = self.op(Gather { rows: size }, &[table, indices])?;
        let mut dims = data.dims.clone();
        dims[rank - 1] = Dim::Fixed(columns);
        let result = data.with(entries, dims);
        let value = self.shaped(entries, result.shape())?;
        Ok((Data { value, ..result }, size))
    }
}

fn place<'m>(importer: &mut Importer<'m>, node: &Node<'m>, is_least: bool) -> Result<Vec<Value>, Reason> {
    let mut value = node.operand(0)?.clone();
    let rank = value.rank();
    let axis = node.axis(0, rank)?;
    let size = value.fixed(axis)?;
    if size > MOST_PLACES {
        return unsupported(format!("an axis of size {size} is not supported; the most are {MOST_PLACES}"));
    }
    if is_least {
        value = importer.unary(UnaryKind::Negate, &value)?;
    }
    // The last maximum is the first one of the opposite order.
    let is_last = node.flag("select_last_index", false);
    if is_last {
        value = importer.reversed(&value, axis)?;
    }
    let table = (0..size).map(|index| if is_last { size - 1 - index } else { index } as f32).collect();
    let (places, _) = importer.at_maximum(&value, axis, table)?;
    let mut dims = value.dims();
    match node.flag("keepdims", true) {
        true => dims[axis] = Dim::Fixed(1),
        false => {
            dims.remove(axis);
        }
    }
    // Without the last axis, the order of the others is that of the result.
    let places = Value::from(places.meaning(Meaning::Whole));
    let order: Vec<usize> = (0..rank).filter(|&other| other != axis).chain([axis]).collect();
    let mut back = vec![0; rank];
    order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    let places = importer.transpose(&places, &back)?;
    one(importer.reshape(&places, &dims)?)
}

fn hardmax<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?.clone();
    let dims = value.dims();
    let rank = dims.len();
    let (flat, axis) = if node.opset < 13 {
        let axis = node.axis(1, rank)?;
        let (first, last) = dims.split_at(axis);
        let sizes = [first, last].map(|dims| Dim::from(crate::movement::count(dims)));
        (importer.reshape(&value, &sizes)?, 1)
    } else {
        (value.clone(), node.axis(-1, rank)?)
    };
    let size = flat.fixed(axis)?;
    if size > 4096 {
        return unsupported(format!("an axis of size {size} is not supported; the most are 4096"));
    }
    // The rows of the unit matrix.
    let table = (0..size * size).map(|at| f32::from(u8::from(at / size == at % size))).collect();
    let (rows, _) = importer.at_maximum(&flat, axis, table)?;
    let own = flat.rank();
    let order: Vec<usize> = (0..own).filter(|&other| other != axis).chain([axis]).collect();
    let mut back = vec![0; own];
    order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    let result = importer.transpose(&rows.into(), &back)?;
    one(importer.reshape(&result, &dims)?)
}

/// The longest axis whose elements are chosen by rows of a unit matrix.
const MOST_CHOICES: usize = 1024;

/// The largest or smallest elements of an axis, one after the other: each is chosen, and left out of the next choice.
fn top_k<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?.clone();
    let rank = value.rank();
    let axis = node.axis(-1, rank)?;
    node.ignore(&["sorted"]);
    let count = match node.opset < 10 {
        true => node.int("k", 0),
        false => node.integers(1)?.first().copied().unwrap_or(0),
    };
    let size = value.fixed(axis)?;
    let count = usize::try_from(count).ok().filter(|&count| count > 0 && count <= size.min(64));
    let Some(count) = count.filter(|_| size <= MOST_CHOICES) else {
        return unsupported(format!("1 to 64 elements of an axis of at most {MOST_CHOICES} can be chosen"));
    };
    let is_least = !node.flag("largest", true);
    let order: Vec<usize> = (0..rank).filter(|&other| other != axis).chain([axis]).collect();
    let mut back = vec![0; rank];
    order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    let mut rest = importer.transpose(&value, &order)?;
    if is_least {
        rest = importer.unary(UnaryKind::Negate, &rest)?;
    }
    // The index of the maximum, and 1 at its place.
    let row = |row: usize| {
        let unit = (0..size).map(move |column| f32::from(u8::from(row == column)));
        std::iter::once(row as f32).chain(unit)
    };
    let table: Vec<f32> = (0..size).flat_map(row).collect();
    let (mut values, mut places) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (chosen, _) = importer.at_maximum(&rest, rank - 1, table.clone())?;
        let chosen = Value::from(chosen);
        places.push(importer.slice(&chosen, rank - 1, 0usize, 1usize)?);
        let unit = importer.slice(&chosen, rank - 1, 1usize, size)?;
        let (own, unit) = (importer.data(&rest)?, importer.data(&unit)?);
        let [own, unit] = importer.pair(&own, &unit)?;
        let kept = importer.binary_op(BinaryKind::ReluGrad, own.value, unit.value)?;
        values.push(importer.sum(&own.replaced(kept).into(), &[rank - 1])?);
        // Below all others.
        let negative = importer.unary(UnaryKind::Negate, &unit.clone().into())?;
        let others = importer.with_number(BinaryKind::Add, &negative, 1.0)?;
        let others = importer.data(&others)?;
        let others = importer.binary_op(BinaryKind::ReluGrad, own.value, others.value)?;
        let lowest = importer.number_like(&own, f32::NEG_INFINITY)?;
        let lowest = importer.binary_op(BinaryKind::ReluGrad, lowest, unit.value)?;
        let sum = importer.binary_op(BinaryKind::Add, others, lowest)?;
        rest = own.replaced(sum).into();
    }
    let mut values = importer.concat(&values, rank - 1)?;
    if is_least {
        values = importer.unary(UnaryKind::Negate, &values)?;
    }
    let places = importer.concat(&places, rank - 1)?;
    let places = importer.data(&places)?.meaning(Meaning::Whole);
    Ok(vec![importer.transpose(&values, &back)?, importer.transpose(&places.into(), &back)?])
}
