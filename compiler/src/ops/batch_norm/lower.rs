//! Kernels of batch normalisation: statistics per channel, then one pass over the elements.

use super::{BatchNorm, BatchNormGrad, BatchNormTraining};
use crate::graph::Node;
use crate::kernel::{Address, Expr, ExprId, MapBuilder};
use crate::ops::elementwise::UnaryKind;
use crate::plan::{AxisView, Lower, Lowering, Size};

impl Lower for BatchNorm {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let view = AxisView::new(&lowering.ty(node.results[0]).shape, 1);
        let (x, numbers) = (&node.operands[..1], &node.operands[1..]);
        view.elementwise(lowering, node, x, numbers, node.results[0], |map, x, numbers| {
            let [gamma, beta, mean, variance] = numbers[..] else { unreachable!("four numbers per channel") };
            let epsilon = map.constant(self.epsilon);
            let shifted = map.add(variance, epsilon);
            let deviation = map.unary(UnaryKind::Sqrt, shifted);
            let centred = map.subtract(x[0], mean);
            let normal = map.divide(centred, deviation);
            let scaled = map.multiply(normal, gamma);
            map.add(scaled, beta)
        });
    }
}

/// How many elements each channel has in the batch.
fn count(map: &mut MapBuilder, view: &AxisView) -> ExprId {
    let batch = map.expr(Expr::BatchSize);
    let inner = map.constant(view.inner as f64);
    map.multiply(batch, inner)
}

impl Lower for BatchNormTraining {
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let [x, gamma, beta, old_mean, old_variance] = node.operands[..] else {
            unreachable!("batch_norm_training takes five operands")
        };
        let [y, mean, inverse, new_mean, new_variance] = node.results[..] else {
            unreachable!("batch_norm_training has five results")
        };
        let view = AxisView::new(&lowering.ty(x).shape, 1);
        let mut draft = lowering.draft(node, "each channel on one thread").part("statistics");
        let channels = view.reduction(&mut draft);
        let centres = Size { batched: false, elements: view.size };
        let centres = Address::start(lowering.temporary("centres", centres));

        let mut means = channels.map();
        let element = channels.element(&mut means, lowering.address(x));
        let sum = channels.sums(&mut means, &[element])[0];
        let elements = count(&mut means, &view);
        let centre = means.divide(sum, elements);
        channels.store(&mut means, centres.clone(), centre);

        // What rounding has left of the mean shows in the second pass, which corrects both (Chan, Golub and LeVeque 1983).
        let mut variances = channels.map();
        let element = channels.element(&mut variances, lowering.address(x));
        let centre = channels.load_number(&mut variances, centres.clone());
        let centred = variances.subtract(element, centre);
        let square = variances.multiply(centred, centred);
        let [offsets, squares] = channels.sums(&mut variances, &[centred, square])[..] else {
            unreachable!("two sums")
        };
        let centre = channels.load_number(&mut variances, centres);
        let elements = count(&mut variances, &view);
        let offset = variances.divide(offsets, elements);
        // The distance from an infinite mean is no number: the mean stays as it is.
        let most = variances.constant(f64::from(f32::MAX));
        let is_known = variances.expr(Expr::AtMost(offset, most));
        let nothing = variances.constant(0.0);
        let correction = variances.expr(Expr::Select(is_known, offset, nothing));
        let average = variances.add(centre, correction);
        channels.store(&mut variances, lowering.address(mean), average);
        let old = channels.load_number(&mut variances, lowering.address(old_mean));
        let moved = self.moving(&mut variances, old, average);
        channels.store(&mut variances, lowering.address(new_mean), moved);
        let surplus = variances.multiply(offsets, offset);
        // Nor is the difference of two infinities.
        let is_known = variances.expr(Expr::AtMost(surplus, most));
        let surplus = variances.expr(Expr::Select(is_known, surplus, nothing));
        let rest = variances.subtract(squares, surplus);
        let zero = variances.constant(0.0);
        let sum = variances.largest(zero, rest);
        let biased = variances.divide(sum, elements);
        let epsilon = variances.constant(self.epsilon);
        let shifted = variances.add(biased, epsilon);
        let inverse_deviation = variances.unary(UnaryKind::Rsqrt, shifted);
        channels.store(&mut variances, lowering.address(inverse), inverse_deviation);
        let one = variances.constant(1.0);
        let several = variances.expr(Expr::Less(one, elements));
        let fewer = variances.subtract(elements, one);
        let freedom = variances.expr(Expr::Select(several, fewer, one));
        let unbiased = variances.divide(sum, freedom);
        let old = channels.load_number(&mut variances, lowering.address(old_variance));
        let moved = self.moving(&mut variances, old, unbiased);
        channels.store(&mut variances, lowering.address(new_variance), moved);
        lowering.push(channels.finish(draft, vec![means.finish(), variances.finish()]));

        view.elementwise(lowering, node, &[x], &[mean, inverse, gamma, beta], y, |map, x, numbers| {
            let [mean, inverse, gamma, beta] = numbers[..] else { unreachable!("four numbers per channel") };
            let centred = map.subtract(x[0], mean);
            let normal = map.multiply(centred, inverse);
            let scaled = map.multiply(normal, gamma);
            map.add(scaled, beta)
        });
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
    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let [g, x, gamma, mean, inverse] = node.operands[..] else {
            unreachable!("batch_norm_grad takes five operands")
        };
        let [dx, dgamma, dbeta] = node.results[..] else { unreachable!("batch_norm_grad has three results") };
        let view = AxisView::new(&lowering.ty(x).shape, 1);
        let mut draft = lowering.draft(node, "each channel on one thread").part("sums");
        let channels = view.reduction(&mut draft);
        let mut map = channels.map();
        let gradient = channels.element(&mut map, lowering.address(g));
        let element = channels.element(&mut map, lowering.address(x));
        let average = channels.load_number(&mut map, lowering.address(mean));
        let inverse_deviation = channels.load_number(&mut map, lowering.address(inverse));
        let centred = map.subtract(element, average);
        let normal = map.multiply(centred, inverse_deviation);
        let product = map.multiply(gradient, normal);
        let sums = channels.sums(&mut map, &[product, gradient]);
        channels.store(&mut map, lowering.address(dgamma), sums[0]);
        channels.store(&mut map, lowering.address(dbeta), sums[1]);
        lowering.push(channels.finish(draft, vec![map.finish()]));

        let numbers = [gamma, mean, inverse, dgamma, dbeta];
        view.elementwise(lowering, node, &[g, x], &numbers, dx, |map, elements, numbers| {
            let [gamma, mean, inverse, dgamma, dbeta] = numbers[..] else {
                unreachable!("five numbers per channel")
            };
            let count = count(map, &view);
            let centred = map.subtract(elements[1], mean);
            let normal = map.multiply(centred, inverse);
            let along = map.multiply(normal, dgamma);
            let both = map.add(along, dbeta);
            let part = map.divide(both, count);
            let rest = map.subtract(elements[0], part);
            let scale = map.multiply(gamma, inverse);
            map.multiply(scale, rest)
        });
    }
}
