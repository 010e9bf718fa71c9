//! The assembled Map leaf: one function `(table)` for each structurally distinct map. The table holds the map's
//! arguments and may be overwritten. Whole vectors come first, then one masked vector for the remaining lanes; the
//! memory of other lanes is not touched.
//!
//! `key` is the key of a function, `schedule` the instruction schedule, `registers` the register allocation, `body` the
//! instructions of one vector, `vectors` those of neighbouring vectors, `sums` the sums in blocks, `same` the
//! loop-invariant code, `loops` the loops, `walk` the whole function. What they do not support is an error, and
//! Cranelift compiles it.

mod body;
mod invariants;
mod key;
mod loops;
mod registers;
mod schedule;
mod sums;
mod vectors;
mod walk;

pub(in crate::codegen) use key::{Argument, MapKey};

use super::operands::Width;
use crate::codegen::fallback::Failure;
use crate::kernel::{Extent, Fold, Map};

/// The minimum work of a map to be worth a call, in vectors of four lanes times expressions.
const WORTH_A_CALL: usize = 8;
/// The same for reductions over lanes, whose last steps take longer for wider vectors.
const WORTH_A_CALL_TO_REDUCE: usize = 32;

/// The function of a map.
///
/// # Errors
/// Why the map cannot be assembled.
pub(in crate::codegen) fn build(key: &MapKey, width: Width) -> Result<Vec<u8>, Failure> {
    walk::build(key, width)
}

/// Whether a map has enough work to be worth a call.
pub(in crate::codegen) fn pays(map: &Map) -> bool {
    let fixed = |extent: &Extent| match extent {
        Extent::Fixed(count) => Some(*count),
        Extent::Open(..) | Extent::Floor { .. } | Extent::Chunk | Extent::ChunkFloor(_) => None,
    };
    let steps: Option<usize> = map.window.iter().map(fixed).product();
    let worth = match map.fold {
        Fold::None | Fold::Window(_) => WORTH_A_CALL,
        Fold::Lanes(_) => WORTH_A_CALL_TO_REDUCE,
    };
    match (fixed(&map.lanes), steps) {
        (Some(lanes), Some(steps)) => lanes > 4 && lanes.div_ceil(4) * steps * map.exprs.len() > worth,
        _ => true,
    }
}
