//! Takes the random masks of dropout out of the bodies of scans, which have no random numbers of their own.

use std::collections::HashMap;

use crate::entity::ValueId;
use crate::error::{GraphError, ShapeError};
use crate::graph::{Graph, Node};
use crate::ops::dropout::Dropout;
use crate::ops::elementwise::{Binary, BinaryKind};
use crate::ops::fill::Fill;
use crate::ops::scan::Scan;
use crate::ops::source::{Input, InputRole};
use crate::ops::{Op, Rewrite};

/// The same graph without dropout in bodies of scans: there, values are multiplied by a slice of a dropout of ones
/// outside, so that every step drops other elements.
///
/// # Errors
/// [`GraphError::Shape`] for dropout of a value without a batch in a body, and for batch normalisation in a body, whose
/// statistics a step cannot update.
pub(super) fn without_dropout_in_scans(graph: &Graph) -> Result<Graph, GraphError> {
    if !graph.nodes().iter().any(|node| matches!(node.op, Op::Scan(_))) {
        return Ok(graph.clone());
    }
    let mut result = Graph::new(graph.name());
    let mut values: HashMap<ValueId, ValueId> = HashMap::new();
    for node in graph.nodes() {
        let Op::Scan(scan) = &node.op else {
            result.copy_node(node, &mut values)?;
            continue;
        };
        let scan = scan.with_body(without_dropout_in_scans(&scan.body)?);
        let (scan, drops) = with_masks(&scan, node)?;
        let mut operands: Vec<ValueId> = node.operands.iter().map(|operand| values[operand]).collect();
        let first_carried = operands.len() - scan.carried;
        for (index, drop) in drops.iter().enumerate() {
            let ones = result.add_single(Fill { shape: drop.shape.clone(), value: 1.0 }, &[], &drop.label)?;
            let mask = result.add_single(drop.dropout, &[ones], &drop.label)?;
            operands.insert(first_carried + index, mask);
        }
        let results = result.add(scan, &operands, &node.label)?;
        values.extend(node.results.iter().copied().zip(results));
    }
    result.copy_ends(graph, &values)?;
    Ok(result)
}

/// A dropout that was in a body.
struct Drop {
    dropout: Dropout,
    /// The shape of the sequence of its masks.
    shape: crate::shape::Shape,
    label: String,
}

/// A scan whose body multiplies by masks, which are its last slices, instead of dropping elements.
fn with_masks(scan: &Scan, node: &Node) -> Result<(Scan, Vec<Drop>), GraphError> {
    let at = |node: &Node, reason: String| GraphError::Shape {
        at: node.label.clone(),
        error: ShapeError::Scan { reason },
    };
    let body = &scan.body;
    let mut drops: Vec<Drop> = Vec::new();
    let mut masks: HashMap<ValueId, ValueId> = HashMap::new();
    let mut result = Graph::new(body.name());
    let mut values: HashMap<ValueId, ValueId> = HashMap::new();
    let inputs: Vec<&Node> = body.nodes().iter().filter(|node| matches!(node.op, Op::Input(_))).collect();
    let (given, carried) = inputs.split_at(inputs.len() - scan.carried);
    for input in given {
        result.copy_node(input, &mut values)?;
    }
    for inner in body.nodes() {
        if let Op::Dropout(dropout) = &inner.op
            && dropout.rate > 0.0
        {
            let ty = body.ty(inner.results[0]).clone();
            if !ty.shape.is_batched() {
                let reason = format!("drops elements of {}, which has no batch, in its body", ty.shape);
                return Err(at(node, reason));
            }
            let name = format!("mask{}", drops.len());
            let shape = scan.sequence(&ty.shape);
            let mask = result.add_single(Input { name, role: InputRole::Data, ty }, &[], "")?;
            masks.insert(inner.results[0], mask);
            drops.push(Drop { dropout: *dropout, shape, label: inner.label.clone() });
        } else if !matches!(inner.op, Op::Dropout(_)) && inner.op.in_training(0).is_some() {
            let reason = format!("has `{}` in its body, whose statistics a step cannot update", inner.label);
            return Err(at(node, reason));
        }
    }
    for input in carried {
        result.copy_node(input, &mut values)?;
    }
    for inner in body.nodes().iter().filter(|node| !matches!(node.op, Op::Input(_))) {
        match masks.get(&inner.results[0]) {
            Some(mask) => {
                let operands = [values[&inner.operands[0]], *mask];
                let product = Binary { kind: BinaryKind::Multiply };
                values.insert(inner.results[0], result.add_single(product, &operands, &inner.label)?);
            }
            None => result.copy_node(inner, &mut values)?,
        }
    }
    result.copy_ends(body, &values)?;
    let slices = scan.slices + drops.len();
    let masked = Scan::new(result, scan.steps.clone(), slices, scan.carried).reversed(scan.reverse);
    Ok((masked, drops))
}
