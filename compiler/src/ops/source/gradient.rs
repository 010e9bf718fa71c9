//! Sources have no operands, so they pass no gradient on.

use super::{Constant, Input, Parameter, State};
use crate::autodiff::{AutodiffError, Backward, Differentiate};
use crate::entity::ValueId;
use crate::graph::Node;

macro_rules! no_operands {
    ($($source:ident),*) => {$(
        impl Differentiate for $source {
            fn gradient(
                &self,
                _: &mut Backward,
                _: &Node,
                _: &[Option<ValueId>],
            ) -> Result<Vec<Option<ValueId>>, AutodiffError> {
                Ok(Vec::new())
            }
        }
    )*};
}

no_operands!(Input, Parameter, State, Constant);
