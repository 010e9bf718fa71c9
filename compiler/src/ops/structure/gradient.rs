//! Gradients of operators that move elements.

use super::{Concat, Pad, Reshape, Slice, Transpose};
use crate::autodiff::{AutodiffError, Backward, Differentiate};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::shape::Polynomial;

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
        let mut start = Polynomial::default();
        let mut parts = Vec::with_capacity(node.operands.len());
        for &operand in &node.operands {
            let length = backward.ty(operand).shape.dims()[self.axis].polynomial();
            let end = start.plus(&length);
            let slice = Slice { axis: self.axis, start, length };
            parts.push(backward.towards(operand, |backward| backward.single(slice, &[g]))?);
            start = end;
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
        backward.add_part(node.operands[0], self.axis, &self.start, &self.length, g);
        Ok(Vec::new())
    }
}

impl Differentiate for Pad {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let length = backward.ty(node.operands[0]).shape.dims()[self.axis].polynomial();
        let slice = Slice { axis: self.axis, start: self.before.clone(), length };
        Ok(vec![Some(backward.single(slice, &[g])?)])
    }
}

impl Differentiate for Transpose {
    fn gradient(
        &self,
        backward: &mut Backward,
        _: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let mut order = vec![0; self.order.len()];
        for (to, &from) in self.order.iter().enumerate() {
            order[from] = to;
        }
        Ok(vec![Some(backward.single(Transpose { order }, &[g])?)])
    }
}
