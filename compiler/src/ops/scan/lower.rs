//! The kernels of a scan are those of its body: see `plan/loops.rs`.

use super::Scan;
use crate::graph::Node;
use crate::plan::{Lower, Lowering, MemoryRules, Order};

impl Lower for Scan {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        lowering.lower_scan(self, node);
    }
}
