//! Pooling of images with their channels last: vectors hold the channels of one pixel.

use std::cell::RefCell;

use crate::kernel::{Address, Affine, Expr, ExprId, Extent, MapBuilder, Split, Stmt, Var};
use crate::ops::bordered::{Axis, Bordered, forward_axes};
use crate::ops::window::Window;
use crate::plan::{Cover, KernelDraft, Lowering, View, copy_span, fill};
use crate::shape::DType;

/// Bytes of the input rows that a unit of work reads.
const UNIT_BYTES: usize = 64 * 1024;
/// A window of so many places or fewer is written out.
const WRITTEN_OUT: usize = 16;
/// Channels of a unit of a gradient.
const UNIT_CHANNELS: usize = 128;

/// Forward: one result pixel after the other. `build` gets the map, an element of the window, and the place of the result
/// in a value laid out like it.
pub(super) fn forward(
    lowering: &mut Lowering<'_>,
    mut draft: KernelDraft,
    window: &Window,
    x: &View,
    sizes: &[usize],
    border: f32,
    build: impl Fn(&mut MapBuilder, ExprId, &dyn Fn(&View) -> Address),
) {
    let axes = forward_axes(window, sizes);
    let [rows, columns] = axes;
    let row_bytes = 4 * rows.step * columns.inputs * x.channels;
    let cover = Cover::exact(rows.outputs, (UNIT_BYTES / row_bytes).clamp(1, rows.outputs));
    let (n, block) = (draft.var(), draft.var());
    let (row, column) = (draft.var(), draft.var());
    let bordered = Bordered { axes, x: x.clone(), border };
    let panel = bordered.scratch(lowering, &mut draft, cover.size.min(rows.outputs));
    let body = cover.branch(block, |first, count| {
        let (mut stmts, source) = bordered.rows(&mut draft, n, (first, count), panel.clone());
        let mut map = MapBuilder::new(Extent::Fixed(x.channels))
            .window(&[Extent::Fixed(rows.taps), Extent::Fixed(columns.taps)]);
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
    let split = Split::Axes(vec![(n, Extent::Batch(1)), (block, Extent::Fixed(cover.blocks()))]);
    lowering.push(draft.finish(split, body));
}

/// Loads the current result's element of a value laid out like the results.
pub(super) type Loader<'l> = dyn Fn(&mut MapBuilder, DType, &View) -> ExprId + 'l;

/// What is made of the sum at each place.
pub(super) type Finish<'f> = dyn Fn(&mut MapBuilder, ExprId) -> ExprId + 'f;

/// Backward: each result's part is added to the places of its window. `part` gets the map, the number of the place, and a
/// way to load the element of a value laid out like the results.
pub(super) fn backward(
    lowering: &mut Lowering<'_>,
    mut draft: KernelDraft,
    window: &Window,
    dx: &View,
    sizes: &[usize],
    part: impl Fn(&mut MapBuilder, ExprId, &Loader<'_>) -> ExprId,
    finish: Option<&Finish<'_>>,
) {
    let axes = forward_axes(window, sizes);
    let [rows, columns] = axes;
    let cover = Cover::exact(dx.channels, UNIT_CHANNELS);
    let (n, block) = (draft.var(), draft.var());
    let (row, column) = (draft.var(), draft.var());
    let (row_tap, column_tap) = (draft.var(), draft.var());
    let (r, c) = (draft.var(), draft.var());
    let is_padded = axes.iter().any(Axis::leaves_input);
    // The sums of all places that windows meet, within the input and around it.
    let extent = |axis: Axis| match is_padded {
        true => axis.reach(axis.outputs).max((axis.inputs as i64 - axis.shift) as usize),
        false => axis.inputs,
    };
    let (height, width) = (extent(rows), extent(columns));
    let scratch = is_padded
        .then(|| Address::start(lowering.scratch("sums", height * width * UNIT_CHANNELS.min(dx.channels))));
    let body = cover.branch(block, |first, channels| {
        let plain = dx.of_item(n).at(first, 1);
        let (to, pixel) = match &scratch {
            Some(scratch) => (scratch.clone(), channels),
            None => (plain.clone(), dx.pixel),
        };
        let pixels = Stmt::nest(
            &[(r, height), (c, width)],
            vec![fill(to.clone().plus(r, width * pixel).plus(c, pixel), channels, 0.0)],
        );
        let mut stmts = pixels;
        let mut map = MapBuilder::new(Extent::Fixed(channels));
        let loaded: RefCell<Vec<(Address, ExprId)>> = RefCell::default();
        let load = |map: &mut MapBuilder, dtype: DType, view: &View| {
            let at =
                view.of_item(n).at(first, 1).plus(row, columns.outputs * view.pixel).plus(column, view.pixel);
            let known = loaded.borrow().iter().find(|(known, _)| *known == at).map(|&(_, element)| element);
            known.unwrap_or_else(|| {
                debug_assert_eq!(view.element.dtype(), dtype);
                let element = map.load_as(view.element, at.clone(), 1, &[]);
                loaded.borrow_mut().push((at, element));
                element
            })
        };
        let at = to.clone().plus(row, rows.step * width * pixel).plus(column, columns.step * pixel);
        let (row_distance, column_distance) = (rows.dilation * width * pixel, columns.dilation * pixel);
        let mut loops = vec![(row, rows.outputs), (column, columns.outputs)];
        if rows.taps * columns.taps <= WRITTEN_OUT {
            // One span for all places of a window: what they share is loaded once.
            for tap in 0..rows.taps * columns.taps {
                let here = map.expr(Expr::Integer(tap as i32));
                let value = part(&mut map, here, &load);
                let (down, across) = (tap / columns.taps, tap % columns.taps);
                let at = at.clone().offset(down * row_distance + across * column_distance);
                map.accumulate(at, 1, value);
            }
        } else {
            let place = Affine::default().plus(row_tap, columns.taps).plus(column_tap, 1);
            let here = map.expr(Expr::Position(place));
            let value = part(&mut map, here, &load);
            let at = at.plus(row_tap, row_distance).plus(column_tap, column_distance);
            map.accumulate(at, 1, value);
            loops.extend([(row_tap, rows.taps), (column_tap, columns.taps)]);
        }
        stmts.extend(Stmt::nest(&loops, vec![map.finish()]));
        let pixel_loops = [(r, rows.inputs), (c, columns.inputs)];
        let plain_at = |address: Address| at_pixel(address, (r, c), columns.inputs * dx.pixel, dx.pixel);
        if scratch.is_some() {
            let skipped = (-rows.shift) as usize * width + (-columns.shift) as usize;
            let from = at_pixel(to.offset(skipped * pixel), (r, c), width * pixel, pixel);
            stmts.extend(Stmt::nest(
                &pixel_loops,
                vec![copy_span(from, 1, plain_at(plain.clone()), channels)],
            ));
        }
        if let Some(finish) = finish {
            let mut map = MapBuilder::new(Extent::Fixed(channels));
            let sum = map.load(plain_at(plain.clone()), 1);
            let value = finish(&mut map, sum);
            map.store(plain_at(plain), 1, value);
            stmts.extend(Stmt::nest(&pixel_loops, vec![map.finish()]));
        }
        stmts
    });
    let split = Split::Axes(vec![(n, Extent::Batch(1)), (block, Extent::Fixed(cover.blocks()))]);
    lowering.push(draft.finish(split, body));
}

fn at_pixel(address: Address, (r, c): (Var, Var), row: usize, pixel: usize) -> Address {
    address.plus(r, row).plus(c, pixel)
}
