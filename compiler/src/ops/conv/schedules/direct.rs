//! Direct convolution in NHWC layout: tiles of pixels by channels that read the input in place. If windows extend
//! outside the input, the rows that a block of outputs reads are first copied with a halo.

use super::chunks::{Chunk, chunks};
use crate::faults::{Fault, armed};
use crate::kernel::{
    Address, Affine, Extent, Form, Pool, Reduction, Rows, Split, Start, Stmt, Tile, TileCall, TileStep, Var,
};
use crate::ops::conv::correlation::{Correlation, Destination};
use crate::ops::conv::packing::Packed;
use crate::ops::grid::Outer;
use crate::ops::halo::{Padded, Source};
use crate::plan::{BlockedRange, KernelDraft, Lowering, Parallelism, RegisterTile, Size, Vectors, in_blocks};

/// The tile's pixels and channels, and the division into work units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops::conv) struct Tiling {
    /// Rows that a unit stores.
    pub(in crate::ops::conv) rows: usize,
    /// Pixels of a tile: part of a row, whole rows, or adjacent pooling windows.
    pub(in crate::ops::conv) pixels: usize,
    /// Channels of a tile.
    pub(in crate::ops::conv) channels: usize,
    /// Whether each block of channels is a separate unit.
    pub(in crate::ops::conv) split_channels: bool,
    /// The time of one item, in sixteenths of a cycle.
    pub(in crate::ops::conv) time: usize,
}

/// Chooses the tiling with a simple cost model: multiply-adds and loads of the tiles, and bytes of weights and input.
/// Returns `None` if no tile contains a pooling window, or if no tile has its addends in evenly spaced rows.
pub(in crate::ops::conv) fn tiling(
    problem: &Correlation<'_>,
    vectors: Vectors,
    parallelism: Parallelism,
) -> Option<Tiling> {
    if problem.pool.is_some() && problem.epilogue.adds_elements() {
        return None;
    }
    let (grid, rows, columns) = (&problem.grid, problem.grid.rows(), problem.grid.columns());
    let outer: usize = grid.outer().iter().map(|axis| axis.outputs).product();
    let ([height, width], [stored_rows, stored_columns]) = (problem.window(), problem.stored());
    let window = height * width;
    let costs = vectors.costs;
    let depth = grid.positions() * problem.inputs;
    let weights = 4 * depth * problem.outputs * problem.groups;
    let row_bytes = 4 * grid.planes() * columns.reach(columns.outputs) * problem.inputs * problem.groups;
    let mut best: Option<Tiling> = None;
    let mut candidates: Vec<usize> = (1..=stored_rows).map(|blocks| stored_rows.div_ceil(blocks)).collect();
    candidates.dedup();
    for block_rows in candidates {
        let panel = rows.reach(block_rows * height) * row_bytes;
        if block_rows > 1 && panel > costs.panel_bytes() {
            continue;
        }
        let row_blocks = outer * stored_rows.div_ceil(block_rows);
        for block in RegisterTile::all(vectors).filter(|block| block.rows >= window) {
            let pixels = pixels_of(problem, block.rows, block_rows);
            let channel_blocks = BlockedRange::exact(problem.outputs, block.columns);
            // Tiles lie within rows, or consist of whole rows.
            let line = stored_columns * window;
            let (repeats, along) = if pixels > line { (1, block_rows * line) } else { (block_rows, line) };
            let pixel_range = BlockedRange::exact(along, pixels);
            let steps = RegisterTile::time_of_all(vectors, &pixel_range, &channel_blocks);
            // If the weights of a block do not stay in the L1 cache, every tile reads them from L2.
            let block_bytes = 4 * depth * block.columns.min(problem.outputs);
            let fetched = 4 * problem.outputs.next_multiple_of(vectors.lanes) * pixel_range.blocks();
            let fetching = if block_bytes > costs.first_cache { costs.l2_hit(fetched) } else { 0 };
            let time = problem.groups * repeats * steps.max(fetching) * depth;
            for split_channels in [false, true] {
                if split_channels && (problem.groups > 1 || channel_blocks.blocks() <= 1) {
                    continue;
                }
                let parts = if split_channels { channel_blocks.blocks() } else { 1 };
                let units = row_blocks * parts;
                // Every tile of pixels reads the weights of a block of channels, so they should stay in the L2 cache.
                let weight_time = if costs.misses_l2(block_bytes + panel) {
                    costs.l2_miss(weights * repeats * pixel_range.blocks())
                } else if costs.misses_l2(weights) {
                    costs.l2_miss(weights)
                } else {
                    costs.l2_hit(weights)
                };
                let input_time = costs.l2_miss(panel);
                let unit = (time + weight_time) / parts + input_time;
                let total = parallelism.time(units, unit);
                let tiling = Tiling {
                    rows: block_rows,
                    pixels,
                    channels: block.columns.min(problem.outputs),
                    split_channels,
                    time: total,
                };
                if best.is_none_or(|best| total < best.time) {
                    best = Some(tiling);
                }
            }
        }
    }
    best
}

/// Pixels of a tile with at most `registers` rows: an even part of a row, or whole rows.
fn pixels_of(problem: &Correlation<'_>, registers: usize, block_rows: usize) -> usize {
    if let Some(Pool { height, width, .. }) = problem.pool {
        let [_, across] = problem.stored();
        let windows = registers / (height * width);
        return across.div_ceil(across.div_ceil(windows)) * height * width;
    }
    if problem.grid.columns().open.is_some() {
        // Smaller tiles divide it, for the pixels that are left over.
        return if registers < 8 { (registers / 2 * 2).max(1) } else { registers / 4 * 4 };
    }
    let width = problem.grid.columns().outputs;
    let is_even = problem.y.row() == width * problem.y.pixel();
    if registers >= 2 * width && is_even {
        (registers / width).min(block_rows) * width
    } else {
        width.div_ceil(width.div_ceil(registers))
    }
}

/// Describes the tiling for the kernel's note.
pub(in crate::ops::conv) fn note(problem: &Correlation<'_>, tiling: Tiling) -> String {
    let split = if tiling.split_channels { ", channels apart" } else { "" };
    let pooled = if problem.pool.is_some() { ", pooled" } else { "" };
    format!(
        "direct: tiles of {} pixels by {} channels, {} rows at a time{split}{pooled}",
        tiling.pixels, tiling.channels, tiling.rows
    )
}

/// Adds the kernel.
pub(in crate::ops::conv) fn lower(
    problem: &Correlation<'_>,
    lowering: &mut Lowering<'_>,
    mut draft: KernelDraft,
    weights: &Packed,
    tiling: Tiling,
) {
    let (n, row_block, channel_block) = (draft.var(), draft.var(), draft.var());
    let outer = problem.grid.outer_units(&mut draft);
    let direct = Direct { problem, weights, tiling, n, outer: &outer, vectors: lowering.vectors };
    let [height, _] = problem.window();
    let row_range = BlockedRange::exact(problem.stored()[0], tiling.rows);
    let channel_range = BlockedRange::exact(problem.outputs, tiling.channels);
    let padded = Padded { grid: problem.grid.clone(), x: problem.x.clone(), halo: 0.0 };
    let inputs = padded.inputs(lowering, problem.node, &mut draft, tiling.rows * height);
    let body = row_range.branch(row_block, |first, rows| {
        let first_row = Affine::default().plus_scaled(first, height);
        let (mut stmts, source) = padded.rows(&mut draft, (n, &outer), (&first_row, rows * height), &inputs);
        stmts.extend(if tiling.split_channels {
            channel_range.branch(channel_block, |channel, width| {
                direct.tiles(&mut draft, (first, rows), (channel, width), &source)
            })
        } else {
            let var = draft.var();
            channel_range.sequence(var, |channel, width| {
                direct.tiles(&mut draft, (first, rows), (channel, width), &source)
            })
        });
        stmts
    });
    let parts = if tiling.split_channels { channel_range.blocks() } else { 1 };
    // Neighbouring units share weights, so a thread's chunk only reads the weights of its own units.
    let mut axes = vec![(n, lowering.batch().extent()), (channel_block, Extent::Fixed(parts))];
    axes.extend(outer.extents());
    axes.push((row_block, Extent::Fixed(row_range.blocks())));
    lowering.push(draft.finish(Split::Axes(axes), body));
}

/// A kernel of direct convolution.
struct Direct<'d> {
    problem: &'d Correlation<'d>,
    weights: &'d Packed,
    tiling: Tiling,
    n: Var,
    outer: &'d Outer,
    vectors: Vectors,
}

impl Direct<'_> {
    /// The tiles of some rows and some channels of the results.
    fn tiles(
        &self,
        draft: &mut KernelDraft,
        (first, rows): (&Affine, usize),
        channels: (&Affine, usize),
        source: &Source,
    ) -> Vec<Stmt> {
        let loops = self.reduction(source, channels.1);
        let mut stmts = Vec::new();
        let group = draft.var();
        for run in chunks(draft, &loops, self.steps_of_chunk(channels.1)) {
            let tiles = self.tiles_of_chunk(draft, group, (first, rows), channels, source, &run.chunk);
            stmts.extend(run.repeated(tiles));
        }
        vec![Stmt::repeat(group, Extent::Fixed(self.problem.groups), stmts)]
    }

    /// The most reduction steps of a tile, if its sums are added up in chunks: then the weights of a chunk stay in the L1
    /// cache while all pixels are multiplied by them. This is worth it if a tile has so few pixels that it would wait
    /// for weights from the L2 cache. The intermediate sums are results, which must not be pooled, nor overwrite an
    /// operand of the epilogue. Sums along a sequence do not depend on tiles.
    fn steps_of_chunk(&self, width: usize) -> Option<usize> {
        let problem = self.problem;
        let costs = self.vectors.costs;
        let count = width.div_ceil(self.vectors.lanes);
        let fetching = costs.l2_hit(4 * count * self.vectors.lanes);
        let multiplying =
            usize::from(costs.multiply_add.of_lanes(self.vectors.lanes)) * self.tiling.pixels * count;
        let waits = 4 * self.weights.depth * width > costs.first_cache && 3 * fetching > 2 * multiplying;
        let may_wait = problem.axes.len() > 1 && problem.pool.is_none() && !problem.epilogue.adds_elements();
        (waits && may_wait).then(|| (costs.first_cache / 2 / (4 * width)).max(1))
    }

    /// The tiles of a chunk of the reduction.
    fn tiles_of_chunk(
        &self,
        draft: &mut KernelDraft,
        group: Var,
        (first, rows): (&Affine, usize),
        channels: (&Affine, usize),
        source: &Source,
        chunk: &Chunk,
    ) -> Vec<Stmt> {
        let [_, columns] = self.problem.stored();
        let window: usize = self.problem.window().into_iter().product();
        let row_var = draft.var();
        let tile = |row: &Affine, column: &Affine, pixels: usize| {
            let result_row = row.clone().plus_scaled(first, 1);
            self.tile(group, ([row, &result_row], column, pixels), channels, source, chunk)
        };
        if self.tiling.pixels > columns * window {
            let whole = BlockedRange::exact(rows, self.tiling.pixels / columns);
            whole.sequence(row_var, |row, count| vec![tile(row, &Affine::default(), count * columns)])
        } else {
            let row = Affine::from(row_var);
            let columns = match self.problem.grid.columns().open {
                Some(open) => open.outputs,
                None => Size::fixed(columns),
            };
            let body = in_blocks(draft, columns, self.tiling.pixels / window, |_, column, count| {
                vec![tile(&row, column, count * window)]
            });
            vec![Stmt::repeat(row_var, Extent::Fixed(rows), body)]
        }
    }

    /// One tile: `row` is its row in the block, `result_row` its row in the image.
    fn tile(
        &self,
        group: Var,
        ([row, result_row], column, pixels): ([&Affine; 2], &Affine, usize),
        (channel, width): (&Affine, usize),
        source: &Source,
        chunk: &Chunk,
    ) -> Stmt {
        let problem = self.problem;
        let (rows, columns) = (problem.grid.rows(), problem.grid.columns());
        let [height, width_of_window] = problem.window();
        let left = source
            .address
            .clone()
            .plus(group, problem.inputs * source.channel)
            .at(row, height * rows.step * source.row())
            .at(column, width_of_window * columns.step * source.pixel())
            .at(&chunk.left, 1);
        let weights = self.weights;
        let right = Address::start(weights.buffer).plus(group, weights.group).at(channel, weights.depth);
        let right = right.at(&chunk.right, 1);
        let channel = channel.clone().plus(group, problem.outputs);
        let place = |to: &Destination| {
            to.of(self.n, self.outer).at(result_row, to.row()).at(column, to.pixel()).at(&channel, 1)
        };
        let (mut epilogue, mut operands) = match chunk.is_last {
            false => (Vec::new(), Vec::new()),
            true => problem.epilogue.of_tile(TileStep::AddPerColumn, &channel, |view| {
                let results = problem.results.of(view);
                (place(&results), results.pixel())
            }),
        };
        if !chunk.is_first {
            // The sum of the chunks before it.
            epilogue.insert(0, TileStep::AddElement { row: problem.y.pixel() });
            operands.insert(0, place(&problem.y));
        }
        epilogue.extend(problem.pool.map(TileStep::Pool));
        Stmt::Tile(Box::new(TileCall {
            tile: Tile {
                rows: pixels,
                columns: width,
                form: Form::OuterProduct,
                left_rows: Rows {
                    run: if problem.pool.is_some() { pixels / height } else { columns.outputs },
                    stride: (columns.step - usize::from(columns.step > 1 && armed(Fault::WrongStride)))
                        * source.pixel(),
                    run_stride: rows.step * source.row(),
                }
                .of(pixels),
                right_column: 1,
                reduction: chunk.loops.clone(),
                start: Start::Zero,
                prefetch: weights.prefetch(width),
                epilogue,
                output_row: problem.y.pixel(),
            },
            left,
            right,
            output: place(&problem.y),
            operands,
            counts: Vec::new(),
        }))
    }

    /// The loops over kernel positions and inputs, in the order of the packed weights.
    fn reduction(&self, source: &Source, width: usize) -> Vec<Reduction> {
        let grid = &self.problem.grid;
        let input = (self.problem.inputs, source.channel);
        let mut order: Vec<(usize, usize)> =
            grid.axes().iter().map(|axis| axis.kernel_size).zip(source.position_strides(grid)).collect();
        match self.problem.x.layout.is_channels_last() {
            true => order.push(input),
            false => order.insert(0, input),
        }
        let mut right = width;
        let mut loops: Vec<Reduction> = Vec::new();
        for (count, left) in order.into_iter().rev() {
            match loops.last_mut() {
                // A loop with one step is omitted, and a loop that continues where its inner loop ends is merged with
                // it.
                Some(_) if count == 1 => {}
                Some(inner) if inner.count == Some(1) => {
                    *inner = Reduction { count: Some(count), left, right }
                }
                Some(inner) if inner.count.is_some_and(|count| count * inner.left == left) => {
                    inner.count = inner.count.map(|inner| inner * count);
                }
                _ => loops.push(Reduction { count: Some(count), left, right }),
            }
            right *= count;
        }
        loops.reverse();
        loops
    }
}
