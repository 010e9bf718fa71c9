//! The tiles that Winograd's method cuts results into: how many there are, what those at the far ends hold, and the
//! transform of the inputs that each reads.

use super::filtering::Filtering;
use crate::kernel::{Address, Affine, Extent, MapBuilder, Stmt, Var};
use crate::ops::grid::Grid;
use crate::ops::halo::Source;
use crate::ops::window_walk::Axis;

/// The results of an image in tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tiles {
    pub(super) filtering: Filtering,
    pub(super) rows: Axis,
    pub(super) columns: Axis,
}

/// Where transformed elements go: those of the first place of a tile, and the distance to the next place.
#[derive(Clone, Debug)]
pub(super) struct Transformed {
    pub(super) address: Address,
    pub(super) distance: usize,
}

impl Tiles {
    /// Rows and columns of tiles.
    pub(super) fn counts(&self) -> [usize; 2] {
        [self.rows, self.columns].map(|axis| axis.outputs.div_ceil(self.filtering.results))
    }

    /// The axes as far as tiles reach, which are whole: those at the far ends meet zeros.
    pub(super) fn reached(&self) -> Grid {
        let results = self.filtering.results;
        let whole = |axis: Axis| Axis { outputs: axis.outputs.div_ceil(results) * results, ..axis };
        Grid::new(&[whole(self.rows), whole(self.columns)])
    }

    /// A loop over the tiles of a row: `tile` gets how many rows and columns of results exist, fewer in the last tiles.
    pub(super) fn along_row(
        &self,
        row: Affine,
        column: Var,
        tile: impl Fn(usize, usize) -> Vec<Stmt>,
    ) -> Vec<Stmt> {
        let results = self.filtering.results;
        let [down, across] = self.counts();
        let last_row = self.rows.outputs - results * (down - 1);
        let last_column = self.columns.outputs - results * (across - 1);
        // Whole tiles but for the last, where that is none.
        let ends = |value: Affine, tiles: usize, last: usize, code: &dyn Fn(usize) -> Vec<Stmt>| {
            if last == results {
                return code(results);
            }
            vec![Stmt::Branch { value, bound: tiles as i64 - 1, below: code(results), rest: code(last) }]
        };
        ends(row, down, last_row, &|height| {
            let body = ends(column.into(), across, last_column, &|width| tile(height, width));
            vec![Stmt::repeat(column, Extent::Fixed(across), body)]
        })
    }

    /// The transform of the inputs that a tile reads: those of its first result are where `source` says.
    pub(super) fn transform_input(&self, channels: usize, source: &Source, to: &Transformed) -> Stmt {
        let side = self.filtering.products();
        let mut map = MapBuilder::new(Extent::Fixed(channels));
        let elements: Vec<_> = (0..side * side)
            .map(|place| {
                let offset = place / side * source.row() + place % side * source.pixel();
                map.load(source.address.clone().offset(offset), 1)
            })
            .collect();
        for (product, value) in self.filtering.inputs(&mut map, &elements).into_iter().enumerate() {
            map.store(to.address.clone().offset(product * to.distance), 1, value);
        }
        map.finish()
    }
}

/// Elements between the places of a tile in products: an odd number of cache lines, so that places do not compete for the
/// same sets.
pub(super) fn place_distance(tiles: usize, channels: usize) -> usize {
    const LINE: usize = 16;
    (tiles * channels).div_ceil(LINE) / 2 * 2 * LINE + LINE
}
