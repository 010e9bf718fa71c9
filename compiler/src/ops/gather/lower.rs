//! Kernels that copy rows of a table, and that add gradients to them.

use super::{Gather, GatherGrad};
use crate::graph::Node;
use crate::kernel::{Address, Affine, Expr, Extent, MapBuilder, Split, Stmt};
use crate::plan::{BlockedRange, Lower, Lowering, MemoryRules, Order, copy_span, fill};

/// Features of a block are at least a line of the cache, which no two threads write.
const LINE: usize = 16;

impl Lower for Gather {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let [table, indices] = [0, 1].map(|index| lowering.address(node.operands[index]));
        let features = lowering.item(node.operands[0])[1];
        let positions = lowering.size(node.operands[1]).extent();
        let mut draft = lowering.draft(node, "a row for each index");
        let (position, row) = (draft.var(), draft.var());
        let to = lowering.address(node.results[0]).plus(position, features);
        let lookup = Stmt::Lookup {
            var: row,
            from: indices.plus(position, 1),
            bound: self.rows,
            found: vec![copy_span(table.plus(row, features), 1, to.clone(), features)],
            rest: vec![fill(to, features, 0.0)],
        };
        lowering.push(draft.finish(Split::Axes(vec![(position, positions)]), vec![lookup]));
    }
}

impl GatherGrad {
    /// Adds the gradients of some features at one position.
    fn add(g: Address, to: Address, features: usize) -> Stmt {
        let mut map = MapBuilder::new(Extent::Fixed(features));
        let g = map.load(g, 1);
        map.accumulate(to, 1, g);
        map.finish()
    }
}

impl Lower for GatherGrad {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let [g, indices] = [0, 1].map(|index| lowering.address(node.operands[index]));
        let (to, size) = (lowering.address(node.results[0]), lowering.size(node.results[0]));
        let features = lowering.item(node.results[0])[1];
        let positions = lowering.size(node.operands[1]).extent();

        let mut draft = lowering.draft(node, "zeros, to which gradients are added").part("zero");
        let first = draft.var();
        let mut map = MapBuilder::new(Extent::Chunk);
        let zero = map.expr(Expr::Constant(0.0));
        map.store(to.clone().plus(first, 1), 1, zero);
        lowering.push(draft.finish(Split::Lanes(first, size.extent()), vec![map.finish()]));

        // Every thread adds all positions in order, to its own features: the sums do not depend on the threads.
        let share = features.div_ceil(lowering.parallelism.threads.max(1));
        let blocks = BlockedRange::exact(features, share.next_multiple_of(LINE).min(features));
        let mut draft = lowering.draft(node, "each thread adds the gradients of some features, in order");
        let (block, position, row) = (draft.var(), draft.var(), draft.var());
        let body = blocks.branch(block, |start: &Affine, width| {
            let g = g.clone().plus(position, features).at(start, 1);
            let to = to.clone().plus(row, features).at(start, 1);
            let lookup = Stmt::Lookup {
                var: row,
                from: indices.clone().plus(position, 1),
                bound: self.rows,
                found: vec![Self::add(g, to, width)],
                rest: Vec::new(),
            };
            vec![Stmt::repeat(position, positions, vec![lookup])]
        });
        let split = Split::Axes(vec![(block, Extent::Fixed(blocks.blocks()))]);
        lowering.push(draft.finish(split, body));
    }
}
