//! Pools that a convolution applies to its results before it stores them, if windows do not overlap and the pool is the
//! only user of the results. The convolution decides whether it fuses a pool.

use crate::entity::{NodeId, ValueId};
use crate::kernel::{ExprId, MapBuilder, Pool, PoolKind};
use crate::ops::Op;
use crate::plan::{Lowering, Size, View};

use super::Window;

/// A pool that the kernel of its operand may compute.
#[derive(Clone, Debug)]
pub(crate) struct FusedPool {
    /// The node of the pool.
    pub(crate) node: NodeId,
    /// The kind and window of the pool.
    pub(crate) pool: Pool,
    /// The location of its result.
    pub(crate) y: View,
}

/// The pooling that is the only user of a value, if its windows do not overlap, have no padding, and nobody reads the
/// argmax indices.
pub(crate) fn of(lowering: &Lowering<'_>, value: ValueId) -> Option<FusedPool> {
    let is_on = lowering.options.savings.fused_pools;
    let (node, user) = lowering.only_user(value).filter(|_| is_on)?;
    let (kind, window) = match &user.op {
        Op::MaxPool(pool) if !lowering.is_used(user.results[1]) => (PoolKind::Max, &pool.window),
        Op::AvgPool(pool) => (PoolKind::Mean, &pool.window),
        _ => return None,
    };
    let (height, width) = lines(window)?;
    let y = lowering.view(user.results[0]).clone();
    // Vectors hold the channels of a pixel.
    let is_fixed = y.pixels().as_number().is_some();
    (is_fixed && y.channel() == Size::fixed(1)).then_some(FusedPool {
        node,
        pool: Pool { kind, height, width },
        y,
    })
}

/// Height and width of adjacent windows with at most two axes.
fn lines(window: &Window) -> Option<(usize, usize)> {
    let side_by_side = window.stride == window.kernel_size
        && !window.is_padded()
        && window.dilation.iter().all(|&dilation| dilation == 1);
    match (side_by_side, &window.kernel_size[..]) {
        (true, &[width]) => Some((1, width)),
        (true, &[height, width]) => Some((height, width)),
        _ => None,
    }
}

/// The pooled value of the elements of a window, row by row.
pub(crate) fn pooled(map: &mut MapBuilder, kind: PoolKind, window: &[ExprId]) -> ExprId {
    match kind {
        PoolKind::Max => window[1..].iter().fold(window[0], |best, &value| map.largest(best, value)),
        PoolKind::Mean => {
            // Starts from zero, so that a negative zero becomes positive.
            let zero = map.constant(0.0);
            let sum = window.iter().fold(zero, |sum, &value| map.add(sum, value));
            let count = map.constant(window.len() as f64);
            map.divide(sum, count)
        }
    }
}
