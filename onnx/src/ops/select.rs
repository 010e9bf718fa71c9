//! Operators that cut, repeat and arrange elements along axes.

use windlass_compiler::shape::{Dim, Polynomial};

use super::gather::MOST_PARTS;
use super::{Rule, one};
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::known::Known;
use crate::movement::small;
use crate::node::Node;
use crate::value::Value;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Slice", slice),
    ("Split", split),
    ("Concat", concat),
    ("Tile", tile),
    ("Pad", pad),
    ("DepthToSpace", depth_to_space),
    ("SpaceToDepth", space_to_depth),
    ("Trilu", trilu),
    ("CenterCropPad", center_crop_pad),
];

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
        (ints.iter().map(|&size| Polynomial::from(size)).collect(), node.float("value", 0.0))
    } else {
        let problem = || Reason::Operand { index: 1, problem: "must be sizes".to_owned() };
        let sizes = node.known(1)?.to_sizes().ok_or_else(problem)?;
        (sizes, if node.optional(2).is_some() { node.number(2)? } else { 0.0 })
    };
    let axes = match node.opset >= 18 {
        true => node.axes(3, rank)?.unwrap_or_else(|| (0..rank).collect()),
        false => (0..rank).collect(),
    };
    if sizes.len() != 2 * axes.len() {
        return unsupported(format!("it has {} sizes of padding for {} axes", sizes.len(), axes.len()));
    }
    for (index, &axis) in axes.iter().enumerate() {
        let around = [&sizes[index], &sizes[index + axes.len()]];
        let [Some(before), Some(after)] = around.map(Polynomial::as_number) else {
            if let Some(size) = around.iter().find(|size| !size.is_never_negative()) {
                return unsupported(format!("a padding of {size}, which may be negative, is not supported"));
            }
            if mode != "constant" {
                return unsupported(format!(
                    "a padding of an open size in the mode `{mode}` is not supported"
                ));
            }
            value = importer.pad(&value, axis, around.map(Polynomial::clone), number)?;
            continue;
        };
        if before == 0 && after == 0 {
            continue;
        }
        // Negative padding cuts elements off.
        if before < 0 || after < 0 {
            let size = value.dims()[axis].polynomial();
            let [first, last] = [before, after].map(|size| Polynomial::from(size.min(0).saturating_neg()));
            value = importer.slice(&value, axis, first.clone(), size.minus(&first).minus(&last))?;
        }
        let [before, after] = [before, after].map(|size| usize::try_from(size).unwrap_or(0));
        if before.max(after) > 1 << 24 {
            return unsupported(format!("a padding of {} is not supported", before.max(after)));
        }
        value = match mode {
            "constant" => importer.pad(&value, axis, [before, after].map(Polynomial::from), number)?,
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
            importer.pad(&value, axis, [missing / 2, missing - missing / 2].map(Polynomial::from), 0.0)?
        };
    }
    one(value)
}
