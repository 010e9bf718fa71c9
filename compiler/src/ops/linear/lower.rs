//! Kernels of dense layers. Products read their operands in place, unless the weights are fixed and worth packing.

use super::packed::Weight;
use super::{Linear, LinearGradInput, packed};
use crate::faults::repeat_last;
use crate::graph::Node;
use crate::kernel::{
    Affine, Extent, Form, Reduction, Rows, Split, Start, Stmt, Tile, TileCall, TileStep, Var,
};
use crate::ops::epilogue::{FusedSteps, sums_over};
use crate::plan::{
    BlockedRange, KernelDraft, Layout, Lower, Lowering, MemoryRules, Order, RegisterTile, View, fill,
};

/// The number of weight rows that are read at once: the number of memory streams that a core's prefetcher follows.
const OUTPUTS_AT_A_TIME: usize = 16;

/// The number of column strips that are summed before the next rows are read: their sums stay in the L1 cache.
const STRIPS: usize = 16;

/// Code for all items of the batch: blocks of the first size in `rows`, then of the next size, and so on. The last size
/// is 1.
pub(super) fn over_batch(
    draft: &mut KernelDraft,
    rows: &[usize],
    body: impl FnMut(Var, usize) -> Vec<Stmt>,
) -> Vec<Stmt> {
    let batch = draft.batch();
    let end = |rows: usize| if rows == 1 { batch.extent() } else { batch.floor(rows) };
    over_items(draft, rows, end, body)
}

/// Code for the items of a thread's chunk, in the same way.
pub(super) fn over_chunk(
    draft: &mut KernelDraft,
    rows: &[usize],
    body: impl FnMut(Var, usize) -> Vec<Stmt>,
) -> Vec<Stmt> {
    let end = |rows: usize| if rows == 1 { Extent::Chunk } else { Extent::ChunkFloor(rows) };
    over_items(draft, rows, end, body)
}

fn over_items(
    draft: &mut KernelDraft,
    rows: &[usize],
    end: impl Fn(usize) -> Extent,
    mut body: impl FnMut(Var, usize) -> Vec<Stmt>,
) -> Vec<Stmt> {
    let mut start = Extent::Fixed(0);
    let mut stmts = Vec::new();
    for &rows in rows {
        let var = draft.var();
        let end = end(rows);
        stmts.push(Stmt::For { var, start, end, step: rows, body: body(var, rows) });
        start = end;
    }
    stmts
}

impl Lower for Linear {
    fn memory(&self) -> MemoryRules {
        MemoryRules {
            operands: Order::OfShape,
            results: Order::OfShape,
            over: sums_over(2, &self.epilogue),
            bytes: None,
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let inputs = lowering.item(node.operands[0])[0];
        let outputs = lowering.item(node.results[0])[0];
        let (x, weight) = (lowering.address(node.operands[0]), lowering.address(node.operands[1]));
        let y = lowering.address(node.results[0]);
        let epilogue = FusedSteps::new(lowering, node, &self.epilogue, &Layout::channels_first(2));
        if packed::fits(lowering, node, Weight::ByRows) {
            return packed::lower(lowering, node, Weight::ByRows, &epilogue);
        }
        let dots = RegisterTile::of_inner_products(lowering.vectors);
        let range = BlockedRange::exact(outputs, dots.columns);
        let note = format!(
            "inner products along the weight as it is, {} outputs by {} items",
            dots.columns, dots.rows
        );
        let mut draft = lowering.draft(node, note);
        let block = draft.var();
        let body = range.branch(block, |start, columns| {
            over_batch(&mut draft, &[dots.rows, 1], |n, rows| {
                let element = |view: &View| (view.address.clone().at(start, 1).plus(n, outputs), outputs);
                let (mut steps, mut addresses) = epilogue.of_tile(TileStep::AddPerColumn, start, element);
                repeat_last(&mut steps, &mut addresses);
                vec![Stmt::Tile(Box::new(TileCall {
                    tile: Tile {
                        rows,
                        columns,
                        form: Form::InnerProduct,
                        left_rows: Rows::evenly(inputs),
                        right_column: inputs,
                        reduction: vec![Reduction { count: Some(inputs), left: 1, right: 1 }],
                        start: Start::Zero,
                        prefetch: if rows == 1 { 0 } else { columns * inputs },
                        epilogue: steps,
                        output_row: outputs,
                    },
                    left: x.clone().plus(n, inputs),
                    right: weight.clone().at(start, inputs),
                    output: y.clone().at(start, 1).plus(n, outputs),
                    operands: addresses,
                    counts: Vec::new(),
                }))]
            })
        });
        let split = Split::Axes(vec![(block, Extent::Fixed(range.blocks()))]);
        lowering.push(draft.finish(split, body));
    }
}

impl Lower for LinearGradInput {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let outputs = lowering.item(node.operands[0])[0];
        let inputs = lowering.item(node.results[0])[0];
        if packed::fits(lowering, node, Weight::ByColumns) {
            return packed::lower(lowering, node, Weight::ByColumns, &FusedSteps::default());
        }
        let (g, weight) = (lowering.address(node.operands[0]), lowering.address(node.operands[1]));
        let dx = lowering.address(node.results[0]);
        let lanes = lowering.vectors.lanes;
        let (rows, strip): (&[usize], _) = match lowering.vectors.registers {
            16 => (&[4, 1], 2 * lanes),
            _ => (&[8, 4, 1], 3 * lanes),
        };
        let groups = BlockedRange::exact(inputs, STRIPS * strip);
        let mut draft = lowering.draft(node, "outer products along the inputs");
        let (group, strip_var) = (draft.var(), draft.var());
        let tile = |(n, rows): (Var, usize),
                    (column, columns): (&Affine, usize),
                    (output, count): (&Affine, usize)| {
            Stmt::Tile(Box::new(TileCall {
                tile: Tile {
                    rows,
                    columns,
                    form: Form::OuterProduct,
                    left_rows: Rows::evenly(outputs),
                    right_column: 1,
                    reduction: vec![Reduction { count: Some(count), left: 1, right: inputs }],
                    start: Start::Output,
                    prefetch: 0,
                    epilogue: Vec::new(),
                    output_row: inputs,
                },
                left: g.clone().plus(n, outputs).at(output, 1),
                right: weight.clone().at(column, 1).at(output, inputs),
                output: dx.clone().at(column, 1).plus(n, inputs),
                operands: Vec::new(),
                counts: Vec::new(),
            }))
        };
        let chunks = BlockedRange::exact(outputs, OUTPUTS_AT_A_TIME);
        let (chunk, row) = (draft.var(), draft.var());
        let body = groups.branch(group, |first, width| {
            let strips = BlockedRange::exact(width, strip);
            let clear = fill(dx.clone().plus(row, inputs).at(first, 1), width, 0.0);
            let mut stmts = vec![Stmt::repeat(row, lowering.batch().extent(), vec![clear])];
            stmts.extend(chunks.sequence(chunk, |output, count| {
                strips.sequence(strip_var, |column, columns| {
                    let column = column.clone().plus_scaled(first, 1);
                    over_batch(&mut draft, rows, |n, rows| {
                        vec![tile((n, rows), (&column, columns), (output, count))]
                    })
                })
            }));
            stmts
        });
        let split = Split::Axes(vec![(group, Extent::Fixed(groups.blocks()))]);
        lowering.push(draft.finish(split, body));
    }
}
