//! The operators of ONNX, by what they do. Each rule turns the operands and attributes of a node into values.

mod arithmetic;
mod cast;
mod condition;
mod conv;
mod elementwise;
mod gather;
mod norm;
mod one_hot;
mod pool;
mod product;
mod quantize;
mod recurrent;
mod reduce;
mod resize;
mod select;
pub(crate) mod sequence;
mod shape;
mod softmax;
mod sort;

use crate::error::Reason;
use crate::importer::Importer;
use crate::node::Node;
use crate::value::Value;

/// A rule of an operator.
type Rule = for<'m> fn(&mut Importer<'m>, &Node<'m>) -> Result<Vec<Value>, Reason>;

/// The operators with their rules.
const RULES: &[&[(&str, Rule)]] = &[
    arithmetic::RULES,
    cast::RULES,
    condition::RULES,
    conv::RULES,
    elementwise::RULES,
    gather::RULES,
    one_hot::RULES,
    norm::RULES,
    pool::RULES,
    product::RULES,
    quantize::RULES,
    recurrent::RULES,
    reduce::RULES,
    resize::RULES,
    select::RULES,
    shape::RULES,
    softmax::RULES,
    sort::RULES,
];

/// The names of all operators that are supported, sorted.
pub(crate) fn names() -> Vec<&'static str> {
    let mut names: Vec<&str> = RULES.iter().flat_map(|rules| rules.iter().map(|(name, _)| *name)).collect();
    names.extend(["If", "Loop", "Scan"]);
    names.sort_unstable();
    names
}

/// Imports a node.
pub(crate) fn import<'m>(importer: &mut Importer<'m>, node: &Node<'m>) -> Result<Vec<Value>, Reason> {
    let rule = RULES.iter().flat_map(|rules| rules.iter()).find(|(name, _)| *name == node.proto.operator);
    match rule {
        Some((_, rule)) => rule(importer, node),
        None => Err(Reason::Operator),
    }
}

/// One result.
fn one(value: impl Into<Value>) -> Result<Vec<Value>, Reason> {
    Ok(vec![value.into()])
}
