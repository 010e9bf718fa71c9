//! Shapes and constants, and operators that only change shapes.

use windlass_compiler::ops::fill::Fill;
use windlass_compiler::shape::{Dim, Polynomial, Shape, Symbol};

use super::{Rule, one};
use crate::error::{Reason, unsupported};
use crate::importer::{Importer, MOST_KNOWN};
use crate::known::{Elements, Known};
use crate::movement::{count, quotient};
use crate::node::{Node, resolve};
use crate::value::{Value, Weight};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Constant", constant),
    ("ConstantOfShape", constant_of_shape),
    ("Range", range),
    ("EyeLike", eye_like),
    ("Shape", shape),
    ("Size", size),
    ("Identity", identity),
    ("Dropout", dropout),
    ("Reshape", reshape),
    ("Flatten", flatten),
    ("Squeeze", squeeze),
    ("Unsqueeze", unsqueeze),
    ("Transpose", transpose),
    ("Expand", expand),
];

fn constant<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    if let Some(tensor) = node.tensor("value") {
        return one(importer.decoded(tensor)?);
    }
    if node.has("value_float") {
        return one(Known::floats(Vec::new(), vec![node.float("value_float", 0.0)]));
    }
    if node.has("value_int") {
        return one(Known::integers(Vec::new(), vec![node.int("value_int", 0)]));
    }
    if let Some(floats) = node.floats("value_floats") {
        return one(Known::floats(vec![floats.len()], floats.to_vec()));
    }
    if let Some(ints) = node.ints("value_ints") {
        return one(Known::integers(vec![ints.len()], ints.to_vec()));
    }
    unsupported("it has no value of numbers")
}

/// Known sizes.
fn sizes(node: &Node<'_>, index: usize) -> Result<Vec<Dim>, Reason> {
    let problem = || Reason::Operand { index, problem: "must be sizes".to_owned() };
    let sizes = node.known(index)?.to_sizes().ok_or_else(problem)?;
    let dim = |size: &Polynomial| match size.as_number() {
        Some(number) => usize::try_from(number).map(Dim::Fixed).map_err(|_| problem()),
        None => Ok(Dim::from(size.clone())),
    };
    sizes.iter().map(dim).collect()
}

fn constant_of_shape<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = match node.tensor("value") {
        Some(tensor) => importer.decoded(tensor)?,
        None => Known::floats(vec![1], vec![0.0]),
    };
    if value.len() != 1 {
        return unsupported("its value must be one number");
    }
    let dims = sizes(node, 0)?;
    let one_element = value.with_dims(vec![1; dims.len()]);
    if dims.iter().any(|dim| dim.polynomial().symbols().contains(&Symbol::BATCH)) {
        let axis = dims.iter().position(|dim| *dim == Dim::batch());
        let (Some(axis), Some(number)) = (axis, value.to_floats().map(|values| values[0])) else {
            return unsupported("only one axis of a constant may be the batch");
        };
        return one(importer.constant_batch(axis, dims, number)?);
    }
    // A large one is computed when the network runs.
    if let (Some(sizes), Some(number)) = (crate::movement::fixed(&dims), value.to_floats())
        && value.is_float()
        && number[0].is_finite()
        && sizes.iter().fold(1usize, |count, &size| count.saturating_mul(size)) > MOST_STORED
    {
        let fill = Fill { shape: Shape::fixed(&sizes), value: number[0] };
        let value = importer.op(fill, &[])?;
        return one(Weight::new(value, sizes));
    }
    one(importer.expand(&one_element.into(), &dims)?)
}

/// The most elements of a constant of one number that are stored.
const MOST_STORED: usize = 1 << 20;

fn range<'m>(_: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let bounds = [node.known(0)?, node.known(1)?, node.known(2)?];
    if bounds.iter().any(|known| known.len() != 1) {
        return unsupported("its bounds must be single numbers");
    }
    if let [Some(start), Some(limit), Some(delta)] = bounds.map(Known::to_integers) {
        let [start, limit, delta] = [start[0], limit[0], delta[0]];
        if delta == 0 {
            return unsupported("its step is 0");
        }
        let count = (i128::from(limit) - i128::from(start)) as f64 / delta as f64;
        let count = count.ceil().max(0.0);
        if count > MOST_KNOWN as f64 {
            return unsupported("its constant has more than 2^24 elements");
        }
        let values: Vec<i64> =
            (0..count as i64).map(|index| start.wrapping_add(index.wrapping_mul(delta))).collect();
        return one(Known::integers(vec![values.len()], values));
    }
    let [Some(start), Some(limit), Some(delta)] =
        bounds.map(|known| known.to_floats().filter(|it| it.len() == 1))
    else {
        return unsupported("its bounds must be numbers that depend on no open size");
    };
    let [start, limit, delta] = [start[0], limit[0], delta[0]];
    let count = ((f64::from(limit) - f64::from(start)) / f64::from(delta)).ceil().max(0.0);
    if count > MOST_KNOWN as f64 || count.is_nan() {
        return unsupported("its constant has more than 2^24 elements");
    }
    let values: Vec<f32> = (0..count as usize).map(|index| start + index as f32 * delta).collect();
    one(Known::floats(vec![values.len()], values))
}

fn eye_like<'m>(_: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    let (rows, columns) = match value.rank() {
        2 => (value.fixed(0)?, value.fixed(1)?),
        rank => return unsupported(format!("it needs a matrix, but receives {rank} axes")),
    };
    let shift = node.int("k", 0);
    let is_float = !matches!(node.int("dtype", 1), 2..=9 | 12 | 13);
    if rows.saturating_mul(columns) > MOST_KNOWN {
        return unsupported("its constant has more than 2^24 elements");
    }
    let places = (0..rows * columns).map(|at| (at % columns) as i64 - (at / columns) as i64 == shift);
    let dims = vec![rows, columns];
    if is_float {
        return one(Known::floats(dims, places.map(|is_one| f32::from(u8::from(is_one))).collect()));
    }
    one(Known::integers(dims, places.map(i64::from).collect()))
}

fn shape<'m>(_: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let dims = node.operand(0)?.dims();
    let rank = dims.len() as i64;
    let bound = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (bound(node.int("start", 0)), bound(node.int("end", rank)));
    let sizes: Vec<Polynomial> = dims[start..end.max(start)].iter().map(Dim::polynomial).collect();
    one(Known::sizes(vec![sizes.len()], sizes))
}

fn size<'m>(_: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    one(Known::sizes(Vec::new(), vec![count(&node.operand(0)?.dims())]))
}

fn identity<'m>(_: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    one(node.operand(0)?.clone())
}

fn dropout<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    node.ignore(&["seed", "is_test"]);
    let value = node.operand(0)?.clone();
    let rate = match node.optional(1) {
        Some(_) => node.number(1)?,
        None => node.float("ratio", 0.5),
    };
    let trains = match node.optional_known(2)? {
        Some(known) => known.to_booleans().is_some_and(|values| values == [true]),
        None => false,
    };
    let mut results = match &value {
        // It is the identity at inference, and drops elements when the network is trained.
        Value::Data(data) if (0.0..1.0).contains(&rate) && rate > 0.0 => {
            if trains {
                return unsupported("it drops elements at inference; clear its `training_mode`");
            }
            let value =
                importer.op(windlass_compiler::ops::dropout::Dropout::new(f64::from(rate)), &[data.value])?;
            vec![Value::from(data.replaced(value))]
        }
        _ if trains && rate > 0.0 => {
            return unsupported("it drops elements at inference; clear its `training_mode`");
        }
        _ => vec![value.clone()],
    };
    if node.has_result(1) {
        let mask = Known::booleans(vec![1; value.rank()], vec![true]);
        results.push(match &value {
            Value::Data(data) => {
                let ones = importer.number_like(data, 1.0)?;
                data.replaced(ones).meaning(crate::value::Meaning::Truth).into()
            }
            _ => importer.expand(&mask.into(), &value.dims())?,
        });
    }
    Ok(results)
}

fn reshape<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    let own = value.dims();
    let target: Vec<Polynomial> = match node.ints("shape") {
        Some(ints) => ints.iter().map(|&size| Polynomial::from(size)).collect(),
        None => {
            let problem = || Reason::Operand { index: 1, problem: "must be sizes".to_owned() };
            node.known(1)?.to_sizes().ok_or_else(problem)?
        }
    };
    let allow_zero = node.flag("allowzero", false);
    let mut free = None;
    let mut dims = Vec::with_capacity(target.len());
    for (axis, size) in target.iter().enumerate() {
        dims.push(match size.as_number() {
            Some(0) if !allow_zero => match own.get(axis) {
                Some(dim) => dim.clone(),
                None => return unsupported(format!("axis {axis} of its shape is copied, but there is none")),
            },
            Some(-1) if free.is_none() => {
                free = Some(axis);
                Dim::Fixed(1)
            }
            Some(number) => match usize::try_from(number) {
                Ok(number) => Dim::Fixed(number),
                Err(_) => return unsupported(format!("its shape has the size {number}")),
            },
            None => Dim::from(size.clone()),
        });
    }
    if let Some(axis) = free {
        match quotient(&own, &dims) {
            Some(dim) => dims[axis] = dim,
            None => return unsupported("the size -1 of its shape has no solution"),
        }
    }
    one(importer.reshape(value, &dims)?)
}

fn flatten<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    let dims = value.dims();
    let axis = node.int("axis", 1);
    let axis = if axis == dims.len() as i64 { dims.len() } else { resolve(axis, dims.len())? };
    let (first, last) = dims.split_at(axis);
    one(importer.reshape(value, &[Dim::from(count(first)), Dim::from(count(last))])?)
}

fn squeeze<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    let dims = value.dims();
    let is_one = |axis: usize| dims[axis].fixed() == Some(1);
    let axes = match node.axes(1, dims.len())? {
        Some(axes) => axes,
        None => (0..dims.len()).filter(|&axis| is_one(axis)).collect(),
    };
    if let Some(axis) = axes.iter().find(|&&axis| !is_one(axis)) {
        return unsupported(format!("axis {axis} has the size {}, not 1", dims[*axis]));
    }
    let rest = (0..dims.len()).filter(|axis| !axes.contains(axis)).map(|axis| dims[axis].clone());
    let rest: Vec<Dim> = rest.collect();
    one(importer.reshape(value, &rest)?)
}

fn unsqueeze<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    let given = match node.ints("axes") {
        Some(ints) => ints.to_vec(),
        None => node.integers(1)?,
    };
    let rank = value.rank() + given.len();
    let axes = given.iter().map(|&axis| resolve(axis, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut own = value.dims().into_iter();
    let mut dims = Vec::with_capacity(rank);
    for axis in 0..rank {
        match axes.contains(&axis) {
            true => dims.push(Dim::Fixed(1)),
            false => dims.extend(own.next()),
        }
    }
    if dims.len() != rank || own.next().is_some() {
        return unsupported("an axis occurs twice in its axes");
    }
    one(importer.reshape(value, &dims)?)
}

fn transpose<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    let rank = value.rank();
    let order = match node.sizes("perm", 0)? {
        Some(order) => order,
        None => (0..rank).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..rank) {
        return unsupported(format!("its order {order:?} does not name each of {rank} axes once"));
    }
    one(importer.transpose(value, &order)?)
}

fn expand<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?;
    let target = sizes(node, 1)?;
    let dims = crate::broadcast::common(&value.dims(), &target)?;
    let is_batched = |dim: &Dim| dim.polynomial().symbols().contains(&Symbol::BATCH);
    if !value.is_data() && dims.iter().any(is_batched) {
        let axis = dims.iter().position(|dim| *dim == Dim::batch());
        let Some(axis) = axis else { return unsupported("the batch is a part of an axis") };
        let zeros = importer.constant_batch(axis, dims, 0.0)?;
        return one(importer.lift_like(value, &zeros)?);
    }
    one(importer.expand(value, &dims)?)
}

/// The elements of a known tensor of one type.
pub(super) fn is_whole(known: &Known) -> bool {
    matches!(known.elements, Elements::Integers(_) | Elements::Sizes(_))
}
