//! Gradients of softmax and its logarithm.

use super::{LogSoftmax, LogSoftmaxGrad, Softmax, SoftmaxGrad};
use crate::autodiff::{AutodiffError, Backward, Differentiate, no_gradient};
use crate::entity::ValueId;
use crate::graph::Node;

no_gradient!(SoftmaxGrad, LogSoftmaxGrad: "its operands: gradients of gradients are not supported");

impl Differentiate for Softmax {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        Ok(vec![Some(backward.single(SoftmaxGrad {}, &[g, node.results[0]])?)])
    }
}

impl Differentiate for LogSoftmax {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        Ok(vec![Some(backward.single(LogSoftmaxGrad {}, &[g, node.results[0]])?)])
    }
}
