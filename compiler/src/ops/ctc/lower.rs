//! The kernel of connectionist temporal classification: each item on one thread, with a map over the labels for each step
//! of both passes.
//!
//! An item's states are in two kinds of rows of `S + 2` places. Place `k` of a row of labels is the `k`-th label, counted
//! from 1; places 0 and `S + 1` are never reached. Place `k` of a row of blanks is the blank behind that label. All numbers
//! are logarithms, and places without alignments have −∞.

use super::Ctc;
use crate::graph::Node;
use crate::kernel::{Address, Affine, BufferId, Expr, ExprId, Extent, MapBuilder, Reducer, Split, Stmt, Var};
use crate::ops::elementwise::UnaryKind;
use crate::plan::{Lower, Lowering, MemoryRules, Order, Size};
use crate::shape::DType;

/// The logarithm of a sum, from the logarithms of its terms.
fn log_sum(map: &mut MapBuilder, terms: &[ExprId]) -> ExprId {
    // Without a finite term, the differences would be NaN.
    let least = map.constant(f64::from(f32::MIN));
    let largest = terms.iter().fold(least, |largest, &term| map.largest(term, largest));
    let mut sum = None;
    for &term in terms {
        let shifted = map.subtract(term, largest);
        let power = map.unary(UnaryKind::Exp, shifted);
        sum = Some(sum.map_or(power, |sum| map.add(sum, power)));
    }
    let sum = sum.unwrap_or(least);
    let logarithm = map.unary(UnaryKind::Log, sum);
    map.add(logarithm, largest)
}

/// Mask: first integer below the second one, both signed.
fn below(map: &mut MapBuilder, a: ExprId, b: ExprId) -> ExprId {
    let lowest = map.expr(Expr::Integer(i32::MIN));
    let [a, b] = [a, b].map(|number| map.expr(Expr::AddInteger(number, lowest)));
    map.expr(Expr::BelowUnsigned(a, b))
}

/// A buffer of rows of places for each item.
#[derive(Clone, Copy)]
struct Rows {
    buffer: BufferId,
    /// The elements of an item.
    item: Size,
    /// The elements of a row.
    places: Size,
}

impl Rows {
    fn item(&self, n: Var) -> Address {
        Address::start(self.buffer).plus_size(n, self.item)
    }

    fn row(&self, n: Var, row: Var) -> Address {
        self.item(n).plus_size(row, self.places)
    }

    fn fill(&self, n: Var) -> Stmt {
        let mut map = MapBuilder::new(self.item.extent());
        let never = map.constant(f64::NEG_INFINITY);
        map.store(self.item(n), 1, never);
        map.finish()
    }
}

/// The address of the next row.
fn next(address: Address, row: Size) -> Address {
    Address { offset: address.offset.offset_size(row), ..address }
}

/// What the statements of an item use.
struct Item {
    n: Var,
    t: Var,
    k: Var,
    class: Var,
    classes: usize,
    blank: usize,
    steps: Size,
    /// The number of labels, and one more.
    labels: Size,
    blanks: Size,
    /// The elements of an item's logarithms.
    elements: Size,
    /// The offset of the last row: the number of steps times the number of places.
    last_row: Size,
    logarithms: Address,
    of_labels: Address,
    count: Address,
    length: Address,
    /// The probability of each place's class in each step, in row `t + 1`; place 0 is the blank. The backward pass
    /// replaces them by the shares of the alignments.
    emissions: Rows,
    /// 0 where the label before may come directly before, else −∞.
    skips: Rows,
    /// The first steps, after each number of them.
    forward: [Rows; 2],
    /// The following steps, in the opposite order.
    backward: [Rows; 2],
    /// The logarithm of the likelihood.
    likelihood: Address,
    /// −1, divided by the number of labels if losses are.
    share: Address,
}

impl Item {
    fn repeat(&self, body: Vec<Stmt>) -> Stmt {
        Stmt::repeat(self.t, self.steps.extent(), body)
    }

    /// Mask: whether a step counts.
    fn counts(&self, map: &mut MapBuilder, step: Affine) -> ExprId {
        let step = map.expr(Expr::Position(step));
        let length = map.load_as(DType::I32, self.length.clone(), 0, &[]);
        below(map, step, length)
    }

    /// The rows before the first step and after the last one, the emissions and the skips.
    fn prepare(&self) -> Vec<Stmt> {
        let (n, t, k) = (self.n, self.t, self.k);
        let all = [self.emissions, self.skips, self.forward[0], self.forward[1], self.backward[0]];
        let mut body: Vec<Stmt> = all.iter().map(|rows| rows.fill(n)).collect();
        let one = |from: Option<Address>, to: Address| {
            let mut map = MapBuilder::new(Extent::Fixed(1));
            let value = match from {
                Some(from) => map.load(from, 1),
                None => map.constant(0.0),
            };
            map.store(to, 1, value);
            map.finish()
        };
        body.push(one(None, self.forward[1].item(n)));
        for (rows, first) in [(self.backward[0], 1), (self.backward[1], 0)] {
            let mut map = MapBuilder::new(if first == 1 { self.labels } else { self.blanks }.extent());
            let place = map.expr(Expr::Index { base: Affine::constant(first), lane: 1 });
            let count = map.load_as(DType::I32, self.count.clone(), 0, &[]);
            let is_last = map.expr(Expr::SameInteger(place, count));
            let (zero, never) = (map.constant(0.0), map.constant(f64::NEG_INFINITY));
            let value = map.expr(Expr::Select(is_last, zero, never));
            map.store(rows.item(n).offset(first), 1, value);
            body.push(map.finish());
        }
        let mut map = MapBuilder::new(Extent::Fixed(1));
        let label = map.load_as(DType::I32, self.of_labels.clone().plus(k, 1), 1, &[]);
        let before = Address { offset: self.of_labels.offset.clone().plus(k, 1).minus(1), ..self.of_labels };
        let before = map.load_as(DType::I32, before, 1, &[]);
        let is_same = map.expr(Expr::SameInteger(label, before));
        let (zero, never) = (map.constant(0.0), map.constant(f64::NEG_INFINITY));
        let value = map.expr(Expr::Select(is_same, never, zero));
        map.store(self.skips.item(n).offset(1).plus(k, 1), 1, value);
        let (start, end) = (Extent::Fixed(1), self.labels.extent());
        body.push(Stmt::For { var: k, start, end, step: 1, body: vec![map.finish()] });
        let row = next(self.emissions.row(n, t), self.emissions.places);
        let of_step = self.logarithms.clone().plus(t, self.classes);
        let copied = one(Some(of_step.clone().plus(self.class, 1)), row.clone().offset(1).plus(k, 1));
        let found = vec![self.repeat(vec![copied])];
        body.push(self.repeat(vec![one(Some(of_step.offset(self.blank)), row)]));
        body.push(self.lookup(found));
        body
    }

    /// For every label that is a class.
    fn lookup(&self, found: Vec<Stmt>) -> Stmt {
        let from = self.of_labels.clone().plus(self.k, 1);
        let lookup = Stmt::Lookup { var: self.class, from, bound: self.classes, found, rest: Vec::new() };
        Stmt::repeat(self.k, self.labels.extent(), vec![lookup])
    }

    /// The sums over the first steps.
    fn forward(&self) -> Stmt {
        let (n, t) = (self.n, self.t);
        let [labels, blanks] = self.forward.map(|rows| rows.row(n, t));
        let emission = next(self.emissions.row(n, t), self.emissions.places);
        let to = |from: &Address| next(from.clone(), self.emissions.places);
        let mut map = MapBuilder::new(self.labels.extent());
        let same = map.load(labels.clone().offset(1), 1);
        let blank = map.load(blanks.clone(), 1);
        let other = map.load(labels.clone(), 1);
        let skip = map.load(self.skips.item(n).offset(1), 1);
        let other = map.add(other, skip);
        let class = map.load(emission.clone().offset(1), 1);
        let sum = log_sum(&mut map, &[same, blank, other]);
        let sum = map.add(sum, class);
        let counts = self.counts(&mut map, Affine::from(t));
        let value = map.expr(Expr::Select(counts, sum, same));
        map.store(to(&labels).offset(1), 1, value);
        let of_labels = map.finish();
        let mut map = MapBuilder::new(self.blanks.extent());
        let same = map.load(blanks.clone(), 1);
        let label = map.load(labels, 1);
        let class = map.load(emission, 0);
        let sum = log_sum(&mut map, &[same, label]);
        let sum = map.add(sum, class);
        let counts = self.counts(&mut map, Affine::from(t));
        let value = map.expr(Expr::Select(counts, sum, same));
        map.store(to(&blanks), 1, value);
        self.repeat(vec![of_labels, map.finish()])
    }

    /// The likelihood, and the loss.
    fn loss(&self, op: &Ctc, loss: Address, largest: Address) -> Vec<Stmt> {
        let n = self.n;
        let both = |map: &mut MapBuilder, kind: usize| {
            let rows = self.forward[kind];
            let forward = map.load(next(rows.item(n), self.last_row), 1);
            let backward = map.load(self.backward[kind].item(n), 1);
            map.add(forward, backward)
        };
        let mut max = MapBuilder::new(self.blanks.extent());
        let (label, blank) = (both(&mut max, 0), both(&mut max, 1));
        let either = max.largest(label, blank);
        let result = max.fold_lanes(&[Reducer::Max(either)])[0];
        let least = max.constant(f64::from(f32::MIN));
        let result = max.largest(result, least);
        max.store(largest.clone(), 0, result);
        let mut map = MapBuilder::new(self.blanks.extent());
        let top = map.load(largest.clone(), 0);
        let powers = [0, 1].map(|kind| {
            let sum = both(&mut map, kind);
            let shifted = map.subtract(sum, top);
            map.unary(UnaryKind::Exp, shifted)
        });
        let terms = map.add(powers[0], powers[1]);
        let sum = map.fold_lanes(&[Reducer::Sum(terms)])[0];
        let logarithm = map.unary(UnaryKind::Log, sum);
        let top = map.load(largest, 0);
        let likelihood = map.add(logarithm, top);
        map.store(self.likelihood.clone(), 0, likelihood);
        let mut count = MapBuilder::new(self.labels.extent());
        let place = count.expr(Expr::Index { base: Affine::default(), lane: 1 });
        let number = count.load_as(DType::I32, self.count.clone(), 0, &[]);
        let is_label = below(&mut count, place, number);
        let (zero, one) = (count.constant(0.0), count.constant(1.0));
        let ones = count.expr(Expr::Select(is_label, one, zero));
        let sum = count.fold_lanes(&[Reducer::Sum(ones)])[0];
        let one = count.constant(1.0);
        let number = if op.per_label { count.largest(sum, one) } else { one };
        let minus = count.constant(-1.0);
        let share = count.divide(minus, number);
        count.store(self.share.clone(), 0, share);
        let likelihood = count.load(self.likelihood.clone(), 0);
        let nothing = count.constant(0.0);
        let least = count.constant(f64::from(f32::MIN));
        let mut value = count.subtract(nothing, likelihood);
        value = count.divide(value, number);
        if op.zero_infinity {
            let is_infinite = count.expr(Expr::Less(likelihood, least));
            value = count.expr(Expr::Select(is_infinite, nothing, value));
        }
        count.store(loss, 0, value);
        // Where it is −∞, the shares are 0, not NaN.
        let bounded = count.largest(likelihood, least);
        count.store(self.likelihood.clone(), 0, bounded);
        vec![max.finish(), map.finish(), count.finish()]
    }

    /// The sums over the following steps, and the shares of the alignments through each place.
    fn backward(&self) -> Stmt {
        let (n, r) = (self.n, self.t);
        let places = self.emissions.places;
        let of_step = |rows: Rows| {
            let address = next(rows.item(n), self.last_row);
            Address { offset: address.offset.minus_size(r, places), ..address }
        };
        let step = Affine::default().offset_size(self.steps).minus(1).minus_var(r, 1);
        let emission = of_step(self.emissions);
        let [labels, blanks] = self.backward.map(|rows| rows.row(n, r));
        let to_next = |map: &mut MapBuilder, skips: bool| {
            let first = usize::from(skips) + 1;
            let label = map.load(labels.clone().offset(first), 1);
            let class = map.load(emission.clone().offset(first), 1);
            let mut sum = map.add(label, class);
            if skips {
                let skip = map.load(self.skips.item(n).offset(first), 1);
                sum = map.add(sum, skip);
            }
            sum
        };
        let mut map = MapBuilder::new(self.labels.extent());
        let label = map.load(labels.clone().offset(1), 1);
        let class = map.load(emission.clone().offset(1), 1);
        let same = map.add(label, class);
        let blank = map.load(blanks.clone().offset(1), 1);
        let class = map.load(emission.clone(), 0);
        let blank = map.add(blank, class);
        let other = to_next(&mut map, true);
        let sum = log_sum(&mut map, &[same, blank, other]);
        let counts = self.counts(&mut map, step.clone());
        let value = map.expr(Expr::Select(counts, sum, label));
        map.store(next(labels.clone(), places).offset(1), 1, value);
        let of_labels = map.finish();
        let mut map = MapBuilder::new(self.blanks.extent());
        let own = map.load(blanks.clone(), 1);
        let class = map.load(emission.clone(), 0);
        let same = map.add(own, class);
        let label = to_next(&mut map, false);
        let sum = log_sum(&mut map, &[same, label]);
        let counts = self.counts(&mut map, step.clone());
        let value = map.expr(Expr::Select(counts, sum, own));
        map.store(next(blanks, places), 1, value);
        let of_blanks = map.finish();
        let share = |map: &mut MapBuilder, kind: usize, first: usize| {
            let forward = map.load(of_step(self.forward[kind]).offset(first), 1);
            let backward = map.load(self.backward[kind].row(n, r).offset(first), 1);
            let likelihood = map.load(self.likelihood.clone(), 0);
            let both = map.add(forward, backward);
            let part = map.subtract(both, likelihood);
            let part = map.unary(UnaryKind::Exp, part);
            let counts = self.counts(map, step.clone());
            let zero = map.constant(0.0);
            map.expr(Expr::Select(counts, part, zero))
        };
        let mut map = MapBuilder::new(self.labels.extent());
        let part = share(&mut map, 0, 1);
        map.store(emission.clone().offset(1), 1, part);
        let shares_of_labels = map.finish();
        let mut map = MapBuilder::new(self.blanks.extent());
        let part = share(&mut map, 1, 0);
        let sum = map.fold_lanes(&[Reducer::Sum(part)])[0];
        map.store(emission.clone(), 0, sum);
        self.repeat(vec![of_labels, of_blanks, shares_of_labels, map.finish()])
    }

    /// Adds the shares to the gradients of their classes.
    fn slopes(&self, slopes: Address) -> Vec<Stmt> {
        let (n, t) = (self.n, self.t);
        let mut map = MapBuilder::new(self.elements.extent());
        let zero = map.constant(0.0);
        map.store(slopes.clone(), 1, zero);
        let row = next(self.emissions.row(n, t), self.emissions.places);
        let to = slopes.plus(t, self.classes);
        let add = |from: Address, to: Address| {
            let mut map = MapBuilder::new(Extent::Fixed(1));
            let part = map.load(from, 1);
            let share = map.load(self.share.clone(), 0);
            let value = map.multiply(part, share);
            map.accumulate(to, 1, value);
            map.finish()
        };
        let of_blank = add(row.clone(), to.clone().offset(self.blank));
        let of_label = add(row.offset(1).plus(self.k, 1), to.plus(self.class, 1));
        vec![map.finish(), self.repeat(vec![of_blank]), self.lookup(vec![self.repeat(vec![of_label])])]
    }
}

impl Lower for Ctc {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let dims = lowering.ty(node.operands[0]).shape.dims().to_vec();
        let of_labels = lowering.ty(node.operands[1]).shape.dims().to_vec();
        let (steps, labels) = (lowering.product(&dims[1..2]), lowering.product(&of_labels[1..]));
        let (elements, classes) = (lowering.product(&dims[1..]), lowering.product(&dims[2..]).known());
        let (places, blanks) = (lowering.longer(labels, 2), lowering.longer(labels, 1));
        let rows = lowering.longer(steps, 1);
        let batch = lowering.batch();
        let items = batch.size(1);
        let temporary = |lowering: &mut Lowering<'_>, name: &str, rows: Size| {
            let item = lowering.product_of(rows, places);
            let whole = lowering.product_of(item, items);
            Rows { buffer: lowering.temporary(name, whole), item, places }
        };
        let skips = temporary(lowering, "skips", Size::fixed(1));
        let [emissions, labels_before, blanks_before, labels_after, blanks_after] =
            ["emissions", "labels before", "blanks before", "labels after", "blanks after"]
                .map(|name| temporary(lowering, name, rows));
        let [likelihood, share] =
            ["likelihoods", "shares"].map(|name| Address::start(lowering.temporary(name, items)));
        let largest = Address::start(lowering.scratch("largest", 1));
        let last_row = lowering.product_of(steps, places);
        let mut draft = lowering.draft(node, "each item on one thread");
        let n = draft.var();
        let [logarithms, given, count, length] =
            [0, 1, 2, 3].map(|index| lowering.address(node.operands[index]));
        let [loss, slopes] = [0, 1].map(|index| lowering.address(node.results[index]));
        let item = Item {
            n,
            t: draft.var(),
            k: draft.var(),
            class: draft.var(),
            classes,
            blank: self.blank,
            steps,
            labels,
            blanks,
            elements,
            last_row,
            logarithms: logarithms.plus_size(n, elements),
            of_labels: given.plus_size(n, labels),
            count: count.plus(n, 1),
            length: length.plus(n, 1),
            emissions,
            skips,
            forward: [labels_before, blanks_before],
            backward: [labels_after, blanks_after],
            likelihood: likelihood.plus(n, 1),
            share: share.plus(n, 1),
        };
        let mut body = item.prepare();
        body.push(item.forward());
        body.extend(item.loss(self, loss.plus(n, 1), largest));
        if lowering.is_used(node.results[1]) {
            body.push(item.backward());
            body.extend(item.slopes(slopes.plus_size(n, elements)));
        }
        lowering.push(draft.finish(Split::Axes(vec![(n, batch.extent())]), body));
    }
}
