//! The gradient of the encoding of positions: a sum with numbers that do not depend on the operand.

use super::AddPositions;
use crate::autodiff::{AutodiffError, Backward, Differentiate};
use crate::entity::ValueId;
use crate::graph::Node;

impl Differentiate for AddPositions {
    fn gradient(
        &self,
        _: &mut Backward,
        _: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        Ok(vec![gradients[0]])
    }
}
