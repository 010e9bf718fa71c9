//! Elements at indices.

use windlass_compiler::ops::gather;
use windlass_compiler::shape::{Dim, Polynomial};

use super::{Rule, one};
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::known::{Known, strides};
use crate::movement::small;
use crate::node::{Node, resolve};
use crate::value::{Meaning, Value};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Gather", gather),
    ("GatherElements", gather_elements),
    ("GatherND", gather_nd),
    ("ScatterND", scatter_nd),
    ("ScatterElements", scatter_elements),
    ("Scatter", scatter_elements),
    ("Compress", compress),
];

/// The most slices into which an import divides a value.
pub(super) const MOST_PARTS: usize = 4096;

impl Importer<'_> {
    /// The elements at some indices of an axis, one after the other.
    pub(crate) fn take(&mut self, value: &Value, axis: usize, indices: &[usize]) -> Result<Value, Reason> {
        if let Value::Known(known) = value
            && known.name.is_none()
        {
            let own = strides(&known.dims);
            let mut dims = known.dims.clone();
            dims[axis] = indices.len();
            let sizes: Vec<Dim> = dims.iter().map(|&size| Dim::Fixed(size)).collect();
            small(&sizes)?;
            let place = |index: &[usize]| {
                let places = index.iter().enumerate().map(|(other, &at)| {
                    let at = if other == axis { indices[at] } else { at };
                    at * own[other]
                });
                places.sum()
            };
            return Ok(known.moved(dims, place).into());
        }
        if indices.is_empty() {
            let mut dims = value.dims();
            dims[axis] = Dim::Fixed(0);
            return Ok(Value::Empty(dims));
        }
        // Neighbouring indices are one slice.
        let mut parts = Vec::new();
        let mut start = 0;
        for end in 1..=indices.len() {
            if end == indices.len() || indices[end] != indices[end - 1] + 1 {
                if parts.len() == MOST_PARTS {
                    return unsupported(format!("it takes elements from more than {MOST_PARTS} places"));
                }
                parts.push(self.slice(value, axis, indices[start], end - start)?);
                start = end;
            }
        }
        self.concat(&parts, axis)
    }

    /// The axis in the opposite order.
    pub(crate) fn reversed(&mut self, value: &Value, axis: usize) -> Result<Value, Reason> {
        let size = value.fixed(axis)?;
        let indices: Vec<usize> = (0..size).rev().collect();
        self.take(value, axis, &indices)
    }
}

impl Importer<'_> {
    /// Elements at places of the flattened value.
    pub(crate) fn take_flat(
        &mut self,
        value: &Value,
        places: &[usize],
        dims: &[usize],
    ) -> Result<Value, Reason> {
        let total: usize = value.dims().iter().filter_map(Dim::fixed).product();
        let flat = self.reshape(value, &[Dim::Fixed(total)])?;
        let taken = self.take(&flat, 0, places)?;
        let dims: Vec<Dim> = dims.iter().map(|&size| Dim::Fixed(size)).collect();
        self.reshape(&taken, &dims)
    }
}

/// Indices of an axis, counted from its start.
fn resolved(indices: &[i64], size: usize) -> Result<Vec<usize>, Reason> {
    indices
        .iter()
        .map(|&index| {
            resolve(index, size).map_err(|_| Reason::Operand {
                index: 1,
                problem: format!("has the index {index}, but the axis has the size {size}"),
            })
        })
        .collect()
}

fn gather<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let (value, indices) = (node.operand(0)?.clone(), node.operand(1)?.clone());
    let axis = node.axis(0, value.rank())?;
    let dims = value.dims();
    let result: Vec<Dim> = [&dims[..axis], &indices.dims(), &dims[axis + 1..]].concat();
    match indices {
        Value::Known(known) => {
            let Some(integers) = known.to_integers() else {
                return unsupported("its indices must be integers that depend on no open size");
            };
            // An axis of open size has the last index, the one before it, and so on.
            if let ([index], None) = (&integers[..], dims[axis].fixed()) {
                let place = match *index {
                    index if index < 0 => dims[axis].polynomial().plus(&Polynomial::from(index)),
                    index => Polynomial::from(index),
                };
                let part = importer.slice(&value, axis, place, 1usize)?;
                return one(importer.reshape(&part, &result)?);
            }
            let places = resolved(&integers, value.fixed(axis)?)?;
            let taken = importer.take(&value, axis, &places)?;
            one(importer.reshape(&taken, &result)?)
        }
        Value::Data(data) if data.meaning == Meaning::Index => {
            if value.is_data() {
                return unsupported("its indices and its elements both depend on inputs");
            }
            // Rows of a table, whose other axes are one.
            let mut order: Vec<usize> = (0..dims.len()).filter(|&other| other != axis).collect();
            order.insert(0, axis);
            let rows = value.fixed(axis)?;
            let table = importer.transpose(&value, &order)?;
            let features = table.dims().iter().skip(1).filter_map(Dim::fixed).product();
            let table = importer.reshape(&table, &[Dim::Fixed(rows), Dim::Fixed(features)])?;
            let table = importer.weight(&table)?;
            let rows = importer.op(gather::Gather { rows }, &[table.value, data.value])?;
            let mut sizes = data.dims.clone();
            sizes.push(Dim::Fixed(features));
            let gathered = Value::from(data.with(rows, sizes).meaning(Meaning::Float));
            let others: Vec<Dim> = order[1..].iter().map(|&other| dims[other].clone()).collect();
            let unfolded: Vec<Dim> = data.dims.iter().cloned().chain(others).collect();
            let gathered = importer.reshape(&gathered, &unfolded)?;
            // The axes before `axis` come before those of the indices.
            let count = data.dims.len();
            let place: Vec<usize> =
                (count..count + axis).chain(0..count).chain(count + axis..unfolded.len()).collect();
            one(importer.transpose(&gathered, &place)?)
        }
        _ => unsupported("its indices must be known, or an input"),
    }
}

fn gather_elements<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    let axis = node.axis(0, value.rank())?;
    let indices = node.known(1)?;
    let sizes = value.dims().iter().map(Dim::fixed).collect::<Option<Vec<usize>>>();
    let Some(sizes) = sizes else { return unsupported("its operand has an open size") };
    let places = resolved(&node.integers(1)?, sizes[axis])?;
    let fits = indices.dims.len() == sizes.len()
        && indices
            .dims
            .iter()
            .zip(&sizes)
            .enumerate()
            .all(|(other, (own, size))| other == axis || own <= size);
    if !fits {
        return unsupported("its indices do not fit the shape of its operand");
    }
    let flat = element_places(&sizes, axis, &indices.dims, &places);
    one(importer.take_flat(value, &flat, &indices.dims.clone())?)
}

/// The places of elements in a tensor of `sizes`: those of the same index, except along `axis`.
fn element_places(sizes: &[usize], axis: usize, dims: &[usize], places: &[usize]) -> Vec<usize> {
    let own = strides(sizes);
    let mut flat = Vec::with_capacity(places.len());
    crate::known::each_index(dims, |index| {
        let place = places[flat.len()];
        let all =
            index.iter().enumerate().map(|(other, &at)| if other == axis { place } else { at } * own[other]);
        flat.push(all.sum());
    });
    flat
}

fn gather_nd<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    let batch = usize::try_from(node.int("batch_dims", 0)).unwrap_or(usize::MAX);
    let indices = node.known(1)?.clone();
    let numbers = node.integers(1)?;
    let sizes = value.dims().iter().map(Dim::fixed).collect::<Option<Vec<usize>>>();
    let Some(sizes) = sizes else { return unsupported("its operand has an open size") };
    let Some((&depth, outer)) = indices.dims.split_last() else {
        return unsupported("its indices have no axes");
    };
    if batch > outer.len() || batch.saturating_add(depth) > sizes.len() {
        return unsupported("its indices do not fit the shape of its operand");
    }
    let flat = slice_places(&sizes, batch, outer, &numbers, depth)?;
    let rest = &sizes[batch + depth..];
    let dims = [outer, rest].concat();
    one(importer.take_flat(value, &flat, &dims)?)
}

/// The places of the elements of slices in a tensor of `sizes`, each of which `depth` numbers choose.
fn slice_places(
    sizes: &[usize],
    batch: usize,
    outer: &[usize],
    numbers: &[i64],
    depth: usize,
) -> Result<Vec<usize>, Reason> {
    let own = strides(sizes);
    let inner: usize = sizes[batch + depth..].iter().product();
    let (mut flat, mut row, mut error) = (Vec::new(), 0, None);
    crate::known::each_index(outer, |index| {
        let mut start: usize = index[..batch].iter().zip(&own).map(|(at, stride)| at * stride).sum();
        for axis in 0..depth {
            match resolve(numbers[row * depth + axis], sizes[batch + axis]) {
                Ok(at) => start += at * own[batch + axis],
                Err(reason) => error = Some(reason),
            }
        }
        flat.extend(start..start + inner);
        row += 1;
    });
    error.map_or(Ok(flat), Err)
}

/// A known tensor with other elements at some places.
fn scattered(value: &Known, places: &[usize], updates: &Known) -> Result<Known, Reason> {
    if places.len() != updates.len() {
        return unsupported("it has another number of updates than of indices");
    }
    if let (Some(mut values), Some(updates)) = (value.to_integers(), updates.to_integers()) {
        places.iter().zip(updates).for_each(|(&place, update)| values[place] = update);
        return Ok(Known::integers(value.dims.clone(), values));
    }
    if let (Some(mut values), Some(updates)) = (value.to_booleans(), updates.to_booleans()) {
        places.iter().zip(updates).for_each(|(&place, update)| values[place] = update);
        return Ok(Known::booleans(value.dims.clone(), values));
    }
    match (value.to_floats(), updates.to_floats()) {
        (Some(mut values), Some(updates)) if value.is_float() => {
            places.iter().zip(updates).for_each(|(&place, update)| values[place] = update);
            Ok(Known::floats(value.dims.clone(), values))
        }
        _ => unsupported("its operands have elements of different types"),
    }
}

fn expect_plain(node: &Node<'_>) -> Result<(), Reason> {
    match node.text("reduction").unwrap_or("none") {
        "none" => Ok(()),
        other => {
            let needed = "`none` is supported".to_owned();
            Err(Reason::AttributeValue { name: "reduction", value: other.to_owned(), needed })
        }
    }
}

fn scatter_nd<'m>(_: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    expect_plain(node)?;
    let (value, indices, updates) = (node.known(0)?, node.known(1)?, node.known(2)?);
    let Some((&depth, outer)) = indices.dims.split_last() else {
        return unsupported("its indices have no axes");
    };
    if depth > value.dims.len() {
        return unsupported("its indices do not fit the shape of its operand");
    }
    let places = slice_places(&value.dims, 0, outer, &node.integers(1)?, depth)?;
    one(scattered(value, &places, updates)?)
}

fn scatter_elements<'m>(_: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    expect_plain(node)?;
    let (value, indices, updates) = (node.known(0)?, node.known(1)?, node.known(2)?);
    let axis = node.axis(0, value.dims.len())?;
    let fits = indices.dims.len() == value.dims.len()
        && indices
            .dims
            .iter()
            .zip(&value.dims)
            .enumerate()
            .all(|(at, (own, size))| at == axis || own <= size);
    if !fits {
        return unsupported("its indices do not fit the shape of its operand");
    }
    let places = resolved(&node.integers(1)?, value.dims[axis])?;
    one(scattered(value, &element_places(&value.dims, axis, &indices.dims, &places), updates)?)
}

fn compress<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    let Some(condition) = node.known(1)?.to_booleans() else {
        return unsupported("its condition must be truth values");
    };
    let places: Vec<usize> = (0..condition.len()).filter(|&at| condition[at]).collect();
    if node.has("axis") {
        let axis = node.axis(0, value.rank())?;
        if condition.len() > value.fixed(axis)? {
            return unsupported("its condition is longer than the axis");
        }
        return one(importer.take(value, axis, &places)?);
    }
    let total: Option<usize> = value.dims().iter().map(Dim::fixed).product();
    match total {
        Some(total) if condition.len() <= total => {
            one(importer.take_flat(value, &places, &[places.len()])?)
        }
        _ => unsupported("its condition is longer than its operand"),
    }
}
