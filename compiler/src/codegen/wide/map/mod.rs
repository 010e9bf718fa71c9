//! The wide Map leaf: a function `(table)` for each structurally distinct map, where the table holds its arguments and
//! may be overwritten. Vectors first, then one vector of the lanes that are left, under a mask; memory of other lanes is
//! not touched.
//!
//! `span` is what a function depends on, `order` the order of its computation, `registers` the choice of registers, `body`
//! the instructions of one vector, `walk` the loops around bodies. What none of them supports is an error, and left to the
//! narrow leaf.

mod body;
mod order;
mod registers;
mod span;
mod walk;

pub(in crate::codegen) use span::{Argument, Span};

use super::emit::Width;
use crate::kernel::{Extent, Map};

/// Maps of less work than this, counted in narrow vectors times expressions, are not worth a call.
const WORTH_A_CALL: usize = 24;

/// The function of a map.
///
/// # Errors
/// What the map has that there is no wide code for.
pub(in crate::codegen) fn build(span: &Span, width: Width) -> Result<Vec<u8>, String> {
    walk::build(span, width)
}

/// Whether a map has so much work that calling its function pays.
pub(in crate::codegen) fn pays(map: &Map) -> bool {
    let fixed = |extent: &Extent| match extent {
        Extent::Fixed(count) => Some(*count),
        Extent::Batch(_) | Extent::BatchFloor(_) | Extent::Share => None,
    };
    let steps: Option<usize> = map.window.iter().map(fixed).product();
    match (fixed(&map.lanes), steps) {
        (Some(lanes), Some(steps)) => lanes > 4 && lanes.div_ceil(4) * steps * map.exprs.len() > WORTH_A_CALL,
        _ => true,
    }
}
