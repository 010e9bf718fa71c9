//! Direct convolution on images with their channels last: tiles of pixels by channels, which read the input where it is.
//! Where windows leave the input, the rows that a block of results meets are first copied into a panel with a border.

use super::correlation::Packed;
use crate::entity::ValueId;
use crate::faults::{Fault, armed};
use crate::graph::Node;
use crate::kernel::{
    Address, Affine, Extent, Form, Pool, Reduction, Rows, Split, Start, Stmt, Tile, TileCall, TileStep, Var,
};
use crate::ops::bordered::{Axis, Bordered, Source};
use crate::ops::epilogue::EpilogueStep;
use crate::ops::pool::absorbed::Absorbed;
use crate::plan::{Block, Cover, KernelDraft, Layout, Lowering, Sharing, Vectors, View};

/// Where results go: the one at row `r` and column `c` of item `n` is at `address + item·n + row·r + pixel·c`.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) address: Address,
    pub(super) item: usize,
    pub(super) row: usize,
    pub(super) pixel: usize,
}

/// A correlation and where its operands are.
#[derive(Clone)]
pub(super) struct Direct<'a> {
    pub(super) axes: [Axis; 2],
    pub(super) groups: usize,
    /// Input and output channels of a group.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) x: View,
    pub(super) y: Target,
    pub(super) epilogue: &'a [EpilogueStep],
    /// Operands of the epilogue: one number per channel, or laid out like the results.
    pub(super) operands: Vec<View>,
    /// What is done to the results before they are stored: `y` is then where what is pooled goes.
    pub(super) pool: Option<Pool>,
}

/// How the results are divided: pixels and channels of a tile, and units of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiling {
    /// Rows that are stored in a unit.
    pub(super) rows: usize,
    /// Pixels of a tile: part of a row, whole rows, or windows side by side that are pooled.
    pub(super) pixels: usize,
    /// Channels of a tile.
    pub(super) channels: usize,
    /// Whether each block of channels is a unit of its own.
    pub(super) split_channels: bool,
    /// The time it takes, in sixteenths of a cycle of one item.
    pub(super) time: usize,
}

impl Direct<'_> {
    /// The same with its results pooled before they are stored.
    pub(super) fn pooled(&self, pooling: &Absorbed) -> Self {
        let y = &pooling.y;
        let across = self.axes[1].outputs / pooling.pool.width;
        let y = Target { row: across * y.pixel, pixel: y.pixel, item: y.item, address: y.address.clone() };
        Direct { pool: Some(pooling.pool), y, ..self.clone() }
    }

    /// Bytes of the results of an item.
    pub(super) fn bytes(&self) -> usize {
        4 * self.axes[0].outputs * self.axes[1].outputs * self.outputs * self.groups
    }

    /// Results along each axis of which one is stored.
    pub(super) fn window(&self) -> [usize; 2] {
        self.pool.map_or([1, 1], |pool| [pool.height, pool.width])
    }

    /// Rows and columns that are stored. What is left of the results where windows do not come out even is not computed.
    fn stored(&self) -> [usize; 2] {
        let window = self.window();
        [0, 1].map(|axis| self.axes[axis].outputs / window[axis])
    }

    /// Chooses the tiling by a small model of cost: multiply-adds and loads of the tiles, and bytes of weights and input.
    /// There is none where no tile holds a window that is pooled, or has what is added to its results in even rows.
    pub(super) fn tiling(&self, vectors: Vectors, sharing: Sharing) -> Option<Tiling> {
        if self.pool.is_some() && self.epilogue.contains(&EpilogueStep::Add) {
            return None;
        }
        let [rows, columns] = self.axes;
        let ([height, width], [stored_rows, stored_columns]) = (self.window(), self.stored());
        let window = height * width;
        let costs = vectors.costs;
        let depth = rows.taps * columns.taps * self.inputs;
        let weights = 4 * depth * self.outputs * self.groups;
        let row_bytes = 4 * columns.reach(columns.outputs) * self.inputs * self.groups;
        let mut best: Option<Tiling> = None;
        let mut candidates: Vec<usize> =
            (1..=stored_rows).map(|blocks| stored_rows.div_ceil(blocks)).collect();
        candidates.dedup();
        for block_rows in candidates {
            let panel = rows.reach(block_rows * height) * row_bytes;
            if block_rows > 1 && panel > costs.panel_bytes() {
                continue;
            }
            let row_blocks = stored_rows.div_ceil(block_rows);
            for block in Block::all(vectors).filter(|block| block.rows >= window) {
                let pixels = self.pixels_of(block.rows, block_rows);
                let channel_blocks = Cover::exact(self.outputs, block.columns);
                // Tiles lie within rows, or take whole rows.
                let line = stored_columns * window;
                let (repeats, along) =
                    if pixels > line { (1, block_rows * line) } else { (block_rows, line) };
                let pixel_cover = Cover::exact(along, pixels);
                let steps = Block::time_of_all(vectors, &pixel_cover, &channel_blocks);
                // Weights of a block that do not stay in the first-level cache come from the second for every tile.
                let block_bytes = 4 * depth * block.columns.min(self.outputs);
                let fetched = 4 * self.outputs.next_multiple_of(vectors.lanes) * pixel_cover.blocks();
                let fetching = if block_bytes > costs.first_cache { costs.near(fetched) } else { 0 };
                let time = self.groups * repeats * steps.max(fetching) * depth;
                for split_channels in [false, true] {
                    if split_channels && (self.groups > 1 || channel_blocks.blocks() == 1) {
                        continue;
                    }
                    let parts = if split_channels { channel_blocks.blocks() } else { 1 };
                    let units = row_blocks * parts;
                    // The weights of a block of channels are read for every tile of pixels: they had better stay near.
                    let weight_time = if costs.are_far(block_bytes + panel) {
                        costs.far(weights * repeats * pixel_cover.blocks())
                    } else if costs.are_far(weights) {
                        costs.far(weights)
                    } else {
                        costs.near(weights)
                    };
                    let input_time = costs.far(panel);
                    let unit = (time + weight_time) / parts + input_time;
                    let total = sharing.time(units, unit);
                    let tiling = Tiling {
                        rows: block_rows,
                        pixels,
                        channels: block.columns.min(self.outputs),
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

    /// Pixels of a tile of at most so many rows of registers: an even part of a row, or whole rows.
    fn pixels_of(&self, registers: usize, block_rows: usize) -> usize {
        if let Some(Pool { height, width, .. }) = self.pool {
            let [_, across] = self.stored();
            let windows = registers / (height * width);
            return across.div_ceil(across.div_ceil(windows)) * height * width;
        }
        let width = self.axes[1].outputs;
        let is_even = self.y.row == width * self.y.pixel;
        if registers >= 2 * width && is_even {
            (registers / width).min(block_rows) * width
        } else {
            width.div_ceil(width.div_ceil(registers))
        }
    }

    /// What was chosen, in words.
    pub(super) fn note(&self, tiling: Tiling) -> String {
        let split = if tiling.split_channels { ", channels apart" } else { "" };
        let pooled = if self.pool.is_some() { ", pooled" } else { "" };
        format!(
            "direct: tiles of {} pixels by {} channels, {} rows at a time{split}{pooled}",
            tiling.pixels, tiling.channels, tiling.rows
        )
    }

    /// Adds the kernel.
    pub(super) fn lower(
        &self,
        lowering: &mut Lowering<'_>,
        mut draft: KernelDraft,
        weights: &Packed,
        tiling: Tiling,
    ) {
        let (n, row_block, channel_block) = (draft.var(), draft.var(), draft.var());
        let [height, _] = self.window();
        let row_cover = Cover::exact(self.stored()[0], tiling.rows);
        let channel_cover = Cover::exact(self.outputs, tiling.channels);
        let bordered = Bordered { axes: self.axes, x: self.x.clone(), border: 0.0 };
        let panel = bordered.scratch(lowering, &mut draft, tiling.rows * height);
        let body = row_cover.branch(row_block, |first, rows| {
            let met = Affine::default().plus_scaled(first, height);
            let (mut stmts, source) = bordered.rows(&mut draft, n, (&met, rows * height), panel.clone());
            let tiles = |draft: &mut KernelDraft, channel: &Affine, width: usize| {
                self.tiles(draft, n, (first, rows), (channel, width), &source, weights, tiling)
            };
            if tiling.split_channels {
                stmts.extend(
                    channel_cover.branch(channel_block, |channel, width| tiles(&mut draft, channel, width)),
                );
            } else {
                let var = draft.var();
                stmts.extend(channel_cover.sequence(var, |channel, width| tiles(&mut draft, channel, width)));
            }
            stmts
        });
        let parts = if tiling.split_channels { channel_cover.blocks() } else { 1 };
        // Neighbouring units share weights: a thread's share then needs only its own.
        let axes = vec![
            (n, lowering.batch().extent()),
            (channel_block, Extent::Fixed(parts)),
            (row_block, Extent::Fixed(row_cover.blocks())),
        ];
        lowering.push(draft.finish(Split::Axes(axes), body));
    }

    /// The tiles of some rows of results and some channels.
    #[expect(clippy::too_many_arguments, reason = "a place along each axis, and where operands are")]
    fn tiles(
        &self,
        draft: &mut KernelDraft,
        n: Var,
        (first, rows): (&Affine, usize),
        (channel, width): (&Affine, usize),
        source: &Source,
        weights: &Packed,
        tiling: Tiling,
    ) -> Vec<Stmt> {
        let [_, columns] = self.stored();
        let window: usize = self.window().into_iter().product();
        let group = draft.var();
        let (row_var, column_var) = (draft.var(), draft.var());
        let tile = |row: &Affine, column: &Affine, pixels: usize| {
            self.tile(n, group, (first, row, column), pixels, (channel, width), source, weights)
        };
        let stmts = if tiling.pixels > columns * window {
            let whole = Cover::exact(rows, tiling.pixels / columns);
            whole.sequence(row_var, |row, count| vec![tile(row, &Affine::default(), count * columns)])
        } else {
            let cover = Cover::exact(columns, tiling.pixels / window);
            let row = Affine::from(row_var);
            let body = cover.sequence(column_var, |column, count| vec![tile(&row, column, count * window)]);
            vec![Stmt::repeat(row_var, Extent::Fixed(rows), body)]
        };
        vec![Stmt::repeat(group, Extent::Fixed(self.groups), stmts)]
    }

    #[expect(clippy::too_many_arguments, reason = "a place along each axis, and where operands are")]
    fn tile(
        &self,
        n: Var,
        group: Var,
        (first, row, column): (&Affine, &Affine, &Affine),
        pixels: usize,
        (channel, width): (&Affine, usize),
        source: &Source,
        weights: &Packed,
    ) -> Stmt {
        let [rows, columns] = self.axes;
        let [height, width_of_window] = self.window();
        let left = source
            .address
            .clone()
            .plus(group, self.inputs * source.channel)
            .at(row, height * rows.step * source.row)
            .at(column, width_of_window * columns.step * source.pixel);
        let right = Address::start(weights.buffer).plus(group, weights.group).at(channel, weights.depth);
        let channel = channel.clone().plus(group, self.outputs);
        let result_row = row.clone().plus_scaled(first, 1);
        let place = |address: Address, row: usize, pixel: usize| {
            address.at(&result_row, row).at(column, pixel).at(&channel, 1)
        };
        let output = place(self.y.address.clone().plus(n, self.y.item), self.y.row, self.y.pixel);
        let mut operands = Vec::new();
        let mut taken = self.operands.iter();
        let epilogue = self
            .epilogue
            .iter()
            .map(|step| match step {
                EpilogueStep::Bias => {
                    operands.extend(taken.next().map(|bias| bias.address.clone().at(&channel, 1)));
                    TileStep::AddPerColumn
                }
                EpilogueStep::Add => {
                    let row = taken.next().map_or(0, |view| {
                        operands.push(place(view.of_item(n), columns.outputs * view.pixel, view.pixel));
                        view.pixel
                    });
                    TileStep::AddElement { row }
                }
                EpilogueStep::Relu => TileStep::Relu,
                EpilogueStep::Sigmoid => TileStep::Sigmoid,
                EpilogueStep::Tanh => TileStep::Tanh,
            })
            .chain(self.pool.map(TileStep::Pool))
            .collect();
        Stmt::Tile(Box::new(TileCall {
            tile: Tile {
                rows: pixels,
                columns: width,
                form: Form::Broadcast,
                left_rows: Rows {
                    run: if self.pool.is_some() { pixels / height } else { columns.outputs },
                    near: (columns.step - usize::from(columns.step > 1 && armed(Fault::WrongStride)))
                        * source.pixel,
                    far: rows.step * source.row,
                }
                .of(pixels),
                right_column: 1,
                reduction: self.reduction(source, weights.layout, width),
                start: Start::Zero,
                prefetch: weights.prefetch(width),
                epilogue,
                output_row: self.y.pixel,
            },
            left,
            right,
            output,
            operands,
            counts: Vec::new(),
        }))
    }

    /// The loops over taps and inputs, in the order in which weights are packed.
    fn reduction(&self, source: &Source, layout: Layout, width: usize) -> Vec<Reduction> {
        let [rows, columns] = self.axes;
        let row = (rows.taps, rows.dilation * source.row);
        let column = (columns.taps, columns.dilation * source.pixel);
        let input = (self.inputs, source.channel);
        let order = match layout {
            Layout::ChannelsLast => [row, column, input],
            Layout::ChannelsFirst => [input, row, column],
        };
        let mut right = width;
        let mut loops: Vec<Reduction> = Vec::new();
        for (count, left) in order.into_iter().rev() {
            match loops.last_mut() {
                // A loop of one step is none, and one that goes on where the one within it ends is the same loop.
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

/// The operands of a fused epilogue, in the order of the results.
pub(super) fn epilogue_operands(lowering: &mut Lowering<'_>, node: &Node, values: &[ValueId]) -> Vec<View> {
    values
        .iter()
        .map(|&value| {
            let layout = if lowering.ty(value).shape.is_batched() {
                Layout::ChannelsLast
            } else {
                Layout::ChannelsFirst
            };
            lowering.in_layout(node, value, layout)
        })
        .collect()
}
