//! SGD updates fused into the kernel of a gradient: the kernel updates each weight where it has just summed its gradient,
//! which is then never written. Operators of gradients say whether they can do so.

use super::Sgd;
use crate::entity::{NodeId, ValueId};
use crate::kernel::{Address, ExprId, MapBuilder};
use crate::ops::Op;
use crate::ops::source::Source;
use crate::plan::Lowering;

/// A step that is the only use of a gradient, and may be taken as soon as that is known.
#[derive(Clone, Debug)]
pub(crate) struct FusedSgd {
    /// The node that takes the step.
    pub(crate) node: NodeId,
    /// The weight, which is moved in place; elements in the order of its shape.
    pub(crate) weight: Address,
    /// The learning rate.
    pub(crate) rate: Address,
}

/// The step that a gradient is for, if it keeps no velocity and adds no decay, is taken in place over a parameter, and nothing
/// but earlier nodes reads the old weight.
pub(crate) fn of(lowering: &Lowering<'_>, gradient: ValueId) -> Option<FusedSgd> {
    let (node, step) = lowering.only_user(gradient)?;
    let Op::Sgd(Sgd { momentum: 0.0, weight_decay: 0.0, .. }) = step.op else { return None };
    let [weight, direction, rate] = step.operands[..] else { return None };
    let at = lowering.address(weight);
    // A weight that is computed may not be there yet.
    let is_stored = lowering.producer(weight).op.source().is_some_and(Source::is_stored);
    let may_move = is_stored
        && direction == gradient
        && lowering.address(step.results[0]) == at
        && !lowering.is_read_until(at.buffer, node);
    may_move.then(|| FusedSgd { node, weight: at, rate: lowering.address(rate) })
}

impl FusedSgd {
    /// A weight moved against its gradient, to be stored where it was loaded.
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
