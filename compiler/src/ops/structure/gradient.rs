//! Gradients of reshape, concat and slice.

use super::{Concat, Reshape, Slice};
use crate::autodiff::{AutodiffError, Backward, Differentiate};
use crate::entity::ValueId;
use crate::graph::Node;

impl Differentiate for Reshape {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let shape = backward.ty(node.operands[0]).shape.clone();
        Ok(vec![Some(backward.single(Reshape { shape }, &[g])?)])
    }
}

impl Differentiate for Concat {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let mut start = 0;
        let mut parts = Vec::with_capacity(node.operands.len());
        for &operand in &node.operands {
            let length = backward.ty(operand).shape.concrete(1)[self.axis];
            let slice = Slice { axis: self.axis, start, length };
            parts.push(backward.towards(operand, |backward| backward.single(slice, &[g]))?);
            start += length;
        }
        Ok(parts)
    }
}

impl Differentiate for Slice {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        // What was not taken has a gradient of zero: zeros of its shape go before and behind.
        let x = node.operands[0];
        let end = self.start + self.length;
        let size = backward.ty(x).shape.concrete(1)[self.axis];
        let mut parts = Vec::new();
        for (start, length) in [(0, self.start), (self.start, self.length), (end, size - end)] {
            if start == self.start && length == self.length {
                parts.push(g);
            } else if length > 0 {
                let rest = backward.single(Slice { axis: self.axis, start, length }, &[x])?;
                parts.push(backward.zeros_like(rest)?);
            }
        }
        Ok(vec![Some(backward.single(Concat { axis: self.axis }, &parts)?)])
    }
}
