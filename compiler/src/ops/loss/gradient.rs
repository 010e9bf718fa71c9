//! Gradients of losses.

use super::{CrossEntropy, CrossEntropyGrad, MeanSquaredError, MeanSquaredErrorGrad, OneHot};
use crate::autodiff::{AutodiffError, Backward, Differentiate, no_gradient};
use crate::entity::ValueId;
use crate::graph::Node;

no_gradient!(
    CrossEntropyGrad, MeanSquaredErrorGrad: "its operands: gradients of gradients are not supported"
);

no_gradient!(OneHot: "its labels");

impl Differentiate for CrossEntropy {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let (logits, labels) = (node.operands[0], node.operands[1]);
        Ok(vec![Some(backward.single(CrossEntropyGrad {}, &[g, logits, labels])?), None])
    }
}

impl Differentiate for MeanSquaredError {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let (prediction, target) = (node.operands[0], node.operands[1]);
        // The loss is symmetric: the target's gradient is the prediction's with the two operands exchanged.
        let op = MeanSquaredErrorGrad {};
        Ok(vec![
            backward.towards(prediction, |backward| backward.single(op, &[g, prediction, target]))?,
            backward.towards(target, |backward| backward.single(op, &[g, target, prediction]))?,
        ])
    }
}
