//! The gradient of a convolution to its weight, on images with their channels last: tiles of taps and inputs by outputs,
//! reduced over the pixels of a few rows at a time, which stay in a second-level cache. Every weight's sum is made by one
//! thread, so that the order of its terms does not depend on how many there are.

use super::ConvGradWeight;
use crate::graph::Node;
use crate::kernel::{
    Address, Affine, BufferId, Extent, Form, MapBuilder, Reduction, Rows, Split, Start, Stmt, Tile, TileCall,
    Var,
};
use crate::ops::bordered::{Axis, Bordered, Source, forward_axes};
use crate::plan::{Block, Cover, Layout, Lowering, Size, View, fill};

/// Bytes of the input and the gradient that are met at a time.
const CHUNK_BYTES: usize = 768 * 1024;
/// Units of work for each thread, so that shares come out even.
const UNITS_PER_THREAD: usize = 4;

/// What is the same for all tiles.
struct Products {
    axes: [Axis; 2],
    /// Input and output channels of a group.
    inputs: usize,
    outputs: usize,
    g: View,
    block: Block,
    /// Elements between blocks of outputs of one in the sums: taps times inputs.
    depth: usize,
}

/// How the sums of a block of outputs are laid out: distances between taps and between inputs, in blocks of outputs.
struct Unpacked {
    sums: BufferId,
    groups: usize,
    columns: Cover,
    tap_step: usize,
    input_step: usize,
}

/// Adds the kernels.
pub(super) fn lower(op: &ConvGradWeight, lowering: &mut Lowering<'_>, node: &Node) {
    let x = node.operands[1];
    let g = lowering.in_layout(node, node.operands[0], Layout::ChannelsLast);
    let sizes = lowering.item(x);
    let x = lowering.in_layout(node, x, lowering.preferred_layout(x));
    let axes = forward_axes(&op.window, &sizes[1..]);
    let (inputs, outputs) = (x.channels / op.groups, g.channels / op.groups);
    let taps = op.window.elements();
    let products =
        Products { axes, inputs, outputs, block: Block { rows: 1, columns: 1 }, depth: inputs * taps, g };
    match x.layout {
        Layout::ChannelsLast => products.from_pixels(op.groups, lowering, node, x),
        Layout::ChannelsFirst => products.from_planes(op.groups, lowering, node, x),
    }
}

impl Products {
    /// Rows of results whose inputs and gradients fit a chunk.
    fn chunk(&self, channels: usize) -> Cover {
        let [rows, columns] = self.axes;
        let row = rows.step * columns.reach(columns.outputs) * channels + columns.outputs * self.g.channels;
        let fitting = (CHUNK_BYTES / 4 / row).clamp(1, rows.outputs);
        Cover::exact(rows.outputs, rows.outputs.div_ceil(rows.outputs.div_ceil(fitting)))
    }

    /// Tiles of inputs by outputs, for each tap.
    fn from_pixels(mut self, groups: usize, lowering: &mut Lowering<'_>, node: &Node, x: View) {
        let [rows, columns] = self.axes;
        self.block = Block::choose(lowering.vectors, self.inputs, self.outputs);
        let row_cover = even(self.inputs, self.block.rows);
        let column_cover = Cover::exact(self.outputs, self.block.columns.min(self.outputs));
        // Taps and then inputs are divided, until there are enough units.
        let units = groups * column_cover.blocks() * rows.taps;
        let wanted =
            if lowering.options.threads == 1 { 1 } else { UNITS_PER_THREAD * lowering.options.threads };
        let parts = row_cover.blocks().min(wanted.div_ceil(units));
        let parts = Cover::exact(self.inputs, row_cover.blocks().div_ceil(parts) * row_cover.size);
        let note = format!(
            "sums over pixels: tiles of {} inputs by {} outputs, {} rows at a time",
            row_cover.size,
            column_cover.size,
            self.chunk(x.channels).size
        );
        let mut draft = lowering.draft(node, note);
        let sums =
            lowering.temporary("sums", Size { batched: false, elements: groups * self.depth * self.outputs });
        let (group, block, tap_row, part) = (draft.var(), draft.var(), draft.var(), draft.var());
        let (n, chunk, tap_column, tile_var) = (draft.var(), draft.var(), draft.var(), draft.var());
        let chunks = self.chunk(x.channels);
        let bordered = Bordered { axes: self.axes, x, border: 0.0 };
        let panel = bordered.scratch(lowering, &mut draft, chunks.size);
        let place = |first: &Affine, width: usize| {
            let row = columns.taps * self.inputs * width;
            Address::start(sums)
                .plus(group, self.depth * self.outputs)
                .at(first, self.depth)
                .plus(tap_row, row)
                .plus(tap_column, self.inputs * width)
        };
        let body = column_cover.branch(block, |first, width| {
            parts.branch(part, |first_input, count| {
                let to = place(first, width).at(first_input, width);
                let mut stmts =
                    Stmt::nest(&[(tap_column, columns.taps)], vec![fill(to.clone(), count * width, 0.0)]);
                let products = chunks.branch(chunk, |first_row, row_count| {
                    let (mut stmts, source) =
                        bordered.rows(&mut draft, n, (first_row, row_count), panel.clone());
                    let left = source
                        .address
                        .clone()
                        .plus(group, self.inputs)
                        .plus(tap_row, rows.dilation * source.row)
                        .plus(tap_column, columns.dilation * source.pixel)
                        .at(first_input, 1);
                    let tiles = Cover::exact(count, row_cover.size).sequence(tile_var, |input, count| {
                        let operands = (left.clone().at(input, 1), to.clone().at(input, width));
                        let tile_rows = (Rows::evenly(1), count);
                        vec![self.tile(
                            (n, group),
                            first,
                            (first_row, row_count),
                            tile_rows,
                            width,
                            &source,
                            operands,
                        )]
                    });
                    stmts.extend(Stmt::nest(&[(tap_column, columns.taps)], tiles));
                    stmts
                });
                let chunk_loop = Stmt::nest(&[(chunk, chunks.blocks())], products);
                stmts.push(Stmt::repeat(n, Extent::Batch(1), chunk_loop));
                stmts
            })
        });
        let axes = vec![
            (group, Extent::Fixed(groups)),
            (block, Extent::Fixed(column_cover.blocks())),
            (tap_row, Extent::Fixed(rows.taps)),
            (part, Extent::Fixed(parts.blocks())),
        ];
        lowering.push(draft.finish(Split::Axes(axes), body));
        let unpacked = Unpacked { sums, groups, columns: column_cover, tap_step: self.inputs, input_step: 1 };
        self.unpack(lowering, node, unpacked);
    }

    /// Tiles of taps by outputs, for each input: for few of them, plane by plane.
    fn from_planes(mut self, groups: usize, lowering: &mut Lowering<'_>, node: &Node, x: View) {
        let [rows, columns] = self.axes;
        let taps = rows.taps * columns.taps;
        self.block = Block::choose(lowering.vectors, taps, self.outputs);
        // A tile's taps are part of a row of the window, or whole rows.
        let tile_taps = match self.block.rows / columns.taps {
            0 => columns.taps.div_ceil(columns.taps.div_ceil(self.block.rows)),
            whole => whole.min(rows.taps) * columns.taps,
        };
        let whole_rows = tile_taps / columns.taps;
        let tap_rows = Cover::exact(rows.taps, whole_rows.max(1));
        let tap_columns = Cover::exact(columns.taps, tile_taps.min(columns.taps));
        let column_cover = Cover::exact(self.outputs, self.block.columns.min(self.outputs));
        let chunks = self.chunk(x.channels);
        let note = format!(
            "sums over pixels: tiles of {tile_taps} taps by {} outputs, {} rows at a time",
            column_cover.size, chunks.size
        );
        let mut draft = lowering.draft(node, note);
        let sums =
            lowering.temporary("sums", Size { batched: false, elements: groups * self.depth * self.outputs });
        let (group, block, input, tap_block) = (draft.var(), draft.var(), draft.var(), draft.var());
        let (n, chunk, tap_column) = (draft.var(), draft.var(), draft.var());
        let bordered = Bordered { axes: self.axes, x, border: 0.0 };
        let panel = bordered.scratch(lowering, &mut draft, chunks.size);
        let body = column_cover.branch(block, |first, width| {
            tap_rows.branch(tap_block, |first_tap, tap_count| {
                let to = Address::start(sums)
                    .plus(group, self.depth * self.outputs)
                    .at(first, self.depth)
                    .plus(input, taps * width)
                    .at(first_tap, columns.taps * width);
                let mut stmts = vec![fill(to.clone(), tap_count * columns.taps * width, 0.0)];
                let tiles = chunks.branch(chunk, |first_row, row_count| {
                    let (mut stmts, source) =
                        bordered.rows(&mut draft, n, (first_row, row_count), panel.clone());
                    let left = source
                        .address
                        .clone()
                        .plus(group, self.inputs * source.channel)
                        .plus(input, source.channel)
                        .at(first_tap, rows.dilation * source.row);
                    stmts.extend(tap_columns.sequence(tap_column, |column, count| {
                        let run = Rows {
                            run: columns.taps,
                            near: columns.dilation * source.pixel,
                            far: rows.dilation * source.row,
                        };
                        let count = if whole_rows == 0 { count } else { tap_count * columns.taps };
                        let left = left.clone().at(column, columns.dilation * source.pixel);
                        let to = to.clone().at(column, width);
                        let tap_rows = (run.of(count), count);
                        vec![self.tile(
                            (n, group),
                            first,
                            (first_row, row_count),
                            tap_rows,
                            width,
                            &source,
                            (left, to),
                        )]
                    }));
                    stmts
                });
                let chunk_loop = Stmt::nest(&[(chunk, chunks.blocks())], tiles);
                stmts.push(Stmt::repeat(n, Extent::Batch(1), chunk_loop));
                stmts
            })
        });
        let axes = vec![
            (group, Extent::Fixed(groups)),
            (block, Extent::Fixed(column_cover.blocks())),
            (input, Extent::Fixed(self.inputs)),
            (tap_block, Extent::Fixed(tap_rows.blocks())),
        ];
        lowering.push(draft.finish(Split::Axes(axes), body));
        let unpacked = Unpacked { sums, groups, columns: column_cover, tap_step: 1, input_step: taps };
        self.unpack(lowering, node, unpacked);
    }

    #[expect(clippy::too_many_arguments, reason = "places in the input, the gradient and the sums")]
    fn tile(
        &self,
        (n, group): (Var, Var),
        first: &Affine,
        (first_row, row_count): (&Affine, usize),
        (left_rows, count): (Rows, usize),
        width: usize,
        source: &Source,
        (left, to): (Address, Address),
    ) -> Stmt {
        let [rows, columns] = self.axes;
        let right = self
            .g
            .of_item(n)
            .plus(group, self.outputs)
            .at(first, 1)
            .at(first_row, columns.outputs * self.g.pixel);
        let pixels = Reduction {
            count: Some(columns.outputs),
            left: columns.step * source.pixel,
            right: self.g.pixel,
        };
        let lines = Reduction {
            count: Some(row_count),
            left: rows.step * source.row,
            right: columns.outputs * self.g.pixel,
        };
        Stmt::Tile(Box::new(TileCall {
            tile: Tile {
                rows: count,
                columns: width,
                form: Form::Broadcast,
                left_rows,
                right_column: 1,
                reduction: vec![lines, pixels],
                start: Start::Stored,
                prefetch: 0,
                epilogue: Vec::new(),
                output_row: width,
            },
            left,
            right,
            output: to,
            operands: Vec::new(),
            counts: Vec::new(),
        }))
    }

    /// Adds the kernel that brings the sums into the order of the weight.
    fn unpack(&self, lowering: &mut Lowering<'_>, node: &Node, unpacked: Unpacked) {
        let Unpacked { sums, groups, columns, tap_step, input_step } = unpacked;
        let taps = self.axes[0].taps * self.axes[1].taps;
        let mut draft = lowering.draft(node, "sums in the order of the weight").part("unpack");
        let (group, block, output, input) = (draft.var(), draft.var(), draft.var(), draft.var());
        let to_weight = lowering.address(node.results[0]);
        let body = columns.branch(block, |first, width| {
            let from = Address::start(sums)
                .plus(group, self.depth * self.outputs)
                .at(first, self.depth)
                .plus(output, 1);
            let to = to_weight
                .clone()
                .plus(group, self.outputs * self.depth)
                .at(first, self.depth)
                .plus(output, self.depth);
            let mut map = MapBuilder::new(Extent::Fixed(taps));
            let value = map.load(from.plus(input, input_step * width), tap_step * width);
            map.store(to.plus(input, taps), 1, value);
            Stmt::nest(&[(output, width), (input, self.inputs)], vec![map.finish()])
        });
        let axes = vec![(group, Extent::Fixed(groups)), (block, Extent::Fixed(columns.blocks()))];
        lowering.push(draft.finish(Split::Axes(axes), body));
    }
}

/// Blocks of at most `largest`, as even as they can be.
fn even(total: usize, largest: usize) -> Cover {
    Cover::exact(total, total.div_ceil(total.div_ceil(largest)))
}
