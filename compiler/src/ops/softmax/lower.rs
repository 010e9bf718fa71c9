//! Kernels of softmax: the maximum, the exponentials, their sum, the quotient.

use super::{LEAST_EXPONENT, LogSoftmax, LogSoftmaxGrad, Softmax, SoftmaxGrad};
use crate::graph::Node;
use crate::kernel::{Address, Expr, ExprId, Extent, MapBuilder, Reducer, Split, Stmt, Var};
use crate::ops::elementwise::UnaryKind;
use crate::plan::{KernelDraft, Lower, Lowering, MemoryRules, Order, Size, View};

/// Softmax and similar operators on one item, in the result's layout: reductions over the channels, with one result per
/// pixel.
struct ItemChannels {
    channels: Size,
    pixels: usize,
    /// Whether vectors run along the channels of one pixel, because they are contiguous; else along the pixels of one
    /// channel.
    along_channels: bool,
    n: Var,
    outer: Var,
    items: Extent,
}

impl ItemChannels {
    fn new(result: &View, draft: &mut KernelDraft) -> Self {
        let along_channels = result.layout.is_channels_last() || result.pixels().known() == 1;
        let (n, outer) = (draft.var(), draft.var());
        let items = draft.batch().extent();
        ItemChannels {
            channels: result.extents[1],
            pixels: result.pixels().known(),
            along_channels,
            n,
            outer,
            items,
        }
    }

    /// The number of results that a reduction over the channels computes at once.
    fn places(&self) -> usize {
        if self.along_channels { 1 } else { self.pixels }
    }

    /// The stride of a reduction's results between lanes.
    fn place_lane(&self) -> usize {
        usize::from(!self.along_channels)
    }

    /// A reduction over the channels into `to`.
    fn reduce(
        &self,
        to: Address,
        operands: &[&View],
        reducer: impl Fn(&mut MapBuilder, &[ExprId]) -> Reducer,
    ) -> Stmt {
        let mut map = match self.along_channels {
            true => MapBuilder::new(self.channels.extent()),
            false => MapBuilder::new(Extent::Fixed(self.pixels)).window(&[self.channels.extent()]),
        };
        let loads: Vec<ExprId> = operands
            .iter()
            .map(|view| match self.along_channels {
                true => map.load(view.of_item(self.n).plus(self.outer, view.pixel()), 1),
                false => map.load_window(view.of_item(self.n), 1, &[view.channel().known()]),
            })
            .collect();
        let reducer = [reducer(&mut map, &loads)];
        let result = if self.along_channels { map.fold_lanes(&reducer) } else { map.fold_window(&reducer) };
        map.store(to, self.place_lane(), result[0]);
        map.finish()
    }

    /// Computes each element from the elements of some values and the results of some reductions.
    fn each(
        &self,
        to: &View,
        operands: &[&View],
        results: &[Address],
        build: impl Fn(&mut MapBuilder, &[ExprId], &[ExprId]) -> ExprId,
    ) -> Stmt {
        let row = |view: &View| {
            let distance = if self.along_channels { view.pixel() } else { view.channel().known() };
            view.of_item(self.n).plus(self.outer, distance)
        };
        let mut map = MapBuilder::new(
            if self.along_channels { self.channels } else { Size::fixed(self.pixels) }.extent(),
        );
        let elements: Vec<ExprId> = operands.iter().map(|view| map.load(row(view), 1)).collect();
        let numbers: Vec<ExprId> = results.iter().map(|at| map.load(at.clone(), self.place_lane())).collect();
        let value = build(&mut map, &elements, &numbers);
        map.store(row(to), 1, value);
        match self.along_channels {
            true => map.finish(),
            false => Stmt::repeat(self.outer, self.channels.extent(), vec![map.finish()]),
        }
    }

    fn split(&self) -> Split {
        let mut axes = vec![(self.n, self.items)];
        if self.along_channels {
            axes.push((self.outer, Extent::Fixed(self.pixels)));
        }
        Split::Axes(axes)
    }

    /// The note of the kernels.
    fn note(result: &View) -> &'static str {
        match result.layout.is_channels_last() {
            true => "each pixel on one thread",
            false => "each item on one thread",
        }
    }
}

/// `eˣ` of a number that is not above 0, or zero below [`LEAST_EXPONENT`].
fn exponential(map: &mut MapBuilder, x: ExprId) -> ExprId {
    let (least, zero) = (map.constant(LEAST_EXPONENT), map.constant(0.0));
    let is_zero = map.expr(Expr::Less(x, least));
    let x = map.expr(Expr::Select(is_zero, zero, x));
    let y = map.unary(UnaryKind::Exp, x);
    map.expr(Expr::Select(is_zero, zero, y))
}

fn forward(lowering: &mut Lowering<'_>, node: &Node, logarithm: bool) {
    let y = lowering.view(node.results[0]).clone();
    let x = lowering.in_layout(node, node.operands[0], &y.layout);
    let mut draft = lowering.draft(node, ItemChannels::note(&y));
    let item = ItemChannels::new(&y, &mut draft);
    let largest = Address::start(lowering.scratch("largest", item.places()));
    let sum = Address::start(lowering.scratch("sum", item.places()));
    let body = vec![
        item.reduce(largest.clone(), &[&x], |_, x| Reducer::Max(x[0])),
        item.each(&y, &[&x], &[largest], |map, x, largest| {
            let shifted = map.subtract(x[0], largest[0]);
            if logarithm { shifted } else { exponential(map, shifted) }
        }),
        item.reduce(sum.clone(), &[&y], |map, y| {
            Reducer::Sum(if logarithm { map.unary(UnaryKind::Exp, y[0]) } else { y[0] })
        }),
        item.each(&y, &[&y], &[sum], |map, y, sum| {
            if logarithm {
                let logarithm = map.unary(UnaryKind::Log, sum[0]);
                map.subtract(y[0], logarithm)
            } else {
                map.divide(y[0], sum[0])
            }
        }),
    ];
    lowering.push(draft.finish(item.split(), body));
}

impl Lower for Softmax {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        forward(lowering, node, false);
    }
}

impl Lower for LogSoftmax {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        forward(lowering, node, true);
    }
}

fn backward(lowering: &mut Lowering<'_>, node: &Node, logarithm: bool) {
    let dx = lowering.view(node.results[0]).clone();
    let operands = [0, 1].map(|operand| lowering.in_layout(node, node.operands[operand], &dx.layout));
    let operands = operands.each_ref();
    let mut draft = lowering.draft(node, ItemChannels::note(&dx));
    let item = ItemChannels::new(&dx, &mut draft);
    let sum = Address::start(lowering.scratch("sum", item.places()));
    let body = vec![
        item.reduce(sum.clone(), &operands, |map, gy| {
            Reducer::Sum(if logarithm { gy[0] } else { map.multiply(gy[0], gy[1]) })
        }),
        item.each(&dx, &operands, &[sum], |map, gy, sum| {
            if logarithm {
                let softmax = map.unary(UnaryKind::Exp, gy[1]);
                let part = map.multiply(softmax, sum[0]);
                map.subtract(gy[0], part)
            } else {
                let centred = map.subtract(gy[0], sum[0]);
                map.multiply(gy[1], centred)
            }
        }),
    ];
    lowering.push(draft.finish(item.split(), body));
}

impl Lower for SoftmaxGrad {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        backward(lowering, node, false);
    }
}

impl Lower for LogSoftmaxGrad {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        backward(lowering, node, true);
    }
}
