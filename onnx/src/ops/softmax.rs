//! Softmax, its logarithm, and the one-hot maximum.

use windlass_compiler::ops::Op;
use windlass_compiler::ops::softmax::{LogSoftmax, Softmax};
use windlass_compiler::shape::Dim;

use super::{Rule, one};
use crate::error::Reason;
use crate::importer::Importer;
use crate::movement::count;
use crate::node::{Node, resolve};
use crate::value::{Batch, Data, Value};

pub(super) const RULES: &[(&str, Rule)] = &[
    ("Softmax", |importer, node| along_axis(importer, node, &Softmax {}.into())),
    ("LogSoftmax", |importer, node| along_axis(importer, node, &LogSoftmax {}.into())),
];

fn along_axis(importer: &mut Importer<'_>, node: &Node<'_>, op: &Op) -> Result<Vec<Value>, Reason> {
    let value = node.operand(0)?.clone();
    let dims = value.dims();
    if node.opset < 13 {
        // Over all elements from `axis` on.
        let axis = node.int("axis", 1);
        let axis = if axis == dims.len() as i64 { dims.len() } else { resolve(axis, dims.len())? };
        let (first, last) = dims.split_at(axis);
        let flat = importer.reshape(&value, &[Dim::from(count(first)), Dim::from(count(last))])?;
        let flat = importer.data(&flat)?;
        let result = importer.over(op, &flat, 1)?;
        return one(importer.reshape(&result.into(), &dims)?);
    }
    let axis = node.axis(-1, dims.len())?;
    let data = importer.data(&value)?;
    one(importer.over(op, &data, axis)?)
}

impl Importer<'_> {
    /// An operator over the channels of vectors or images, along an axis of a value.
    pub(crate) fn over(&mut self, op: &Op, data: &Data, axis: usize) -> Result<Data, Reason> {
        self.expect_numbers(data)?;
        let data = self.with_axes(data, &[axis])?;
        let place = data.axis(axis);
        let shape = data.shape();
        let is_last = place + 1 == shape.rank();
        if is_last {
            let flat = self.shaped(data.value, shape.with_first_folded(place))?;
            let value = self.op(op.clone(), &[flat])?;
            let value = self.shaped(value, shape)?;
            return Ok(data.replaced(value));
        }
        if place == 1 && data.batch != Batch::Outside && !shape.has_open_item() {
            let value = self.op(op.clone(), &[data.value])?;
            return Ok(data.replaced(value));
        }
        // The axis becomes the last one.
        let rank = data.dims.len();
        let order: Vec<usize> = (0..rank).filter(|&other| other != axis).chain([axis]).collect();
        let mut back = vec![0; rank];
        order.iter().enumerate().for_each(|(to, &from)| back[from] = to);
        let moved = self.transpose(&data.into(), &order)?;
        let moved = self.data(&moved)?;
        let result = self.over(op, &moved, rank - 1)?;
        let result = self.transpose(&result.into(), &back)?;
        self.data(&result)
    }
}
