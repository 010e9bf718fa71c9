//! The tiles of Winograd's algorithm: their number, the size of the last ones, and the transform of the inputs that
//! each reads.

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

/// The destination of transformed elements: that of the tile's first position, and the stride of positions.
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

    /// The axes extended to whole tiles; the last tiles read zeros beyond the input.
    pub(super) fn reached(&self) -> Grid {
        let results = self.filtering.results;
        let whole = |axis: Axis| Axis { outputs: axis.outputs.div_ceil(results) * results, ..axis };
        Grid::new(&[whole(self.rows), whole(self.columns)])
    }

    /// A loop over the tiles of a row: `tile` gets the number of existing result rows and columns, which is smaller in
    /// the last tiles.
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
        // All tiles are whole except for the last, if it is partial.
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

    /// The transform of the inputs that a tile reads; `source` is the location of the inputs of its first result.
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

/// The stride of tile positions in products: an odd number of cache lines, so that positions do not compete for the
/// same cache sets.
pub(super) fn place_distance(tiles: usize, channels: usize) -> usize {
    const LINE: usize = 16;
    (tiles * channels).div_ceil(LINE) / 2 * 2 * LINE + LINE
}
