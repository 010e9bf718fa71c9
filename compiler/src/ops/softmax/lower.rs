//! Kernels of softmax: the largest value, the exponentials, their sum, the quotient.

use super::{LogSoftmax, LogSoftmaxGrad, Softmax, SoftmaxGrad};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::kernel::{Address, ExprId, Extent, MapBuilder, Reducer, Split, Stmt, Var};
use crate::ops::elementwise::UnaryKind;
use crate::plan::{AxisView, KernelDraft, Lower, Lowering};

/// Softmax-like work on one item: reductions over the channels, one result for each place within a channel.
struct ItemChannels {
    view: AxisView,
    n: Var,
    c: Var,
}

impl ItemChannels {
    fn new(lowering: &Lowering<'_>, value: ValueId, draft: &mut KernelDraft) -> Self {
        let view = AxisView::new(&lowering.ty(value).shape, 1);
        ItemChannels { view, n: draft.var(), c: draft.var() }
    }

    /// How many results a reduction over the channels has.
    fn places(&self) -> usize {
        self.view.inner
    }

    fn item(&self, at: Address) -> Address {
        at.plus(self.n, self.view.size * self.view.inner)
    }

    /// A reduction over the channels into `to`.
    fn reduce(
        &self,
        to: Address,
        operands: &[Address],
        reducer: impl Fn(&mut MapBuilder, &[ExprId]) -> Reducer,
    ) -> Stmt {
        let inner = self.view.inner;
        let single = inner == 1;
        let mut map = MapBuilder::new(Extent::Fixed(if single { self.view.size } else { inner }));
        if !single {
            map = map.window(&[Extent::Fixed(self.view.size)]);
        }
        let window = [inner];
        let loads: Vec<ExprId> = operands
            .iter()
            .map(|at| map.load_window(self.item(at.clone()), 1, if single { &[] } else { &window }))
            .collect();
        let reducer = [reducer(&mut map, &loads)];
        let result = if single { map.fold_lanes(&reducer) } else { map.fold_window(&reducer) };
        map.store(to, usize::from(!single), result[0]);
        map.finish()
    }

    /// Each element from the elements of some values and from the results of some reductions.
    fn each(
        &self,
        to: Address,
        operands: &[Address],
        results: &[Address],
        build: impl Fn(&mut MapBuilder, &[ExprId], &[ExprId]) -> ExprId,
    ) -> Stmt {
        let single = self.view.inner == 1;
        let row = |at: &Address| {
            let at = self.item(at.clone());
            if single { at } else { at.plus(self.c, self.view.inner) }
        };
        let lanes = if single { self.view.size } else { self.view.inner };
        let mut map = MapBuilder::new(Extent::Fixed(lanes));
        let elements: Vec<ExprId> = operands.iter().map(|at| map.load(row(at), 1)).collect();
        let numbers: Vec<ExprId> =
            results.iter().map(|at| map.load(at.clone(), usize::from(!single))).collect();
        let value = build(&mut map, &elements, &numbers);
        map.store(row(&to), 1, value);
        let stmt = map.finish();
        if single { stmt } else { Stmt::repeat(self.c, Extent::Fixed(self.view.size), vec![stmt]) }
    }

    fn split(&self) -> Split {
        Split::Axes(vec![(self.n, Extent::Batch(1))])
    }
}

fn forward(lowering: &mut Lowering<'_>, node: &Node, logarithm: bool) {
    let mut draft = lowering.draft(node, "each item on one thread");
    let item = ItemChannels::new(lowering, node.results[0], &mut draft);
    let largest = Address::start(lowering.scratch("largest", item.places()));
    let sum = Address::start(lowering.scratch("sum", item.places()));
    let (x, y) = (lowering.address(node.operands[0]), lowering.address(node.results[0]));
    let body = vec![
        item.reduce(largest.clone(), std::slice::from_ref(&x), |_, x| Reducer::Max(x[0])),
        item.each(y.clone(), &[x], std::slice::from_ref(&largest), |map, x, largest| {
            let shifted = map.subtract(x[0], largest[0]);
            if logarithm { shifted } else { map.unary(UnaryKind::Exp, shifted) }
        }),
        item.reduce(sum.clone(), std::slice::from_ref(&y), |map, y| {
            Reducer::Sum(if logarithm { map.unary(UnaryKind::Exp, y[0]) } else { y[0] })
        }),
        item.each(y.clone(), &[y], &[sum], |map, y, sum| {
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
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        forward(lowering, node, false);
    }
}

impl Lower for LogSoftmax {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        forward(lowering, node, true);
    }
}

fn backward(lowering: &mut Lowering<'_>, node: &Node, logarithm: bool) {
    let mut draft = lowering.draft(node, "each item on one thread");
    let item = ItemChannels::new(lowering, node.results[0], &mut draft);
    let sum = Address::start(lowering.scratch("sum", item.places()));
    let operands = [lowering.address(node.operands[0]), lowering.address(node.operands[1])];
    let body = vec![
        item.reduce(sum.clone(), &operands, |map, gy| {
            Reducer::Sum(if logarithm { gy[0] } else { map.multiply(gy[0], gy[1]) })
        }),
        item.each(lowering.address(node.results[0]), &operands, &[sum], |map, gy, sum| {
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
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        backward(lowering, node, false);
    }
}

impl Lower for LogSoftmaxGrad {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        backward(lowering, node, true);
    }
}
