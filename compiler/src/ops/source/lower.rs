//! Sources have memory but no work.

use super::{Constant, Input, Parameter, State};
use crate::graph::Node;
use crate::plan::{Lower, Lowering};

macro_rules! no_kernels {
    ($($source:ident),*) => {$(
        impl Lower for $source {
            fn lower(&self, _: &mut Lowering<'_>, _: &Node) {}
        }
    )*};
}

no_kernels!(Input, Parameter, State, Constant);
