//! Kernels of the losses: one value per item, then their mean.

use super::{CrossEntropy, CrossEntropyGrad, MeanSquaredError, MeanSquaredErrorGrad, OneHot};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::kernel::{Address, Affine, Expr, ExprId, Extent, MapBuilder, Reducer, Split, Stmt, Var};
use crate::ops::elementwise::UnaryKind;
use crate::plan::{Batch, Lower, Lowering, MemoryRules, Order, View};
use crate::shape::DType;

/// Computes the largest logit of item `n`, and the sum of the exponentials of the differences from it, into scratch.
fn normaliser(logits: &Address, classes: usize, largest: &Address, sum: &Address, n: Var) -> Vec<Stmt> {
    let row = logits.clone().plus(n, classes);
    let mut max = MapBuilder::new(Extent::Fixed(classes));
    let x = max.load(row.clone(), 1);
    let result = max.fold_lanes(&[Reducer::Max(x)])[0];
    max.store(largest.clone(), 0, result);
    let mut exponentials = MapBuilder::new(Extent::Fixed(classes));
    let x = exponentials.load(row, 1);
    let top = exponentials.load(largest.clone(), 0);
    let shifted = exponentials.subtract(x, top);
    let power = exponentials.unary(UnaryKind::Exp, shifted);
    let result = exponentials.fold_lanes(&[Reducer::Sum(power)])[0];
    exponentials.store(sum.clone(), 0, result);
    vec![max.finish(), exponentials.finish()]
}

/// The kernel that averages one value per item.
fn mean(lowering: &mut Lowering<'_>, node: &Node, items: Address, divisor: f64, to: ValueId) {
    let draft = lowering.draft(node, "one thread").part("mean");
    let batch = lowering.batch();
    let mut map = MapBuilder::new(lowering.batch().extent());
    let x = map.load(items, 1);
    let sum = map.fold_lanes(&[Reducer::Sum(x)])[0];
    let batch = map.expr(Expr::Size(batch.size, batch.times));
    let divisor = map.constant(divisor);
    let count = map.multiply(batch, divisor);
    let mean = map.divide(sum, count);
    map.store(lowering.address(to), 0, mean);
    lowering.push(draft.finish(Split::Serial, vec![map.finish()]));
}

impl Lower for CrossEntropy {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let (logits, labels) = (lowering.address(node.operands[0]), lowering.address(node.operands[1]));
        let classes = lowering.item(node.operands[0])[0];
        let mut draft = lowering.draft(node, "each item on one thread");
        let n = draft.var();
        let largest = Address::start(lowering.scratch("largest", 1));
        let sum = Address::start(lowering.scratch("sum", 1));
        let items = Address::start(lowering.temporary("losses", lowering.batch().size(1)));
        let mut body = normaliser(&logits, classes, &largest, &sum, n);
        let mut map = MapBuilder::new(Extent::Fixed(classes));
        let x = map.load(logits.plus(n, classes), 1);
        let label = map.load_as(DType::I32, labels.plus(n, 1), 0, &[]);
        let index = map.expr(Expr::Index { base: Affine::default(), lane: 1 });
        let chosen = map.expr(Expr::SameInteger(index, label));
        let zero = map.constant(0.0);
        let value = map.expr(Expr::Select(chosen, x, zero));
        let truth = map.fold_lanes(&[Reducer::Sum(value)])[0];
        let top = map.load(largest, 0);
        let total = map.load(sum, 0);
        let logarithm = map.unary(UnaryKind::Log, total);
        let rest = map.subtract(top, truth);
        let loss = map.add(logarithm, rest);
        map.store(items.clone().plus(n, 1), 0, loss);
        body.push(map.finish());
        lowering.push(draft.finish(Split::Axes(vec![(n, lowering.batch().extent())]), body));
        mean(lowering, node, items, 1.0, node.results[0]);
    }
}

impl Lower for OneHot {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let labels = lowering.address(node.operands[0]);
        let mut draft = lowering.draft(node, "each item on one thread");
        let n = draft.var();
        let mut map = MapBuilder::new(Extent::Fixed(self.classes));
        let label = map.load_as(DType::I32, labels.plus(n, 1), 0, &[]);
        let index = map.expr(Expr::Index { base: Affine::default(), lane: 1 });
        let chosen = map.expr(Expr::SameInteger(index, label));
        let (zero, one) = (map.constant(0.0), map.constant(1.0));
        let value = map.expr(Expr::Select(chosen, one, zero));
        map.store(lowering.address(node.results[0]).plus(n, self.classes), 1, value);
        let split = Split::Axes(vec![(n, lowering.batch().extent())]);
        lowering.push(draft.finish(split, vec![map.finish()]));
    }
}

impl Lower for CrossEntropyGrad {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let batch = lowering.batch();
        let [g, logits, labels] = [0, 1, 2].map(|index| lowering.address(node.operands[index]));
        let classes = lowering.item(node.operands[1])[0];
        let mut draft = lowering.draft(node, "each item on one thread");
        let n = draft.var();
        let largest = Address::start(lowering.scratch("largest", 1));
        let sum = Address::start(lowering.scratch("sum", 1));
        let mut body = normaliser(&logits, classes, &largest, &sum, n);
        let mut map = MapBuilder::new(Extent::Fixed(classes));
        let x = map.load(logits.plus(n, classes), 1);
        let label = map.load_as(DType::I32, labels.plus(n, 1), 0, &[]);
        let (top, total, gradient) = (map.load(largest, 0), map.load(sum, 0), map.load(g, 0));
        let shifted = map.subtract(x, top);
        let power = map.unary(UnaryKind::Exp, shifted);
        let softmax = map.divide(power, total);
        let index = map.expr(Expr::Index { base: Affine::default(), lane: 1 });
        let chosen = map.expr(Expr::SameInteger(index, label));
        let (zero, one) = (map.constant(0.0), map.constant(1.0));
        let truth = map.expr(Expr::Select(chosen, one, zero));
        let difference = map.subtract(softmax, truth);
        let batch = map.expr(Expr::Size(batch.size, batch.times));
        let share = map.divide(gradient, batch);
        let value = map.multiply(difference, share);
        map.store(lowering.address(node.results[0]).plus(n, classes), 1, value);
        body.push(map.finish());
        lowering.push(draft.finish(Split::Axes(vec![(n, lowering.batch().extent())]), body));
    }
}

/// The iteration order over prediction and target in any layout: lanes run along the axis that is contiguous in the
/// first of some values, channels or pixels.
struct Walk {
    along_channels: bool,
    lanes: usize,
    outer: usize,
}

impl Walk {
    /// The iteration along the first of some values; `None` if all have their elements in the order of the shape.
    fn over(views: &[&View]) -> Option<Self> {
        if views.iter().all(|view| view.is_plain()) {
            return None;
        }
        let first = views[0];
        let along_channels = first.layout.is_channels_last();
        let (lanes, outer) = if along_channels {
            (first.channels(), first.pixels().known())
        } else {
            (first.pixels().known(), first.channels())
        };
        Some(Walk { along_channels, lanes, outer })
    }

    /// The strides of lanes, and of rows of lanes, in a value.
    fn strides(&self, view: &View) -> (usize, usize) {
        if self.along_channels {
            (view.channel().known(), view.pixel())
        } else {
            (view.pixel(), view.channel().known())
        }
    }
}

impl Lower for MeanSquaredError {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let elements = lowering.ty(node.operands[0]).shape.item_elements();
        let [prediction, target] = [0, 1].map(|index| lowering.view(node.operands[index]).clone());
        let mut draft = lowering.draft(node, "each item on one thread");
        let n = draft.var();
        let items = Address::start(lowering.temporary("losses", lowering.batch().size(1)));
        let (mut map, [prediction, target]) = match Walk::over(&[&prediction, &target]) {
            None => {
                let mut map = MapBuilder::new(Extent::Fixed(elements));
                let loads = [prediction, target].map(|view| map.load(view.of_item(n), 1));
                (map, loads)
            }
            Some(walk) => {
                let mut map = MapBuilder::new(Extent::Fixed(walk.lanes)).window(&[Extent::Fixed(walk.outer)]);
                let loads = [prediction, target].map(|view| {
                    let (lane, row) = walk.strides(&view);
                    map.load_window(view.of_item(n), lane, &[row])
                });
                (map, loads)
            }
        };
        let difference = map.subtract(prediction, target);
        let square = map.multiply(difference, difference);
        let sum = map.fold_lanes(&[Reducer::Sum(square)])[0];
        map.store(items.clone().plus(n, 1), 0, sum);
        lowering.push(draft.finish(Split::Axes(vec![(n, lowering.batch().extent())]), vec![map.finish()]));
        mean(lowering, node, items, elements as f64, node.results[0]);
    }
}

impl MeanSquaredErrorGrad {
    /// The gradient with respect to an element of the prediction.
    fn element(
        map: &mut MapBuilder,
        batch: Batch,
        elements: usize,
        [gradient, prediction, target]: [ExprId; 3],
    ) -> ExprId {
        let difference = map.subtract(prediction, target);
        let batch = map.expr(Expr::Size(batch.size, batch.times));
        let elements = map.constant(elements as f64);
        let count = map.multiply(batch, elements);
        let share = map.divide(gradient, count);
        let two = map.constant(2.0);
        let doubled = map.multiply(two, share);
        map.multiply(difference, doubled)
    }
}

impl Lower for MeanSquaredErrorGrad {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let result = node.results[0];
        let (size, batch) = (lowering.size(result), lowering.batch());
        let elements = lowering.ty(result).shape.item_elements();
        let to = lowering.view(result).clone();
        let from = [1, 2].map(|index| lowering.view(node.operands[index]).clone());
        let Some(walk) = Walk::over(&[&to, &from[0], &from[1]]) else {
            let operands = [(node.operands[0], 0), (node.operands[1], 1), (node.operands[2], 1)];
            return lowering.elementwise(
                node,
                &operands,
                |map, loads, first| {
                    let value = Self::element(map, batch, elements, [loads[0], loads[1], loads[2]]);
                    map.store(to.address.plus(first, 1), 1, value);
                },
                size,
            );
        };
        let gradient = lowering.address(node.operands[0]);
        let mut draft = lowering.draft(node, "row by row");
        let (n, outer) = (draft.var(), draft.var());
        let mut map = MapBuilder::new(Extent::Fixed(walk.lanes));
        let gradient = map.load(gradient, 0);
        let [prediction, target] = from.map(|view| {
            let (lane, row) = walk.strides(&view);
            map.load(view.of_item(n).plus(outer, row), lane)
        });
        let value = Self::element(&mut map, batch, elements, [gradient, prediction, target]);
        let (lane, row) = walk.strides(&to);
        map.store(to.of_item(n).plus(outer, row), lane, value);
        let split = Split::Axes(vec![(n, batch.extent()), (outer, Extent::Fixed(walk.outer))]);
        lowering.push(draft.finish(split, vec![map.finish()]));
    }
}
