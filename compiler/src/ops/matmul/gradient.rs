//! Gradients of products: products of the result's gradient with the other factor.

use super::Matmul;
use crate::autodiff::{AutodiffError, Backward, Differentiate};
use crate::entity::ValueId;
use crate::graph::Node;

impl Differentiate for Matmul {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let (left, right) = (node.operands[0], node.operands[1]);
        let product = |transpose_left, transpose_right| Matmul { transpose_left, transpose_right };
        // A transposed factor has the transposed gradient, (g·rightᵀ)ᵀ = right·gᵀ.
        let (of_left, left_factors) = match self.transpose_left {
            false => (product(false, !self.transpose_right), [g, right]),
            true => (product(self.transpose_right, true), [right, g]),
        };
        let (of_right, right_factors) = match self.transpose_right {
            false => (product(!self.transpose_left, false), [left, g]),
            true => (product(true, self.transpose_left), [g, left]),
        };
        Ok(vec![
            backward.towards(left, |backward| backward.single(of_left, &left_factors))?,
            backward.towards(right, |backward| backward.single(of_right, &right_factors))?,
        ])
    }
}
