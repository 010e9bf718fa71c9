//! The kernel of filling: one span.

use super::Fill;
use crate::graph::Node;
use crate::plan::{Lower, Lowering, MemoryRules, Order};

impl Lower for Fill {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let to = lowering.address(node.results[0]);
        let size = lowering.size(node.results[0]);
        let build = |map: &mut crate::kernel::MapBuilder, _: &[crate::kernel::ExprId], first| {
            let value = map.constant(f64::from(self.value));
            map.store(to.plus(first, 1), 1, value);
        };
        lowering.elementwise(node, &[], build, size);
    }
}
