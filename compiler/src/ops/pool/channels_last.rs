//! Pooling with channels last: vectors hold the channels of one pixel.

use std::cell::RefCell;

use super::cells::{Cells, Place};
use crate::kernel::{Address, Affine, Expr, ExprId, Extent, Kernel, MapBuilder, Split, Stmt, Var};
use crate::ops::halo::Padded;
use crate::ops::window::Window;
use crate::ops::window_walk::{Axis, forward_axes, rows_and_columns, within};
use crate::plan::{Cover, KernelDraft, Lowering, View, fill};
use crate::shape::DType;

/// Bytes of the input rows that a unit of work reads.
const UNIT_BYTES: usize = 64 * 1024;
/// Bytes that a unit of a gradient writes; what it reads of the results lies beside them in the cache.
const GRADIENT_UNIT_BYTES: usize = 32 * 1024;
/// The most terms that are written out of the sums of a gradient, over all kinds of cells.
const WRITTEN_OUT: usize = 128;
/// The most kinds of cells.
const MOST_KINDS: usize = 32;
/// Channels of a unit of a gradient that is not gathered.
const UNIT_CHANNELS: usize = 128;

/// Forward: one result pixel after the other. `build` gets the map, an element of the window, and the place of the result
/// in a value laid out like it.
pub(super) fn forward(
    lowering: &mut Lowering<'_>,
    mut draft: KernelDraft,
    window: &Window,
    x: &View,
    sizes: &[usize],
    halo: f32,
    build: impl Fn(&mut MapBuilder, ExprId, &dyn Fn(&View) -> Address),
) {
    let axes = rows_and_columns(&forward_axes(window, sizes));
    let [rows, columns] = axes;
    let row_bytes = 4 * rows.step * columns.inputs * x.channels;
    let cover = Cover::exact(rows.outputs, (UNIT_BYTES / row_bytes).clamp(1, rows.outputs));
    let (n, block) = (draft.var(), draft.var());
    let (row, column) = (draft.var(), draft.var());
    let padded = Padded { axes, x: x.clone(), halo };
    let scratch = padded.scratch(lowering, &mut draft, cover.size.min(rows.outputs));
    let body = cover.branch(block, |first, count| {
        let (mut stmts, source) = padded.rows(&mut draft, n, (first, count), scratch.clone());
        let mut map = MapBuilder::new(Extent::Fixed(x.channels))
            .window(&[Extent::Fixed(rows.kernel_size), Extent::Fixed(columns.kernel_size)]);
        let from = source.address.plus(row, rows.step * source.row).plus(column, columns.step * source.pixel);
        let strides = [rows.dilation * source.row, columns.dilation * source.pixel];
        let element = map.load_window(from, 1, &strides);
        let place = |view: &View| {
            let result_row = Affine::from(row).plus_scaled(first, 1);
            view.of_item(n).at(&result_row, columns.outputs * view.pixel).plus(column, view.pixel)
        };
        build(&mut map, element, &place);
        stmts.extend(Stmt::nest(&[(row, count), (column, columns.outputs)], vec![map.finish()]));
        stmts
    });
    let split = Split::Axes(vec![(n, draft.batch().extent()), (block, Extent::Fixed(cover.blocks()))]);
    lowering.push(draft.finish(split, body));
}

/// Loads the current result's element of a value laid out like the results.
pub(super) type Loader<'l> = dyn Fn(&mut MapBuilder, DType, &View) -> ExprId + 'l;

/// What is made of the sum at each place.
pub(super) type Finish<'f> = dyn Fn(&mut MapBuilder, ExprId) -> ExprId + 'f;

/// Backward: the sum at each place of the input of the parts of the results whose windows hold it, in ascending order of
/// the results. `part` gets the map, the number of the place in the window, and a way to load the element of a value laid
/// out like the results.
pub(super) fn backward(
    lowering: &mut Lowering<'_>,
    draft: KernelDraft,
    window: &Window,
    dx: &View,
    sizes: &[usize],
    part: impl Fn(&mut MapBuilder, ExprId, &Loader<'_>) -> ExprId,
    finish: Option<&Finish<'_>>,
) {
    let mut axes = rows_and_columns(&forward_axes(window, sizes));
    if sizes.len() == 1 {
        // A sequence is a column, so that threads share it.
        axes.reverse();
    }
    let gradient = Gradient { axes, dx, part, finish };
    let kernel = match gradient.cells() {
        Some(cells) => gradient.gather(draft, cells),
        None => gradient.scatter(draft),
    };
    lowering.push(kernel);
}

/// What both ways of computing a gradient need.
struct Gradient<'g, P> {
    axes: [Axis; 2],
    dx: &'g View,
    part: P,
    finish: Option<&'g Finish<'g>>,
}

impl<P: Fn(&mut MapBuilder, ExprId, &Loader<'_>) -> ExprId> Gradient<'_, P> {
    /// The cells of both axes, where they are few and small enough for every sum to be written out.
    fn cells(&self) -> Option<[Vec<Cells>; 2]> {
        let [rows, columns] = self.axes;
        if rows.kernel_size * columns.kernel_size > WRITTEN_OUT
            || rows.step.saturating_mul(columns.step) > WRITTEN_OUT
        {
            return None;
        }
        let cells = self.axes.map(|axis| Cells::of(&axis));
        let terms = cells.each_ref().map(|cells| cells.iter().map(Cells::terms).sum::<usize>());
        let fits = cells[0].len() * cells[1].len() <= MOST_KINDS && terms[0] * terms[1] <= WRITTEN_OUT;
        fits.then_some(cells)
    }

    /// Every place is written once: one map for each kind of cell. A unit of work is a few rows of cells within the input;
    /// the first and the last unit have those at the ends too.
    fn gather(&self, mut draft: KernelDraft, [rows, columns]: [Vec<Cells>; 2]) -> Kernel {
        let (n, block) = (draft.var(), draft.var());
        let (row, column) = (draft.var(), draft.var());
        let longest = (0..rows.len()).max_by_key(|&kind| rows[kind].count).unwrap_or_default();
        let row_bytes = 4 * self.axes[0].step * self.axes[1].inputs * self.dx.channels;
        let count = rows[longest].count;
        let cover = Cover::exact(count, (GRADIENT_UNIT_BYTES / row_bytes).clamp(1, count));
        let some_rows = |cells: &Cells, first: &Affine, count: usize| {
            Cover::exact(count, 1).sequence(row, |r, _| {
                let r = r.clone().plus_scaled(first, 1).offset(cells.first);
                let mut stmts = Vec::new();
                for kind in &columns {
                    stmts.extend(Cover::exact(kind.count, 1).sequence(column, |c, _| {
                        let c = c.clone().offset(kind.first);
                        vec![self.cell(n, [&r, &c], [&cells.places, &kind.places])]
                    }));
                }
                stmts
            })
        };
        let ends = |kinds: &[Cells]| -> Vec<Stmt> {
            kinds.iter().flat_map(|cells| some_rows(cells, &Affine::default(), cells.count)).collect()
        };
        let (before, after) = (ends(&rows[..longest]), ends(&rows[longest + 1..]));
        let last = cover.blocks() as i64 - 1;
        let mut body = Vec::new();
        body.extend(if last == 0 { before } else { branch(block, 1, before, Vec::new()) });
        body.extend(cover.branch(block, |first, count| some_rows(&rows[longest], first, count)));
        body.extend(if last == 0 { after } else { branch(block, last, Vec::new(), after) });
        let split = Split::Axes(vec![(n, draft.batch().extent()), (block, Extent::Fixed(cover.blocks()))]);
        draft.finish(split, body)
    }

    /// The sums at all places of one cell.
    fn cell(&self, n: Var, [r, c]: [&Affine; 2], [row_places, column_places]: [&[Place]; 2]) -> Stmt {
        let [rows, columns] = self.axes;
        let mut map = MapBuilder::new(Extent::Fixed(self.dx.channels));
        let zero = map.constant(0.0);
        let loaded: RefCell<Vec<(Address, ExprId)>> = RefCell::default();
        for (row, column) in pairs(row_places, column_places) {
            // As a sum that starts at zero: a negative zero becomes a positive one.
            let mut sum = zero;
            for (down, across) in pairs(&row.meetings, &column.meetings) {
                let load = |map: &mut MapBuilder, dtype: DType, view: &View| {
                    let at = view
                        .of_item(n)
                        .at(&r.clone().minus(down.back), columns.outputs * view.pixel)
                        .at(&c.clone().minus(across.back), view.pixel);
                    // What places share is loaded once.
                    let known =
                        loaded.borrow().iter().find(|(known, _)| *known == at).map(|&(_, element)| element);
                    known.unwrap_or_else(|| {
                        debug_assert_eq!(view.element.dtype(), dtype);
                        let element = map.load_as(view.element, at.clone(), 1, &[]);
                        loaded.borrow_mut().push((at, element));
                        element
                    })
                };
                let here =
                    map.expr(Expr::Integer((down.position * columns.kernel_size + across.position) as i32));
                let part = (self.part)(&mut map, here, &load);
                sum = map.add(sum, part);
            }
            if let Some(finish) = self.finish {
                sum = finish(&mut map, sum);
            }
            let place = |index: &Affine, axis: Axis, place: &Place| {
                Affine::default().plus_scaled(index, axis.step).shifted(place.offset)
            };
            let to = self
                .dx
                .of_item(n)
                .at(&place(r, rows, row), columns.inputs * self.dx.pixel)
                .at(&place(c, columns, column), self.dx.pixel);
            map.store(to, 1, sum);
        }
        map.finish()
    }

    /// Each result's part is added to the places of its window: for windows that are too large to be written out.
    fn scatter(&self, mut draft: KernelDraft) -> Kernel {
        let [rows, columns] = self.axes;
        let cover = Cover::exact(self.dx.channels, UNIT_CHANNELS);
        let (n, block) = (draft.var(), draft.var());
        let (row, column) = (draft.var(), draft.var());
        let (kernel_row, kernel_column) = (draft.var(), draft.var());
        let body = cover.branch(block, |first, channels| {
            let at = |r: &Affine, c: &Affine| {
                let dx = self.dx.of_item(n).at(first, 1);
                dx.at(r, columns.inputs * self.dx.pixel).at(c, self.dx.pixel)
            };
            let everywhere = at(&row.into(), &column.into());
            let pixels = [(row, rows.inputs), (column, columns.inputs)];
            let mut stmts = Stmt::nest(&pixels, vec![fill(everywhere.clone(), channels, 0.0)]);
            let load = |map: &mut MapBuilder, dtype: DType, view: &View| {
                debug_assert_eq!(view.element.dtype(), dtype);
                let result = view.of_item(n).at(first, 1);
                map.load_as(
                    view.element,
                    result.plus(row, columns.outputs * view.pixel).plus(column, view.pixel),
                    1,
                    &[],
                )
            };
            let mut map = MapBuilder::new(Extent::Fixed(channels));
            let here = map.expr(Expr::Position(
                Affine::default().plus(kernel_row, columns.kernel_size).plus(kernel_column, 1),
            ));
            let part = (self.part)(&mut map, here, &load);
            let met = |axis: Axis, result: Var, position: Var| {
                Affine::default().plus(result, axis.step).plus(position, axis.dilation).shifted(axis.shift)
            };
            let (r, c) = (met(rows, row, kernel_row), met(columns, column, kernel_column));
            map.accumulate(at(&r, &c), 1, part);
            let within_row = Stmt::nest(
                &[(column, columns.outputs), (kernel_column, columns.kernel_size)],
                within(&columns, c, vec![map.finish()], Vec::new()),
            );
            stmts.extend(Stmt::nest(
                &[(row, rows.outputs), (kernel_row, rows.kernel_size)],
                within(&rows, r, within_row, Vec::new()),
            ));
            if let Some(finish) = self.finish {
                let mut map = MapBuilder::new(Extent::Fixed(channels));
                let sum = map.load(everywhere.clone(), 1);
                let value = finish(&mut map, sum);
                map.store(everywhere, 1, value);
                stmts.extend(Stmt::nest(&pixels, vec![map.finish()]));
            }
            stmts
        });
        let split = Split::Axes(vec![(n, draft.batch().extent()), (block, Extent::Fixed(cover.blocks()))]);
        draft.finish(split, body)
    }
}

/// `below` where a variable is below a bound, else `rest`; nothing where both are nothing.
fn branch(value: Var, bound: i64, below: Vec<Stmt>, rest: Vec<Stmt>) -> Vec<Stmt> {
    if below.is_empty() && rest.is_empty() {
        return Vec::new();
    }
    vec![Stmt::Branch { value: value.into(), bound, below, rest }]
}

/// Every element of the first list with every one of the second, the first outermost.
fn pairs<'l, T>(first: &'l [T], second: &'l [T]) -> impl Iterator<Item = (&'l T, &'l T)> {
    first.iter().flat_map(move |a| second.iter().map(move |b| (a, b)))
}
