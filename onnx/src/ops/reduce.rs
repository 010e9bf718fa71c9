//! Reductions along axes.

use windlass_compiler::ops::elementwise::{Activation, BinaryKind, UnaryKind};
use windlass_compiler::ops::reduce::{Reduce, ReduceKind};
use windlass_compiler::shape::Dim;

use super::{Rule, one};
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::known::{Known, strides};
use crate::node::Node;
use crate::value::Value;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("ReduceSum", |importer, node| reduced(importer, node, Importer::sum)),
    ("ReduceMean", |importer, node| reduced(importer, node, Importer::mean)),
    ("ReduceMax", |importer, node| reduced(importer, node, Importer::max)),
    ("ReduceMin", |importer, node| reduced(importer, node, min)),
    ("ReduceProd", |importer, node| reduced(importer, node, product)),
    ("ReduceL1", |importer, node| reduced(importer, node, sum_of_magnitudes)),
    ("ReduceL2", |importer, node| reduced(importer, node, norm)),
    ("ReduceSumSquare", |importer, node| reduced(importer, node, sum_of_squares)),
    ("ReduceLogSum", |importer, node| reduced(importer, node, log_of_sum)),
    ("ReduceLogSumExp", |importer, node| reduced(importer, node, log_of_sum_of_powers)),
];

/// The most elements along which a product is computed.
const MOST_FACTORS: usize = 1024;

/// A reduction, in which the axes that are reduced keep the size 1.
fn reduced<'m>(
    importer: &mut Importer<'m>,
    node: &Node<'m>,
    reduce: impl FnOnce(&mut Importer<'m>, &Value, &[usize]) -> Result<Value, Reason>,
) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?.clone();
    let rank = value.rank();
    let keeps = node.flag("keepdims", true);
    let given = node.axes(1, rank)?.filter(|axes| !axes.is_empty());
    let mut axes = match given {
        Some(axes) => axes,
        None if node.flag("noop_with_empty_axes", false) => Vec::new(),
        None => (0..rank).collect(),
    };
    node.ignore(&["noop_with_empty_axes"]);
    axes.sort_unstable();
    axes.dedup();
    let result = reduce(importer, &value, &axes)?;
    if keeps {
        return one(result);
    }
    let dims = value.dims();
    let rest: Vec<Dim> =
        (0..rank).filter(|axis| !axes.contains(axis)).map(|axis| dims[axis].clone()).collect();
    one(importer.reshape(&result, &rest)?)
}

impl Importer<'_> {
    pub(crate) fn sum(&mut self, value: &Value, axes: &[usize]) -> Result<Value, Reason> {
        self.reduce(value, axes, ReduceKind::Sum)
    }

    pub(crate) fn mean(&mut self, value: &Value, axes: &[usize]) -> Result<Value, Reason> {
        self.reduce(value, axes, ReduceKind::Mean)
    }

    pub(crate) fn max(&mut self, value: &Value, axes: &[usize]) -> Result<Value, Reason> {
        self.reduce(value, axes, ReduceKind::Max)
    }

    fn reduce(&mut self, value: &Value, axes: &[usize], kind: ReduceKind) -> Result<Value, Reason> {
        if axes.is_empty() {
            return Ok(value.clone());
        }
        let mut dims = value.dims();
        for &axis in axes {
            dims[axis] = Dim::Fixed(1);
        }
        match value {
            Value::Known(known) if known.name.is_none() => reduce_known(known, axes, kind),
            Value::Data(data) => {
                self.expect_numbers(data)?;
                let data = self.with_axes(data, axes)?;
                let mut places: Vec<usize> = axes.iter().map(|&axis| data.axis(axis)).collect();
                places.sort_unstable();
                let mut value = data.value;
                // Neighbouring axes at once, the last ones first, so that the others keep their numbers.
                while let Some(last) = places.pop() {
                    let mut first = last;
                    while places.last().is_some_and(|&place| place + 1 == first) {
                        first = places.pop().unwrap_or(first);
                    }
                    value = self.op(Reduce { kind, axis: first, count: last + 1 - first }, &[value])?;
                }
                let result = data.with(value, dims);
                let value = self.shaped(value, result.shape())?;
                Ok(crate::value::Data { value, ..result }.into())
            }
            other => {
                let weight = self.weight(other)?;
                let mut value = weight.value;
                for &axis in axes.iter().rev() {
                    value = self.op(Reduce { kind, axis, count: 1 }, &[value])?;
                }
                let sizes: Vec<usize> = dims.iter().filter_map(Dim::fixed).collect();
                let value = self.shaped(value, windlass_compiler::shape::Shape::fixed(&sizes))?;
                Ok(crate::value::Weight::new(value, sizes).into())
            }
        }
    }
}

/// The reduction of a known tensor.
fn reduce_known(known: &Known, axes: &[usize], kind: ReduceKind) -> Result<Value, Reason> {
    let mut dims = known.dims.clone();
    for &axis in axes {
        dims[axis] = 1;
    }
    let own = strides(&dims);
    let count = dims.iter().product();
    let mut places = Vec::with_capacity(known.len());
    crate::known::each_index(&known.dims, |index| {
        let axes = index.iter().zip(&dims).zip(&own);
        places
            .push(axes.map(|((&at, &size), &stride)| if size == 1 { 0 } else { at * stride }).sum::<usize>());
    });
    if known.len() == 0 {
        return unsupported("it reduces a tensor without elements");
    }
    if let Some(integers) = known.to_integers() {
        let mut results: Vec<Option<i64>> = vec![None; count];
        let mut counts = vec![0; count];
        for (&place, &value) in places.iter().zip(&integers) {
            counts[place] += 1;
            results[place] = Some(match (results[place], kind) {
                (None, _) => value,
                (Some(result), ReduceKind::Max) => result.max(value),
                (Some(result), _) => result.wrapping_add(value),
            });
        }
        let results = results.into_iter().zip(counts).map(|(result, count)| {
            let result = result.unwrap_or_default();
            if kind == ReduceKind::Mean { result / count } else { result }
        });
        return Ok(Known::integers(dims, results.collect()).into());
    }
    let Some(values) = known.to_floats().filter(|_| known.is_float()) else {
        return unsupported("it reduces sizes that are open, or truth values");
    };
    let start = if kind == ReduceKind::Max { f64::NEG_INFINITY } else { 0.0 };
    let mut results = vec![start; count];
    for (&place, &value) in places.iter().zip(&values) {
        let value = f64::from(value);
        match kind {
            ReduceKind::Max if value.is_nan() || value > results[place] => results[place] = value,
            ReduceKind::Max => {}
            ReduceKind::Sum | ReduceKind::Mean => results[place] += value,
        }
    }
    let each = (known.len() / count.max(1)) as f64;
    let results =
        results.into_iter().map(|result| if kind == ReduceKind::Mean { result / each } else { result });
    Ok(Known::floats(dims, results.map(|result| result as f32).collect()).into())
}

fn min(importer: &mut Importer<'_>, value: &Value, axes: &[usize]) -> Result<Value, Reason> {
    if let Value::Known(known) = value
        && let Some(integers) = known.to_integers()
    {
        let negative =
            Known::integers(known.dims.clone(), integers.into_iter().map(i64::wrapping_neg).collect());
        let most = importer.max(&negative.into(), axes)?;
        let known = most.known()?;
        let values = known.to_integers().unwrap_or_default().into_iter().map(i64::wrapping_neg).collect();
        return Ok(Known::integers(known.dims.clone(), values).into());
    }
    let negative = importer.unary(UnaryKind::Negate, value)?;
    let most = importer.max(&negative, axes)?;
    importer.unary(UnaryKind::Negate, &most)
}

fn product(importer: &mut Importer<'_>, value: &Value, axes: &[usize]) -> Result<Value, Reason> {
    let mut result = value.clone();
    for &axis in axes {
        let size = result.fixed(axis)?;
        if size > MOST_FACTORS {
            return unsupported(format!(
                "a product of {size} factors is not supported; the most are {MOST_FACTORS}"
            ));
        }
        let mut product = importer.slice(&result, axis, 0usize, 1usize)?;
        for index in 1..size {
            let factor = importer.slice(&result, axis, index, 1usize)?;
            product = super::arithmetic::multiplied(importer, &product, &factor)?;
        }
        result = product;
    }
    Ok(result)
}

fn sum_of_magnitudes(importer: &mut Importer<'_>, value: &Value, axes: &[usize]) -> Result<Value, Reason> {
    let magnitude = importer.unary(UnaryKind::Activation(Activation::Abs), value)?;
    importer.sum(&magnitude, axes)
}

fn sum_of_squares(importer: &mut Importer<'_>, value: &Value, axes: &[usize]) -> Result<Value, Reason> {
    let square = importer.unary(UnaryKind::Square, value)?;
    importer.sum(&square, axes)
}

fn norm(importer: &mut Importer<'_>, value: &Value, axes: &[usize]) -> Result<Value, Reason> {
    let sum = sum_of_squares(importer, value, axes)?;
    importer.unary(UnaryKind::Sqrt, &sum)
}

fn log_of_sum(importer: &mut Importer<'_>, value: &Value, axes: &[usize]) -> Result<Value, Reason> {
    let sum = importer.sum(value, axes)?;
    importer.unary(UnaryKind::Log, &sum)
}

fn log_of_sum_of_powers(importer: &mut Importer<'_>, value: &Value, axes: &[usize]) -> Result<Value, Reason> {
    // Less the maximum, no power overflows.
    let most = importer.max(value, axes)?;
    let shifted = importer.binary(BinaryKind::Subtract, value, &most)?;
    let power = importer.unary(UnaryKind::Exp, &shifted)?;
    let log = log_of_sum(importer, &power, axes)?;
    importer.binary(BinaryKind::Add, &log, &most)
}
