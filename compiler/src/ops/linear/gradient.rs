//! Gradients of the dense layer. It is linear in each operand, and so are its gradients: each of the three operators is
//! a gradient of the other two, as for convolution.

use super::{Linear, LinearGradInput, LinearGradWeight};
use crate::autodiff::{AutodiffError, Backward, Differentiate};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::ops::epilogue::EpilogueStep;

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

impl Differentiate for LinearGradInput {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(of_dx) = gradients[0] else { return Ok(Vec::new()) };
        let (g, weight) = (node.operands[0], node.operands[1]);
        let linear = Linear { epilogue: Vec::new() };
        Ok(vec![
            backward.towards(g, |backward| backward.single(linear, &[of_dx, weight]))?,
            backward.towards(weight, |backward| backward.single(LinearGradWeight {}, &[g, of_dx]))?,
        ])
    }
}

impl Differentiate for LinearGradWeight {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(of_weight) = gradients[0] else { return Ok(Vec::new()) };
        let (g, x) = (node.operands[0], node.operands[1]);
        let linear = Linear { epilogue: Vec::new() };
        Ok(vec![
            backward.towards(g, |backward| backward.single(linear, &[x, of_weight]))?,
            backward.towards(x, |backward| backward.single(LinearGradInput {}, &[g, of_weight]))?,
        ])
    }
}
