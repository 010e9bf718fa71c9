//! Operations that move elements, on values of any kind: known tensors are moved here, others by operators of the graph.

use windlass_compiler::ops::fill::Fill;
use windlass_compiler::ops::structure::{Concat, Pad, Slice, Transpose};
use windlass_compiler::shape::{Dim, Polynomial, Shape};

use crate::error::{Reason, unsupported};
use crate::importer::{Importer, MOST_KNOWN};
use crate::known::{Known, strides};
use crate::value::{Batch, Data, Value, Weight};

/// The product of sizes.
pub(crate) fn count(dims: &[Dim]) -> Polynomial {
    Shape::new(dims.to_vec()).count()
}

/// Fixed sizes, or none if one is open.
pub(crate) fn fixed(dims: &[Dim]) -> Option<Vec<usize>> {
    dims.iter().map(Dim::fixed).collect()
}

/// The sizes of a tensor that the import computes itself.
pub(crate) fn small(dims: &[Dim]) -> Result<Vec<usize>, Reason> {
    let Some(sizes) = fixed(dims) else { return unsupported("a known tensor cannot have an open size") };
    let count = sizes.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    match count {
        Some(count) if count <= MOST_KNOWN => Ok(sizes),
        _ => unsupported(format!("it would compute a constant of sizes {sizes:?}, more than 2^24 elements")),
    }
}

impl Importer<'_> {
    /// The same elements with other axes.
    pub(crate) fn reshape(&mut self, value: &Value, dims: &[Dim]) -> Result<Value, Reason> {
        if value.dims() == dims {
            return Ok(value.clone());
        }
        if count(&value.dims()) != count(dims) {
            let list = |dims: &[Dim]| Shape::new(dims.to_vec()).to_string();
            return unsupported(format!("{} cannot become {}", list(&value.dims()), list(dims)));
        }
        match value {
            Value::Known(known) => {
                let Some(sizes) = fixed(dims) else {
                    return unsupported("a known tensor cannot have an open size");
                };
                let mut moved = known.with_dims(sizes);
                if known.name.is_some() {
                    // A parameter stays one.
                    let weight = self.stored(known, false)?;
                    let shape = Shape::fixed(&moved.dims);
                    let value = self.shaped(weight.value, shape)?;
                    let elements = Some(Known { name: None, ..moved.clone() });
                    return Ok(Weight { value, dims: moved.dims, elements }.into());
                }
                moved.name = None;
                Ok(moved.into())
            }
            Value::Weight(weight) => {
                let Some(sizes) = fixed(dims) else {
                    return unsupported("a parameter cannot have an open size");
                };
                let value = self.shaped(weight.value, Shape::fixed(&sizes))?;
                let elements = weight.elements.as_ref().map(|known| known.with_dims(sizes.clone()));
                Ok(Weight { value, dims: sizes, elements }.into())
            }
            Value::Data(data) => {
                if self.open_batch {
                    return Ok(self.reshape_around_batch(data, dims)?.into());
                }
                let keeps_first = data.dims.first() == dims.first() && !dims.is_empty();
                let (data, batch) = match data.batch {
                    Batch::Axis(0) if keeps_first => (data.clone(), Batch::Axis(0)),
                    _ => (self.spread(data)?, Batch::Outside),
                };
                let result = Data { batch, ..data.with(data.value, dims.to_vec()) };
                let value = self.shaped(data.value, result.shape())?;
                Ok(Data { value, ..result }.into())
            }
            Value::Empty(_) => Ok(Value::Empty(dims.to_vec())),
            Value::Absent => Err(Reason::Missing { index: 0 }),
        }
    }

    /// Axis `i` of the result is axis `order[i]` of the value.
    pub(crate) fn transpose(&mut self, value: &Value, order: &[usize]) -> Result<Value, Reason> {
        if order.iter().copied().eq(0..order.len()) {
            return Ok(value.clone());
        }
        let dims: Vec<Dim> = order.iter().map(|&axis| value.dims()[axis].clone()).collect();
        match value {
            Value::Known(known) if known.name.is_none() => {
                let own = strides(&known.dims);
                let sizes = order.iter().map(|&axis| known.dims[axis]).collect();
                let place = |index: &[usize]| index.iter().zip(order).map(|(at, &axis)| at * own[axis]).sum();
                Ok(known.moved(sizes, place).into())
            }
            Value::Known(_) | Value::Weight(_) => {
                let elements =
                    value.stored_elements().map(|known| self.transpose(&known.into(), order)).transpose()?;
                let weight = self.weight(value)?;
                let value = self.op(Transpose { order: order.to_vec() }, &[weight.value])?;
                let dims = order.iter().map(|&axis| weight.dims[axis]).collect();
                Ok(Value::from(Weight::new(value, dims)).with_elements(elements))
            }
            Value::Data(data) => {
                // The axis of the batch moves in the model only: it stays first in the graph.
                let (data, batch) = match data.batch {
                    Batch::Axis(axis) if self.open_batch => {
                        let place = order.iter().position(|&other| other == axis).unwrap_or(axis);
                        (data.clone(), Batch::Axis(place))
                    }
                    Batch::Axis(0) if order.first() == Some(&0) => (data.clone(), Batch::Axis(0)),
                    _ => (self.spread(data)?, Batch::Outside),
                };
                let mut axes: Vec<usize> = order.iter().map(|&axis| data.axis(axis)).collect();
                match batch {
                    Batch::Outside => axes.insert(0, 0),
                    Batch::Axis(place) => {
                        axes.remove(place);
                        axes.insert(0, 0);
                    }
                }
                let moves = !axes.iter().copied().eq(0..axes.len());
                let value =
                    if moves { self.op(Transpose { order: axes }, &[data.value])? } else { data.value };
                Ok(Data { batch, ..data.with(value, dims) }.into())
            }
            Value::Empty(_) => Ok(Value::Empty(dims)),
            Value::Absent => Err(Reason::Missing { index: 0 }),
        }
    }

    /// Some neighbouring indices of an axis.
    pub(crate) fn slice(
        &mut self,
        value: &Value,
        axis: usize,
        start: impl Into<Polynomial>,
        length: impl Into<Polynomial>,
    ) -> Result<Value, Reason> {
        let (start, length) = (start.into(), length.into());
        let mut dims = value.dims();
        if axis >= dims.len() {
            return unsupported(format!("there is no axis {axis} of {}", dims.len()));
        }
        if start.as_number() == Some(0) && dims[axis].polynomial() == length {
            return Ok(value.clone());
        }
        dims[axis] = Dim::from(length.clone());
        if length.as_number() == Some(0) && !matches!(value, Value::Known(_)) {
            return Ok(Value::Empty(dims));
        }
        match value {
            Value::Known(known) if known.name.is_none() => {
                let own = strides(&known.dims);
                let first = start.as_number().and_then(|start| usize::try_from(start).ok());
                let (Some(first), Some(sizes)) = (first, fixed(&dims)) else {
                    return unsupported("a known tensor cannot have an open size");
                };
                if first.saturating_add(sizes[axis]) > known.dims[axis] {
                    return unsupported("its indices are out of range");
                }
                let place = |index: &[usize]| {
                    let start = first * own[axis];
                    start + index.iter().zip(&own).map(|(at, stride)| at * stride).sum::<usize>()
                };
                Ok(known.moved(sizes, place).into())
            }
            Value::Known(_) | Value::Weight(_) => {
                let elements = value.stored_elements();
                let elements = elements
                    .map(|known| self.slice(&known.into(), axis, start.clone(), length.clone()))
                    .transpose()?;
                let weight = self.weight(value)?;
                let value = self.op(Slice { axis, start, length }, &[weight.value])?;
                Ok(Value::from(Weight::new(value, fixed(&dims).unwrap_or_default())).with_elements(elements))
            }
            Value::Data(data) => {
                let data = self.with_axes(data, &[axis])?;
                let value = self.op(Slice { axis: data.axis(axis), start, length }, &[data.value])?;
                Ok(data.with(value, dims).into())
            }
            Value::Empty(_) => Ok(Value::Empty(dims)),
            Value::Absent => Err(Reason::Missing { index: 0 }),
        }
    }

    /// Values one after the other along an axis.
    pub(crate) fn concat(&mut self, parts: &[Value], axis: usize) -> Result<Value, Reason> {
        // Parts without elements add nothing.
        let is_empty = |value: &Value| match value {
            Value::Known(known) => known.len() == 0,
            other => matches!(other, Value::Empty(_)),
        };
        let whole: Vec<Value> = parts.iter().filter(|part| !is_empty(part)).cloned().collect();
        let parts = if whole.is_empty() { parts } else { &whole };
        let [first, rest @ ..] = parts else { return Err(Reason::Missing { index: 0 }) };
        if rest.is_empty() {
            return Ok(first.clone());
        }
        let mut dims = first.dims();
        let without = |dims: &[Dim]| [&dims[..axis], &dims[axis + 1..]].concat();
        for (index, part) in rest.iter().enumerate() {
            let own = part.dims();
            if own.len() != dims.len() || without(&own) != without(&dims) {
                let list = |dims: &[Dim]| Shape::new(dims.to_vec()).to_string();
                let problem =
                    format!("of shape {} does not fit {} along axis {axis}", list(&own), list(&first.dims()));
                return Err(Reason::Operand { index: index + 1, problem });
            }
            dims[axis] = Dim::from(dims[axis].polynomial().plus(&own[axis].polynomial()));
        }
        let is_known = |value: &Value| matches!(value, Value::Known(known) if known.name.is_none());
        if parts.iter().all(is_known) {
            return self.concat_known(parts, axis, &dims);
        }
        if parts.iter().any(Value::is_data) {
            let mut all = Vec::with_capacity(parts.len());
            for part in parts {
                let data = self.beside(part, parts)?;
                all.push(self.with_axes(&data, &[axis])?);
            }
            let all = if all.iter().any(|data| data.batch == Batch::Outside) {
                all.iter().map(|data| self.spread(data)).collect::<Result<Vec<_>, _>>()?
            } else {
                self.alike(&all)?
            };
            let values: Vec<_> = all.iter().map(|data| data.value).collect();
            let value = self.op(Concat { axis: all[0].axis(axis) }, &values)?;
            return Ok(all[0].with(value, dims).into());
        }
        let all: Option<Vec<Value>> =
            parts.iter().map(|part| part.stored_elements().map(Value::from)).collect();
        let elements = all.map(|all| self.concat(&all, axis)).transpose()?;
        let weights = parts.iter().map(|part| self.weight(part)).collect::<Result<Vec<_>, _>>()?;
        let values: Vec<_> = weights.iter().map(|weight| weight.value).collect();
        let value = self.op(Concat { axis }, &values)?;
        Ok(Value::from(Weight::new(value, fixed(&dims).unwrap_or_default())).with_elements(elements))
    }

    /// A value as data that has the same form as the data among others.
    fn beside(&mut self, value: &Value, others: &[Value]) -> Result<Data, Reason> {
        if let Value::Data(data) = value {
            return Ok(data.clone());
        }
        let model = others.iter().find_map(|other| match other {
            Value::Data(data) => Some(data.clone()),
            _ => None,
        });
        let Some(model) = model else { return self.data(value) };
        match model.batch {
            Batch::Axis(axis) if self.open_batch => {
                // One copy for each sample, if the parameters are the same for all.
                let dims = value.dims();
                let mut target = dims.clone();
                target[axis] = model.dims[axis].clone();
                let like = model.with(model.value, target);
                self.lift_like(value, &like)
            }
            _ => self.data(value),
        }
    }

    fn concat_known(&mut self, parts: &[Value], axis: usize, dims: &[Dim]) -> Result<Value, Reason> {
        let sizes = small(dims)?;
        let mut known = Vec::with_capacity(parts.len());
        for part in parts {
            known.push(part.known()?.clone());
        }
        // All parts one after the other, and then every element to its place.
        let lengths: Vec<usize> = known.iter().map(|part| part.dims[axis]).collect();
        let flat = joined(&known)?;
        let steps: Vec<Vec<usize>> = known.iter().map(|part| strides(&part.dims)).collect();
        let starts: Vec<usize> = known
            .iter()
            .scan(0, |start, part| {
                let own = *start;
                *start += part.len();
                Some(own)
            })
            .collect();
        let result = flat.moved(sizes, |index| {
            let (mut part, mut at) = (0, index[axis]);
            while at >= lengths[part] {
                at -= lengths[part];
                part += 1;
            }
            let own = index.iter().enumerate().map(|(other, &place)| {
                let place = if other == axis { at } else { place };
                place * steps[part][other]
            });
            starts[part] + own.sum::<usize>()
        });
        Ok(result.into())
    }

    /// Elements of one number before and after those of an axis.
    pub(crate) fn pad(
        &mut self,
        value: &Value,
        axis: usize,
        [before, behind]: [Polynomial; 2],
        number: f32,
    ) -> Result<Value, Reason> {
        let none = Polynomial::default();
        if before == none && behind == none {
            return Ok(value.clone());
        }
        if let Value::Data(data) = value
            && number == 0.0
        {
            let data = self.with_axes(data, &[axis])?;
            let mut dims = data.dims.clone();
            dims[axis] = Dim::from(dims[axis].polynomial().plus(&before).plus(&behind));
            let op = Pad { axis: data.axis(axis), before, behind };
            let padded = self.op(op, &[data.value])?;
            return Ok(data.with(padded, dims).into());
        }
        let mut parts = Vec::new();
        for (size, is_first) in [(before, true), (behind, false)] {
            if size != none {
                let mut dims = value.dims();
                dims[axis] = Dim::from(size);
                parts.push(self.filled(value, &dims, axis, number)?);
            }
            if is_first {
                parts.push(value.clone());
            }
        }
        self.concat(&parts, axis)
    }

    /// One number for every element of a shape, in the form of another value.
    pub(crate) fn filled(
        &mut self,
        like: &Value,
        dims: &[Dim],
        axis: usize,
        number: f32,
    ) -> Result<Value, Reason> {
        match like {
            Value::Data(data) => {
                let data = self.with_axes(data, &[axis])?;
                let result = data.with(data.value, dims.to_vec());
                let value = self.number_like(&result, number)?;
                Ok(Data { value, ..result }.into())
            }
            _ => {
                let sizes = small(dims)?;
                let values = vec![number; sizes.iter().product()];
                Ok(Known::floats(sizes, values).into())
            }
        }
    }

    /// One number for every element of the shape of a value.
    pub(crate) fn number_like(
        &mut self,
        data: &Data,
        number: f32,
    ) -> Result<windlass_compiler::entity::ValueId, Reason> {
        if number.is_finite() {
            return self.op(Fill { shape: data.shape(), value: number }, &[]);
        }
        let ones = self.op(Fill { shape: data.shape(), value: 1.0 }, &[])?;
        let number = self.scalar(number)?;
        self.binary_op(windlass_compiler::ops::elementwise::BinaryKind::Multiply, ones, number)
    }
}

/// The sizes of a product, cancelled: a number and open sizes.
fn factors(dims: &[Dim]) -> (i128, Vec<Polynomial>) {
    let (mut number, mut open) = (1i128, Vec::new());
    for dim in dims {
        match dim {
            Dim::Fixed(size) => number = number.saturating_mul(*size as i128),
            Dim::Open(size) => {
                let (factor, rest) = size.primitive();
                number = number.saturating_mul(factor as i128);
                let mut terms = rest.terms();
                match (terms.next(), terms.next()) {
                    (Some((symbols, 1)), None) => {
                        open.extend(symbols.iter().map(|&symbol| Polynomial::from(symbol)))
                    }
                    _ => open.push(rest.clone()),
                }
            }
        }
    }
    (number, open)
}

/// The size that makes the product of `known` equal to that of `total`.
pub(crate) fn quotient(total: &[Dim], known: &[Dim]) -> Option<Dim> {
    let (mut number, mut open) = factors(total);
    let (by, divisors) = factors(known);
    for divisor in divisors {
        open.swap_remove(open.iter().position(|factor| *factor == divisor)?);
    }
    if by == 0 || number % by != 0 {
        return None;
    }
    number /= by;
    let product = open.iter().fold(Polynomial::from(1usize), |product, factor| product.times(factor));
    Some(Dim::from(product.scaled(i64::try_from(number).ok()?)))
}

/// The elements of tensors one after the other.
fn joined(parts: &[Known]) -> Result<Known, Reason> {
    use crate::known::Elements;
    let total = parts.iter().map(Known::len).sum();
    let unequal = || Reason::Unsupported("its operands have elements of different types".to_owned());
    let first = parts.first().ok_or(Reason::Missing { index: 0 })?;
    let known = match &first.elements {
        Elements::Floats(_) => {
            let all = parts.iter().map(|part| part.is_float().then(|| part.to_floats()).flatten());
            let all: Option<Vec<Vec<f32>>> = all.collect();
            Known::floats(vec![total], all.ok_or_else(unequal)?.concat())
        }
        Elements::Booleans(_) => {
            let all: Option<Vec<Vec<bool>>> = parts.iter().map(Known::to_booleans).collect();
            Known::booleans(vec![total], all.ok_or_else(unequal)?.concat())
        }
        Elements::Integers(_) | Elements::Sizes(_) => {
            let all: Option<Vec<Vec<Polynomial>>> = parts.iter().map(Known::to_sizes).collect();
            Known::sizes(vec![total], all.ok_or_else(unequal)?.concat())
        }
    };
    Ok(known)
}
