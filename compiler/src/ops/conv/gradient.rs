//! Gradients of convolution.

use super::{Conv, ConvGradInput, ConvGradWeight};
use crate::autodiff::{AutodiffError, Backward, Differentiate, no_gradient};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::ops::epilogue::EpilogueStep;

no_gradient!(ConvGradInput, ConvGradWeight: "its operands: gradients of gradients are not supported");

impl Differentiate for Conv {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        EpilogueStep::refuse(&self.epilogue, node)?;
        let (x, weight) = (node.operands[0], node.operands[1]);
        let (window, groups) = (self.window.clone(), self.groups);
        let input_sizes = backward.ty(x).shape.item()[1..].to_vec();
        let to_x = ConvGradInput { window: window.clone(), groups, input_sizes };
        let to_weight = ConvGradWeight { window, groups };
        Ok(vec![
            backward.towards(x, |backward| backward.single(to_x, &[g, weight]))?,
            backward.towards(weight, |backward| backward.single(to_weight, &[g, x]))?,
        ])
    }
}
