//! Gradients of pooling along an axis of open size, channels last: each position gathers from the outputs, which have a
//! halo of zeros, so that the same outputs exist for every position.

use super::channels_last::{Finish, Loader, UNROLLED};
use crate::graph::Node;
use crate::kernel::{Address, Expr, ExprId, Extent, MapBuilder, Split, Stmt};
use crate::ops::grid::Grid;
use crate::ops::halo::{Padded, Source};
use crate::ops::window_walk::{Axis, OpenAxis};
use crate::plan::{Lowering, Size, View, fill};
use crate::shape::DType;

/// At each input position, the sum of the contributions of the outputs whose windows contain it, in ascending order of
/// the outputs. `axis` is that of the pool; `part` and `finish` are those of `channels_last::backward`. The outputs in
/// the halo add zeros: `operands` has the values that `part` loads, of which the first is the gradient.
pub(super) fn backward(
    lowering: &mut Lowering<'_>,
    node: &Node,
    (axis, open): (Axis, OpenAxis),
    dx: &View,
    operands: &[&View],
    part: &dyn Fn(&mut MapBuilder, ExprId, &Loader<'_>) -> ExprId,
    finish: Option<&Finish<'_>>,
) {
    let reach = (axis.kernel_size - 1) * axis.dilation;
    let gathered = Axis {
        inputs: axis.outputs,
        outputs: axis.inputs,
        shift: -axis.shift - reach as i64,
        open: Some(OpenAxis { inputs: open.outputs, outputs: open.inputs }),
        ..axis
    };
    let grid = Grid::new(&[gathered]);
    let sources: Vec<(&View, Source, Size)> = operands
        .iter()
        .map(|&view| {
            let padded = Padded { grid: grid.clone(), x: view.clone(), halo: 0.0 };
            let (source, item) = padded.sequence(lowering, node);
            (view, source, item)
        })
        .collect();
    let mut draft = lowering.draft(node, "pixel by pixel, vectors along the channels");
    let (n, pixel, place) = (draft.var(), draft.var(), draft.var());
    // The first output that reads a position reads it at the last kernel position.
    let load = |map: &mut MapBuilder, dtype: DType, view: &View, at: &dyn Fn(Address, usize) -> Address| {
        let known = sources.iter().find(|(own, ..)| own.address == view.address);
        let (_, source, item) = known.expect("every loaded value is an operand");
        let first = source.address.clone().plus_size(n, *item).plus(pixel, source.pixel());
        debug_assert_eq!(view.element.dtype(), dtype);
        map.load_as(view.element, at(first, axis.dilation * source.pixel()), 1, &[])
    };
    let to = dx.of_item(n).plus(pixel, dx.pixel());
    let channels = Extent::Fixed(dx.channels());
    let mut map = MapBuilder::new(channels);
    let body = if axis.kernel_size <= UNROLLED {
        // The sum starts at zero, so that a negative zero becomes positive.
        let mut sum = map.constant(0.0);
        for index in 0..axis.kernel_size {
            let here = map.expr(Expr::Integer((axis.kernel_size - 1 - index) as i32));
            let part = part(&mut map, here, &|map, dtype, view| {
                load(map, dtype, view, &|first, distance| first.offset(index * distance))
            });
            sum = map.add(sum, part);
        }
        let value = finish.map_or(sum, |finish| finish(&mut map, sum));
        map.store(to, 1, value);
        vec![map.finish()]
    } else {
        let last = crate::kernel::Affine::constant(axis.kernel_size - 1);
        let here = map.expr(Expr::Position(last.minus_var(place, 1)));
        let part = part(&mut map, here, &|map, dtype, view| {
            load(map, dtype, view, &|first, distance| first.plus(place, distance))
        });
        map.accumulate(to.clone(), 1, part);
        let positions = Stmt::repeat(place, Extent::Fixed(axis.kernel_size), vec![map.finish()]);
        let mut body = vec![fill(to.clone(), dx.channels(), 0.0), positions];
        body.extend(finish.map(|finish| {
            let mut map = MapBuilder::new(channels);
            let sum = map.load(to.clone(), 1);
            let value = finish(&mut map, sum);
            map.store(to, 1, value);
            map.finish()
        }));
        body
    };
    let split = Split::Axes(vec![(n, lowering.batch().extent()), (pixel, open.inputs.extent())]);
    lowering.push(draft.finish(split, body));
}
