//! The gradient of a convolution to its weight, on images with their channels last: tiles of taps and inputs by outputs,
//! reduced over the pixels of a few rows at a time, which stay in a cache. Every weight's sum is made by one
//! thread, so that the order of its terms does not depend on how many there are.

use super::ConvGradWeight;
use super::winograd_gradient::WinogradGradient;
use crate::graph::Node;
use crate::kernel::{
    Address, Affine, BufferId, Extent, Form, MapBuilder, Reduction, Rows, Split, Start, Stmt, Tile, TileCall,
    Var,
};
use crate::ops::bordered::{Axis, Bordered, Source, forward_axes};
use crate::ops::optimizer::absorbed;
use crate::plan::{
    Block, Cover, KernelDraft, Layout, Lowering, Size, Vectors, View, WINOGRAD_RESULTS, copy_span, fill,
};

/// Pixels that are met at a time: their gradients, and their inputs, for one tile each, stay in a first-level cache.
const CHUNK_PIXELS: usize = 144;

/// What is the same for all tiles.
struct Products {
    axes: [Axis; 2],
    /// Input and output channels of a group.
    inputs: usize,
    outputs: usize,
    g: View,
    /// Elements between blocks of outputs of one in the sums: taps times inputs.
    depth: usize,
}

/// What a unit of work is at: an item, a group, a block of outputs, and some rows of results.
struct Place<'a> {
    n: Var,
    group: Var,
    first: &'a Affine,
    width: usize,
    first_row: &'a Affine,
    rows: usize,
}

/// Some rows of results at a time: what counts them, and where their inputs and gradients are brought.
struct Chunks {
    cover: Cover,
    n: Var,
    chunk: Var,
    group: Var,
    bordered: Bordered,
    panel: Option<Address>,
    gathered: Address,
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
    let products = Products { axes, inputs, outputs, depth: inputs * taps, g };
    let winograds = WINOGRAD_RESULTS
        .map(|results| WinogradGradient::new(axes, op.groups, (&x, &products.g), lowering.vectors, results));
    let times =
        winograds.each_ref().map(|winograd| winograd.as_ref().map(|one| one.time).map_err(|&why| why));
    let direct = products.time(lowering.vectors);
    let taken = lowering.choose(node, node.operands[0], direct, times);
    if let Some(Ok(winograd)) = taken.map(|taken| &winograds[taken]) {
        return products.by_winograd(lowering, node, winograd);
    }
    match x.layout {
        Layout::ChannelsLast => products.on_pixels(op.groups, lowering, node, x),
        Layout::ChannelsFirst => products.on_planes(op.groups, lowering, node, x),
    }
}

impl Products {
    /// The time that sums over pixels take, in sixteenths of a cycle of one item.
    fn time(&self, vectors: Vectors) -> usize {
        let [rows, columns] = self.axes;
        let block = Block::choose(vectors, self.inputs, self.outputs);
        let steps = Block::time_of_all(
            vectors,
            &even(self.inputs, block.rows),
            &Cover::exact(self.outputs, block.columns.min(self.outputs)),
        );
        rows.taps * columns.taps * rows.outputs * columns.outputs * steps
    }

    /// By Winograd's method.
    fn by_winograd(&self, lowering: &mut Lowering<'_>, node: &Node, winograd: &WinogradGradient) {
        let taps = self.axes[0].taps * self.axes[1].taps;
        let block = Block::choose(lowering.vectors, self.inputs, self.outputs);
        let columns = Cover::exact(self.outputs, block.columns.min(self.outputs));
        let elements = self.depth * self.outputs;
        let sums = lowering.temporary("sums", Size::fixed(elements));
        winograd.lower(lowering, node, sums, columns, winograd.note());
        let unpacked = Unpacked { sums, groups: 1, columns, tap_step: 1, input_step: taps };
        self.unpack(lowering, node, unpacked);
    }

    /// Rows of results that are met at a time.
    fn chunk_rows(&self) -> Cover {
        let [rows, columns] = self.axes;
        let fitting = (CHUNK_PIXELS / columns.outputs).clamp(1, rows.outputs);
        Cover::exact(rows.outputs, rows.outputs.div_ceil(rows.outputs.div_ceil(fitting)))
    }

    /// How often the rows of the window and the blocks of inputs are divided among units of work, of which there are
    /// `units` otherwise: as takes the least time on all threads. Units of one block of outputs each gather its gradient,
    /// which comes from far away; `tile` is the time of a tile and a pixel, of which each row of the window and block of
    /// inputs has `tiles`.
    fn parts(
        &self,
        vectors: Vectors,
        threads: usize,
        (units, blocks): (usize, usize),
        (width, tiles, tile): (usize, usize, usize),
    ) -> (usize, usize) {
        let tap_rows = self.axes[0].taps;
        let time = |&(tap_parts, input_parts): &(usize, usize)| {
            let own_blocks = blocks.div_ceil(input_parts);
            let units = units * tap_parts * blocks.div_ceil(own_blocks);
            let unit = tap_rows / tap_parts * own_blocks * tiles * tile + vectors.costs.far(4 * width);
            units.div_ceil(threads) * unit
        };
        let ways = [1, tap_rows].into_iter().flat_map(|taps| (1..=blocks).map(move |inputs| (taps, inputs)));
        // Of equals the first: undivided.
        ways.min_by_key(time).unwrap_or((1, 1))
    }

    /// The gradient of a block of outputs on some rows, side by side: copied so, since pixels far apart compete for the
    /// same sets of a cache.
    fn gather(&self, draft: &mut KernelDraft, place: &Place<'_>, to: &Address) -> Vec<Stmt> {
        let pixel = draft.var();
        let pixels = place.rows * self.axes[1].outputs;
        let from = self
            .g
            .of_item(place.n)
            .plus(place.group, self.outputs)
            .at(place.first, 1)
            .at(place.first_row, self.axes[1].outputs * self.g.pixel)
            .plus(pixel, self.g.pixel);
        let copy = copy_span(from, 1, to.clone().plus(pixel, place.width), place.width);
        vec![Stmt::repeat(pixel, Extent::Fixed(pixels), vec![copy])]
    }

    /// Tiles of inputs by outputs, for each tap.
    fn on_pixels(self, groups: usize, lowering: &mut Lowering<'_>, node: &Node, x: View) {
        let [rows, columns] = self.axes;
        let block = Block::choose(lowering.vectors, self.inputs, self.outputs);
        let inputs = even(self.inputs, block.rows);
        let column_cover = Cover::exact(self.outputs, block.columns.min(self.outputs));
        let chunk_rows = self.chunk_rows();
        let units = groups * column_cover.blocks();
        let vectors = lowering.vectors;
        let tile = Block::time(vectors, inputs.size, column_cover.size.div_ceil(vectors.lanes));
        let (tap_parts, input_parts) = self.parts(
            vectors,
            lowering.options.threads,
            (units, inputs.blocks()),
            (column_cover.size, columns.taps, tile),
        );
        let parts = Cover::exact(self.inputs, inputs.blocks().div_ceil(input_parts) * inputs.size);
        let mut draft = lowering.draft(
            node,
            format!(
                "sums over pixels: tiles of {} inputs by {} outputs, {} rows at a time",
                inputs.size, column_cover.size, chunk_rows.size
            ),
        );
        let sums = lowering.temporary("sums", Size::fixed(groups * self.depth * self.outputs));
        let (group, block, tap_part, part) = (draft.var(), draft.var(), draft.var(), draft.var());
        let chunks = self.chunks(lowering, &mut draft, (chunk_rows, &column_cover), group, x);
        let (tap_row, tap_column, tile_var) = (draft.var(), draft.var(), draft.var());
        let met = rows.reach(chunk_rows.size) * columns.reach(columns.outputs);
        // Inputs are met once for each tap: where there are several, it pays to bring a block of them together.
        let packed = (rows.taps * columns.taps > 1)
            .then(|| Address::start(lowering.scratch("inputs", met * inputs.size)));
        let own_taps = rows.taps / tap_parts;
        let tap = Affine::from(tap_row).plus(tap_part, own_taps);
        let body = column_cover.branch(block, |first, width| {
            parts.branch(part, |first_input, count| {
                let to = Address::start(sums)
                    .plus(group, self.depth * self.outputs)
                    .at(first, self.depth)
                    .at(first_input, width)
                    .at(&tap, columns.taps * self.inputs * width)
                    .plus(tap_column, self.inputs * width);
                let taps = [(tap_row, own_taps), (tap_column, columns.taps)];
                let mut stmts = Stmt::nest(&taps, vec![fill(to.clone(), count * width, 0.0)]);
                stmts.push(self.over_chunks(&mut draft, &chunks, (first, width), |draft, place, source| {
                    let from = source.address.clone().plus(group, self.inputs).at(first_input, 1);
                    Cover::exact(count, inputs.size).sequence(tile_var, |input, count| {
                        let from = from.clone().at(input, 1);
                        let (mut stmts, own) = match &packed {
                            Some(packed) => {
                                let height = rows.reach(place.rows);
                                let width = columns.reach(columns.outputs);
                                pack(draft, source, from, packed, [height, width], count)
                            }
                            None => (Vec::new(), Source { address: from, ..source.clone() }),
                        };
                        let left = own
                            .address
                            .clone()
                            .at(&tap, rows.dilation * own.row)
                            .plus(tap_column, columns.dilation * own.pixel);
                        let to = to.clone().at(input, width);
                        let operands = [left, chunks.gathered.clone(), to];
                        let tile = self.tile(place, (Rows::evenly(1), count), &own, operands);
                        stmts.extend(Stmt::nest(&taps, vec![tile]));
                        stmts
                    })
                }));
                stmts
            })
        });
        let axes = vec![
            (group, Extent::Fixed(groups)),
            (block, Extent::Fixed(column_cover.blocks())),
            (tap_part, Extent::Fixed(tap_parts)),
            (part, Extent::Fixed(parts.blocks())),
        ];
        lowering.push(draft.finish(Split::Axes(axes), body));
        let unpacked = Unpacked { sums, groups, columns: column_cover, tap_step: self.inputs, input_step: 1 };
        self.unpack(lowering, node, unpacked);
    }

    /// Tiles of taps by outputs, for each input: for few of them, plane by plane.
    fn on_planes(self, groups: usize, lowering: &mut Lowering<'_>, node: &Node, x: View) {
        let [rows, columns] = self.axes;
        let taps = rows.taps * columns.taps;
        let block = Block::choose(lowering.vectors, taps, self.outputs);
        // A tile's taps are part of a row of the window, or whole rows.
        let tile_taps = match block.rows / columns.taps {
            0 => columns.taps.div_ceil(columns.taps.div_ceil(block.rows)),
            whole => whole.min(rows.taps) * columns.taps,
        };
        let whole_rows = tile_taps / columns.taps;
        let tap_rows = Cover::exact(rows.taps, whole_rows.max(1));
        let tap_columns = Cover::exact(columns.taps, tile_taps.min(columns.taps));
        let column_cover = Cover::exact(self.outputs, block.columns.min(self.outputs));
        let chunk_rows = self.chunk_rows();
        let units = groups * column_cover.blocks();
        let vectors = lowering.vectors;
        let tile = Block::time(vectors, columns.taps, column_cover.size.div_ceil(vectors.lanes));
        let (tap_parts, input_parts) =
            self.parts(vectors, lowering.options.threads, (units, self.inputs), (column_cover.size, 1, tile));
        // Blocks of the window's rows are units of their own, or all in one.
        let (unit_taps, unit_inputs) =
            (if tap_parts > 1 { tap_rows.blocks() } else { 1 }, self.inputs.div_ceil(input_parts));
        let input_cover = Cover::exact(self.inputs, unit_inputs);
        let mut draft = lowering.draft(
            node,
            format!(
                "sums over pixels: tiles of {tile_taps} taps by {} outputs, {} rows at a time",
                column_cover.size, chunk_rows.size
            ),
        );
        let sums = lowering.temporary("sums", Size::fixed(groups * self.depth * self.outputs));
        let (group, block, input_part, tap_part) = (draft.var(), draft.var(), draft.var(), draft.var());
        let chunks = self.chunks(lowering, &mut draft, (chunk_rows, &column_cover), group, x);
        let (input, tap_block, tap_column) = (draft.var(), draft.var(), draft.var());
        let body = column_cover.branch(block, |first, width| {
            input_cover.branch(input_part, |first_input, input_count| {
                let input_index = Affine::from(input).plus_scaled(first_input, 1);
                let to = Address::start(sums)
                    .plus(group, self.depth * self.outputs)
                    .at(first, self.depth)
                    .at(&input_index, taps * width);
                // Over this unit's blocks of the window's rows.
                let over_taps = |body: &mut dyn FnMut(&Affine, usize) -> Vec<Stmt>| match unit_taps {
                    1 => tap_rows.sequence(tap_block, body),
                    _ => tap_rows.branch(tap_part, body),
                };
                let mut clear = over_taps(&mut |first_tap, count| {
                    let row = columns.taps * width;
                    vec![fill(to.clone().at(first_tap, row), count * row, 0.0)]
                });
                clear = Stmt::nest(&[(input, input_count)], clear);
                let mut stmts = clear;
                stmts.push(self.over_chunks(&mut draft, &chunks, (first, width), |_, place, source| {
                    let tiles = over_taps(&mut |first_tap, tap_count| {
                        tap_columns.sequence(tap_column, |column, count| {
                            let run = Rows {
                                run: columns.taps,
                                near: columns.dilation * source.pixel,
                                far: rows.dilation * source.row,
                            };
                            let count = if whole_rows == 0 { count } else { tap_count * columns.taps };
                            let left = source
                                .address
                                .clone()
                                .plus(group, self.inputs * source.channel)
                                .at(&input_index, source.channel)
                                .at(first_tap, rows.dilation * source.row)
                                .at(column, columns.dilation * source.pixel);
                            let to = to.clone().at(first_tap, columns.taps * width).at(column, width);
                            let operands = [left, chunks.gathered.clone(), to];
                            vec![self.tile(place, (run.of(count), count), source, operands)]
                        })
                    });
                    Stmt::nest(&[(input, input_count)], tiles)
                }));
                stmts
            })
        });
        let axes = vec![
            (group, Extent::Fixed(groups)),
            (block, Extent::Fixed(column_cover.blocks())),
            (input_part, Extent::Fixed(input_cover.blocks())),
            (tap_part, Extent::Fixed(unit_taps)),
        ];
        lowering.push(draft.finish(Split::Axes(axes), body));
        let unpacked = Unpacked { sums, groups, columns: column_cover, tap_step: 1, input_step: taps };
        self.unpack(lowering, node, unpacked);
    }

    /// What meets a block of outputs a chunk at a time, with its scratch.
    fn chunks(
        &self,
        lowering: &mut Lowering<'_>,
        draft: &mut KernelDraft,
        (cover, columns): (Cover, &Cover),
        group: Var,
        x: View,
    ) -> Chunks {
        let (n, chunk) = (draft.var(), draft.var());
        let bordered = Bordered { axes: self.axes, x, border: 0.0 };
        let panel = bordered.scratch(lowering, draft, cover.size);
        let elements = cover.size * self.axes[1].outputs * columns.size;
        let gathered = Address::start(lowering.scratch("gradient", elements));
        Chunks { cover, n, chunk, group, bordered, panel, gathered }
    }

    /// A loop over the chunks of all items. `tiles` gets what a chunk's tiles are at, and where its inputs are.
    fn over_chunks(
        &self,
        draft: &mut KernelDraft,
        chunks: &Chunks,
        (first, width): (&Affine, usize),
        mut tiles: impl FnMut(&mut KernelDraft, &Place<'_>, &Source) -> Vec<Stmt>,
    ) -> Stmt {
        let Chunks { cover, n, chunk, group, .. } = *chunks;
        let body = cover.branch(chunk, |first_row, rows| {
            let place = Place { n, group, first, width, first_row, rows };
            let (mut stmts, source) = chunks.bordered.rows(draft, n, (first_row, rows), chunks.panel.clone());
            stmts.extend(self.gather(draft, &place, &chunks.gathered));
            stmts.extend(tiles(draft, &place, &source));
            stmts
        });
        Stmt::repeat(n, draft.batch().extent(), Stmt::nest(&[(chunk, cover.blocks())], body))
    }

    fn tile(
        &self,
        place: &Place<'_>,
        (left_rows, count): (Rows, usize),
        source: &Source,
        [left, right, output]: [Address; 3],
    ) -> Stmt {
        let [rows, columns] = self.axes;
        let pixels =
            Reduction { count: Some(columns.outputs), left: columns.step * source.pixel, right: place.width };
        let lines = Reduction {
            count: Some(place.rows),
            left: rows.step * source.row,
            right: columns.outputs * place.width,
        };
        Stmt::Tile(Box::new(TileCall {
            tile: Tile {
                rows: count,
                columns: place.width,
                form: Form::Broadcast,
                left_rows,
                right_column: 1,
                reduction: vec![lines, pixels],
                start: Start::Stored,
                prefetch: 0,
                epilogue: Vec::new(),
                output_row: place.width,
            },
            left,
            right,
            output,
            operands: Vec::new(),
            counts: Vec::new(),
        }))
    }

    /// Adds the kernel that brings the sums into the order of the weight, or moves the weight by them.
    fn unpack(&self, lowering: &mut Lowering<'_>, node: &Node, unpacked: Unpacked) {
        let Unpacked { sums, groups, columns, tap_step, input_step } = unpacked;
        let taps = self.axes[0].taps * self.axes[1].taps;
        let descent = absorbed::of(lowering, node.results[0]);
        let note = match descent {
            Some(_) => "sums in the order of the weight, which takes its step of descent",
            None => "sums in the order of the weight",
        };
        let mut draft = lowering.draft(node, note).part("unpack");
        let to_weight = match &descent {
            Some(descent) => {
                lowering.absorb(descent.node, &mut draft);
                descent.weight.clone()
            }
            None => lowering.address(node.results[0]),
        };
        let (group, block, output, input) = (draft.var(), draft.var(), draft.var(), draft.var());
        // Where inputs lie as far apart as taps do, all are one span.
        let is_even = input_step == taps && (tap_step == 1 || taps == 1);
        let (inputs, span) = if is_even { (1, self.depth) } else { (self.inputs, taps) };
        let distance = if is_even { 1 } else { tap_step };
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
            let to = to.plus(input, taps);
            let mut map = MapBuilder::new(Extent::Fixed(span));
            let mut value = map.load(from.plus(input, input_step * width), distance * width);
            if let Some(descent) = &descent {
                value = descent.moved(&mut map, to.clone(), 1, value);
            }
            map.store(to, 1, value);
            Stmt::nest(&[(output, width), (input, inputs)], vec![map.finish()])
        });
        let axes = vec![(group, Extent::Fixed(groups)), (block, Extent::Fixed(columns.blocks()))];
        lowering.push(draft.finish(Split::Axes(axes), body));
    }
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

/// Blocks of at most `largest`, as even as they can be.
fn even(total: usize, largest: usize) -> Cover {
    Cover::exact(total, total.div_ceil(total.div_ceil(largest)))
}
