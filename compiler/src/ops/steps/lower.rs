//! Kernels of folding and unfolding steps: copies with the first two axes exchanged.

use super::{FoldSteps, UnfoldSteps};
use crate::graph::Node;
use crate::plan::{Layout, Lower, Lowering, MemoryRules, Order, View};
use crate::shape::Dim;

const RULES: MemoryRules =
    MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None };

/// The first two axes of sequences `[N, T, …]` exchanged, and the steps `[N·T, …]` as `[T, N, …]`.
fn views(lowering: &mut Lowering<'_>, sequences: &View, dims: &[Dim], steps: &View) -> (View, View) {
    let order: Vec<usize> = [1, 0].into_iter().chain(2..dims.len()).collect();
    let exchanged: Vec<Dim> = order.iter().map(|&axis| dims[axis].clone()).collect();
    let layout = Layout::channels_first(dims.len());
    let steps = lowering.dense_view(steps.address.clone(), &exchanged, layout, steps.element);
    (sequences.transposed(&order), steps)
}

impl Lower for FoldSteps {
    fn memory(&self) -> MemoryRules {
        RULES
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let dims = lowering.ty(node.operands[0]).shape.dims();
        let (sequences, steps) = (lowering.plain(node.operands[0]), lowering.plain(node.results[0]));
        let (from, to) = views(lowering, &sequences, dims, &steps);
        let draft = lowering.draft(node, "sequences to steps");
        lowering.copy_axes(draft, &from, &to);
    }
}

impl Lower for UnfoldSteps {
    fn memory(&self) -> MemoryRules {
        RULES
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let dims = lowering.ty(node.results[0]).shape.dims();
        let (steps, sequences) = (lowering.plain(node.operands[0]), lowering.plain(node.results[0]));
        let (to, from) = views(lowering, &sequences, dims, &steps);
        let draft = lowering.draft(node, "steps to sequences");
        lowering.copy_axes(draft, &from, &to);
    }
}
