//! Gradients of pooling.

use super::{AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad};
use crate::autodiff::{AutodiffError, Backward, Differentiate, no_gradient};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::shape::Dim;

no_gradient!(MaxPoolGrad, AvgPoolGrad: "its operands: gradients of gradients are not supported");

impl Differentiate for MaxPool {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let input_sizes =
            backward.ty(node.operands[0]).shape.dims()[2..].iter().map(Dim::polynomial).collect();
        let argmax = node.results[1];
        let op = MaxPoolGrad { window: self.window.clone(), input_sizes };
        Ok(vec![Some(backward.single(op, &[g, argmax])?)])
    }
}

impl Differentiate for AvgPool {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let input_sizes =
            backward.ty(node.operands[0]).shape.dims()[2..].iter().map(Dim::polynomial).collect();
        let op = AvgPoolGrad { window: self.window.clone(), input_sizes };
        Ok(vec![Some(backward.single(op, &[g])?)])
    }
}
