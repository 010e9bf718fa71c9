//! Elementary functions in wide registers.

use super::emit::{Binary, Emitter, Vector};
use crate::ops::elementwise::UnaryKind;

/// Registers a function needs beside its argument's.
pub(super) fn temporaries(kind: UnaryKind) -> usize {
    if kind == UnaryKind::Relu { 1 } else { 99 }
}

/// Replaces the numbers of a vector by a function of them.
pub(super) fn unary(emitter: &mut Emitter, kind: UnaryKind, x: Vector, temporaries: &[Vector]) {
    if kind == UnaryKind::Relu {
        emitter.zero(temporaries[0]);
        emitter.binary(Binary::Maximum, x, temporaries[0], x);
    }
}
