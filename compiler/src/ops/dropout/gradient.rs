//! Gradients of dropout: they draw the mask of the forward pass again.

use super::{Dropout, DropoutTraining};
use crate::autodiff::{AutodiffError, Backward, Differentiate};
use crate::entity::ValueId;
use crate::graph::Node;

impl Differentiate for Dropout {
    fn gradient(
        &self,
        _: &mut Backward,
        _: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        Ok(vec![Some(g)])
    }
}

impl Differentiate for DropoutTraining {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let seed = node.operands[1];
        Ok(vec![Some(backward.single(*self, &[g, seed])?)])
    }
}
