//! Sums over pixels where the input has its channels last: tiles of inputs by outputs, for each kernel position.

use super::{Sums, Unpacked, even};
use crate::kernel::{Address, Affine, Extent, Rows, Split, Stmt};
use crate::ops::conv::weight_gradient::WeightGradient;
use crate::ops::halo::Source;
use crate::plan::{Block, Cover, KernelDraft, Lowering, copy_span, fill};

/// Adds the kernels.
pub(super) fn lower(problem: &WeightGradient<'_>, lowering: &mut Lowering<'_>) {
    let vectors = lowering.vectors;
    let block = Block::choose(vectors, problem.inputs, problem.outputs);
    let sums = Sums::new(problem, block);
    let [rows, columns] = sums.axes;
    let inputs = even(problem.inputs, block.rows);
    let chunk_rows = sums.chunk_rows();
    let tile = Block::time(vectors, inputs.size, sums.columns.size.div_ceil(vectors.lanes));
    let (row_parts, input_parts) = sums.parts(lowering, inputs.blocks(), (columns.kernel_size, tile));
    let parts = Cover::exact(problem.inputs, inputs.blocks().div_ceil(input_parts) * inputs.size);
    let mut draft = lowering.draft(
        problem.node,
        format!(
            "sums over pixels: tiles of {} inputs by {} outputs, {} rows at a time",
            inputs.size, sums.columns.size, chunk_rows.size
        ),
    );
    let buffer = sums.buffer(lowering);
    let (group, block, row_part, part) = (draft.var(), draft.var(), draft.var(), draft.var());
    let chunks = sums.chunks(lowering, &mut draft, chunk_rows, group);
    let (kernel_row, kernel_column, tile_var) = (draft.var(), draft.var(), draft.var());
    let met = rows.reach(chunk_rows.size) * columns.reach(columns.outputs);
    // Inputs are met once for each kernel position: where there are several, it pays to bring a block of them together.
    let packed = (sums.positions > 1).then(|| Address::start(lowering.scratch("inputs", met * inputs.size)));
    let own_rows = rows.kernel_size / row_parts;
    let row = Affine::from(kernel_row).plus(row_part, own_rows);
    let positions = [(kernel_row, own_rows), (kernel_column, columns.kernel_size)];
    let body = sums.columns.branch(block, |first, width| {
        parts.branch(part, |first_input, count| {
            let to = Address::start(buffer)
                .plus(group, sums.depth * problem.outputs)
                .at(first, sums.depth)
                .at(first_input, width)
                .at(&row, columns.kernel_size * problem.inputs * width)
                .plus(kernel_column, problem.inputs * width);
            let mut stmts = Stmt::nest(&positions, vec![fill(to.clone(), count * width, 0.0)]);
            stmts.push(sums.over_chunks(&mut draft, &chunks, (first, width), |draft, place, source| {
                let from = source.address.clone().plus(group, problem.inputs).at(first_input, 1);
                Cover::exact(count, inputs.size).sequence(tile_var, |input, count| {
                    let from = from.clone().at(input, 1);
                    let (mut stmts, own) = match &packed {
                        Some(packed) => {
                            let sizes = [rows.reach(place.rows), columns.reach(columns.outputs)];
                            pack(draft, source, from, packed, sizes, count)
                        }
                        None => (Vec::new(), Source { address: from, ..source.clone() }),
                    };
                    let left = own
                        .address
                        .clone()
                        .at(&row, rows.dilation * own.row)
                        .plus(kernel_column, columns.dilation * own.pixel);
                    let operands = [left, chunks.gathered.clone(), to.clone().at(input, width)];
                    let tile = sums.tile(place, (Rows::evenly(1), count), &own, operands);
                    stmts.extend(Stmt::nest(&positions, vec![tile]));
                    stmts
                })
            }));
            stmts
        })
    });
    let axes = vec![
        (group, Extent::Fixed(problem.groups)),
        (block, Extent::Fixed(sums.columns.blocks())),
        (row_part, Extent::Fixed(row_parts)),
        (part, Extent::Fixed(parts.blocks())),
    ];
    lowering.push(draft.finish(Split::Axes(axes), body));
    let unpacked = Unpacked { sums: buffer, position_step: problem.inputs, input_step: 1 };
    sums.unpack(lowering, unpacked);
}

/// Statements that copy some channels of the rows a chunk meets side by side, and where they then are.
fn pack(
    draft: &mut KernelDraft,
    source: &Source,
    from: Address,
    to: &Address,
    [height, width]: [usize; 2],
    channels: usize,
) -> (Vec<Stmt>, Source) {
    let (r, c) = (draft.var(), draft.var());
    let from = from.plus(r, source.row).plus(c, source.pixel);
    let own = Source { address: to.clone(), row: width * channels, pixel: channels, channel: 1 };
    let copy = copy_span(from, 1, to.clone().plus(r, own.row).plus(c, own.pixel), channels);
    (Stmt::nest(&[(r, height), (c, width)], vec![copy]), own)
}
