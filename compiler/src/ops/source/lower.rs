//! Sources have memory but no kernels.

use super::{Constant, Input, Parameter, State};
use crate::graph::Node;
use crate::plan::{Lower, Lowering, MemoryRules, Order};

macro_rules! no_kernels {
    ($($source:ident),*) => {$(
        impl Lower for $source {
            fn memory(&self) -> MemoryRules {
                MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
            }

            fn lower(&self, _: &mut Lowering<'_>, _: &Node) {}
        }
    )*};
}

no_kernels!(Input, Parameter, State, Constant);
