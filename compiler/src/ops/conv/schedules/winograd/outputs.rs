//! Converts products to results: inverse transform, epilogue, pool and store.

use super::{OfBlock, Unit, Winograd};
use crate::kernel::{Address, Affine, ExprId, Extent, MapBuilder, Stmt, Var};
use crate::ops::conv::correlation::{Correlation, Destination};
use crate::ops::grid::Outer;
use crate::ops::pool::fused::pooled;
use crate::plan::KernelDraft;

/// The position of a tile.
struct TilePosition<'p> {
    n: Var,
    outer: &'p Outer,
    /// Its row and column among the image's tiles.
    row: Affine,
    column: Var,
    channel: &'p Affine,
}

impl TilePosition<'_> {
    /// The address of the result at row `r` and column `c` of the tile; each tile has `rows` rows and `columns`
    /// columns.
    fn of(&self, to: &Destination, [rows, columns]: [usize; 2], [r, c]: [usize; 2]) -> Address {
        to.of(self.n, self.outer)
            .at(&self.row, rows * to.row())
            .plus(self.column, columns * to.pixel())
            .at(self.channel, 1)
            .offset(r * to.row() + c * to.pixel())
    }
}

impl Winograd {
    /// The results of some rows of tiles and a block of channels.
    pub(super) fn transform_outputs(
        &self,
        problem: &Correlation<'_>,
        draft: &mut KernelDraft,
        unit: &Unit<'_>,
        own: &OfBlock,
    ) -> Vec<Stmt> {
        let (row, column) = (draft.var(), draft.var());
        let tile_row = Affine::from(row).plus_scaled(unit.first, 1);
        let [_, across] = self.tiles.counts();
        let products = own.sums.clone().plus(row, across * own.width).plus(column, own.width);
        let place = TilePosition {
            n: unit.n,
            outer: unit.outer,
            row: tile_row.clone(),
            column,
            channel: &own.channel,
        };
        let body = self.tiles.along_row(tile_row, column, |height, width| {
            self.transform_output(problem, own, &products, &place, [height, width])
        });
        vec![Stmt::repeat(row, Extent::Fixed(unit.tile_rows), body)]
    }

    /// The results of a tile of which only some rows and columns exist. Incomplete pooling windows are not stored.
    fn transform_output(
        &self,
        problem: &Correlation<'_>,
        own: &OfBlock,
        products: &Address,
        place: &TilePosition<'_>,
        [height, width]: [usize; 2],
    ) -> Vec<Stmt> {
        let m = self.tiles.filtering.results;
        let [window_height, window_width] = problem.window();
        let (height, width) = (height / window_height, width / window_width);
        if height * width == 0 {
            return Vec::new();
        }
        let mut map = MapBuilder::new(Extent::Fixed(own.width));
        let elements: Vec<_> = (0..self.products())
            .map(|product| map.load(products.clone().offset(product * own.distance), 1))
            .collect();
        let results = self.tiles.filtering.outputs(&mut map, &elements);
        let mut epilogue = problem.epilogue.in_map(&own.channel, 1);
        let stored = [m / window_height, m / window_width];
        for (r, c) in (0..height).flat_map(|r| (0..width).map(move |c| (r, c))) {
            let window: Vec<ExprId> = (0..window_height * window_width)
                .map(|at| [r * window_height + at / window_width, c * window_width + at % window_width])
                .map(|[r, c]| {
                    epilogue.apply(&mut map, results[r * m + c], |view| {
                        place.of(&problem.results.of(view), [m, m], [r, c])
                    })
                })
                .collect();
            let value = problem.pool.map_or(window[0], |pool| pooled(&mut map, pool.kind, &window));
            map.store(place.of(&problem.y, stored, [r, c]), 1, value);
        }
        vec![map.finish()]
    }
}
