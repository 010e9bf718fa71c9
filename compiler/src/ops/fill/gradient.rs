//! A filled value depends on nothing.

use super::Fill;
use crate::autodiff::{AutodiffError, Backward, Differentiate};
use crate::entity::ValueId;
use crate::graph::Node;

impl Differentiate for Fill {
    fn gradient(
        &self,
        _: &mut Backward,
        _: &Node,
        _: &[Option<ValueId>],
    ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
        Ok(Vec::new())
    }
}
