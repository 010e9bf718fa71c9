//! Depthwise convolution and its gradients on images with their channels last: every channel meets weights of its own, so
//! vectors run along the channels and there is no product to block.

use super::ConvGradWeight;
use super::correlation::Packing;
use super::direct::Direct;
use crate::graph::Node;
use crate::kernel::{Address, Affine, BufferId, ExprId, Extent, MapBuilder, Reducer, Split, Stmt};
use crate::ops::bordered::{Axis, Bordered, forward_axes};
use crate::ops::epilogue::EpilogueStep;
use crate::plan::{Cover, KernelDraft, Layout, Lowering, Size, View, copy_span, fill};

/// Bytes of the input rows that a unit of work meets.
const UNIT_BYTES: usize = 64 * 1024;
/// Channels of a unit of the gradient to the weight.
const UNIT_CHANNELS: usize = 64;

impl Packing<'_> {
    /// Adds the kernel that packs weights of one input and output a group: `[tap][group]`.
    pub(super) fn by_tap(&self, lowering: &mut Lowering<'_>, node: &Node) -> BufferId {
        let [rows, columns] = self.taps;
        let elements = rows.1 * columns.1 * self.groups;
        let buffer = lowering.temporary(self.name, Size::fixed(elements));
        let mut draft = lowering.draft(node, "channels of a tap side by side").part("pack");
        let (row, column) = (draft.var(), draft.var());
        let mut from = Address::start(lowering.address(self.weight).buffer);
        from.offset = self.tap(self.tap(from.offset, row, rows, self.row), column, columns, 1);
        let to = Address::start(buffer).plus(row, columns.1 * self.groups).plus(column, self.groups);
        let body = copy_span(from, self.group_stride, to, self.groups);
        let axes = vec![(row, Extent::Fixed(rows.1)), (column, Extent::Fixed(columns.1))];
        lowering.push_derived(self.weight, draft.finish(Split::Axes(axes), vec![body]));
        buffer
    }
}

impl Direct<'_> {
    /// Whether every channel is a group, and channels lie side by side.
    pub(super) fn is_depthwise(&self) -> bool {
        let alone = self.groups > 1 && self.inputs == 1 && self.outputs == 1;
        alone && self.x.layout == Layout::ChannelsLast
    }

    /// Adds the kernel; the weights are packed by tap.
    pub(super) fn depthwise(&self, lowering: &mut Lowering<'_>, mut draft: KernelDraft, weights: BufferId) {
        let [rows, columns] = self.axes;
        let row_bytes = 4 * rows.step * columns.inputs * self.groups;
        let cover = Cover::exact(rows.outputs, (UNIT_BYTES / row_bytes).clamp(1, rows.outputs));
        let (n, block, row, column) = (draft.var(), draft.var(), draft.var(), draft.var());
        let bordered = Bordered { axes: self.axes, x: self.x.clone(), border: 0.0 };
        let panel = bordered.scratch(lowering, &mut draft, cover.size);
        let body = cover.branch(block, |first, count| {
            let (mut stmts, source) = bordered.rows(&mut draft, n, (first, count), panel.clone());
            let mut map = MapBuilder::new(Extent::Fixed(self.groups))
                .window(&[Extent::Fixed(rows.taps), Extent::Fixed(columns.taps)]);
            let from = source
                .address
                .clone()
                .plus(row, rows.step * source.row)
                .plus(column, columns.step * source.pixel);
            let strides = [rows.dilation * source.row, columns.dilation * source.pixel];
            let element = map.load_window(from, 1, &strides);
            let tap = [columns.taps * self.groups, self.groups];
            let weight = map.load_window(Address::start(weights), 1, &tap);
            let product = map.multiply(element, weight);
            let sum = map.fold_window(&[Reducer::Sum(product)])[0];
            let result_row = Affine::from(row).plus_scaled(first, 1);
            let place =
                |address: Address, row: usize, pixel: usize| address.at(&result_row, row).plus(column, pixel);
            let value = self.finish(&mut map, sum, &|view: &View| {
                place(view.of_item(n), columns.outputs * view.pixel, view.pixel)
            });
            let to = place(self.y.address.clone().plus(n, self.y.item), self.y.row, self.y.pixel);
            map.store(to, 1, value);
            stmts.extend(Stmt::nest(&[(row, count), (column, columns.outputs)], vec![map.finish()]));
            stmts
        });
        let axes = vec![(n, lowering.batch().extent()), (block, Extent::Fixed(cover.blocks()))];
        lowering.push(draft.finish(Split::Axes(axes), body));
    }

    /// The epilogue of one pixel's results.
    fn finish(&self, map: &mut MapBuilder, sum: ExprId, place: &dyn Fn(&View) -> Address) -> ExprId {
        let mut taken = self.operands.iter();
        self.epilogue.iter().fold(sum, |value, step| match (step, step.unary()) {
            (_, Some(kind)) => map.unary(kind, value),
            _ => taken.next().map_or(value, |view| {
                let at = if *step == EpilogueStep::Bias { view.address.clone() } else { place(view) };
                let other = map.load(at, 1);
                map.add(value, other)
            }),
        })
    }
}

/// Whether the gradient to the weight is one of a depthwise convolution on images with their channels last.
pub(super) fn is_weight_gradient(op: &ConvGradWeight, lowering: &Lowering<'_>, node: &Node) -> bool {
    let channels = |index: usize| lowering.item(node.operands[index])[0];
    op.groups > 1
        && channels(0) == op.groups
        && channels(1) == op.groups
        && lowering.preferred_layout(node.operands[1]) == Layout::ChannelsLast
}

/// Adds the kernels of the gradient to the weight.
pub(super) fn weight_gradient(op: &ConvGradWeight, lowering: &mut Lowering<'_>, node: &Node) {
    let [g, x] = [0, 1].map(|index| lowering.in_layout(node, node.operands[index], Layout::ChannelsLast));
    let sizes = lowering.item(node.operands[1]);
    let axes = forward_axes(&op.window, &sizes[1..]);
    let [rows, columns] = axes;
    let padded = bordered_input(lowering, node, &axes, &x);
    let taps = rows.taps * columns.taps;
    let mut draft = lowering.draft(node, "sums over pixels, vectors along the channels");
    let (row_tap, column_tap, block) = (draft.var(), draft.var(), draft.var());
    let weight = lowering.address(node.results[0]);
    let cover = Cover::exact(op.groups, UNIT_CHANNELS);
    let sums = lowering.temporary("sums", Size::fixed(taps * op.groups));
    let body = cover.branch(block, |first, channels| {
        let extents =
            [lowering.batch().extent(), Extent::Fixed(rows.outputs), Extent::Fixed(columns.outputs)];
        let mut map = MapBuilder::new(Extent::Fixed(channels)).window(&extents);
        let (from, item, row, pixel) = padded.clone();
        let from =
            from.at(first, 1).plus(row_tap, rows.dilation * row).plus(column_tap, columns.dilation * pixel);
        let element = map.load_window(from, 1, &[item, rows.step * row, columns.step * pixel]);
        let strides = [g.item, columns.outputs * g.pixel, g.pixel];
        let gradient = map.load_window(g.address.clone().at(first, 1), 1, &strides);
        let product = map.multiply(element, gradient);
        let sum = map.fold_window(&[Reducer::Sum(product)])[0];
        let to = Address::start(sums)
            .at(first, 1)
            .plus(row_tap, columns.taps * op.groups)
            .plus(column_tap, op.groups);
        map.store(to, 1, sum);
        vec![map.finish()]
    });
    let axes = vec![
        (row_tap, Extent::Fixed(rows.taps)),
        (column_tap, Extent::Fixed(columns.taps)),
        (block, Extent::Fixed(cover.blocks())),
    ];
    lowering.push(draft.finish(Split::Axes(axes), body));
    let mut unpack = lowering.draft(node, "sums in the order of the weight").part("unpack");
    let channel = unpack.var();
    let copy = copy_span(Address::start(sums).plus(channel, 1), op.groups, weight.plus(channel, taps), taps);
    lowering.push(unpack.finish(Split::Axes(vec![(channel, Extent::Fixed(op.groups))]), vec![copy]));
}

/// The whole input, with a border if windows leave it: the first element that the first result and tap meet, and the
/// distances between items, rows and pixels.
fn bordered_input(
    lowering: &mut Lowering<'_>,
    node: &Node,
    axes: &[Axis; 2],
    x: &View,
) -> (Address, usize, usize, usize) {
    let [rows, columns] = *axes;
    if !axes.iter().any(Axis::leaves_input) {
        let row = columns.inputs * x.pixel;
        let first = rows.shift as usize * row + columns.shift as usize * x.pixel;
        return (x.address.clone().offset(first), x.item, row, x.pixel);
    }
    let [height, width] = axes.map(|axis| axis.reach(axis.outputs));
    let (pixel, row) = (x.channels, width * x.channels);
    let elements = height * row;
    let to = Address::start(lowering.temporary("padded", lowering.batch().size(elements)));
    let mut draft = lowering.draft(node, "with a border").part("pad");
    let (n, r) = (draft.var(), draft.var());
    let skipped = (-columns.shift).max(0) as usize;
    let start = columns.shift.max(0) as usize;
    let count = width.saturating_sub(skipped).min(columns.inputs.saturating_sub(start));
    let own = to.clone().plus(n, elements).plus(r, row);
    let input_row = Affine::from(r).shifted(rows.shift);
    let c = draft.var();
    let from = x.of_item(n).at(&input_row, columns.inputs * x.pixel).offset(start * x.pixel).plus(c, x.pixel);
    let copy = copy_span(from, 1, own.clone().offset(skipped * pixel).plus(c, pixel), x.channels);
    let inside = vec![Stmt::repeat(c, Extent::Fixed(count), vec![copy])];
    let mut body = vec![fill(own, row, 0.0)];
    body.extend(crate::ops::bordered::within(&rows, input_row, inside, Vec::new()));
    let split = Split::Axes(vec![(n, lowering.batch().extent()), (r, Extent::Fixed(height))]);
    lowering.push(draft.finish(split, body));
    (to, elements, row, pixel)
}
