//! How a convolution by Winograd's method is divided: rows of tiles, channels and the order of loops that take the least
//! time by a model of it.

use super::super::direct::Direct;
use super::super::transform::Filtering;
use super::{Order, Winograd, possible};
use crate::plan::{Block, Cover, Sharing, Vectors, Verdict};

/// Tiles that are multiplied at a time, at least: as many as make loading the weights worth while.
const TILES: usize = 28;

impl Direct<'_> {
    /// The best way to do this correlation by Winograd's method with so many results along an axis, or why there is none.
    pub(in crate::ops::conv) fn winograd(
        &self,
        vectors: Vectors,
        sharing: Sharing,
        results: usize,
    ) -> Result<Winograd, Verdict> {
        possible(&self.axes, self.groups, self.x.layout)?;
        let filtering = Filtering { results, taps: self.axes[0].taps };
        let [down, across] = self.tile_counts(filtering);
        let few = down.div_ceil(down.div_ceil(TILES.div_ceil(across).min(down)));
        let mut ways: Vec<Winograd> = Vec::new();
        for tile_rows in [few, down] {
            let even = Block::choose(vectors, tile_rows * across, self.outputs.div_ceil(sharing.threads));
            let block = Block::choose(vectors, tile_rows * across, self.outputs);
            // All channels together, a share for each thread, and every block by itself.
            for (block, parts) in
                [(block, 1), (even, sharing.threads), (block, sharing.threads), (block, usize::MAX)]
            {
                for order in [Order::Blocks, Order::Products] {
                    ways.push(self.divided(filtering, tile_rows, (block, parts), order, vectors, sharing));
                }
            }
        }
        // Of equals the first: `few` rows, all channels together.
        Ok(ways.into_iter().min_by_key(|way| way.time).expect("there are ways"))
    }

    fn divided(
        &self,
        filtering: Filtering,
        tile_rows: usize,
        (block, parts): (Block, usize),
        order: Order,
        vectors: Vectors,
        sharing: Sharing,
    ) -> Winograd {
        let costs = vectors.costs;
        let transform = usize::from(costs.transform);
        let [down, across] = self.tile_counts(filtering);
        let products = filtering.products() * filtering.products();
        let groups = down.div_ceil(tile_rows);
        let tiles = tile_rows * across;
        let block = Block { rows: block.rows.min(tiles), columns: block.columns.min(self.outputs) };
        let blocks = self.outputs.div_ceil(block.columns);
        let unit_blocks = blocks.div_ceil(parts);
        let parts = blocks.div_ceil(unit_blocks);
        let channels = (unit_blocks * block.columns).min(self.outputs);
        let in_vectors = |channels: usize| channels.div_ceil(vectors.lanes);
        let multiply = products
            * self.inputs
            * Block::time_of_all(
                vectors,
                &Cover::exact(tiles, tiles.div_ceil(tiles.div_ceil(block.rows))),
                &Cover::exact(channels, block.columns),
            );
        // Bytes from behind the second-level cache.
        let far = |bytes: usize| if costs.are_far(bytes) { bytes } else { 0 };
        let weights = if costs.are_far(4 * products * self.inputs * self.outputs) {
            4 * products * self.inputs * channels
        } else {
            0
        };
        let transformed = far(4 * products * tiles * self.inputs);
        let kept = match order {
            Order::Blocks => 0,
            Order::Products => far(4 * products * tiles * channels),
        };
        let read = match order {
            Order::Blocks => transformed * unit_blocks,
            Order::Products => transformed,
        };
        let inputs = transform * products * tiles * in_vectors(self.inputs) + costs.far(transformed);
        let outputs = transform * products * tiles * in_vectors(channels) + costs.far(kept);
        let unit = inputs + multiply.max(costs.far(weights + read + kept)) + outputs;
        let time = sharing.time(groups * parts, unit);
        Winograd { filtering, tile_rows, block, unit_blocks, order, time }
    }
}
