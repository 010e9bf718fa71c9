//! Direct convolution on planes, for few channels and stride 1 along the width: vectors run along a row of results, and
//! meet the rows of the input where they are, or in a panel with a border.

use super::Conv;
use super::im2col::epilogue;
use crate::graph::Node;
use crate::kernel::{Address, Affine, Extent, Form, Reduction, Rows, Split, Start, Stmt, Tile, TileCall};
use crate::ops::bordered::{Bordered, forward_axes};
use crate::plan::{Block, Cover, Layout, Lowering};

/// Whether a convolution can be done so.
pub(super) fn fits(op: &Conv, lowering: &Lowering<'_>, node: &Node) -> bool {
    let last = op.window.axes() - 1;
    last < 2
        && op.window.stride[last] == 1
        && lowering.preferred_layout(node.operands[0]) == Layout::ChannelsFirst
}

/// Adds the kernel.
pub(super) fn conv(op: &Conv, lowering: &mut Lowering<'_>, node: &Node) {
    lowering.operands_in_order(node);
    let vectors = lowering.vectors;
    let input = lowering.item(node.operands[0]);
    let channels = lowering.item(node.results[0])[0];
    let axes = forward_axes(&op.window, &input[1..]);
    let [rows, columns] = axes;
    let (inputs, outputs) = (input[0] / op.groups, channels / op.groups);
    let taps = rows.taps * columns.taps;
    let positions = rows.outputs * columns.outputs;
    let block = Block::choose(vectors, outputs, columns.outputs);
    let row_bytes = 4 * rows.step * columns.reach(columns.outputs) * input[0];
    let row_cover =
        Cover::exact(rows.outputs, (vectors.costs.first_cache / row_bytes).clamp(1, rows.outputs));
    let note = format!(
        "direct on planes: tiles of {} channels by {} pixels of a row, {} rows at a time",
        block.rows.min(outputs),
        block.columns.min(columns.outputs),
        row_cover.size
    );
    let mut draft = lowering.draft(node, note);
    let (n, row_block, group, row) = (draft.var(), draft.var(), draft.var(), draft.var());
    let (channel_var, column_var) = (draft.var(), draft.var());
    let x = lowering.in_layout(node, node.operands[0], Layout::ChannelsFirst);
    let weight = lowering.address(node.operands[1]);
    let y = lowering.address(node.results[0]);
    let operands: Vec<Address> = node.operands[2..].iter().map(|&value| lowering.address(value)).collect();
    let bordered = Bordered { axes, x, border: 0.0 };
    let panel = bordered.scratch(lowering, &mut draft, row_cover.size);
    let body = row_cover.branch(row_block, |first, count| {
        let (mut stmts, source) = bordered.rows(&mut draft, n, (first, count), panel.clone());
        let tiles = Cover::exact(outputs, block.rows).sequence(channel_var, |channel, height| {
            Cover::exact(columns.outputs, block.columns).sequence(column_var, |column, width| {
                let channel = channel.clone().plus(group, outputs);
                let element = Affine::default()
                    .plus(n, channels * positions)
                    .plus_scaled(&channel, positions)
                    .plus_scaled(first, columns.outputs)
                    .plus(row, columns.outputs)
                    .plus_scaled(column, 1);
                let (steps, addresses) = epilogue(&op.epilogue, &operands, &channel, &element, positions);
                vec![Stmt::Tile(Box::new(TileCall {
                    tile: Tile {
                        rows: height,
                        columns: width,
                        form: Form::Broadcast,
                        left_rows: Rows::evenly(inputs * taps),
                        right_column: 1,
                        reduction: vec![
                            Reduction { count: Some(inputs), left: taps, right: source.channel },
                            Reduction {
                                count: Some(rows.taps),
                                left: columns.taps,
                                right: rows.dilation * source.row,
                            },
                            Reduction {
                                count: Some(columns.taps),
                                left: 1,
                                right: columns.dilation * source.pixel,
                            },
                        ],
                        start: Start::Zero,
                        prefetch: 0,
                        epilogue: steps,
                        output_row: positions,
                    },
                    left: weight.clone().at(&channel, inputs * taps),
                    right: source
                        .address
                        .clone()
                        .plus(group, inputs * source.channel)
                        .plus(row, rows.step * source.row)
                        .at(column, columns.step * source.pixel),
                    output: y.clone().at(&element, 1),
                    operands: addresses,
                    counts: Vec::new(),
                }))]
            })
        });
        stmts.extend(Stmt::nest(&[(group, op.groups), (row, count)], tiles));
        stmts
    });
    let axes = vec![(n, lowering.batch().extent()), (row_block, Extent::Fixed(row_cover.blocks()))];
    lowering.push(draft.finish(Split::Axes(axes), body));
}
