//! The gradient of masks: masked positions have none.

use super::{Fill, Mask};
use crate::autodiff::{AutodiffError, Backward, Differentiate};
use crate::entity::ValueId;
use crate::graph::Node;

impl Differentiate for Mask {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let operands = [&[g], &node.operands[1..]].concat();
        let mut all = vec![None; node.operands.len()];
        all[0] = Some(backward.single(Mask { fill: Fill::Zero, ..*self }, &operands)?);
        Ok(all)
    }
}
