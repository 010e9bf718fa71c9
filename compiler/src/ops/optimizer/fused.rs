//! SGD updates fused into the kernel of a gradient: the kernel updates each weight right after summing its gradient, so
//! the gradient is never written to memory. The operators of gradients decide whether they can do so.

use super::Sgd;
use crate::entity::{NodeId, ValueId};
use crate::kernel::{Address, ExprId, MapBuilder};
use crate::ops::Op;
use crate::ops::source::Source;
use crate::plan::Lowering;

/// An SGD update that is the only user of a gradient, and may run as soon as the gradient is known.
#[derive(Clone, Debug)]
pub(crate) struct FusedSgd {
    /// The node of the update.
    pub(crate) node: NodeId,
    /// The weight, which is updated in place, with its elements in the order of its shape.
    pub(crate) weight: Address,
    /// The learning rate.
    pub(crate) rate: Address,
}

/// The SGD update that uses a gradient, if it has neither momentum nor weight decay nor a computed rate, updates a
/// parameter in place, and only earlier nodes read the old weight.
pub(crate) fn of(lowering: &Lowering<'_>, gradient: ValueId) -> Option<FusedSgd> {
    let is_on = lowering.options.savings.fused_updates;
    let (node, step) = lowering.only_user(gradient).filter(|_| is_on)?;
    let Op::Sgd(Sgd { momentum: 0.0, weight_decay: 0.0, .. }) = step.op else { return None };
    let [weight, direction, rate] = step.operands[..] else { return None };
    let at = lowering.address(weight);
    // A computed weight may not exist yet.
    let is_stored = lowering.producer(weight).op.source().is_some_and(Source::is_stored);
    // Nor may the rate of a parameter group.
    let is_given = lowering.producer(rate).op.source().is_some();
    let may_move = is_stored
        && is_given
        && direction == gradient
        && lowering.address(step.results[0]) == at
        && !lowering.is_read_until(at.buffer, node);
    may_move.then(|| FusedSgd { node, weight: at, rate: lowering.address(rate) })
}

impl FusedSgd {
    /// The updated weight, to be stored at the address it was loaded from.
    pub(crate) fn moved(
        &self,
        map: &mut MapBuilder,
        weight: Address,
        lane: usize,
        gradient: ExprId,
    ) -> ExprId {
        let (weight, rate) = (map.load(weight, lane), map.load(self.rate.clone(), 0));
        let step = map.multiply(rate, gradient);
        map.subtract(weight, step)
    }
}
