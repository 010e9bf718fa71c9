//! Evaluates the Tile leaf, element by element.

use super::memory::{EvaluateError, moved};
use super::{Evaluator, map};
use crate::kernel::{Address, Element, Extent, Form, PoolKind, Rows, Start, TileCall, TileStep};

/// A loop of the reduction: its iteration count and its strides in both operands.
type Loop = (usize, usize, usize);

impl Evaluator<'_, '_> {
    fn float(&self, address: &Address, index: i64) -> Result<f32, EvaluateError> {
        self.memory.read(self.kernel, (address, index), Element::F32).map(f32::from_bits)
    }

    pub(super) fn tile(&mut self, call: &TileCall) -> Result<(), EvaluateError> {
        let tile = &call.tile;
        let mut given = call.counts.iter().copied();
        let loops: Vec<Loop> = tile
            .reduction
            .iter()
            .map(|reduction| {
                let count =
                    reduction.count.map_or_else(|| given.next().unwrap_or(Extent::Fixed(0)), Extent::Fixed);
                (self.extent(count), reduction.left, reduction.right)
            })
            .collect();
        let column_distance = if tile.form == Form::OuterProduct { 1 } else { tile.right_column };
        let (left, right) = (self.affine(&call.left.offset), self.affine(&call.right.offset));
        // All sums before anything is stored.
        let mut sums = Vec::new();
        for row in 0..tile.rows {
            for column in 0..tile.columns {
                let Rows { run, stride, run_stride } = tile.left_rows;
                let left = moved(moved(left, row / run, run_stride), row % run, stride);
                sums.push(self.sum(call, &loops, left, moved(right, column, column_distance))? as f32);
            }
        }
        let output = self.affine(&call.output.offset);
        for stored in 0..tile.stored_rows() {
            for column in 0..tile.columns {
                let mut window = Vec::new();
                for row in tile.rows_of(stored) {
                    window.push(self.finished(call, row, column, sums[row * tile.columns + column])?);
                }
                let mut value = pooled(tile.pool().map(|pool| pool.kind), &window);
                let index = moved(moved(output, stored, tile.output_row), column, 1);
                if tile.start == Start::Output {
                    value += self.float(&call.output, index)?;
                }
                self.memory.write(self.kernel, (&call.output, index), Element::F32, value.to_bits())?;
            }
        }
        Ok(())
    }

    /// The sum of the products of some loops, starting at two elements.
    fn sum(&self, call: &TileCall, loops: &[Loop], left: i64, right: i64) -> Result<f64, EvaluateError> {
        let Some((&(count, left_distance, right_distance), inner)) = loops.split_first() else {
            let (a, b) = (self.float(&call.left, left)?, self.float(&call.right, right)?);
            return Ok(f64::from(a) * f64::from(b));
        };
        (0..count).try_fold(0.0, |sum, step| {
            let (left, right) = (moved(left, step, left_distance), moved(right, step, right_distance));
            Ok(sum + self.sum(call, inner, left, right)?)
        })
    }

    /// An element after every step except pooling.
    fn finished(&self, call: &TileCall, row: usize, column: usize, sum: f32) -> Result<f32, EvaluateError> {
        let mut operands = call.operands.iter();
        let mut value = sum;
        for step in &call.tile.epilogue {
            let (down, right) = match step {
                TileStep::AddPerRow => (row, 0),
                TileStep::AddPerColumn => (0, column),
                TileStep::AddElement { row: distance } => (row.saturating_mul(*distance), column),
                _ => (0, 0),
            };
            let operand = match step.takes_operand().then(|| operands.next()).flatten() {
                Some(operand) => {
                    self.float(operand, moved(moved(self.affine(&operand.offset), down, 1), right, 1))?
                }
                None => 0.0,
            };
            value = match step {
                TileStep::AddPerRow | TileStep::AddPerColumn | TileStep::AddElement { .. } => value + operand,
                TileStep::MultiplyScalar => value * operand,
                TileStep::Apply(kind) => map::unary(*kind, value),
                TileStep::Pool(_) => value,
            };
        }
        Ok(value)
    }
}

/// The pooled value of a window.
fn pooled(kind: Option<PoolKind>, window: &[f32]) -> f32 {
    match kind {
        None => window.first().copied().unwrap_or_default(),
        Some(PoolKind::Max) => window.iter().copied().reduce(map::largest).unwrap_or_default(),
        Some(PoolKind::Mean) => window.iter().fold(0.0, |sum, value| sum + value) / window.len() as f32,
    }
}
