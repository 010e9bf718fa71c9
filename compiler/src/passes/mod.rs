//! Graph passes. Each takes a graph and returns an equivalent one; one file per pass.
//!
//! A pass is a free function that builds its result with [`Graph::add`], so every node it makes passes its shape rule.
//! Order, switches, timing and checks are in [`crate::pass`]; gradients are in `autodiff`, algorithms in `plan`.

mod constant_fold;
mod cse;
mod dce;
mod fold_batch_norm;
mod fuse_elementwise;
mod fuse_epilogue;
mod fuse_norm_grad;
mod inference;
mod pool_first;
mod release_relu;
mod relu_bits;
pub(crate) mod scans;
mod simplify;

pub use constant_fold::constant_fold;
pub use cse::cse;
pub use dce::dce;
pub use fold_batch_norm::fold_batch_norm;
pub use fuse_elementwise::fuse_elementwise;
pub use fuse_epilogue::fuse_epilogue;
pub use fuse_norm_grad::fuse_norm_grad;
pub use inference::inference;
pub use pool_first::pool_first;
pub use release_relu::release_relu;
pub use relu_bits::relu_bits;
pub use scans::{merge_scans, move_out_of_scans};
pub use simplify::simplify;

use crate::error::GraphError;
use crate::graph::{Graph, Node};
use crate::ops::Op;
use crate::ops::elementwise::BinaryKind;

/// A pass: maps a graph to an equivalent one.
pub type Pass = fn(&Graph) -> Result<Graph, GraphError>;

/// Every pass with its name in dumps and tests.
pub const ALL: [(&str, Pass); 14] = [
    ("constant_fold", constant_fold),
    ("cse", cse),
    ("dce", dce),
    ("fold_batch_norm", fold_batch_norm),
    ("fuse_elementwise", fuse_elementwise),
    ("fuse_epilogue", fuse_epilogue),
    ("fuse_norm_grad", fuse_norm_grad),
    ("inference", inference),
    ("merge_scans", merge_scans),
    ("move_out_of_scans", move_out_of_scans),
    ("pool_first", pool_first),
    ("release_relu", release_relu),
    ("relu_bits", relu_bits),
    ("simplify", simplify),
];

/// The passes that change results by rounding. All others preserve every bit.
pub const ROUNDING: [&str; 3] = ["fold_batch_norm", "move_out_of_scans", "pool_first"];

/// Whether a node is the gradient of a ReLU.
fn is_relu_grad(node: &Node) -> bool {
    matches!(&node.op, Op::Binary(binary) if binary.kind == BinaryKind::ReluGrad)
}
