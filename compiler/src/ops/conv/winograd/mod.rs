//! Winograd convolution on images with their channels last, for windows of 3×3 and 5×5 at stride 1: a few rows of tiles at
//! a time are transformed, multiplied for one block of output channels after the other, and transformed back, so that all
//! of it stays in a second-level cache. Weights are transformed when parameters change.

mod division;

use super::correlation::Packing;
use super::direct::{Direct, Target};
use super::transform::Filtering;
use crate::graph::Node;
use crate::kernel::{
    Address, Affine, BufferId, Extent, Form, MapBuilder, Pool, Reduction, Rows, Split, Start, Stmt, Tile,
    TileCall, Var,
};
use crate::ops::bordered::{Axis, Bordered};
use crate::ops::epilogue::EpilogueStep;
use crate::ops::pool::absorbed::pooled;
use crate::plan::{Block, Cover, KernelDraft, Layout, Lowering, Size, Verdict};

/// How a convolution is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Winograd {
    filtering: Filtering,
    /// Rows of tiles in a unit of work.
    tile_rows: usize,
    /// Tiles and output channels of a product's block.
    block: Block,
    /// Blocks of output channels in a unit of work.
    unit_blocks: usize,
    /// Which loop is outside.
    order: Order,
    /// The time it takes, in sixteenths of a cycle of one item.
    pub(super) time: usize,
}

/// The order of the loops over products (the places of a tile) and blocks of output channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// All products of a block, then its results: the products of one block are small, the transformed inputs are read for
    /// every block.
    Blocks,
    /// All blocks of a product: transformed inputs are read once, the products of all blocks are kept.
    Products,
}

/// Where transformed weights are: `[block][product][input][output of the block]`, or `[product][block]…` where products
/// come first.
pub(super) struct Transformed {
    buffer: BufferId,
}

/// Whether Winograd's method is possible on an input of this layout, or why it is not.
pub(super) fn possible(axes: &[Axis; 2], groups: usize, layout: Layout) -> Result<(), Verdict> {
    let [rows, columns] = axes;
    let obstacles = [
        (rows.taps != columns.taps || !matches!(rows.taps, 3 | 5), Verdict::Window),
        (axes.iter().any(|axis| axis.step != 1), Verdict::Stride),
        (axes.iter().any(|axis| axis.dilation != 1), Verdict::Dilation),
        (groups != 1, Verdict::Groups),
        (layout != Layout::ChannelsLast, Verdict::ChannelsFirst),
    ];
    obstacles.into_iter().find(|(is_met, _)| *is_met).map_or(Ok(()), |(_, verdict)| Err(verdict))
}

impl Direct<'_> {
    fn tile_counts(&self, filtering: Filtering) -> [usize; 2] {
        self.axes.map(|axis| axis.outputs.div_ceil(filtering.results))
    }
}

impl Winograd {
    /// What was chosen, in words.
    pub(super) fn note(&self) -> String {
        let Filtering { results, taps } = self.filtering;
        let order = match self.order {
            Order::Blocks => "channels outside",
            Order::Products => "products outside",
        };
        format!(
            "Winograd F({results}x{results}, {taps}x{taps}): products of {} tiles by {} channels, {} rows of tiles and {} blocks of channels at a time, {order}",
            self.block.rows, self.block.columns, self.tile_rows, self.unit_blocks
        )
    }

    fn products(&self) -> usize {
        self.filtering.products() * self.filtering.products()
    }

    /// Whether windows that are pooled each lie within a tile.
    pub(super) fn holds_windows(&self, pool: Pool) -> bool {
        let results = self.filtering.results;
        results.is_multiple_of(pool.height) && results.is_multiple_of(pool.width)
    }

    /// Distances in the transformed weights between output channels (of whole blocks) and between products.
    fn strides(&self, inputs: usize, outputs: usize, width: usize) -> (usize, usize) {
        match self.order {
            Order::Blocks => (self.products() * inputs, inputs * width),
            Order::Products => (inputs, inputs * outputs),
        }
    }

    /// Adds the kernel that transforms the weights.
    pub(super) fn weights(
        &self,
        lowering: &mut Lowering<'_>,
        node: &Node,
        packing: &Packing<'_>,
    ) -> Transformed {
        let taps = self.filtering.taps;
        let (inputs, outputs, products) = (packing.inputs, packing.outputs, self.products());
        let elements = products * inputs * outputs;
        let buffer = lowering.temporary("transformed weight", Size::fixed(elements));
        let mut draft = lowering.draft(node, "Winograd's transform of the weights").part("transform");
        let (block, input) = (draft.var(), draft.var());
        let cover = Cover::exact(outputs, self.block.columns);
        let from = Address::start(lowering.address(packing.weight).buffer);
        let body = cover.branch(block, |first, width| {
            let mut map = MapBuilder::new(Extent::Fixed(width));
            let from = from.clone().at(first, packing.output_stride).plus(input, packing.input_stride);
            let elements: Vec<_> = (0..taps * taps)
                .map(|tap| {
                    map.load(
                        from.clone().offset(packing.place(tap / taps, tap % taps)),
                        packing.output_stride,
                    )
                })
                .collect();
            let transformed = self.filtering.weights(&mut map, &elements);
            let (block_stride, product_stride) = self.strides(inputs, outputs, width);
            let to = Address::start(buffer).at(first, block_stride).plus(input, width);
            for (product, value) in transformed.into_iter().enumerate() {
                map.store(to.clone().offset(product * product_stride), 1, value);
            }
            vec![map.finish()]
        });
        let axes = vec![(block, Extent::Fixed(cover.blocks())), (input, Extent::Fixed(inputs))];
        lowering.push_derived(packing.weight, draft.finish(Split::Axes(axes), body));
        Transformed { buffer }
    }

    /// Adds the kernel that convolves.
    pub(super) fn lower(
        &self,
        direct: &Direct<'_>,
        lowering: &mut Lowering<'_>,
        mut draft: KernelDraft,
        weights: &Transformed,
    ) {
        let [down, across] = direct.tile_counts(self.filtering);
        let m = self.filtering.results;
        let (n, group, channel_block) = (draft.var(), draft.var(), draft.var());
        // Tiles are whole: those at the far ends meet zeros, and their results are not stored.
        let axes =
            [Axis { outputs: down * m, ..direct.axes[0] }, Axis { outputs: across * m, ..direct.axes[1] }];
        let bordered = Bordered { axes, x: direct.x.clone(), border: 0.0 };
        let panel = bordered.scratch(lowering, &mut draft, self.tile_rows * m);
        let most = self.tile_rows * across;
        let inputs = lowering.scratch("transformed input", self.products() * plane(most, direct.inputs));
        let unit_channels = (self.unit_blocks * self.block.columns).min(direct.outputs);
        let kept = match self.order {
            Order::Blocks => self.block.columns,
            Order::Products => unit_channels,
        };
        let sums = lowering.scratch("products", self.products() * plane(most, kept));
        let row_cover = Cover::exact(down, self.tile_rows);
        let part_cover = Cover::exact(direct.outputs, unit_channels);
        let body = row_cover.branch(group, |first, tile_rows| {
            let first_row = Affine::default().plus_scaled(first, m);
            let (mut stmts, source) =
                bordered.rows(&mut draft, n, (&first_row, tile_rows * m), panel.clone());
            let tiles = tile_rows * across;
            stmts.extend(self.transform_inputs(direct, &mut draft, &source, inputs, [tile_rows, across]));
            stmts.extend(part_cover.branch(channel_block, |first_channel, channels| {
                let unit = Unit { n, first, tile_rows, tiles, first_channel, channels };
                self.unit(direct, &mut draft, weights, (inputs, sums), &unit)
            }));
            stmts
        });
        let parts = part_cover.blocks();
        let axes = vec![
            (n, lowering.batch().extent()),
            (channel_block, Extent::Fixed(parts)),
            (group, Extent::Fixed(row_cover.blocks())),
        ];
        lowering.push(draft.finish(Split::Axes(axes), body));
    }

    /// Products and results of some tiles and some output channels.
    fn unit(
        &self,
        direct: &Direct<'_>,
        draft: &mut KernelDraft,
        weights: &Transformed,
        (inputs, sums): (BufferId, BufferId),
        unit: &Unit<'_>,
    ) -> Vec<Stmt> {
        let blocks = Cover::exact(unit.channels, self.block.columns);
        let own = |channel: &Affine, width: usize| {
            let kept = match self.order {
                Order::Blocks => (Affine::default(), width),
                Order::Products => (channel.clone(), unit.channels),
            };
            OfBlock {
                channel: channel.clone().plus_scaled(unit.first_channel, 1),
                width,
                sums: Address::start(sums).at(&kept.0, unit.tiles),
                distance: plane(unit.tiles, kept.1),
            }
        };
        let (block, product) = (draft.var(), draft.var());
        let every = |body: Vec<Stmt>| Stmt::repeat(product, Extent::Fixed(self.products()), body);
        match self.order {
            Order::Blocks => blocks.sequence(block, |channel, width| {
                let own = own(channel, width);
                let products = self.multiply(direct, draft, weights, (inputs, product), unit.tiles, &own);
                let mut stmts = vec![every(products)];
                stmts.extend(self.transform_outputs(direct, draft, unit, &own));
                stmts
            }),
            Order::Products => {
                let products = blocks.sequence(block, |channel, width| {
                    let own = own(channel, width);
                    self.multiply(direct, draft, weights, (inputs, product), unit.tiles, &own)
                });
                let mut stmts = vec![every(products)];
                stmts.extend(blocks.sequence(block, |channel, width| {
                    self.transform_outputs(direct, draft, unit, &own(channel, width))
                }));
                stmts
            }
        }
    }

    fn transform_inputs(
        &self,
        direct: &Direct<'_>,
        draft: &mut KernelDraft,
        source: &crate::ops::bordered::Source,
        to: BufferId,
        [tile_rows, across]: [usize; 2],
    ) -> Vec<Stmt> {
        let (m, side) = (self.filtering.results, self.filtering.products());
        let (row, column) = (draft.var(), draft.var());
        let mut map = MapBuilder::new(Extent::Fixed(direct.inputs));
        let from = source.address.clone().plus(row, m * source.row).plus(column, m * source.pixel);
        let elements: Vec<_> = (0..side * side)
            .map(|place| {
                let offset = place / side * source.row + place % side * source.pixel;
                map.load(from.clone().offset(offset), 1)
            })
            .collect();
        let distance = plane(tile_rows * across, direct.inputs);
        let to = Address::start(to).plus(row, across * direct.inputs).plus(column, direct.inputs);
        for (product, value) in self.filtering.inputs(&mut map, &elements).into_iter().enumerate() {
            map.store(to.clone().offset(product * distance), 1, value);
        }
        Stmt::nest(&[(row, tile_rows), (column, across)], vec![map.finish()])
    }

    /// One product of some tiles and a block of output channels.
    fn multiply(
        &self,
        direct: &Direct<'_>,
        draft: &mut KernelDraft,
        weights: &Transformed,
        (inputs, product): (BufferId, Var),
        tiles: usize,
        own: &OfBlock,
    ) -> Vec<Stmt> {
        let tile_block = draft.var();
        let width = own.width;
        let size = tiles.div_ceil(tiles.div_ceil(self.block.rows));
        let (block_stride, product_stride) = self.strides(direct.inputs, direct.outputs, width);
        let right =
            Address::start(weights.buffer).at(&own.channel, block_stride).plus(product, product_stride);
        Cover::exact(tiles, size).sequence(tile_block, |tile, count| {
            vec![Stmt::Tile(Box::new(TileCall {
                tile: Tile {
                    rows: count,
                    columns: width,
                    form: Form::Broadcast,
                    left_rows: Rows::evenly(direct.inputs),
                    right_column: 1,
                    reduction: vec![Reduction { count: Some(direct.inputs), left: 1, right: width }],
                    start: Start::Zero,
                    // Of the next product or block, whichever comes next.
                    prefetch: direct.inputs * width,
                    epilogue: Vec::new(),
                    output_row: width,
                },
                left: Address::start(inputs)
                    .plus(product, plane(tiles, direct.inputs))
                    .at(tile, direct.inputs),
                right: right.clone(),
                output: own.sums.clone().plus(product, own.distance).at(tile, width),
                operands: Vec::new(),
                counts: Vec::new(),
            }))]
        })
    }

    fn transform_outputs(
        &self,
        direct: &Direct<'_>,
        draft: &mut KernelDraft,
        unit: &Unit<'_>,
        own: &OfBlock,
    ) -> Vec<Stmt> {
        let (n, first, tile_rows) = (unit.n, unit.first, unit.tile_rows);
        let (channel, width) = (&own.channel, own.width);
        let m = self.filtering.results;
        let [rows, columns] = direct.axes;
        let [down, across] = direct.tile_counts(self.filtering);
        let (row, column) = (draft.var(), draft.var());
        let [window_height, window_width] = direct.window();
        // The results of a tile of which `height` rows and `wide` columns exist; what is left of windows is not stored.
        let tile = |height: usize, wide: usize| {
            let (height, wide) = (height / window_height, wide / window_width);
            if height * wide == 0 {
                return Vec::new();
            }
            let mut map = MapBuilder::new(Extent::Fixed(width));
            let from = own.sums.clone().plus(row, across * width).plus(column, width);
            let elements: Vec<_> = (0..self.products())
                .map(|product| map.load(from.clone().offset(product * own.distance), 1))
                .collect();
            let results = self.filtering.outputs(&mut map, &elements);
            let tile_row = Affine::from(row).plus_scaled(first, 1);
            // The place of row `r` and column `c` of the tile in a value of so many rows and columns for each tile.
            let place =
                |at: Address, [rows, columns]: [usize; 2], row: usize, pixel: usize, r: usize, c: usize| {
                    at.at(&tile_row, rows * row)
                        .plus(column, columns * pixel)
                        .at(channel, 1)
                        .offset(r * row + c * pixel)
                };
            // A bias is loaded once for all results.
            let mut biases = vec![None; direct.operands.len()];
            let mut finished = |map: &mut MapBuilder, r: usize, c: usize| {
                let mut value = results[r * m + c];
                let mut taken = direct.operands.iter().zip(&mut biases);
                for step in direct.epilogue {
                    value = match (step, step.unary()) {
                        (_, Some(kind)) => map.unary(kind, value),
                        (EpilogueStep::Bias, _) => match taken.next() {
                            Some((view, bias)) => {
                                let load =
                                    |map: &mut MapBuilder| map.load(view.address.clone().at(channel, 1), 1);
                                let bias = *bias.get_or_insert_with(|| load(map));
                                map.add(value, bias)
                            }
                            None => value,
                        },
                        _ => match taken.next() {
                            Some((view, _)) => {
                                let stride = columns.outputs * view.pixel;
                                let other =
                                    map.load(place(view.of_item(n), [m, m], stride, view.pixel, r, c), 1);
                                map.add(value, other)
                            }
                            None => value,
                        },
                    };
                }
                value
            };
            let Target { address, item, row, pixel } = &direct.y;
            let stored = [m / window_height, m / window_width];
            for (r, c) in (0..height).flat_map(|r| (0..wide).map(move |c| (r, c))) {
                let window: Vec<_> = (0..window_height * window_width)
                    .map(|at| (r * window_height + at / window_width, c * window_width + at % window_width))
                    .map(|(r, c)| finished(&mut map, r, c))
                    .collect();
                let value = direct.pool.map_or(window[0], |pool| pooled(&mut map, pool.kind, &window));
                map.store(place(address.clone().plus(n, *item), stored, *row, *pixel, r, c), 1, value);
            }
            vec![map.finish()]
        };
        let last = |axis: Axis, tiles: usize| axis.outputs - m * (tiles - 1);
        let (last_row, last_column) = (last(rows, down), last(columns, across));
        // The last tiles may have fewer results.
        let along = |height: usize| {
            if last_column == m {
                return vec![Stmt::repeat(column, Extent::Fixed(across), tile(height, m))];
            }
            vec![Stmt::repeat(
                column,
                Extent::Fixed(across),
                vec![Stmt::Branch {
                    value: column.into(),
                    bound: across as i64 - 1,
                    below: tile(height, m),
                    rest: tile(height, last_column),
                }],
            )]
        };
        let body = if last_row == m {
            along(m)
        } else {
            vec![Stmt::Branch {
                value: Affine::from(row).plus_scaled(first, 1),
                bound: down as i64 - 1,
                below: along(m),
                rest: along(last_row),
            }]
        };
        vec![Stmt::repeat(row, Extent::Fixed(tile_rows), body)]
    }
}

/// What a unit of work is at: an item, some rows of tiles, and some output channels.
struct Unit<'a> {
    n: Var,
    first: &'a Affine,
    tile_rows: usize,
    tiles: usize,
    first_channel: &'a Affine,
    channels: usize,
}

/// A block of output channels, and where its products are: those of each place so far apart.
struct OfBlock {
    channel: Affine,
    width: usize,
    sums: Address,
    distance: usize,
}

/// Elements between planes of products: an odd number of cache lines, so that planes do not compete for the same sets.
pub(super) fn plane(tiles: usize, channels: usize) -> usize {
    const LINE: usize = 16;
    (tiles * channels).div_ceil(LINE) / 2 * 2 * LINE + LINE
}
