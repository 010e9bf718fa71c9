//! Kernels of batch normalisation: the statistics of each channel, then one pass over the elements, in the result's
//! layout.

use super::{BatchNorm, BatchNormGrad, BatchNormTraining};
use crate::entity::ValueId;
use crate::graph::Node;
use crate::kernel::{Address, Expr, ExprId, Extent, MapBuilder, Reducer, Split, Stmt};
use crate::ops::elementwise::UnaryKind;
use crate::plan::{
    AxisView, Batch, Epilogue, Lower, Lowering, MemoryRules, Order, PixelBlock, PixelBlocks, SharedNumbers,
    Size, View,
};

impl Lower for BatchNorm {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let [x, gamma, beta, mean, variance, ref rest @ ..] = node.operands[..] else {
            unreachable!("batch_norm takes five operands")
        };
        let epilogue = Epilogue { steps: &self.epilogue, operands: rest };
        let channels = lowering.view(x).channels();
        let inverse = Size::fixed(channels);
        let inverse = Address::start(lowering.temporary("inverse deviation", inverse));
        // The reciprocal root is computed once per channel, since it is as expensive as several elements.
        let draft = lowering.draft(node, "each channel once").part("deviation");
        let mut map = MapBuilder::new(Extent::Fixed(channels));
        let number = map.load(lowering.address(variance), 1);
        let epsilon = map.constant(self.epsilon);
        let shifted = map.add(number, epsilon);
        let value = map.unary(UnaryKind::Rsqrt, shifted);
        map.store(inverse.clone(), 1, value);
        lowering.push_derived(variance, draft.finish(Split::Serial, vec![map.finish()]));
        let [gamma, beta, mean] = [gamma, beta, mean].map(|value| lowering.address(value));
        let numbers = [mean, inverse, gamma, beta].map(SharedNumbers::from);
        lowering.per_channel(node, &[x], &numbers, epilogue, node.results[0], normalised);
    }
}

/// `(x − mean) · (1/√(variance + ε)) · γ + β`.
fn normalised(map: &mut MapBuilder, x: &[ExprId], numbers: &[ExprId]) -> ExprId {
    let normal = normal(map, x[0], numbers);
    shifted(map, normal, &numbers[2..])
}

/// `(x − mean) · (1/√(variance + ε))`.
fn normal(map: &mut MapBuilder, x: ExprId, numbers: &[ExprId]) -> ExprId {
    let [mean, inverse, ..] = numbers[..] else { unreachable!("two numbers per channel") };
    let centred = map.subtract(x, mean);
    map.multiply(centred, inverse)
}

/// A normalised value times γ plus β.
fn shifted(map: &mut MapBuilder, normal: ExprId, numbers: &[ExprId]) -> ExprId {
    let [gamma, beta] = numbers[..] else { unreachable!("two numbers per channel") };
    let scaled = map.multiply(normal, gamma);
    map.add(scaled, beta)
}

/// The number of elements of each channel in the batch.
fn count(map: &mut MapBuilder, batch: Batch, pixels: Size) -> ExprId {
    let batch = map.expr(Expr::Size(batch.size, batch.times));
    let pixels = pixels.number(map);
    map.multiply(batch, pixels)
}

/// The number, or 0 if it is NaN or above the largest finite number: the correction of an infinite mean.
fn finite(map: &mut MapBuilder, number: ExprId) -> ExprId {
    let most = map.constant(f64::from(f32::MAX));
    let is_known = map.expr(Expr::AtMost(number, most));
    let nothing = map.constant(0.0);
    map.expr(Expr::Select(is_known, number, nothing))
}

/// Converts a sum of squares around a centre into the sum around the mean (Chan, Golub and LeVeque 1983). The centre is
/// off by `offset`, the mean of the `offsets`.
fn around_mean(map: &mut MapBuilder, squares: ExprId, offsets: ExprId, offset: ExprId) -> ExprId {
    let surplus = map.multiply(offsets, offset);
    // The difference of two infinities is NaN.
    let surplus = finite(map, surplus);
    let rest = map.subtract(squares, surplus);
    let zero = map.constant(0.0);
    map.largest(zero, rest)
}

/// The addresses of the four statistics of a channel, and of the running statistics that they update.
struct Statistics<'a> {
    op: &'a BatchNormTraining,
    batch: Batch,
    pixels: Size,
    mean: Address,
    inverse: Address,
    old: [Address; 2],
    new: [Address; 2],
}

impl Statistics<'_> {
    /// Computes the statistics from the sums of the elements' distances from a centre and of their squares. `load` and
    /// `store` access the value of the current channel.
    fn finish(
        &self,
        map: &mut MapBuilder,
        centre: ExprId,
        [offsets, squares]: [ExprId; 2],
        load: impl Fn(&mut MapBuilder, &Address) -> ExprId,
        store: impl Fn(&mut MapBuilder, &Address, ExprId),
    ) {
        let elements = count(map, self.batch, self.pixels);
        let offset = map.divide(offsets, elements);
        let correction = finite(map, offset);
        let average = map.add(centre, correction);
        store(map, &self.mean, average);
        let old = load(map, &self.old[0]);
        let moved = self.op.moving(map, old, average);
        store(map, &self.new[0], moved);
        let sum = around_mean(map, squares, offsets, offset);
        let biased = map.divide(sum, elements);
        let epsilon = map.constant(self.op.epsilon);
        let shifted = map.add(biased, epsilon);
        let inverse_deviation = map.unary(UnaryKind::Rsqrt, shifted);
        store(map, &self.inverse, inverse_deviation);
        let one = map.constant(1.0);
        let several = map.expr(Expr::Less(one, elements));
        let fewer = map.subtract(elements, one);
        let freedom = map.expr(Expr::Select(several, fewer, one));
        let unbiased = map.divide(sum, freedom);
        let old = load(map, &self.old[1]);
        let moved = self.op.moving(map, old, unbiased);
        store(map, &self.new[1], moved);
    }

    /// Channels first: two passes over each channel.
    fn by_channels(&self, lowering: &mut Lowering<'_>, node: &Node, x: &View) {
        let mut draft = lowering.draft(node, "each channel on one thread").part("statistics");
        let channels = AxisView::new(lowering, node.operands[0], 1, 1).reduction(&mut draft);
        let centres = Size::fixed(x.channels());
        let centres = Address::start(lowering.temporary("centres", centres));

        let mut means = channels.map();
        let element = channels.element(&mut means, x);
        let sum = channels.sums(&mut means, &[element])[0];
        let elements = count(&mut means, lowering.batch(), self.pixels);
        let centre = means.divide(sum, elements);
        channels.store(&mut means, centres.clone(), centre);

        // The second pass sees the rounding error of the mean and corrects both.
        let mut variances = channels.map();
        let element = channels.element(&mut variances, x);
        let centre = channels.load_number(&mut variances, centres.clone());
        let centred = variances.subtract(element, centre);
        let square = variances.multiply(centred, centred);
        let [offsets, squares] = channels.sums(&mut variances, &[centred, square])[..] else {
            unreachable!("two sums")
        };
        let centre = channels.load_number(&mut variances, centres);
        self.finish(
            &mut variances,
            centre,
            [offsets, squares],
            |map, at| channels.load_number(map, at.clone()),
            |map, at, value| channels.store(map, at.clone(), value),
        );
        lowering.push(channels.finish(draft, vec![means.finish(), variances.finish()]));
    }

    /// Channels last: one pass over the elements computes the mean and the sum of squares of each block of pixels; then
    /// the blocks are combined.
    fn by_blocks(&self, lowering: &mut Lowering<'_>, node: &Node, x: &View) {
        let blocks = PixelBlocks::new(lowering, x, 2);
        let draft = lowering.draft(node, blocks.note()).part("blocks");
        lowering.push(blocks.kernel(draft, |block| block_statistics(block, x)));

        let mut draft = lowering.draft(node, "of all blocks").part("statistics");
        let first = draft.var();
        let pixels = blocks.pixels(lowering);
        let centres = Size::fixed(x.channels());
        let centres = Address::start(lowering.temporary("centres", centres)).plus(first, 1);

        let mut means = blocks.reduction();
        let mean = blocks.load(&mut means, first, 0);
        let weight = blocks.load_pixels(&mut means, &pixels);
        let sum = means.multiply(mean, weight);
        let sum = means.fold_window(&[Reducer::Sum(sum)])[0];
        let elements = count(&mut means, lowering.batch(), self.pixels);
        let centre = means.divide(sum, elements);
        means.store(centres.clone(), 1, centre);

        let mut variances = blocks.reduction();
        let mean = blocks.load(&mut variances, first, 0);
        let within = blocks.load(&mut variances, first, 1);
        let weight = blocks.load_pixels(&mut variances, &pixels);
        let centre = variances.load(centres.clone(), 1);
        let distance = variances.subtract(mean, centre);
        let offset = variances.multiply(weight, distance);
        let square = variances.multiply(offset, distance);
        let square = variances.add(within, square);
        let [offsets, squares] = variances.fold_window(&[Reducer::Sum(offset), Reducer::Sum(square)])[..]
        else {
            unreachable!("two sums")
        };
        let centre = variances.load(centres, 1);
        self.finish(
            &mut variances,
            centre,
            [offsets, squares],
            |map, at| map.load(at.clone().plus(first, 1), 1),
            |map, at, value| map.store(at.clone().plus(first, 1), 1, value),
        );
        lowering.push(draft.finish(blocks.reduction_split(first), vec![means.finish(), variances.finish()]));
    }
}

/// For each channel, the mean of a block's elements and the sum of their squared distances from it. The second pass
/// over the block hits the cache.
fn block_statistics(block: &PixelBlock<'_>, x: &View) -> Vec<Stmt> {
    let mut means = block.map();
    let element = block.element(&mut means, x);
    let sum = means.fold_window(&[Reducer::Sum(element)])[0];
    let pixels = block.pixels.number(&mut means);
    let centre = means.divide(sum, pixels);
    means.store(block.result(0), 1, centre);

    let mut squares = block.map();
    let element = block.element(&mut squares, x);
    let centre = squares.load(block.result(0), 1);
    let centred = squares.subtract(element, centre);
    let square = squares.multiply(centred, centred);
    let [offsets, sum] = squares.fold_window(&[Reducer::Sum(centred), Reducer::Sum(square)])[..] else {
        unreachable!("two sums")
    };
    let pixels = block.pixels.number(&mut squares);
    let offset = squares.divide(offsets, pixels);
    let centre = squares.load(block.result(0), 1);
    let correction = finite(&mut squares, offset);
    let mean = squares.add(centre, correction);
    squares.store(block.result(0), 1, mean);
    let sum = around_mean(&mut squares, sum, offsets, offset);
    squares.store(block.result(1), 1, sum);
    vec![means.finish(), squares.finish()]
}

impl Lower for BatchNormTraining {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: vec![(3, 3), (4, 4)], bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let [x, gamma, beta, old_mean, old_variance, ref rest @ ..] = node.operands[..] else {
            unreachable!("batch_norm_training takes five operands")
        };
        let epilogue = Epilogue { steps: &self.epilogue, operands: rest };
        let [y, mean, inverse, new_mean, new_variance] = node.results[..] else {
            unreachable!("batch_norm_training has five results")
        };
        let layout = lowering.view(y).layout.clone();
        let view = lowering.in_layout(node, x, &layout);
        let statistics = Statistics {
            op: self,
            batch: lowering.batch(),
            pixels: view.pixels(),
            mean: lowering.address(mean),
            inverse: lowering.address(inverse),
            old: [old_mean, old_variance].map(|value| lowering.address(value)),
            new: [new_mean, new_variance].map(|value| lowering.address(value)),
        };
        match layout.is_channels_last() {
            false => statistics.by_channels(lowering, node, &view),
            true => statistics.by_blocks(lowering, node, &view),
        }
        let numbers = [mean, inverse, gamma, beta].map(|value| lowering.address(value).into());
        lowering.per_channel(node, &[x], &numbers, epilogue, y, normalised);
    }
}

impl BatchNormTraining {
    /// `(1 − momentum)·old + momentum·new`.
    fn moving(&self, map: &mut MapBuilder, old: ExprId, new: ExprId) -> ExprId {
        let keep = map.constant(1.0 - self.momentum);
        let take = map.constant(self.momentum);
        let kept = map.multiply(keep, old);
        let taken = map.multiply(take, new);
        map.add(kept, taken)
    }
}

impl Lower for BatchNormGrad {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let [g, x, gamma, mean, inverse, ref beta @ ..] = node.operands[..] else {
            unreachable!("batch_norm_grad takes five operands")
        };
        let [dx, dgamma, dbeta] = node.results[..] else { unreachable!("batch_norm_grad has three results") };
        let of_activation: &[ValueId] = if beta.is_empty() { &[] } else { &[gamma, beta[0]] };
        let numbers = [&[mean, inverse], of_activation].concat();
        lowering.channel_sums(node, &[g, x], &numbers, [dgamma, dbeta], |map, elements, numbers| {
            let normal = normal(map, elements[1], numbers);
            let g = self.activation_gradient(map, elements[0], normal, &numbers[2..]);
            [map.multiply(g, normal), g]
        });
        let (batch, pixels) = (lowering.batch(), lowering.view(x).pixels());
        let numbers = [&[mean, inverse, gamma, dgamma, dbeta], beta].concat();
        let numbers: Vec<SharedNumbers> =
            numbers.into_iter().map(|value| lowering.address(value).into()).collect();
        lowering.per_channel(node, &[g, x], &numbers, Epilogue::default(), dx, |map, elements, numbers| {
            let [_, inverse, gamma, dgamma, dbeta, ref beta @ ..] = numbers[..] else {
                unreachable!("five numbers per channel")
            };
            let normal = normal(map, elements[1], numbers);
            let of_activation = beta.first().map_or(vec![], |&beta| vec![gamma, beta]);
            let g = self.activation_gradient(map, elements[0], normal, &of_activation);
            let (one, count) = (map.constant(1.0), count(map, batch, pixels));
            let share = map.divide(one, count);
            let along = map.multiply(normal, dgamma);
            let both = map.add(along, dbeta);
            let part = map.multiply(both, share);
            let rest = map.subtract(g, part);
            let scale = map.multiply(gamma, inverse);
            map.multiply(scale, rest)
        });
    }
}

impl BatchNormGrad {
    /// The gradient to the normalised value. If there is an activation, `g` is the gradient to its result, and `numbers`
    /// are gamma and beta.
    fn activation_gradient(
        &self,
        map: &mut MapBuilder,
        g: ExprId,
        normal: ExprId,
        numbers: &[ExprId],
    ) -> ExprId {
        let Some((kind, (slope, takes_result))) = self.activation.zip(self.slope().ok().flatten()) else {
            return g;
        };
        let value = shifted(map, normal, numbers);
        let at = if takes_result { map.unary(kind, value) } else { value };
        slope.expression(map, g, at)
    }
}
