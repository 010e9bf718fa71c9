//! Comparisons, truth values, and choices between values.

use windlass_compiler::ops::elementwise::{BinaryKind, UnaryKind};
use windlass_compiler::shape::Polynomial;

use super::arithmetic::aligned;
use super::{Rule, one};
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::known::{Elements, Known};
use crate::node::Node;
use crate::value::{Meaning, Value};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Less", |importer, node| compared(importer, node, Comparison::Less)),
    ("LessOrEqual", |importer, node| compared(importer, node, Comparison::LessOrEqual)),
    ("Greater", |importer, node| compared(importer, node, Comparison::Greater)),
    ("GreaterOrEqual", |importer, node| compared(importer, node, Comparison::GreaterOrEqual)),
    ("Equal", |importer, node| compared(importer, node, Comparison::Equal)),
    ("And", |importer, node| combined(importer, node, |a, b| a && b, BinaryKind::Minimum)),
    ("Or", |importer, node| combined(importer, node, |a, b| a || b, BinaryKind::Maximum)),
    ("Xor", exclusive),
    ("Not", not),
    ("IsNaN", is_nan),
    ("Where", choose),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
}

impl Comparison {
    fn holds<T: PartialOrd>(self, a: &T, b: &T) -> bool {
        match self {
            Comparison::Less => a < b,
            Comparison::LessOrEqual => a <= b,
            Comparison::Greater => a > b,
            Comparison::GreaterOrEqual => a >= b,
            Comparison::Equal => a == b,
        }
    }

    /// The comparison of sizes that depend on open ones, if it is the same for all of them.
    fn of_sizes(self, a: &Polynomial, b: &Polynomial) -> Option<bool> {
        if let (Some(a), Some(b)) = (a.as_number(), b.as_number()) {
            return Some(self.holds(&a, &b));
        }
        if a == b {
            return Some(matches!(
                self,
                Comparison::LessOrEqual | Comparison::GreaterOrEqual | Comparison::Equal
            ));
        }
        let (is_above, is_below) = (a.minus(b).is_positive(), b.minus(a).is_positive());
        match self {
            Comparison::Less | Comparison::LessOrEqual if is_below => Some(true),
            Comparison::Greater | Comparison::GreaterOrEqual if is_above => Some(true),
            _ if is_above || is_below => Some(false),
            _ => None,
        }
    }
}

fn truth(value: Value) -> Value {
    match value {
        Value::Data(data) => data.meaning(Meaning::Truth).into(),
        other => other,
    }
}

fn compared(
    importer: &mut Importer<'_>,
    node: &Node<'_>,
    comparison: Comparison,
) -> Result<Vec<Value>, Reason> {
    let (left, right) = (node.operand(0)?, node.operand(1)?);
    if let (Value::Known(left), Value::Known(right)) = (left, right) {
        let (left, right) = aligned(left, right)?;
        let values: Option<Vec<bool>> = match (&left.elements, &right.elements) {
            (Elements::Floats(a), Elements::Floats(b)) => {
                Some(a.iter().zip(b.iter()).map(|(a, b)| comparison.holds(a, b)).collect())
            }
            (Elements::Booleans(a), Elements::Booleans(b)) => {
                Some(a.iter().zip(b.iter()).map(|(a, b)| comparison.holds(a, b)).collect())
            }
            _ => match (left.to_sizes(), right.to_sizes()) {
                (Some(a), Some(b)) => a.iter().zip(&b).map(|(a, b)| comparison.of_sizes(a, b)).collect(),
                _ => None,
            },
        };
        return match values {
            Some(values) => one(Known::booleans(left.dims, values)),
            None => unsupported("it compares sizes that are open, or elements of different types"),
        };
    }
    let result = match comparison {
        Comparison::LessOrEqual => importer.binary(BinaryKind::AtMost, left, right)?,
        Comparison::GreaterOrEqual => importer.binary(BinaryKind::AtMost, right, left)?,
        Comparison::Less => strictly(importer, left, right)?,
        Comparison::Greater => strictly(importer, right, left)?,
        Comparison::Equal => equal(importer, left, right)?,
    };
    one(truth(result))
}

/// Whether two values are at most each other.
pub(super) fn equal(importer: &mut Importer<'_>, left: &Value, right: &Value) -> Result<Value, Reason> {
    let least = importer.binary(BinaryKind::AtMost, left, right)?;
    let most = importer.binary(BinaryKind::AtMost, right, left)?;
    Ok(truth(importer.binary(BinaryKind::Multiply, &least, &most)?))
}

/// Whether a value is below another: at most it, and not at least it.
fn strictly(importer: &mut Importer<'_>, left: &Value, right: &Value) -> Result<Value, Reason> {
    let least = importer.binary(BinaryKind::AtMost, left, right)?;
    let most = importer.binary(BinaryKind::AtMost, right, left)?;
    let both = importer.binary(BinaryKind::Multiply, &least, &most)?;
    importer.binary(BinaryKind::Subtract, &least, &both)
}

/// 1 less a truth value.
pub(super) fn negated(importer: &mut Importer<'_>, value: &Value) -> Result<Value, Reason> {
    if let Value::Known(known) = value {
        let Some(values) = known.to_booleans() else {
            return unsupported("its operand must be truth values");
        };
        return Ok(
            Known::booleans(known.dims.clone(), values.into_iter().map(|value| !value).collect()).into()
        );
    }
    let negative = importer.unary(UnaryKind::Negate, value)?;
    Ok(truth(importer.with_number(BinaryKind::Add, &negative, 1.0)?))
}

fn known_booleans(
    left: &Value,
    right: &Value,
    function: impl Fn(bool, bool) -> bool,
) -> Result<Option<Value>, Reason> {
    let (Value::Known(left), Value::Known(right)) = (left, right) else { return Ok(None) };
    let (left, right) = aligned(left, right)?;
    match (left.to_booleans(), right.to_booleans()) {
        (Some(a), Some(b)) => {
            let values = a.iter().zip(&b).map(|(&a, &b)| function(a, b)).collect();
            Ok(Some(Known::booleans(left.dims, values).into()))
        }
        _ => unsupported("its operands must be truth values"),
    }
}

fn combined(
    importer: &mut Importer<'_>,
    node: &Node<'_>,
    function: impl Fn(bool, bool) -> bool,
    kind: BinaryKind,
) -> Result<Vec<Value>, Reason> {
    let (left, right) = (node.operand(0)?, node.operand(1)?);
    if let Some(value) = known_booleans(left, right, function)? {
        return one(value);
    }
    one(truth(importer.binary(kind, left, right)?))
}

fn exclusive<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let (left, right) = (node.operand(0)?, node.operand(1)?);
    if let Some(value) = known_booleans(left, right, |a, b| a != b)? {
        return one(value);
    }
    let difference = importer.binary(BinaryKind::Subtract, left, right)?;
    one(truth(importer.unary(UnaryKind::Square, &difference)?))
}

fn not<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    one(negated(importer, node.operand(0)?)?)
}

fn is_nan<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    // NaN is the only number that is not equal to itself.
    let value = node.operand(0)?;
    if let Value::Known(known) = value
        && let Elements::Floats(values) = &known.elements
    {
        return one(Known::booleans(known.dims.clone(), values.iter().map(|value| value.is_nan()).collect()));
    }
    let is_number = importer.binary(BinaryKind::AtMost, value, value)?;
    one(negated(importer, &truth(is_number))?)
}

fn choose<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let (condition, yes, no) = (node.operand(0)?, node.operand(1)?, node.operand(2)?);
    let dims = crate::broadcast::common(&condition.dims(), &yes.dims())?;
    let dims = crate::broadcast::common(&dims, &no.dims())?;
    if let Value::Known(known) = condition {
        let Some(values) = known.to_booleans() else {
            return unsupported("its condition must be truth values");
        };
        if values.iter().all(|&value| value) {
            return one(importer.expand(yes, &dims)?);
        }
        if values.iter().all(|&value| !value) {
            return one(importer.expand(no, &dims)?);
        }
        if let (Value::Known(yes), Value::Known(no)) = (yes, no)
            && yes.name.is_none()
            && no.name.is_none()
        {
            return one(chosen(known, yes, no, &dims)?);
        }
    }
    let yes = importer.selected(yes, condition, &dims)?;
    let other = negated(importer, condition)?;
    let no = importer.selected(no, &other, &dims)?;
    one(importer.binary(BinaryKind::Add, &yes, &no)?)
}

/// The elements of two known tensors by a known condition.
fn chosen(
    condition: &Known,
    yes: &Known,
    no: &Known,
    dims: &[windlass_compiler::shape::Dim],
) -> Result<Known, Reason> {
    let sizes = crate::movement::small(dims)?;
    let condition = condition.broadcast(&sizes).to_booleans().unwrap_or_default();
    let (yes, no) = (yes.broadcast(&sizes), no.broadcast(&sizes));
    if let (Elements::Floats(a), Elements::Floats(b)) = (&yes.elements, &no.elements) {
        let pairs = condition.iter().zip(a.iter().zip(b.iter()));
        return Ok(Known::floats(sizes, pairs.map(|(&is, (&a, &b))| if is { a } else { b }).collect()));
    }
    if let (Some(a), Some(b)) = (yes.to_booleans(), no.to_booleans()) {
        let pairs = condition.iter().zip(a.iter().zip(&b));
        return Ok(Known::booleans(sizes, pairs.map(|(&is, (&a, &b))| if is { a } else { b }).collect()));
    }
    match (yes.to_sizes(), no.to_sizes()) {
        (Some(a), Some(b)) => {
            let pairs = condition.iter().zip(a.iter().zip(&b));
            Ok(Known::sizes(
                sizes,
                pairs.map(|(&is, (a, b))| if is { a.clone() } else { b.clone() }).collect(),
            ))
        }
        _ => unsupported("its operands have elements of different types"),
    }
}

impl Importer<'_> {
    /// The elements of a value where a condition holds, and 0 elsewhere, whatever they are there.
    fn selected(
        &mut self,
        value: &Value,
        condition: &Value,
        dims: &[windlass_compiler::shape::Dim],
    ) -> Result<Value, Reason> {
        // A number times a condition would be NaN for an infinite number.
        let (value, condition) = match (value, condition) {
            (Value::Data(data), condition) => {
                let data = self.expand_data(data, dims)?;
                let condition = self.lift_like(condition, &data)?;
                let [data, condition] = self.pair(&data, &condition)?;
                (data, condition)
            }
            (value, Value::Data(condition)) => {
                let condition = self.expand_data(condition, dims)?;
                let value = self.lift_like(value, &condition)?;
                let [value, condition] = self.pair(&value, &condition)?;
                (value, condition)
            }
            _ => return unsupported("it chooses between parameters"),
        };
        let selected = self.binary_op(BinaryKind::ReluGrad, value.value, condition.value)?;
        Ok(value.replaced(selected).meaning(Meaning::Float).into())
    }
}
