//! Direct convolution in NCHW layout, for few channels and stride 1 along the width: vectors run along a row of
//! outputs, and read the input rows in place or from a copy with a halo.

use crate::kernel::{Affine, Extent, Form, Reduction, Rows, Split, Start, Stmt, Tile, TileCall, TileStep};
use crate::ops::conv::correlation::Correlation;
use crate::ops::halo::{Padded, Source};
use crate::plan::{BlockedRange, Lowering, RegisterTile, View};

/// Whether this schedule can compute a convolution.
pub(in crate::ops::conv) fn fits(problem: &Correlation<'_>, lowering: &Lowering<'_>) -> bool {
    problem.grid.columns().step == 1
        && !lowering.preferred_layout(problem.node.operands[0]).is_channels_last()
}

/// Adds the kernel.
pub(in crate::ops::conv) fn lower(problem: &Correlation<'_>, lowering: &mut Lowering<'_>) {
    let vectors = lowering.vectors;
    let grid = &problem.grid;
    let (rows, columns) = (grid.rows(), grid.columns());
    let (inputs, outputs) = (problem.inputs, problem.outputs);
    let results = grid.results();
    let block = RegisterTile::choose(vectors, outputs, columns.outputs);
    let row_bytes = 4 * grid.planes() * rows.step * columns.reach(columns.outputs) * problem.x.channels();
    let row_range =
        BlockedRange::exact(rows.outputs, (vectors.costs.first_cache / row_bytes).clamp(1, rows.outputs));
    let note = format!(
        "direct, channels first: tiles of {} channels by {} pixels of a row, {} rows at a time",
        block.rows.min(outputs),
        block.columns.min(columns.outputs),
        row_range.size
    );
    let mut draft = problem.draft(lowering, note);
    let (n, row_block, group, row) = (draft.var(), draft.var(), draft.var(), draft.var());
    let (channel_var, column_var) = (draft.var(), draft.var());
    let weight = lowering.address(problem.weight.value);
    let outer = grid.outer_units(&mut draft);
    let padded = Padded { grid: problem.grid.clone(), x: problem.x.clone(), halo: 0.0 };
    let read = padded.inputs(lowering, problem.node, &mut draft, row_range.size);
    let body = row_range.branch(row_block, |first, count| {
        let (mut stmts, source) = padded.rows(&mut draft, (n, &outer), (first, count), &read);
        let tiles = BlockedRange::exact(outputs, block.rows).sequence(channel_var, |channel, height| {
            BlockedRange::exact(columns.outputs, block.columns).sequence(column_var, |column, width| {
                let channel = channel.clone().plus(group, outputs);
                let element = Affine::default()
                    .plus_scaled(&channel, results)
                    .plus_scaled(first, columns.outputs)
                    .plus(row, columns.outputs)
                    .plus_scaled(column, 1);
                let (epilogue, operands) =
                    problem.epilogue.of_tile(TileStep::AddPerRow, &channel, |view: &View| {
                        (problem.results.of(view).of(n, &outer).at(&element, 1), results)
                    });
                vec![Stmt::Tile(Box::new(TileCall {
                    tile: Tile {
                        rows: height,
                        columns: width,
                        form: Form::OuterProduct,
                        left_rows: Rows::evenly(problem.weight.output),
                        right_column: 1,
                        reduction: reduction(problem, &source),
                        start: Start::Zero,
                        prefetch: 0,
                        epilogue,
                        output_row: results,
                    },
                    left: weight.clone().at(&channel, problem.weight.output),
                    right: source
                        .address
                        .clone()
                        .plus(group, inputs * source.channel)
                        .plus(row, rows.step * source.row())
                        .at(column, columns.step * source.pixel()),
                    output: problem.y.of(n, &outer).at(&element, 1),
                    operands,
                    counts: Vec::new(),
                }))]
            })
        });
        stmts.extend(Stmt::nest(&[(group, problem.groups), (row, count)], tiles));
        stmts
    });
    let mut axes = vec![(n, lowering.batch().extent())];
    axes.extend(outer.extents());
    axes.push((row_block, Extent::Fixed(row_range.blocks())));
    lowering.push(draft.finish(Split::Axes(axes), body));
}

/// The loops over input channels and kernel positions: weights are the left operand, inputs the right one.
fn reduction(problem: &Correlation<'_>, source: &Source) -> Vec<Reduction> {
    let grid = &problem.grid;
    let channels = (problem.inputs, (grid.positions(), source.channel));
    let strides = grid.position_strides().into_iter().zip(source.position_strides(grid));
    let positions = grid.axes().iter().map(|axis| axis.kernel_size).zip(strides);
    let loops = std::iter::once(channels).chain(positions);
    loops.map(|(count, (left, right))| Reduction { count: Some(count), left, right }).collect()
}
