//! Gradients of folding and unfolding steps: each is the other's.

use super::{FoldSteps, UnfoldSteps};
use crate::autodiff::{AutodiffError, Backward, Differentiate};
use crate::entity::ValueId;
use crate::graph::Node;

impl Differentiate for FoldSteps {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let shape = backward.ty(node.operands[0]).shape.clone();
        Ok(vec![Some(backward.single(UnfoldSteps { shape }, &[g])?)])
    }
}

impl Differentiate for UnfoldSteps {
    fn gradient(
        &self,
        backward: &mut Backward,
        _: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        Ok(vec![Some(backward.single(FoldSteps {}, &[g])?)])
    }
}
