//! The gradient of connectionist temporal classification: its second result, scaled for each item.

use super::Ctc;
use crate::autodiff::{AutodiffError, Backward, Differentiate, not_differentiable};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::ops::elementwise::BinaryKind;
use crate::ops::reduce::Expand;

impl Differentiate for Ctc {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        if gradients[1].is_some() {
            let towards = "its logarithms: gradients of gradients are not supported";
            return Err(not_differentiable(node, towards));
        }
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let slopes = node.results[1];
        let shape = backward.ty(slopes).shape.clone();
        let g = backward.single(Expand { shape, axis: 1, count: 2, divided: false }, &[g])?;
        Ok(vec![Some(backward.binary(BinaryKind::Multiply, slopes, g)?)])
    }
}
