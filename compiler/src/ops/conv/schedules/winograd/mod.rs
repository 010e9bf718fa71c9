//! Winograd convolution in NHWC layout, for windows of 3×3 and 5×5 at stride 1. A work unit transforms a few rows of
//! tiles, multiplies them for one block of output channels after the other, and transforms the products back; all of
//! this stays in the L2 cache. Weights are transformed when parameters change.

mod division;
mod filtering;
mod outputs;
mod tiles;
pub(super) mod weight_gradient;

pub(in crate::ops::conv) use division::divide;

use crate::kernel::{
    Address, Affine, BufferId, Extent, Form, MapBuilder, Reduction, Rows, Split, Start, Stmt, Tile, TileCall,
    Var,
};
use crate::ops::conv::correlation::Correlation;
use crate::ops::grid::{Grid, Outer};
use crate::ops::halo::{Padded, Source};
use crate::plan::{BlockedRange, KernelDraft, Layout, Lowering, RegisterTile, Size, Verdict};
use filtering::Filtering;
use tiles::{Tiles, Transformed, place_distance};

/// The division of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops::conv) struct Winograd {
    tiles: Tiles,
    /// Rows of tiles in a work unit.
    tile_rows: usize,
    /// The register tile of the products: tiles by output channels.
    block: RegisterTile,
    /// Blocks of output channels in a work unit.
    unit_blocks: usize,
    /// The loop order.
    order: Order,
    /// The time of one item, in sixteenths of a cycle.
    pub(in crate::ops::conv) time: usize,
}

/// The order of the loops over products (the positions of a tile) and blocks of output channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// All products of a block, then its results: the products of one block take little memory, but every block reads
    /// the transformed inputs.
    Blocks,
    /// All blocks of a product: the transformed inputs are read once, but the products of all blocks are kept.
    Products,
}

/// The location of transformed weights: `[block][product][input][output of the block]`, or `[product][block]…` if the
/// loop over products is the outer one.
pub(in crate::ops::conv) struct TransformedWeight {
    buffer: BufferId,
}

/// The tiles of Winograd's algorithm with `results` results along an axis, or why it is not possible for an input of
/// this layout.
fn possible(grid: &Grid, groups: usize, layout: &Layout, results: usize) -> Result<Tiles, Verdict> {
    let (rows, columns, axes) = (grid.rows(), grid.columns(), grid.axes());
    let is_square = grid.outer().is_empty() && rows.kernel_size == columns.kernel_size;
    let obstacles = [
        (!is_square || !matches!(rows.kernel_size, 3 | 5), Verdict::Window),
        (axes.iter().any(|axis| axis.step != 1), Verdict::Stride),
        (axes.iter().any(|axis| axis.dilation != 1), Verdict::Dilation),
        (groups != 1, Verdict::Groups),
        (!layout.is_channels_last(), Verdict::ChannelsFirst),
    ];
    match obstacles.into_iter().find(|(is_met, _)| *is_met) {
        Some((_, verdict)) => Err(verdict),
        None => Ok(Tiles { filtering: Filtering { results, kernel_size: rows.kernel_size }, rows, columns }),
    }
}

impl Winograd {
    /// Describes the division for the kernel's note.
    pub(in crate::ops::conv) fn note(&self) -> String {
        let Filtering { results, kernel_size } = self.tiles.filtering;
        let order = match self.order {
            Order::Blocks => "channels outside",
            Order::Products => "products outside",
        };
        format!(
            "Winograd F({results}x{results}, {kernel_size}x{kernel_size}): products of {} tiles by {} channels, {} rows of tiles and {} blocks of channels at a time, {order}",
            self.block.rows, self.block.columns, self.tile_rows, self.unit_blocks
        )
    }

    fn products(&self) -> usize {
        self.tiles.filtering.products() * self.tiles.filtering.products()
    }

    /// Whether every pooling window lies within a tile.
    pub(in crate::ops::conv) fn holds_windows(&self, window: [usize; 2]) -> bool {
        window.into_iter().all(|size| self.tiles.filtering.results.is_multiple_of(size))
    }

    /// Strides in the transformed weights between output channels (of whole blocks) and between products.
    fn strides(&self, inputs: usize, outputs: usize, width: usize) -> (usize, usize) {
        match self.order {
            Order::Blocks => (self.products() * inputs, inputs * width),
            Order::Products => (inputs, inputs * outputs),
        }
    }

    /// Adds the kernel that transforms the weights.
    pub(in crate::ops::conv) fn weights(
        &self,
        problem: &Correlation<'_>,
        lowering: &mut Lowering<'_>,
    ) -> TransformedWeight {
        let kernel_size = self.tiles.filtering.kernel_size;
        let (inputs, outputs, weight) = (problem.inputs, problem.outputs, &problem.weight);
        let elements = self.products() * inputs * outputs;
        let buffer = lowering.temporary("transformed weight", Size::fixed(elements));
        let mut draft = lowering.draft(problem.node, "Winograd's transform of the weights").part("transform");
        let (block, input) = (draft.var(), draft.var());
        let range = BlockedRange::exact(outputs, self.block.columns);
        let from = lowering.address(weight.value);
        let body = range.branch(block, |first, width| {
            let mut map = MapBuilder::new(Extent::Fixed(width));
            let from = from.clone().at(first, weight.output).plus(input, weight.input);
            let elements: Vec<_> = (0..kernel_size * kernel_size)
                .map(|position| {
                    let [row, column] = [position / kernel_size, position % kernel_size];
                    let offset = weight.positions[0].place(row) + weight.positions[1].place(column);
                    map.load(from.clone().offset(offset), weight.output)
                })
                .collect();
            let transformed = self.tiles.filtering.weights(&mut map, &elements);
            let (block_stride, product_stride) = self.strides(inputs, outputs, width);
            let to = Address::start(buffer).at(first, block_stride).plus(input, width);
            for (product, value) in transformed.into_iter().enumerate() {
                map.store(to.clone().offset(product * product_stride), 1, value);
            }
            vec![map.finish()]
        });
        let axes = vec![(block, Extent::Fixed(range.blocks())), (input, Extent::Fixed(inputs))];
        lowering.push_derived(weight.value, draft.finish(Split::Axes(axes), body));
        TransformedWeight { buffer }
    }

    /// Adds the kernel of the convolution.
    pub(in crate::ops::conv) fn lower(
        &self,
        problem: &Correlation<'_>,
        lowering: &mut Lowering<'_>,
        mut draft: KernelDraft,
        weights: &TransformedWeight,
    ) {
        let [down, across] = self.tiles.counts();
        let m = self.tiles.filtering.results;
        let (n, group, channel_block) = (draft.var(), draft.var(), draft.var());
        let outer = problem.grid.outer_units(&mut draft);
        let padded = Padded { grid: self.tiles.reached(), x: problem.x.clone(), halo: 0.0 };
        let read = padded.inputs(lowering, problem.node, &mut draft, self.tile_rows * m);
        let most = self.tile_rows * across;
        let inputs =
            lowering.scratch("transformed input", self.products() * place_distance(most, problem.inputs));
        let unit_channels = (self.unit_blocks * self.block.columns).min(problem.outputs);
        let kept = match self.order {
            Order::Blocks => self.block.columns,
            Order::Products => unit_channels,
        };
        let sums = lowering.scratch("products", self.products() * place_distance(most, kept));
        let row_range = BlockedRange::exact(down, self.tile_rows);
        let part_range = BlockedRange::exact(problem.outputs, unit_channels);
        let body = row_range.branch(group, |first, tile_rows| {
            let first_row = Affine::default().plus_scaled(first, m);
            let (mut stmts, source) =
                padded.rows(&mut draft, (n, &outer), (&first_row, tile_rows * m), &read);
            let tiles = tile_rows * across;
            stmts.extend(self.transform_inputs(
                problem.inputs,
                &mut draft,
                &source,
                inputs,
                [tile_rows, across],
            ));
            stmts.extend(part_range.branch(channel_block, |first_channel, channels| {
                let unit = Unit { n, outer: &outer, first, tile_rows, tiles, first_channel, channels };
                self.unit(problem, &mut draft, weights, (inputs, sums), &unit)
            }));
            stmts
        });
        let parts = part_range.blocks();
        let axes = vec![
            (n, lowering.batch().extent()),
            (channel_block, Extent::Fixed(parts)),
            (group, Extent::Fixed(row_range.blocks())),
        ];
        lowering.push(draft.finish(Split::Axes(axes), body));
    }

    /// Products and results of some tiles and some output channels.
    fn unit(
        &self,
        problem: &Correlation<'_>,
        draft: &mut KernelDraft,
        weights: &TransformedWeight,
        (inputs, sums): (BufferId, BufferId),
        unit: &Unit<'_>,
    ) -> Vec<Stmt> {
        let blocks = BlockedRange::exact(unit.channels, self.block.columns);
        let own = |channel: &Affine, width: usize| {
            let kept = match self.order {
                Order::Blocks => (Affine::default(), width),
                Order::Products => (channel.clone(), unit.channels),
            };
            OfBlock {
                channel: channel.clone().plus_scaled(unit.first_channel, 1),
                width,
                sums: Address::start(sums).at(&kept.0, unit.tiles),
                distance: place_distance(unit.tiles, kept.1),
            }
        };
        let (block, product) = (draft.var(), draft.var());
        let every = |body: Vec<Stmt>| Stmt::repeat(product, Extent::Fixed(self.products()), body);
        match self.order {
            Order::Blocks => blocks.sequence(block, |channel, width| {
                let own = own(channel, width);
                let products = self.multiply(problem, draft, weights, (inputs, product), unit.tiles, &own);
                let mut stmts = vec![every(products)];
                stmts.extend(self.transform_outputs(problem, draft, unit, &own));
                stmts
            }),
            Order::Products => {
                let products = blocks.sequence(block, |channel, width| {
                    let own = own(channel, width);
                    self.multiply(problem, draft, weights, (inputs, product), unit.tiles, &own)
                });
                let mut stmts = vec![every(products)];
                stmts.extend(blocks.sequence(block, |channel, width| {
                    self.transform_outputs(problem, draft, unit, &own(channel, width))
                }));
                stmts
            }
        }
    }

    fn transform_inputs(
        &self,
        channels: usize,
        draft: &mut KernelDraft,
        source: &Source,
        to: BufferId,
        [tile_rows, across]: [usize; 2],
    ) -> Vec<Stmt> {
        let m = self.tiles.filtering.results;
        let (row, column) = (draft.var(), draft.var());
        let from = source.address.clone().plus(row, m * source.row()).plus(column, m * source.pixel());
        let to = Transformed {
            address: Address::start(to).plus(row, across * channels).plus(column, channels),
            distance: place_distance(tile_rows * across, channels),
        };
        let source = Source { address: from, ..source.clone() };
        let transform = self.tiles.transform_input(channels, &source, &to);
        Stmt::nest(&[(row, tile_rows), (column, across)], vec![transform])
    }

    /// One product of some tiles and a block of output channels.
    fn multiply(
        &self,
        problem: &Correlation<'_>,
        draft: &mut KernelDraft,
        weights: &TransformedWeight,
        (inputs, product): (BufferId, Var),
        tiles: usize,
        own: &OfBlock,
    ) -> Vec<Stmt> {
        let tile_block = draft.var();
        let width = own.width;
        let size = tiles.div_ceil(tiles.div_ceil(self.block.rows));
        let (block_stride, product_stride) = self.strides(problem.inputs, problem.outputs, width);
        let right =
            Address::start(weights.buffer).at(&own.channel, block_stride).plus(product, product_stride);
        BlockedRange::exact(tiles, size).sequence(tile_block, |tile, count| {
            vec![Stmt::Tile(Box::new(TileCall {
                tile: Tile {
                    rows: count,
                    columns: width,
                    form: Form::OuterProduct,
                    left_rows: Rows::evenly(problem.inputs),
                    right_column: 1,
                    reduction: vec![Reduction { count: Some(problem.inputs), left: 1, right: width }],
                    start: Start::Zero,
                    // Prefetches the next product or block, in loop order.
                    prefetch: problem.inputs * width,
                    epilogue: Vec::new(),
                    output_row: width,
                },
                left: Address::start(inputs)
                    .plus(product, place_distance(tiles, problem.inputs))
                    .at(tile, problem.inputs),
                right: right.clone(),
                output: own.sums.clone().plus(product, own.distance).at(tile, width),
                operands: Vec::new(),
                counts: Vec::new(),
            }))]
        })
    }
}

/// The position of a work unit: an item, some rows of tiles, and some output channels.
struct Unit<'a> {
    n: Var,
    outer: &'a Outer,
    first: &'a Affine,
    tile_rows: usize,
    tiles: usize,
    first_channel: &'a Affine,
    channels: usize,
}

/// A block of output channels, and the location of its products with the stride of tile positions.
struct OfBlock {
    channel: Affine,
    width: usize,
    sums: Address,
    distance: usize,
}
