//! The receptive field of each value in the input: sizes and strides, propagated through windows.
//!
//! A window of dilated extent `k`, stride `s` and padding `p` maps a field of size `r`, jump `j` and start `c` to one of
//! size `r + (k − 1)·j`, jump `s·j` and start `c + ((k − 1)/2 − p)·j` (Dumoulin and Visin 2016, "A guide to convolution
//! arithmetic for deep learning", arXiv:1603.07285; Araujo, Norris and Sim 2019, "Computing Receptive Fields of
//! Convolutional Neural Networks"). Where paths merge, the larger field counts.

use serde::{Deserialize, Serialize};

use crate::entity::ValueId;
use crate::graph::{Graph, Node};
use crate::ops::source::Source;
use crate::ops::window::Window;
use crate::ops::{Move, Operator, Reach, Role};
use crate::shape::Type;

/// The part of the input that an element of a value depends on.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Field {
    /// None: parameters and values computed from them.
    Independent,
    /// An interval of the input along each spatial axis.
    Local(Vec<ReceptiveField>),
    /// The whole input, or an input without spatial axes.
    Global,
}

/// The receptive fields of a layer along one spatial axis, in elements of the input. Where paths merge, the size and the
/// jump are the maximum over the paths, and the start is that of the path with the largest field.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReceptiveField {
    /// The number of input elements that one element of the result depends on, including padding.
    pub size: usize,
    /// The number of input elements between the fields of neighbouring elements: the product of the strides so far.
    pub jump: usize,
    /// The centre of the field of the first element. Input element `i` covers `i` to `i + 1`, so its centre is
    /// `i + 0.5`; layers that keep the size by equal padding on both sides keep the start at 0.5.
    pub start: f64,
}

/// The field of every value.
pub(super) fn fields(graph: &Graph) -> Vec<Field> {
    let mut fields = vec![Field::Independent; graph.value_count()];
    for node in graph.nodes() {
        let operands: Vec<Field> =
            node.operands.iter().map(|operand| fields[operand.index()].clone()).collect();
        let field = field(graph, node, operands);
        for result in &node.results {
            fields[result.index()] = field.clone();
        }
    }
    fields
}

fn field(graph: &Graph, node: &Node, mut operands: Vec<Field>) -> Field {
    let shape = |value: ValueId| &graph.ty(value).shape;
    let facts = node.op.facts();
    match facts.role {
        Role::Source(Source::Input(input)) => return of_input(&input.ty),
        Role::Source(Source::Parameter(_) | Source::State(_) | Source::Constant(_)) => {
            return Field::Independent;
        }
        Role::Move(Move::Reshape)
            if shape(node.results[0]).dims().get(2..) != shape(node.operands[0]).dims().get(2..) =>
        {
            return everything(operands);
        }
        Role::Identity
        | Role::Product(_)
        | Role::Elementwise(_)
        | Role::Move(_)
        | Role::LossGradient
        | Role::Other => {}
    }
    match facts.reach {
        Reach::Place => merge(operands),
        Reach::Window(window) => {
            operands[0] = through(window, &operands[0]);
            merge(operands)
        }
        Reach::Everywhere => everything(operands),
    }
}

fn of_input(ty: &Type) -> Field {
    match ty.shape.rank() {
        _ if !ty.shape.is_batched() => Field::Independent,
        rank @ 3.. => Field::Local(vec![ReceptiveField { size: 1, jump: 1, start: 0.5 }; rank - 2]),
        _ => Field::Global,
    }
}

fn through(window: &Window, field: &Field) -> Field {
    let Field::Local(axes) = field else { return field.clone() };
    let widen = |(index, axis): (usize, &ReceptiveField)| {
        let around = window.extent(index) - 1;
        let shift = around as f64 / 2.0 - window.padding[index].before as f64;
        ReceptiveField {
            size: around.saturating_mul(axis.jump).saturating_add(axis.size),
            jump: axis.jump.saturating_mul(window.stride[index]),
            start: axis.start + shift * axis.jump as f64,
        }
    };
    Field::Local(axes.iter().enumerate().map(widen).collect())
}

fn merge(fields: Vec<Field>) -> Field {
    fields.into_iter().fold(Field::Independent, |left, right| match (left, right) {
        (Field::Independent, other) | (other, Field::Independent) => other,
        (Field::Local(left), Field::Local(right)) if left.len() == right.len() => {
            let wider = |(l, r): (&ReceptiveField, &ReceptiveField)| ReceptiveField {
                jump: l.jump.max(r.jump),
                ..if r.size > l.size { *r } else { *l }
            };
            Field::Local(left.iter().zip(&right).map(wider).collect())
        }
        _ => Field::Global,
    })
}

/// The field of an operator that mixes all positions of its operands.
fn everything(operands: Vec<Field>) -> Field {
    match merge(operands) {
        Field::Independent => Field::Independent,
        Field::Local(_) | Field::Global => Field::Global,
    }
}
