//! Conversions between types of elements.

use windlass_compiler::ops::elementwise::{Activation, BinaryKind, UnaryKind};

use super::condition::{equal, negated};
use super::{Rule, one};
use crate::error::{Reason, unsupported};
use crate::importer::Importer;
use crate::known::{Elements, Known};
use crate::node::Node;
use crate::value::{Meaning, Value};

pub(super) const RULES: &[(&str, Rule)] = &[("Cast", cast), ("CastLike", cast_like)];

/// The meaning of a type of elements.
fn meaning_of(element: i64) -> Result<Meaning, Reason> {
    use crate::decode::ElementType;
    let element_type = i32::try_from(element).ok().and_then(ElementType::of);
    match element_type {
        Some(ElementType::Bool) => Ok(Meaning::Truth),
        Some(element) if element.is_float() => Ok(Meaning::Float),
        Some(_) => Ok(Meaning::Whole),
        None => unsupported(format!("elements of type {element} are not supported")),
    }
}

fn cast<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    node.ignore(&["saturate", "round_mode"]);
    let target = match node.text("to") {
        // Before version 6, types had names.
        Some(name) => match name {
            "FLOAT" | "DOUBLE" | "FLOAT16" => Meaning::Float,
            "BOOL" => Meaning::Truth,
            _ => Meaning::Whole,
        },
        None => meaning_of(node.int("to", 1))?,
    };
    one(converted(importer, node.operand(0)?, target)?)
}

fn cast_like<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    node.ignore(&["saturate", "round_mode"]);
    let target = match node.operand(1)?.meaning() {
        Meaning::Index => Meaning::Whole,
        other => other,
    };
    one(converted(importer, node.operand(0)?, target)?)
}

/// A value whose elements have another type.
fn converted(importer: &mut Importer<'_>, value: &Value, target: Meaning) -> Result<Value, Reason> {
    if let Value::Known(known) = value {
        return match target {
            Meaning::Float if known.is_float() => Ok(value.clone()),
            Meaning::Float => match known.to_floats() {
                Some(values) => Ok(Known::floats(known.dims.clone(), values).into()),
                None => unsupported("a size that is open cannot become a float"),
            },
            Meaning::Truth => match (&known.elements, known.to_floats()) {
                (Elements::Booleans(_), _) => Ok(value.clone()),
                (_, Some(values)) => {
                    let values = values.into_iter().map(|value| value != 0.0).collect();
                    Ok(Known::booleans(known.dims.clone(), values).into())
                }
                _ => unsupported("a size that is open cannot become a truth value"),
            },
            Meaning::Whole | Meaning::Index => match (&known.elements, known.to_floats()) {
                (Elements::Integers(_) | Elements::Sizes(_), _) => Ok(value.clone()),
                (_, Some(values)) => {
                    let values = values.into_iter().map(|value| value as i64).collect();
                    Ok(Known::integers(known.dims.clone(), values).into())
                }
                _ => Ok(value.clone()),
            },
        };
    }
    match (value.meaning(), target) {
        (own, target) if own == target => Ok(value.clone()),
        (Meaning::Index, Meaning::Whole) => Ok(value.clone()),
        (Meaning::Truth | Meaning::Whole, Meaning::Float) | (Meaning::Truth, Meaning::Whole) => {
            let Value::Data(data) = value else { return Ok(value.clone()) };
            Ok(data.clone().meaning(target).into())
        }
        (Meaning::Float | Meaning::Whole, Meaning::Truth) => {
            let zero = Known::floats(Vec::new(), vec![0.0]);
            let equal = equal(importer, value, &zero.into())?;
            negated(importer, &equal)
        }
        (Meaning::Float, Meaning::Whole) => truncated(importer, value),
        _ => unsupported("inputs of integers cannot become floats"),
    }
}

/// Floats without their fractions. They stay floats, so that a number outside the range of an integer is not wrapped.
fn truncated(importer: &mut Importer<'_>, value: &Value) -> Result<Value, Reason> {
    let result = importer.map(value, |importer, x| {
        let zero = importer.scalar(0.0)?;
        let positive = importer.binary_op(BinaryKind::Maximum, x, zero)?;
        let positive = importer.unary_op(UnaryKind::Activation(Activation::Floor), positive)?;
        let negative = importer.binary_op(BinaryKind::Minimum, x, zero)?;
        let negative = importer.unary_op(UnaryKind::Activation(Activation::Ceil), negative)?;
        importer.binary_op(BinaryKind::Add, positive, negative)
    })?;
    Ok(whole(result))
}

/// A value whose elements are integers, stored as floats.
pub(super) fn whole(value: Value) -> Value {
    match value {
        Value::Data(data) => data.meaning(Meaning::Whole).into(),
        other => other,
    }
}
