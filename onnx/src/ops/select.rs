//! Operators that choose, repeat and arrange elements.

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
    ("Slice", slice),
    ("Split", split),
    ("Concat", concat),
    ("Tile", tile),
    ("Pad", pad),
    ("DepthToSpace", depth_to_space),
    ("SpaceToDepth", space_to_depth),
    ("Trilu", trilu),
    ("Compress", compress),
    ("CenterCropPad", center_crop_pad),
];

/// The most slices into which an import divides a value.
const MOST_PARTS: usize = 4096;

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

fn slice<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let mut value = node.operand(0)?.clone();
    let rank = value.rank();
    let bounds = |name: &str, index: usize| -> Result<Vec<Polynomial>, Reason> {
        if node.opset < 10 {
            let ints = node.ints(name).ok_or(Reason::Missing { index })?;
            return Ok(ints.iter().map(|&it| Polynomial::from(it)).collect());
        }
        let problem = || Reason::Operand { index, problem: "must be integers".to_owned() };
        node.known(index)?.to_sizes().ok_or_else(problem)
    };
    let (starts, ends) = (bounds("starts", 1)?, bounds("ends", 2)?);
    let axes = match node.axes(3, rank)? {
        Some(axes) => axes,
        None => (0..starts.len()).collect(),
    };
    let steps = match node.opset >= 10 && node.optional(4).is_some() {
        true => node.integers(4)?,
        false => vec![1; starts.len()],
    };
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return unsupported("its starts, ends, axes and steps differ in number");
    }
    for (((start, end), axis), step) in starts.iter().zip(&ends).zip(axes).zip(steps) {
        let Some(dim) = value.dims().get(axis).cloned() else {
            return unsupported(format!("there is no axis {axis}"));
        };
        let size = dim.polynomial();
        if let (Some(size), Some(start), Some(end)) = (dim.fixed(), start.as_number(), end.as_number()) {
            let indices = stepped(size, start, end, step)?;
            value = importer.take(&value, axis, &indices)?;
            continue;
        }
        if step != 1 {
            return unsupported(format!("a step of {step} along an axis of open size is not supported"));
        }
        let bound = |at: &Polynomial| -> Option<Polynomial> {
            match at.as_number() {
                // Beyond the end, whatever the size is.
                Some(number) if number >= i64::from(i32::MAX) => Some(size.clone()),
                Some(number) if number < 0 => Some(size.plus(at)),
                _ => size.minus(at).is_never_negative().then(|| at.clone()),
            }
        };
        let (Some(first), Some(last)) = (bound(start), bound(end)) else {
            return unsupported(format!(
                "its bounds {start} and {end} of an axis of size {size} depend on open sizes"
            ));
        };
        value = importer.slice(&value, axis, first.clone(), last.minus(&first))?;
    }
    one(value)
}

/// The indices of a slice, whose bounds may be beyond the axis.
fn stepped(size: usize, start: i64, end: i64, step: i64) -> Result<Vec<usize>, Reason> {
    if step == 0 {
        return unsupported("its step is 0");
    }
    let size = size as i64;
    let counted = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
    let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let mut at = counted(start).clamp(low, high);
    let end = if step < 0 && end < -size { -1 } else { counted(end).clamp(low, high) };
    let mut indices = Vec::new();
    while if step > 0 { at < end } else { at > end } {
        indices.push(at as usize);
        at = at.saturating_add(step);
    }
    Ok(indices)
}

fn split<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?.clone();
    let axis = node.axis(0, value.rank())?;
    let given = match node.sizes("split", 0)? {
        Some(sizes) => Some(sizes.into_iter().map(Polynomial::from).collect()),
        None => match node.optional_known(1)? {
            Some(known) => known.to_sizes(),
            None => None,
        },
    };
    node.ignore(&["num_outputs"]);
    let count = node.results().max(1);
    let sizes = match given {
        Some(sizes) => sizes,
        None => {
            let size = value.fixed(axis)?;
            let each = size.div_ceil(count);
            (0..count).map(|index| Polynomial::from(each.min(size.saturating_sub(index * each)))).collect()
        }
    };
    let mut start = Polynomial::default();
    let mut parts = Vec::with_capacity(sizes.len());
    for size in sizes {
        parts.push(importer.slice(&value, axis, start.clone(), size.clone())?);
        start = start.plus(&size);
    }
    if start != value.dims()[axis].polynomial() {
        return unsupported(format!(
            "its parts have {start} indices, but axis {axis} has {}",
            value.dims()[axis]
        ));
    }
    Ok(parts)
}

fn concat<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let parts = &node.operands;
    let rank = parts.first().map_or(0, Value::rank);
    let axis = node.axis(1, rank)?;
    one(importer.concat(parts, axis)?)
}

fn tile<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let mut value = node.operand(0)?.clone();
    let repeats = node.integers(1)?;
    if node.opset < 6 || repeats.len() != value.rank() {
        return unsupported("it needs a number of copies for each axis");
    }
    for (axis, &count) in repeats.iter().enumerate() {
        match usize::try_from(count) {
            Ok(1) => {}
            Ok(count @ 1..MOST_PARTS) => value = importer.concat(&vec![value; count], axis)?,
            _ => return unsupported(format!("{count} copies along axis {axis} are not supported")),
        }
    }
    one(value)
}

fn pad<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let mut value = node.operand(0)?.clone();
    let rank = value.rank();
    let mode = node.text("mode").unwrap_or("constant");
    let (sizes, number) = if node.opset < 11 {
        let ints = node.ints("pads").or_else(|| node.ints("paddings")).ok_or(Reason::Missing { index: 1 })?;
        (ints.to_vec(), node.float("value", 0.0))
    } else {
        (node.integers(1)?, if node.optional(2).is_some() { node.number(2)? } else { 0.0 })
    };
    let axes = match node.opset >= 18 {
        true => node.axes(3, rank)?.unwrap_or_else(|| (0..rank).collect()),
        false => (0..rank).collect(),
    };
    if sizes.len() != 2 * axes.len() {
        return unsupported(format!("it has {} sizes of padding for {} axes", sizes.len(), axes.len()));
    }
    for (index, &axis) in axes.iter().enumerate() {
        let (before, after) = (sizes[index], sizes[index + axes.len()]);
        if before == 0 && after == 0 {
            continue;
        }
        // Negative padding cuts elements off.
        if before < 0 || after < 0 {
            let size = value.dims()[axis].polynomial();
            let (first, last) = (Polynomial::from((-before).max(0)), Polynomial::from((-after).max(0)));
            value = importer.slice(&value, axis, first.clone(), size.minus(&first).minus(&last))?;
        }
        let [before, after] = [before, after].map(|size| usize::try_from(size).unwrap_or(0));
        if before.max(after) > 1 << 24 {
            return unsupported(format!("a padding of {} is not supported", before.max(after)));
        }
        value = match mode {
            "constant" => importer.pad(&value, axis, [before, after], number)?,
            "reflect" | "edge" | "wrap" => {
                let size = value.fixed(axis)? as i64;
                let source = |at: i64| -> usize {
                    let at = match mode {
                        "edge" => at.clamp(0, size - 1),
                        "wrap" => at.rem_euclid(size),
                        _ if size == 1 => 0,
                        _ => {
                            // Back and forth between the first and the last element.
                            let period = 2 * (size - 1);
                            let at = at.rem_euclid(period);
                            if at < size { at } else { period - at }
                        }
                    };
                    at as usize
                };
                let places: Vec<usize> = (-(before as i64)..size + after as i64).map(source).collect();
                importer.take(&value, axis, &places)?
            }
            other => {
                let needed = "`constant`, `reflect`, `edge` or `wrap`".to_owned();
                return Err(Reason::AttributeValue { name: "mode", value: other.to_owned(), needed });
            }
        };
    }
    one(value)
}

/// The sizes of an image, all but the batch fixed.
fn image(value: &Value) -> Result<(Dim, [usize; 3]), Reason> {
    match &value.dims()[..] {
        [batch, Dim::Fixed(channels), Dim::Fixed(height), Dim::Fixed(width)] => {
            Ok((batch.clone(), [*channels, *height, *width]))
        }
        dims => unsupported(format!("it needs images of fixed sizes, but receives {} axes", dims.len())),
    }
}

fn block(node: &Node<'_>) -> Result<usize, Reason> {
    match usize::try_from(node.int("blocksize", 0)) {
        Ok(size @ 1..1024) => Ok(size),
        _ => unsupported("its block size is not between 1 and 1023"),
    }
}

fn depth_to_space<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    let size = block(node)?;
    let (batch, [channels, height, width]) = image(value)?;
    if channels % (size * size) != 0 {
        return unsupported(format!("{channels} channels are no multiple of the block size {size} squared"));
    }
    let rest = channels / (size * size);
    let (inner, order): ([usize; 3], [usize; 6]) = match node.text("mode").unwrap_or("DCR") {
        "DCR" => ([size, size, rest], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([rest, size, size], [0, 1, 4, 2, 5, 3]),
        other => {
            let value = other.to_owned();
            return Err(Reason::AttributeValue { name: "mode", value, needed: "`DCR` or `CRD`".to_owned() });
        }
    };
    let dims = |sizes: &[usize]| -> Vec<Dim> {
        std::iter::once(batch.clone()).chain(sizes.iter().map(|&size| Dim::Fixed(size))).collect()
    };
    let split = importer.reshape(value, &dims(&[inner[0], inner[1], inner[2], height, width]))?;
    let moved = importer.transpose(&split, &order)?;
    one(importer.reshape(&moved, &dims(&[rest, height * size, width * size]))?)
}

fn space_to_depth<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    let size = block(node)?;
    let (batch, [channels, height, width]) = image(value)?;
    if height % size != 0 || width % size != 0 {
        return unsupported(format!("{height}×{width} pixels are no multiple of the block size {size}"));
    }
    let dims = |sizes: &[usize]| -> Vec<Dim> {
        std::iter::once(batch.clone()).chain(sizes.iter().map(|&size| Dim::Fixed(size))).collect()
    };
    let (rows, columns) = (height / size, width / size);
    let split = importer.reshape(value, &dims(&[channels, rows, size, columns, size]))?;
    let moved = importer.transpose(&split, &[0, 3, 5, 1, 2, 4])?;
    one(importer.reshape(&moved, &dims(&[channels * size * size, rows, columns]))?)
}

fn trilu<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?.clone();
    let rank = value.rank();
    if rank < 2 {
        return unsupported("it needs a matrix");
    }
    let (rows, columns) = (value.fixed(rank - 2)?, value.fixed(rank - 1)?);
    let shift = if node.optional(1).is_some() { *node.integers(1)?.first().unwrap_or(&0) } else { 0 };
    let is_upper = node.flag("upper", true);
    let is_kept = |at: usize| {
        let diagonal = (at % columns) as i64 - (at / columns) as i64;
        if is_upper { diagonal >= shift } else { diagonal <= shift }
    };
    small(&[Dim::Fixed(rows), Dim::Fixed(columns)])?;
    let mask: Vec<bool> = (0..rows * columns).map(is_kept).collect();
    if let Value::Known(known) = &value
        && known.name.is_none()
        && let Some(integers) = known.to_integers()
    {
        let count = rows * columns;
        let values = integers.iter().enumerate().map(|(at, &value)| if mask[at % count] { value } else { 0 });
        return one(Known::integers(known.dims.clone(), values.collect()));
    }
    let mask =
        Known::floats(vec![rows, columns], mask.into_iter().map(|it| f32::from(u8::from(it))).collect());
    let Value::Data(data) = &value else {
        return one(super::arithmetic::multiplied(importer, &value, &mask.into())?);
    };
    let mask = importer.lift_like(&mask.into(), data)?;
    let [data, mask] = importer.pair(data, &mask)?;
    let kept = importer.binary_op(
        windlass_compiler::ops::elementwise::BinaryKind::ReluGrad,
        data.value,
        mask.value,
    )?;
    one(data.replaced(kept))
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

fn center_crop_pad<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let mut value = node.operand(0)?.clone();
    let sizes = node.integers(1)?;
    let axes = match node.axes(usize::MAX, value.rank())? {
        Some(axes) => axes,
        None => (0..value.rank()).collect(),
    };
    if sizes.len() != axes.len() {
        return unsupported("it needs a size for each axis");
    }
    for (&axis, &size) in axes.iter().zip(&sizes) {
        let own = value.fixed(axis)?;
        let Ok(size) = usize::try_from(size) else { return unsupported(format!("its size is {size}")) };
        value = if size <= own {
            importer.slice(&value, axis, (own - size) / 2, size)?
        } else {
            let missing = size - own;
            small(&[Dim::Fixed(missing)])?;
            importer.pad(&value, axis, [missing / 2, missing - missing / 2], 0.0)?
        };
    }
    one(value)
}
