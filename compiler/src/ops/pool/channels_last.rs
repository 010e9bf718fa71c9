//! Pooling in NHWC layout: vectors hold the channels of one pixel.

use std::cell::RefCell;

use super::cells::{CellElement, Cells, Contribution};
use super::sequences;
use crate::graph::Node;
use crate::kernel::{Address, Affine, Expr, ExprId, Extent, Kernel, MapBuilder, Split, Stmt, Var};
use crate::ops::grid::Grid;
use crate::ops::halo::Padded;
use crate::ops::window::Window;
use crate::ops::window_walk::{Axis, window_extents, within};
use crate::plan::{BlockedRange, KernelDraft, Lowering, View, fill};
use crate::shape::DType;

/// The note of the kernels.
const NOTE: &str = "pixel by pixel, vectors along the channels";
/// Bytes of the input rows that a work unit reads.
const UNIT_BYTES: usize = 64 * 1024;
/// Bytes that a work unit of a gradient writes; the results that it reads stay in the cache beside them.
const GRADIENT_UNIT_BYTES: usize = 32 * 1024;
/// The maximum number of terms in unrolled sums of a gradient, over all kinds of cells.
pub(super) const UNROLLED: usize = 128;
/// The maximum number of kinds of cells.
const MOST_KINDS: usize = 32;
/// Channels of a work unit of a gradient that scatters.
const UNIT_CHANNELS: usize = 128;

/// Forward: one output pixel after the other. `build` gets the map, an element of the window, and the location of the
/// output pixel in a value with the same layout.
pub(super) fn forward(
    lowering: &mut Lowering<'_>,
    node: &Node,
    window: &Window,
    x: &View,
    halo: f32,
    build: impl Fn(&mut MapBuilder, ExprId, &dyn Fn(&View) -> Address),
) {
    let axes = lowering.axes(window, &lowering.ty(node.operands[0]).shape.dims()[2..]);
    let mut draft = lowering.draft(node, NOTE);
    let grid = Grid::new(&axes);
    let (rows, columns) = (grid.rows(), grid.columns());
    let row_bytes = 4 * grid.planes() * rows.step * columns.inputs * x.channels();
    let range = BlockedRange::exact(rows.outputs, (UNIT_BYTES / row_bytes).clamp(1, rows.outputs));
    let (n, block) = (draft.var(), draft.var());
    let (row, column) = (draft.var(), draft.var());
    let outer = grid.outer_units(&mut draft);
    let padded = Padded { grid: grid.clone(), x: x.clone(), halo };
    let inputs = padded.inputs(lowering, node, &mut draft, range.size.min(rows.outputs));
    let body = range.branch(block, |first, count| {
        let (mut stmts, source) = padded.rows(&mut draft, (n, &outer), (first, count), &inputs);
        let mut map = MapBuilder::new(Extent::Fixed(x.channels())).window(&window_extents(grid.axes()));
        let from = source
            .address
            .clone()
            .plus(row, rows.step * source.row())
            .plus(column, columns.step * source.pixel());
        let element = map.load_window(from, 1, &source.position_strides(&grid));
        let place = |view: &View| {
            let result_row = Affine::from(row).plus_scaled(first, 1);
            let strides: Vec<usize> =
                grid.result_strides().into_iter().map(|stride| stride * view.pixel()).collect();
            outer
                .at(view.of_item(n), &strides)
                .at(&result_row, strides[strides.len() - 2])
                .plus(column, view.pixel())
        };
        build(&mut map, element, &place);
        let pixels = Stmt::repeat(column, columns.all_outputs().extent(), vec![map.finish()]);
        stmts.push(Stmt::repeat(row, Extent::Fixed(count), vec![pixels]));
        stmts
    });
    let mut axes = vec![(n, draft.batch().extent())];
    axes.extend(outer.extents());
    axes.push((block, Extent::Fixed(range.blocks())));
    lowering.push(draft.finish(Split::Axes(axes), body));
}

/// Loads the current output's element of a value with the outputs' layout.
pub(super) type Loader<'l> = dyn Fn(&mut MapBuilder, DType, &View) -> ExprId + 'l;

/// Computes the final value from the sum at each position.
pub(super) type Finish<'f> = dyn Fn(&mut MapBuilder, ExprId) -> ExprId + 'f;

/// Backward: at each input position, the sum of the contributions of the outputs whose windows contain it, in ascending
/// order of the outputs. `operands` has the values that `part` loads. `part` gets the map, the number of the position in the window, and a function that loads the
/// element of a value with the outputs' layout.
pub(super) fn backward(
    lowering: &mut Lowering<'_>,
    node: &Node,
    window: &Window,
    dx: &View,
    operands: &[&View],
    part: impl Fn(&mut MapBuilder, ExprId, &Loader<'_>) -> ExprId,
    finish: Option<&Finish<'_>>,
) {
    let mut axes = lowering.axes(window, &lowering.ty(node.results[0]).shape.dims()[2..]);
    if let [axis @ Axis { open: Some(open), .. }] = axes[..] {
        return sequences::backward(lowering, node, (axis, open), dx, operands, &part, finish);
    }
    let draft = lowering.draft(node, NOTE);
    if let [axis] = axes[..] {
        // A sequence is treated as a column, so that threads share it.
        axes = vec![axis, Axis::SINGLE];
    }
    let gradient = Gradient { grid: Grid::new(&axes), dx, part, finish };
    let kernel = match gradient.cells() {
        Some(cells) => gradient.gather(draft, &cells),
        None => gradient.scatter(draft),
    };
    lowering.push(kernel);
}

/// The data that both algorithms for a gradient use.
struct Gradient<'g, P> {
    grid: Grid,
    dx: &'g View,
    part: P,
    finish: Option<&'g Finish<'g>>,
}

impl<P: Fn(&mut MapBuilder, ExprId, &Loader<'_>) -> ExprId> Gradient<'_, P> {
    /// The cells of each axis, if they are few and small enough to unroll every sum.
    fn cells(&self) -> Option<Vec<Vec<Cells>>> {
        let axes = self.grid.axes();
        let positions = axes.iter().fold(1usize, |product, axis| product.saturating_mul(axis.kernel_size));
        let steps = axes.iter().fold(1usize, |product, axis| product.saturating_mul(axis.step));
        if positions > UNROLLED || steps > UNROLLED {
            return None;
        }
        let cells: Vec<Vec<Cells>> = axes.iter().map(Cells::of).collect();
        let terms: usize = cells.iter().map(|cells| cells.iter().map(Cells::terms).sum::<usize>()).product();
        let kinds: usize = cells.iter().map(Vec::len).product();
        (kinds <= MOST_KINDS && terms <= UNROLLED).then_some(cells)
    }

    /// Writes every position once, with one map for each kind of cell. A work unit is a few rows of cells within the
    /// input, where rows are the indices of the first axis; the first and the last unit also contain the rows at the
    /// ends.
    fn gather(&self, mut draft: KernelDraft, cells: &[Vec<Cells>]) -> Kernel {
        let (n, block) = (draft.var(), draft.var());
        let vars = draft.vars(cells.len());
        let rows = &cells[0];
        let longest = (0..rows.len()).max_by_key(|&kind| rows[kind].count).unwrap_or_default();
        let axis = self.grid.axes()[0];
        let row_bytes = 4 * axis.step * self.grid.input_strides()[0] * self.dx.channels();
        let count = rows[longest].count;
        let range = BlockedRange::exact(count, (GRADIENT_UNIT_BYTES / row_bytes).clamp(1, count));
        let some_rows = |kind: &Cells, first: &Affine, count: usize| {
            BlockedRange::exact(count, 1).sequence(vars[0], |row, _| {
                let row = row.clone().plus_scaled(first, 1).offset(kind.first);
                self.over_cells((n, &vars), cells, &mut vec![(row, &kind.elements)])
            })
        };
        let ends = |kinds: &[Cells]| -> Vec<Stmt> {
            kinds.iter().flat_map(|kind| some_rows(kind, &Affine::default(), kind.count)).collect()
        };
        let (before, after) = (ends(&rows[..longest]), ends(&rows[longest + 1..]));
        let last = range.blocks() as i64 - 1;
        let mut body = Vec::new();
        body.extend(if last == 0 { before } else { branch(block, 1, before, Vec::new()) });
        body.extend(range.branch(block, |first, count| some_rows(&rows[longest], first, count)));
        body.extend(if last == 0 { after } else { branch(block, last, Vec::new(), after) });
        let split = Split::Axes(vec![(n, draft.batch().extent()), (block, Extent::Fixed(range.blocks()))]);
        draft.finish(split, body)
    }

    /// The sums of all cells with these indices along the first axes, each with the elements of its kind.
    fn over_cells<'c>(
        &self,
        (n, vars): (Var, &[Var]),
        cells: &'c [Vec<Cells>],
        at: &mut Vec<(Affine, &'c [CellElement])>,
    ) -> Vec<Stmt> {
        let Some(kinds) = cells.get(at.len()) else { return vec![self.cell(n, at)] };
        let mut stmts = Vec::new();
        for kind in kinds {
            stmts.extend(BlockedRange::exact(kind.count, 1).sequence(vars[at.len()], |index, _| {
                at.push((index.clone().offset(kind.first), &kind.elements));
                let body = self.over_cells((n, vars), cells, at);
                at.pop();
                body
            }));
        }
        stmts
    }

    /// The sums at all positions of one cell.
    fn cell(&self, n: Var, at: &[(Affine, &[CellElement])]) -> Stmt {
        let grid = &self.grid;
        let (results, positions) = (grid.result_strides(), grid.position_strides());
        let mut map = MapBuilder::new(Extent::Fixed(self.dx.channels()));
        let zero = map.constant(0.0);
        let loaded: RefCell<Vec<(Address, ExprId)>> = RefCell::default();
        let places: Vec<&[CellElement]> = at.iter().map(|(_, places)| *places).collect();
        for place in combinations(&places) {
            // The sum starts at zero, so that a negative zero becomes positive.
            let mut sum = zero;
            let contributions: Vec<&[Contribution]> =
                place.iter().map(|place| &place.contributions[..]).collect();
            for met in combinations(&contributions) {
                let load = |map: &mut MapBuilder, dtype: DType, view: &View| {
                    let result = at.iter().zip(&met).zip(&results).fold(
                        view.of_item(n),
                        |address, (((index, _), met), stride)| {
                            address.at(&index.clone().minus(met.back), stride * view.pixel())
                        },
                    );
                    // Values that several positions use are loaded once.
                    let known = loaded
                        .borrow()
                        .iter()
                        .find(|(known, _)| *known == result)
                        .map(|&(_, element)| element);
                    known.unwrap_or_else(|| {
                        debug_assert_eq!(view.element.dtype(), dtype);
                        let element = map.load_as(view.element, result.clone(), 1, &[]);
                        loaded.borrow_mut().push((result, element));
                        element
                    })
                };
                let position: usize =
                    met.iter().zip(&positions).map(|(met, stride)| met.position * stride).sum();
                let here = map.expr(Expr::Integer(position as i32));
                let part = (self.part)(&mut map, here, &load);
                sum = map.add(sum, part);
            }
            if let Some(finish) = self.finish {
                sum = finish(&mut map, sum);
            }
            let strides = grid.input_strides();
            let axes = at.iter().zip(&place).zip(grid.axes().iter().zip(strides));
            let to = axes.fold(self.dx.of_item(n), |address, (((index, _), place), (axis, stride))| {
                let here = Affine::default().plus_scaled(index, axis.step).shifted(place.offset);
                address.at(&here, stride * self.dx.pixel())
            });
            map.store(to, 1, sum);
        }
        map.finish()
    }

    /// Adds each output's contribution to the positions of its window, for windows that are too large to unroll.
    fn scatter(&self, mut draft: KernelDraft) -> Kernel {
        let axes = self.grid.axes();
        let range = BlockedRange::exact(self.dx.channels(), UNIT_CHANNELS);
        let (n, block) = (draft.var(), draft.var());
        let vars = draft.vars(axes.len());
        let positions = draft.vars(axes.len());
        let body = range.branch(block, |first, channels| {
            let at = |indices: &[Affine]| {
                let strides = self.grid.input_strides();
                let dx = self.dx.of_item(n).at(first, 1);
                indices
                    .iter()
                    .zip(strides)
                    .fold(dx, |dx, (index, stride)| dx.at(index, stride * self.dx.pixel()))
            };
            let everywhere = at(&vars.iter().map(|&var| Affine::from(var)).collect::<Vec<_>>());
            let pixels: Vec<(Var, usize)> =
                vars.iter().zip(axes).map(|(&var, axis)| (var, axis.inputs)).collect();
            let mut stmts = Stmt::nest(&pixels, vec![fill(everywhere.clone(), channels, 0.0)]);
            let load = |map: &mut MapBuilder, dtype: DType, view: &View| {
                debug_assert_eq!(view.element.dtype(), dtype);
                let strides = self.grid.result_strides();
                let result =
                    vars.iter().zip(strides).fold(view.of_item(n).at(first, 1), |result, (&var, stride)| {
                        result.plus(var, stride * view.pixel())
                    });
                map.load_as(view.element, result, 1, &[])
            };
            let mut map = MapBuilder::new(Extent::Fixed(channels));
            let here = positions
                .iter()
                .zip(self.grid.position_strides())
                .fold(Affine::default(), |here, (&var, stride)| here.plus(var, stride));
            let here = map.expr(Expr::Position(here));
            let part = (self.part)(&mut map, here, &load);
            let inputs: Vec<Affine> = axes
                .iter()
                .zip(vars.iter().zip(&positions))
                .map(|(axis, (&result, &position))| {
                    let start = Affine::default().plus(result, axis.step);
                    start.plus(position, axis.dilation).shifted(axis.shift)
                })
                .collect();
            map.accumulate(at(&inputs), 1, part);
            // Loops over outputs, then over the kernel positions of each, with the innermost axis last.
            let mut body = vec![map.finish()];
            for (index, axis) in axes.iter().enumerate().rev() {
                body = within(axis, inputs[index].clone(), body, Vec::new());
                body = Stmt::nest(&[(vars[index], axis.outputs), (positions[index], axis.kernel_size)], body);
            }
            stmts.extend(body);
            if let Some(finish) = self.finish {
                let mut map = MapBuilder::new(Extent::Fixed(channels));
                let sum = map.load(everywhere.clone(), 1);
                let value = finish(&mut map, sum);
                map.store(everywhere, 1, value);
                stmts.extend(Stmt::nest(&pixels, vec![map.finish()]));
            }
            stmts
        });
        let split = Split::Axes(vec![(n, draft.batch().extent()), (block, Extent::Fixed(range.blocks()))]);
        draft.finish(split, body)
    }
}

/// `below` if a variable is below a bound, else `rest`; no statement if both are empty.
fn branch(value: Var, bound: i64, below: Vec<Stmt>, rest: Vec<Stmt>) -> Vec<Stmt> {
    if below.is_empty() && rest.is_empty() {
        return Vec::new();
    }
    vec![Stmt::Branch { value: value.into(), bound, below, rest }]
}

/// Every combination of one element of each list, in which the last list varies fastest.
fn combinations<'l, T>(lists: &[&'l [T]]) -> Vec<Vec<&'l T>> {
    lists.iter().fold(vec![Vec::new()], |combinations, list| {
        let with = |start: &Vec<&'l T>| {
            let start = start.clone();
            list.iter().map(move |element| start.iter().copied().chain([element]).collect())
        };
        combinations.iter().flat_map(with).collect()
    })
}
