//! The wide Map leaf: a function `(table)` for each structurally distinct map, where the table holds its arguments and
//! may be overwritten. Vectors first, then one vector of the lanes that are left, under a mask; memory of other lanes is
//! not touched.
//!
//! `span` is what a function depends on, `order` the order of its computation, `registers` the choice of registers, `body`
//! the instructions of one vector, `vectors` those of neighbouring ones, `sums` how sums are made, `same` what comes before all of them, `loops` what
//! repeats them, `walk` the whole. What none of them supports is an error, and left to the narrow leaf.

mod body;
mod loops;
mod order;
mod registers;
mod same;
mod span;
mod sums;
mod vectors;
mod walk;

pub(in crate::codegen) use span::{Argument, Span};

use super::operands::Width;
use crate::codegen::narrow::Failure;
use crate::kernel::{Extent, Fold, Map};

/// Maps of less work than this, counted in narrow vectors times expressions, are not worth a call.
const WORTH_A_CALL: usize = 8;
/// The same for reductions over lanes, whose last steps take longer the wider vectors are.
const WORTH_A_CALL_TO_REDUCE: usize = 32;

/// The function of a map.
///
/// # Errors
/// What the map has that there is no wide code for.
pub(in crate::codegen) fn build(span: &Span, width: Width) -> Result<Vec<u8>, Failure> {
    walk::build(span, width)
}

/// Whether a map has so much work that calling its function pays.
pub(in crate::codegen) fn pays(map: &Map) -> bool {
    let fixed = |extent: &Extent| match extent {
        Extent::Fixed(count) => Some(*count),
        Extent::Open(..) | Extent::Floor { .. } | Extent::Share => None,
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
