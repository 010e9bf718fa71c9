//! The division of a convolution with Winograd's algorithm: a time model chooses the rows of tiles, the channel blocks
//! and the loop order.

use super::tiles::Tiles;
use super::{Order, Winograd, possible};
use crate::ops::conv::correlation::Correlation;
use crate::plan::{BlockedRange, Parallelism, RegisterTile, Vectors, Verdict};

/// The minimum number of tiles in a product, to amortise the loads of the weights.
const TILES: usize = 28;

/// The fastest division of a correlation with Winograd's algorithm with `results` results along an axis, or why it is
/// not possible.
pub(in crate::ops::conv) fn divide(
    problem: &Correlation<'_>,
    vectors: Vectors,
    parallelism: Parallelism,
    results: usize,
) -> Result<Winograd, Verdict> {
    let tiles = possible(&problem.grid, problem.groups, &problem.x.layout, results)?;
    let [down, across] = tiles.counts();
    let few = down.div_ceil(down.div_ceil(TILES.div_ceil(across).min(down)));
    let mut ways: Vec<Winograd> = Vec::new();
    for tile_rows in [few, down] {
        let even =
            RegisterTile::choose(vectors, tile_rows * across, problem.outputs.div_ceil(parallelism.threads));
        let block = RegisterTile::choose(vectors, tile_rows * across, problem.outputs);
        // All channels in one unit, one part per thread, and every block in a separate unit.
        for (block, parts) in
            [(block, 1), (even, parallelism.threads), (block, parallelism.threads), (block, usize::MAX)]
        {
            for order in [Order::Blocks, Order::Products] {
                let division = Division { problem, tiles, tile_rows, order };
                ways.push(division.way((block, parts), vectors, parallelism));
            }
        }
    }
    // If times are equal, the first is chosen: `few` rows, all channels in one unit.
    Ok(ways.into_iter().min_by_key(|way| way.time).expect("there are ways"))
}

/// A division of a correlation, except for its channels.
struct Division<'d> {
    problem: &'d Correlation<'d>,
    tiles: Tiles,
    tile_rows: usize,
    order: Order,
}

impl Division<'_> {
    /// The division with blocks of channels in `parts` parts.
    fn way(
        &self,
        (block, parts): (RegisterTile, usize),
        vectors: Vectors,
        parallelism: Parallelism,
    ) -> Winograd {
        let Division { problem, tile_rows, order, .. } = *self;
        let (inputs, outputs) = (problem.inputs, problem.outputs);
        let filtering = self.tiles.filtering;
        let costs = vectors.costs;
        let transform = usize::from(costs.transform);
        let [down, across] = self.tiles.counts();
        let products = filtering.products() * filtering.products();
        let groups = down.div_ceil(tile_rows);
        let tiles = tile_rows * across;
        let block = RegisterTile { rows: block.rows.min(tiles), columns: block.columns.min(outputs) };
        let blocks = outputs.div_ceil(block.columns);
        let unit_blocks = blocks.div_ceil(parts);
        let parts = blocks.div_ceil(unit_blocks);
        let channels = (unit_blocks * block.columns).min(outputs);
        let in_vectors = |channels: usize| channels.div_ceil(vectors.lanes);
        let multiply = products
            * inputs
            * RegisterTile::time_of_all(
                vectors,
                &BlockedRange::exact(tiles, tiles.div_ceil(tiles.div_ceil(block.rows))),
                &BlockedRange::exact(channels, block.columns),
            );
        // Bytes that miss the L2 cache.
        let missed = |bytes: usize| if costs.misses_l2(bytes) { bytes } else { 0 };
        let weights = if costs.misses_l2(4 * products * inputs * outputs) {
            4 * products * inputs * channels
        } else {
            0
        };
        let transformed = missed(4 * products * tiles * inputs);
        let kept = match order {
            Order::Blocks => 0,
            Order::Products => missed(4 * products * tiles * channels),
        };
        let read = match order {
            Order::Blocks => transformed * unit_blocks,
            Order::Products => transformed,
        };
        let input_time = transform * products * tiles * in_vectors(inputs) + costs.l2_miss(transformed);
        let output_time = transform * products * tiles * in_vectors(channels) + costs.l2_miss(kept);
        let unit = input_time + multiply.max(costs.l2_miss(weights + read + kept)) + output_time;
        let time = parallelism.time(groups * parts, unit);
        Winograd { tiles: self.tiles, tile_rows, block, unit_blocks, order, time }
    }
}
