//! Sums over the pixels of sequences of open length: tiles of inputs, or of kernel positions, by outputs, which read all
//! pixels of an item in place.

use super::{Sums, Unpacked, even};
use crate::kernel::{Address, Extent, Form, Reduction, Rows, Split, Start, Stmt, Tile, TileCall, Var};
use crate::ops::conv::weight_gradient::WeightGradient;
use crate::ops::halo::{Padded, Source};
use crate::plan::{BlockedRange, Lowering, RegisterTile, fill};

/// The rows of a tile: the more numerous of inputs and kernel positions, which are then neighbours in the sums. There is
/// a tile for each of the others.
struct TileRows {
    are_inputs: bool,
    /// Blocks of rows, and their stride in the input.
    range: BlockedRange,
    stride: usize,
    /// The number of the others, their stride in the input, and in the sums per output.
    others: usize,
    other_stride: usize,
    other_sums: usize,
}

impl TileRows {
    fn new(problem: &WeightGradient<'_>, source: &Source, most: usize) -> Self {
        let axis = problem.grid.columns();
        let are_inputs = problem.inputs >= axis.kernel_size;
        let inputs = (problem.inputs, source.channel);
        let positions = (axis.kernel_size, axis.dilation * source.pixel());
        let ((rows, stride), (others, other_stride)) =
            if are_inputs { (inputs, positions) } else { (positions, inputs) };
        TileRows { are_inputs, range: even(rows, most), stride, others, other_stride, other_sums: rows }
    }
}

/// Adds the kernels.
pub(super) fn lower(problem: &WeightGradient<'_>, lowering: &mut Lowering<'_>) {
    let vectors = lowering.vectors;
    let axis = problem.grid.columns();
    let block = RegisterTile::choose(vectors, problem.inputs.max(axis.kernel_size), problem.outputs);
    let sums = Sums::new(problem, block);
    let padded = Padded { grid: problem.grid.clone(), x: problem.x.clone(), halo: 0.0 };
    let (source, item) = padded.sequence(lowering, problem.node);
    let rows = TileRows::new(problem, &source, block.rows);
    let buffer = sums.buffer(lowering);
    let note = format!(
        "sums over whole sequences: tiles of {} {} by {} outputs",
        rows.range.size,
        if rows.are_inputs { "inputs" } else { "kernel positions" },
        sums.columns.size
    );
    let mut draft = lowering.draft(problem.node, note);
    let (group, block, other, part, n) = (draft.var(), draft.var(), draft.var(), draft.var(), draft.var());
    let pixels = axis.all_outputs();
    let body = sums.columns.branch(block, |first, width| {
        rows.range.branch(part, |row, count| {
            let to = Address::start(buffer)
                .plus(group, sums.depth * problem.outputs)
                .at(first, sums.depth)
                .plus(other, rows.other_sums * width)
                .at(row, width);
            let left = source
                .address
                .clone()
                .plus_size(n, item)
                .plus(group, problem.inputs * source.channel)
                .plus(other, rows.other_stride)
                .at(row, rows.stride);
            let right = problem.g.of_item(n).plus(group, problem.outputs).at(first, 1);
            let tile = tile((count, rows.stride), width, [source.pixel(), problem.g.pixel()]);
            let counts = vec![pixels.extent()];
            let call = TileCall { tile, left, right, output: to.clone(), operands: Vec::new(), counts };
            let sum = Stmt::repeat(n, draft.batch().extent(), vec![Stmt::Tile(Box::new(call))]);
            vec![fill(to, count * width, 0.0), sum]
        })
    });
    let axes: [(Var, usize); 4] = [
        (group, problem.groups),
        (block, sums.columns.blocks()),
        (other, rows.others),
        (part, rows.range.blocks()),
    ];
    let axes = axes.map(|(var, count)| (var, Extent::Fixed(count))).to_vec();
    lowering.push(draft.finish(Split::Axes(axes), body));
    let (position_step, input_step) = if rows.are_inputs { (problem.inputs, 1) } else { (1, sums.positions) };
    sums.unpack(lowering, Unpacked { sums: buffer, position_step, input_step });
}

/// A tile that adds the sum over all pixels of an item.
fn tile((rows, stride): (usize, usize), columns: usize, [left, right]: [usize; 2]) -> Tile {
    Tile {
        rows,
        columns,
        form: Form::OuterProduct,
        left_rows: Rows::evenly(stride),
        right_column: 1,
        reduction: vec![Reduction { count: None, left, right }],
        start: Start::Output,
        prefetch: 0,
        epilogue: Vec::new(),
        output_row: columns,
    }
}
