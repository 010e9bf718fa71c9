//! Kernels of dense layers. All three products read their operands where they are, without packing.

use super::{Linear, LinearGradInput, LinearGradWeight};
use crate::graph::Node;
use crate::kernel::{
    Address, Affine, Extent, Form, Reduction, Split, Start, Stmt, Tile, TileCall, TileStep, Var,
};
use crate::ops::conv::EpilogueStep;
use crate::plan::{Block, Cover, KernelDraft, LANES, Lower, Lowering};

/// Rows of the forward block: items of the batch that share each load of the weight.
const ITEMS: usize = 2;

/// Code for all items of the batch, `rows` at a time and then one by one.
fn over_batch(draft: &mut KernelDraft, rows: usize, body: impl Fn(Var, usize) -> Vec<Stmt>) -> Vec<Stmt> {
    let (block, single) = (draft.var(), draft.var());
    let floor = Extent::BatchFloor(rows);
    let blocks =
        Stmt::For { var: block, start: Extent::Fixed(0), end: floor, step: rows, body: body(block, rows) };
    let rest = Stmt::For { var: single, start: floor, end: Extent::Batch(1), step: 1, body: body(single, 1) };
    vec![blocks, rest]
}

impl Lower for Linear {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let inputs = lowering.item(node.operands[0])[0];
        let outputs = lowering.item(node.results[0])[0];
        let (x, weight) = (lowering.address(node.operands[0]), lowering.address(node.operands[1]));
        let y = lowering.address(node.results[0]);
        let operands: Vec<Address> =
            node.operands[2..].iter().map(|&value| lowering.address(value)).collect();
        let cover = Cover::overlapping(outputs, LANES, LANES);
        let mut draft = lowering.draft(node, format!("dot products, {LANES} outputs by {ITEMS} items"));
        let block = draft.var();
        let loops = draft.clone();
        let mut variables = loops;
        let body = cover.branch(block, |start, columns| {
            over_batch(&mut variables, ITEMS, |n, rows| {
                let mut taken = operands.iter();
                let mut addresses = Vec::new();
                let epilogue = self
                    .epilogue
                    .iter()
                    .map(|step| match step {
                        EpilogueStep::Bias => {
                            addresses.extend(taken.next().map(|at| at.clone().at(start, 1)));
                            TileStep::AddPerColumn
                        }
                        EpilogueStep::Add => {
                            addresses.extend(taken.next().map(|at| at.clone().at(start, 1).plus(n, outputs)));
                            TileStep::AddElement
                        }
                        EpilogueStep::Relu => TileStep::Relu,
                        EpilogueStep::Sigmoid => TileStep::Sigmoid,
                        EpilogueStep::Tanh => TileStep::Tanh,
                    })
                    .collect();
                vec![Stmt::Tile(Box::new(TileCall {
                    tile: Tile {
                        rows,
                        columns,
                        form: Form::Dot,
                        left_row: inputs,
                        right_column: inputs,
                        reduction: vec![Reduction { count: Some(inputs), left: 1, right: 1 }],
                        start: Start::Zero,
                        epilogue,
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
        let split = Split::Axes(vec![(block, Extent::Fixed(cover.blocks()))]);
        lowering.push(variables.finish(split, body));
    }
}

impl Lower for LinearGradInput {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let outputs = lowering.item(node.operands[0])[0];
        let inputs = lowering.item(node.results[0])[0];
        let (g, weight) = (lowering.address(node.operands[0]), lowering.address(node.operands[1]));
        let dx = lowering.address(node.results[0]);
        let block = Block { rows: 4, vectors: 2 };
        let cover = Cover::overlapping(inputs, block.columns(), LANES);
        let mut draft = lowering.draft(node, "broadcast products along the inputs");
        let column_block = draft.var();
        let body = cover.branch(column_block, |start, columns| {
            over_batch(&mut draft, block.rows, |n, rows| {
                vec![Stmt::Tile(Box::new(TileCall {
                    tile: Tile {
                        rows,
                        columns,
                        form: Form::Broadcast,
                        left_row: outputs,
                        right_column: 1,
                        reduction: vec![Reduction { count: Some(outputs), left: 1, right: inputs }],
                        start: Start::Zero,
                        epilogue: Vec::new(),
                        output_row: inputs,
                    },
                    left: g.clone().plus(n, outputs),
                    right: weight.clone().at(start, 1),
                    output: dx.clone().at(start, 1).plus(n, inputs),
                    operands: Vec::new(),
                    counts: Vec::new(),
                }))]
            })
        });
        let split = Split::Axes(vec![(column_block, Extent::Fixed(cover.blocks()))]);
        lowering.push(draft.finish(split, body));
    }
}

impl Lower for LinearGradWeight {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let outputs = lowering.item(node.operands[0])[0];
        let inputs = lowering.item(node.operands[1])[0];
        let (g, x) = (lowering.address(node.operands[0]), lowering.address(node.operands[1]));
        let dw = lowering.address(node.results[0]);
        let block = Block::choose(outputs, inputs);
        let row_cover = Cover::exact(outputs, block.rows);
        let column_cover = Cover::overlapping(inputs, block.columns(), LANES);
        let mut draft = lowering.draft(node, "broadcast products, reduced over the batch");
        let (row_block, column_block) = (draft.var(), draft.var());
        let tile = |row: &Affine, rows: usize, column: &Affine, columns: usize| {
            vec![Stmt::Tile(Box::new(TileCall {
                tile: Tile {
                    rows,
                    columns,
                    form: Form::Broadcast,
                    left_row: 1,
                    right_column: 1,
                    reduction: vec![Reduction { count: None, left: outputs, right: inputs }],
                    start: Start::Zero,
                    epilogue: Vec::new(),
                    output_row: inputs,
                },
                left: g.clone().at(row, 1),
                right: x.clone().at(column, 1),
                output: dw.clone().at(row, inputs).at(column, 1),
                operands: Vec::new(),
                counts: vec![Extent::Batch(1)],
            }))]
        };
        let body = row_cover.branch(row_block, |row, rows| {
            column_cover.sequence(column_block, |column, columns| tile(row, rows, column, columns))
        });
        let split = Split::Axes(vec![(row_block, Extent::Fixed(row_cover.blocks()))]);
        lowering.push(draft.finish(split, body));
    }
}
