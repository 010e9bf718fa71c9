//! Rows of tables, and sums into them.

use windlass_compiler::ops::gather::{Gather, GatherGrad};
use windlass_compiler::shape::Shape;

use super::case::{Case, Fill, PAIRS, sums};
use super::integers;
use crate::graphs::Ops;

/// Tables of many rows and of few.
pub(super) fn rows(mut ops: Ops) -> Vec<Case> {
    let indices = integers(&mut ops, "indices", Shape::batched(&[3]));
    let (few, many) = (ops.parameter("few", &[PAIRS, 5]), ops.parameter("many", &[3, PAIRS]));
    for (name, table, rows) in [("few", few, PAIRS), ("many", many, 3)] {
        let y = ops.op(Gather { rows }, &[table, indices]);
        ops = ops.output(&format!("of {name}"), y);
    }
    vec![Case::exact(ops, &[&[("few", Fill::Edges), ("many", Fill::Edges)]])]
}

/// Rows of few features and of many, to each of which several are added.
pub(super) fn sums_of_rows(mut ops: Ops) -> Vec<Case> {
    let indices = integers(&mut ops, "indices", Shape::batched(&[7]));
    let (few, many) = (ops.input("few", &[7, 5]), ops.input("many", &[7, 37]));
    for (name, g) in [("few", few), ("many", many)] {
        let y = ops.op(GatherGrad { rows: 4 }, &[g, indices]);
        ops = ops.output(&format!("of {name}"), y);
    }
    vec![sums(ops, ["few", "many"])]
}
