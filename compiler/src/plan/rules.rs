//! What an operator tells the planner: how its kernels use memory, and which kernels they are.

use super::Lowering;
use crate::graph::Node;
use crate::ops::{Op, dispatch};

/// The rules that turn an operator into kernels.
pub trait Lower {
    /// How its kernels use the memory of operands and results.
    fn memory(&self) -> MemoryRules;

    /// Adds the operator's kernels. Its operands and results have buffers already.
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
    /// Operands, each with a result of its type that may be written over it: no element of the operand is read after the
    /// result's element at its place is written.
    pub over: Vec<(usize, usize)>,
    /// The operand or result of small integers that they read or write as bytes.
    pub bytes: Option<Bytes>,
}

/// An order of elements in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// That of the shape, dense. Operands in another order are copied before.
    OfShape,
    /// Any, as views say it: channels first or last, and parts of the pixels of another value.
    Any,
}

/// An operand or result of integers from 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// An operand, which may be stored in bytes.
    Operand(usize),
    /// A result, which may be stored in bytes.
    Result(usize),
}
