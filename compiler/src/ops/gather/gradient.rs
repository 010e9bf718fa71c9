//! Gradients of rows of a table: the two operators are each other's gradients.

use super::{Gather, GatherGrad};
use crate::autodiff::{AutodiffError, Backward, Differentiate};
use crate::entity::ValueId;
use crate::graph::Node;

impl Differentiate for Gather {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(g) = gradients[0] else { return Ok(Vec::new()) };
        let op = GatherGrad { rows: self.rows };
        Ok(vec![Some(backward.single(op, &[g, node.operands[1]])?), None])
    }
}

impl Differentiate for GatherGrad {
    fn gradient(
        &self,
        backward: &mut Backward,
        node: &Node,
        gradients: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        let Some(table) = gradients[0] else { return Ok(Vec::new()) };
        let op = Gather { rows: self.rows };
        Ok(vec![Some(backward.single(op, &[table, node.operands[1]])?), None])
    }
}
