//! Arithmetic of two or more values, on known tensors of any type and on values of the graph.

use windlass_compiler::ops::elementwise::BinaryKind;
use windlass_compiler::shape::{Dim, Polynomial};

use super::{Rule, one};
use crate::broadcast::common;
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::known::{Elements, Known};
use crate::movement::small;
use crate::node::Node;
use crate::value::{Meaning, Value};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Add", add),
    ("Sub", subtract),
    ("Mul", multiply),
    ("Div", divide),
    ("Mod", modulo),
    ("Pow", power),
    ("Sum", sum),
    ("Mean", mean),
    ("Max", maximum),
    ("Min", minimum),
];

/// Two known tensors of the same size.
pub(super) fn aligned(left: &Known, right: &Known) -> Result<(Known, Known), Reason> {
    let dims = |known: &Known| -> Vec<Dim> { known.dims.iter().map(|&size| Dim::Fixed(size)).collect() };
    let sizes = small(&common(&dims(left), &dims(right))?)?;
    Ok((left.broadcast(&sizes), right.broadcast(&sizes)))
}

/// A function of known floats, or of known integers; `None` for other operands.
fn known(
    left: &Value,
    right: &Value,
    floats: impl Fn(f32, f32) -> f32,
    sizes: impl Fn(&Polynomial, &Polynomial) -> Option<Polynomial>,
) -> Result<Option<Value>, Reason> {
    let (Value::Known(left), Value::Known(right)) = (left, right) else { return Ok(None) };
    let is_parameter = |known: &Known| known.name.is_some() && known.is_float();
    if is_parameter(left) || is_parameter(right) {
        return Ok(None);
    }
    let (left, right) = aligned(left, right)?;
    if let (Elements::Floats(a), Elements::Floats(b)) = (&left.elements, &right.elements) {
        let values = a.iter().zip(b.iter()).map(|(&a, &b)| floats(a, b)).collect();
        return Ok(Some(Known::floats(left.dims, values).into()));
    }
    let (Some(a), Some(b)) = (left.to_sizes(), right.to_sizes()) else {
        return unsupported("its operands have elements of different types");
    };
    let values: Option<Vec<Polynomial>> = a.iter().zip(&b).map(|(a, b)| sizes(a, b)).collect();
    match values {
        Some(values) => Ok(Some(Known::sizes(left.dims, values).into())),
        None => unsupported("it computes with integers that overflow, or with a size that is open"),
    }
}

/// Operands as they were broadcast before version 7: the second one from `axis` on.
fn operands<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<(Value, Value), Reason> {
    let (left, right) = (node.operand(0)?.clone(), node.operand(1)?.clone());
    node.ignore(&["consumed_inputs"]);
    if node.opset >= 7 || !node.flag("broadcast", false) {
        return Ok((left, right));
    }
    let (rank, own) = (left.rank(), right.rank());
    let axis = if node.has("axis") { node.axis(0, rank)? } else { rank.saturating_sub(own) };
    let missing = rank.saturating_sub(axis + own);
    let dims = [right.dims(), vec![Dim::Fixed(1); missing]].concat();
    let right = importer.reshape(&right, &dims)?;
    Ok((left, right))
}

fn checked(
    function: impl Fn(i64, i64) -> Option<i64>,
) -> impl Fn(&Polynomial, &Polynomial) -> Option<Polynomial> {
    move |a, b| Some(Polynomial::from(function(a.as_number()?, b.as_number()?)?))
}

/// Integers and truth values that depend on inputs are stored as floats, which are exact up to 2²⁴.
fn expect_floats(values: &[&Value]) -> Result<(), Reason> {
    match values.iter().any(|value| value.is_data() && value.meaning() == Meaning::Whole) {
        true => unsupported("it computes with integers that depend on inputs"),
        false => Ok(()),
    }
}

fn add<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let (left, right) = operands(importer, node)?;
    one(added(importer, &left, &right)?)
}

/// The sum of two values.
pub(super) fn added(importer: &mut Importer<'_>, left: &Value, right: &Value) -> Result<Value, Reason> {
    if let Some(value) = known(left, right, |a, b| a + b, |a, b| Some(a.plus(b)))? {
        return Ok(value);
    }
    expect_floats(&[left, right])?;
    importer.binary(BinaryKind::Add, left, right)
}

fn subtract<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let (left, right) = operands(importer, node)?;
    if let Some(value) = known(&left, &right, |a, b| a - b, |a, b| Some(a.minus(b)))? {
        return one(value);
    }
    expect_floats(&[&left, &right])?;
    one(importer.binary(BinaryKind::Subtract, &left, &right)?)
}

fn multiply<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let (left, right) = operands(importer, node)?;
    one(multiplied(importer, &left, &right)?)
}

/// The product of two values, element by element.
pub(super) fn multiplied(importer: &mut Importer<'_>, left: &Value, right: &Value) -> Result<Value, Reason> {
    if let Some(value) = known(left, right, |a, b| a * b, |a, b| Some(a.times(b)))? {
        return Ok(value);
    }
    expect_floats(&[left, right])?;
    importer.binary(BinaryKind::Multiply, left, right)
}

fn divide<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let (left, right) = operands(importer, node)?;
    let sizes = |a: &Polynomial, b: &Polynomial| match (a.as_number(), b.as_number()) {
        // Integers are divided toward zero.
        (Some(a), Some(b)) => a.checked_div(b).map(Polynomial::from),
        (None, Some(1)) => Some(a.clone()),
        (None, Some(b)) => {
            let (factor, rest) = a.primitive();
            let factor = i64::try_from(factor).ok()?;
            (b > 0 && factor % b == 0).then(|| rest.scaled(factor / b))
        }
        (None, None) if a == b => Some(Polynomial::from(1usize)),
        _ => None,
    };
    if let Some(value) = known(&left, &right, |a, b| a / b, sizes)? {
        return one(value);
    }
    expect_floats(&[&left, &right])?;
    one(importer.binary(BinaryKind::Divide, &left, &right)?)
}

fn modulo<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let (left, right) = operands(importer, node)?;
    let is_c = node.flag("fmod", false);
    let floats = |a: f32, b: f32| if is_c { a % b } else { a - b * (a / b).floor() };
    let integers = checked(move |a, b| {
        let rest = a.checked_rem(b)?;
        // The sign is that of the divisor, unless it is the remainder of C.
        if !is_c && rest != 0 && (rest < 0) != (b < 0) { rest.checked_add(b) } else { Some(rest) }
    });
    match known(&left, &right, floats, integers)? {
        Some(value) => one(value),
        None => unsupported("remainders of values that are not known are not supported"),
    }
}

fn power<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let (left, right) = operands(importer, node)?;
    let integers = checked(|a, b| a.checked_pow(u32::try_from(b).ok()?));
    // The type of the exponent may be another one than that of the result.
    let exponent = match (&left, &right) {
        (Value::Known(left), Value::Known(right)) if left.is_float() && !right.is_float() => {
            right.to_floats().map(|values| Value::from(Known::floats(right.dims.clone(), values)))
        }
        (Value::Known(left), Value::Known(right)) if super::shape::is_whole(left) && right.is_float() => {
            let whole = right.to_floats().filter(|values| values.iter().all(|value| value.fract() == 0.0));
            whole.map(|values| {
                let values = values.iter().map(|&value| value as i64).collect();
                Value::from(Known::integers(right.dims.clone(), values))
            })
        }
        _ => None,
    };
    if let Some(value) = known(&left, exponent.as_ref().unwrap_or(&right), f32::powf, integers)? {
        return one(value);
    }
    let exponents = right.known().map_err(|reason| reason.of_operand(1))?.to_floats().unwrap_or_default();
    match exponents[..] {
        [first, ref rest @ ..] if rest.iter().all(|other| *other == first) => {
            let dims = common(&left.dims(), &right.dims())?;
            let left = importer.expand(&left, &dims)?;
            one(super::elementwise::power(importer, &left, first)?)
        }
        _ => unsupported("its exponents differ between elements"),
    }
}

fn folded(
    importer: &mut Importer<'_>,
    node: &Node<'_>,
    mut function: impl FnMut(&mut Importer<'_>, &Value, &Value) -> Result<Value, Reason>,
) -> Result<Value, Reason> {
    node.ignore(&["consumed_inputs"]);
    let mut value = node.operand(0)?.clone();
    for index in 1..node.operands.len() {
        value = function(importer, &value, node.operand(index)?)?;
    }
    Ok(value)
}

fn sum<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    one(folded(importer, node, added)?)
}

fn mean<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let sum = folded(importer, node, added)?;
    let count = Known::floats(Vec::new(), vec![node.operands.len() as f32]);
    if let Some(value) = known(&sum, &count.clone().into(), |a, b| a / b, |_, _| None)? {
        return one(value);
    }
    one(importer.binary(BinaryKind::Divide, &sum, &count.into())?)
}

/// The larger or smaller of two numbers; NaN if one is.
fn extreme(left: f32, right: f32, is_max: bool) -> f32 {
    if left.is_nan() || right.is_nan() {
        f32::NAN
    } else if is_max {
        left.max(right)
    } else {
        left.min(right)
    }
}

fn maximum<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    one(folded(importer, node, |importer, left, right| {
        let integers = checked(|a, b| Some(a.max(b)));
        if let Some(value) = known(left, right, |a, b| extreme(a, b, true), integers)? {
            return Ok(value);
        }
        importer.binary(BinaryKind::Maximum, left, right)
    })?)
}

fn minimum<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    one(folded(importer, node, |importer, left, right| {
        let integers = checked(|a, b| Some(a.min(b)));
        if let Some(value) = known(left, right, |a, b| extreme(a, b, false), integers)? {
            return Ok(value);
        }
        importer.binary(BinaryKind::Minimum, left, right)
    })?)
}
