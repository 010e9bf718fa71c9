//! Gradients of the dense layer.

use super::{Linear, LinearGradInput, LinearGradWeight};
use crate::autodiff::{AutodiffError, Backward, Differentiate, no_gradient};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::ops::epilogue::EpilogueStep;

no_gradient!(LinearGradInput, LinearGradWeight: "its operands: gradients of gradients are not supported");

impl Differentiate for Linear {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        EpilogueStep::refuse(&self.epilogue, node)?;
        let (x, weight) = (node.operands[0], node.operands[1]);
        Ok(vec![
            backward.towards(x, |backward| backward.single(LinearGradInput {}, &[g, weight]))?,
            backward.towards(weight, |backward| backward.single(LinearGradWeight {}, &[g, x]))?,
        ])
    }
}
