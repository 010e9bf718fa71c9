//! Concatenation of channels in place.

use super::{Lower, Lowering, Order};
use crate::graph::Graph;
use crate::ops::{Move, Op, Operator, Role};

/// Lets kernels write concatenated channels in place: the operands of a concatenation that are computed by a kernel,
/// and concatenated only once, become parts of its result.
pub(super) fn concat_in_place(graph: &Graph, lowering: &mut Lowering<'_>) {
    let mut concatenated = vec![0; graph.value_count()];
    for node in graph.nodes() {
        if let Role::Move(Move::Join { .. }) = node.op.facts().role {
            node.operands.iter().for_each(|operand| concatenated[operand.index()] += 1);
        }
    }
    // In reverse order, since a concatenation may itself be a part of a later one.
    for node in graph.nodes().iter().rev() {
        let Role::Move(Move::Join { axis: 1 }) = node.op.facts().role else { continue };
        let whole = lowering.view(node.results[0]).clone();
        // Rows with gaps are written by kernels of a batch.
        let are_vectors = whole.layout.axes().len() == 2 && graph.ty(node.results[0]).shape.is_batched();
        if !whole.layout.is_channels_last() && !are_vectors {
            continue;
        }
        let mut first = 0;
        for &operand in &node.operands {
            let own = lowering.view(operand).clone();
            let producer = &graph.producer(operand).op;
            let is_computed = producer.memory().results != Order::OfShape;
            // A producer whose result is a part of another value writes nothing.
            let writes_parts = !matches!(producer.facts().role, Role::Move(Move::Part { .. }));
            // Of the operators on vectors, only those that work element by element write rows with gaps between them.
            let is_by_element = matches!(producer, Op::Unary(_) | Op::Binary(_) | Op::Fused(_));
            let has_place = match are_vectors {
                true => is_by_element && lowering.is_alone(operand),
                false => own.layout.is_channels_last(),
            };
            if has_place && is_computed && writes_parts && concatenated[operand.index()] == 1 {
                lowering.bind_view(operand, whole.part(first, own.channels()));
            }
            first += own.channels();
        }
    }
}
