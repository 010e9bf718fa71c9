//! Gradients of reductions and of expansion.

use super::{Expand, Reduce, ReduceKind};
use crate::autodiff::{AutodiffError, Backward, Differentiate};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::ops::elementwise::BinaryKind;

impl Differentiate for Reduce {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let (x, y) = (node.operands[0], node.results[0]);
        let shape = backward.ty(x).shape.clone();
        let expand = |divided| Expand { shape: shape.clone(), axis: self.axis, count: self.count, divided };
        let to_x = match self.kind {
            ReduceKind::Sum => backward.single(expand(false), &[g])?,
            ReduceKind::Mean => backward.single(expand(true), &[g])?,
            ReduceKind::Max => {
                // All elements that equal the maximum share the gradient: those that the maximum does not exceed.
                let largest = backward.single(expand(false), &[y])?;
                let below = backward.binary(BinaryKind::Subtract, largest, x)?;
                let zeros = backward.zeros_like(x)?;
                let one = backward.constant(1.0)?;
                let ones = backward.binary(BinaryKind::Add, zeros, one)?;
                let others = backward.binary(BinaryKind::ReluGrad, ones, below)?;
                let chosen = backward.binary(BinaryKind::Subtract, ones, others)?;
                let sum = Reduce { kind: ReduceKind::Sum, ..*self };
                let count = backward.single(sum, &[chosen])?;
                let share = backward.binary(BinaryKind::Divide, g, count)?;
                let shares = backward.single(expand(false), &[share])?;
                backward.binary(BinaryKind::Multiply, shares, chosen)?
            }
        };
        Ok(vec![Some(to_x)])
    }
}

impl Differentiate for Expand {
    fn gradient(
        &self,
        backward: &mut Backward,
        _: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let kind = if self.divided { ReduceKind::Mean } else { ReduceKind::Sum };
        Ok(vec![Some(backward.single(Reduce { kind, axis: self.axis, count: self.count }, &[g])?)])
    }
}
