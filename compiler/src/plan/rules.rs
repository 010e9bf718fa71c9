//! An operator's rules for the planner: how its kernels use memory, and the kernels.

use super::Lowering;
use crate::graph::Node;
use crate::ops::{Op, dispatch};

/// The rules that lower an operator to kernels.
pub trait Lower {
    /// How its kernels use the memory of operands and results.
    fn memory(&self) -> MemoryRules;

    /// Adds the operator's kernels. Its operands and results already have buffers.
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node);
}

impl Lower for Op {
    fn memory(&self) -> MemoryRules {
        dispatch!(self, op => op.memory())
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        dispatch!(self, op => op.lower(lowering, node));
    }
}

/// How the kernels of an operator use the memory of its operands and results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryRules {
    /// The order in which they read operands.
    pub operands: Order,
    /// The order in which they write results.
    pub results: Order,
    /// Pairs of an operand and a result of the same type that may overwrite it: no element of the operand is read after
    /// the result's element at the same position is written.
    pub over: Vec<(usize, usize)>,
    /// The operand or result of small integers that they read or write as bytes.
    pub bytes: Option<Bytes>,
}

/// The order of elements in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The order of the shape, dense. Operands in another layout are copied first.
    OfShape,
    /// Any layout that a view describes: channels first or last, and parts of the pixels of another value.
    Any,
    /// Any layout, and best without gaps between pixels, since elements are processed without regard to pixels. Parts of
    /// other values are copied.
    Dense,
    /// Any layout of values of fixed sizes, and the order of the shape if an item has an open size.
    AnyOfFixed,
}

/// An operand or result of integers from 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// An operand, which may be stored in bytes.
    Operand(usize),
    /// A result, which may be stored in bytes.
    Result(usize),
}
