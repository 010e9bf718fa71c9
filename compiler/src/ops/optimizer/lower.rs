//! Kernels of the optimisers: one map over each parameter, which overwrites the old values.

use super::{Adam, Adaptive, AdaptiveRule, ClipFactor, ClipValue, Sgd};
use crate::graph::Node;
use crate::kernel::{Address, Expr, ExprId, Extent, MapBuilder, Reducer, Split};
use crate::ops::elementwise::UnaryKind;
use crate::plan::{Lower, Lowering, MemoryRules, Order, Size};

fn scaled(map: &mut MapBuilder, x: ExprId, factor: f64) -> ExprId {
    let factor = map.constant(factor);
    map.multiply(x, factor)
}

impl Lower for Sgd {
    fn memory(&self) -> MemoryRules {
        let over = if self.momentum == 0.0 { vec![(0, 0)] } else { vec![(0, 0), (3, 1)] };
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over, bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let results: Vec<Address> = node.results.iter().map(|&value| lowering.address(value)).collect();
        let size = lowering.size(node.results[0]);
        let mut operands = vec![(node.operands[0], 1), (node.operands[1], 1), (node.operands[2], 0)];
        operands.extend(node.operands.get(3).map(|&velocity| (velocity, 1)));
        lowering.elementwise(
            node,
            &operands,
            |map, loads, first| {
                let (weight, gradient, rate) = (loads[0], loads[1], loads[2]);
                let mut direction = gradient;
                if self.weight_decay != 0.0 {
                    let decay = scaled(map, weight, self.weight_decay);
                    direction = map.add(gradient, decay);
                }
                if let Some(&velocity) = loads.get(3) {
                    let kept = scaled(map, velocity, self.momentum);
                    let velocity = map.add(kept, direction);
                    map.store(results[1].clone().plus(first, 1), 1, velocity);
                    direction = if self.nesterov {
                        let ahead = scaled(map, velocity, self.momentum);
                        map.add(direction, ahead)
                    } else {
                        velocity
                    };
                }
                let step = map.multiply(rate, direction);
                let moved = map.subtract(weight, step);
                map.store(results[0].clone().plus(first, 1), 1, moved);
            },
            size,
        );
    }
}

impl Lower for Adam {
    fn memory(&self) -> MemoryRules {
        MemoryRules {
            operands: Order::OfShape,
            results: Order::OfShape,
            over: vec![(0, 0), (4, 1), (5, 2)],
            bytes: None,
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let results: Vec<Address> = node.results.iter().map(|&value| lowering.address(value)).collect();
        let correction = lowering.address(node.operands[3]);
        let size = lowering.size(node.results[0]);
        let [weight, gradient, rate, _, first_moment, second_moment] = node.operands[..] else {
            unreachable!("adam takes six operands")
        };
        let operands = [(weight, 1), (gradient, 1), (rate, 0), (first_moment, 1), (second_moment, 1)];
        lowering.elementwise(
            node,
            &operands,
            |map, loads, first| {
                let (mut weight, mut gradient, rate) = (loads[0], loads[1], loads[2]);
                let c1 = map.load(correction.clone(), 0);
                let c2 = map.load(correction.offset(1), 0);
                if self.weight_decay != 0.0 && self.decoupled {
                    let one = map.constant(1.0);
                    let decay = scaled(map, rate, self.weight_decay);
                    let keep = map.subtract(one, decay);
                    weight = map.multiply(weight, keep);
                } else if self.weight_decay != 0.0 {
                    let decay = scaled(map, weight, self.weight_decay);
                    gradient = map.add(gradient, decay);
                }
                let kept = scaled(map, loads[3], self.beta1);
                let new = scaled(map, gradient, 1.0 - self.beta1);
                let first_moment = map.add(kept, new);
                let kept = scaled(map, loads[4], self.beta2);
                // The factor comes first: the square alone would overflow or underflow sooner.
                let part = scaled(map, gradient, 1.0 - self.beta2);
                let new = map.multiply(part, gradient);
                let second_moment = map.add(kept, new);
                let mean = map.divide(first_moment, c1);
                let variance = map.divide(second_moment, c2);
                let root = map.unary(UnaryKind::Sqrt, variance);
                let epsilon = map.constant(self.epsilon);
                let denominator = map.add(root, epsilon);
                let scaled_mean = map.multiply(rate, mean);
                let step = map.divide(scaled_mean, denominator);
                let moved = map.subtract(weight, step);
                map.store(results[0].clone().plus(first, 1), 1, moved);
                map.store(results[1].clone().plus(first, 1), 1, first_moment);
                map.store(results[2].clone().plus(first, 1), 1, second_moment);
            },
            size,
        );
    }
}

impl Lower for Adaptive {
    fn memory(&self) -> MemoryRules {
        let over = (0..self.rule.states()).map(|state| (3 + state, 1 + state));
        let over = std::iter::once((0, 0)).chain(over).collect();
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over, bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let results: Vec<Address> = node.results.iter().map(|&value| lowering.address(value)).collect();
        let size = lowering.size(node.results[0]);
        // The learning rate is one number for all elements.
        let operands: Vec<_> = node
            .operands
            .iter()
            .enumerate()
            .map(|(place, &value)| (value, usize::from(place != 2)))
            .collect();
        let is_decoupled = matches!(self.rule, AdaptiveRule::Lion { .. });
        lowering.elementwise(
            node,
            &operands,
            |map, loads, first| {
                let (mut weight, mut gradient, rate) = (loads[0], loads[1], loads[2]);
                if self.weight_decay != 0.0 && is_decoupled {
                    let one = map.constant(1.0);
                    let decay = scaled(map, rate, self.weight_decay);
                    let keep = map.subtract(one, decay);
                    weight = map.multiply(weight, keep);
                } else if self.weight_decay != 0.0 {
                    let decay = scaled(map, weight, self.weight_decay);
                    gradient = map.add(gradient, decay);
                }
                let mut state = loads[3..].to_vec();
                let direction = adapted(map, &self.rule, gradient, &mut state);
                let step = map.multiply(rate, direction);
                let moved = map.subtract(weight, step);
                for (result, new) in results.iter().zip(std::iter::once(moved).chain(state)) {
                    map.store(result.clone().plus(first, 1), 1, new);
                }
            },
            size,
        );
    }
}

/// The direction of a step, and the new states.
fn adapted(map: &mut MapBuilder, rule: &AdaptiveRule, g: ExprId, state: &mut [ExprId]) -> ExprId {
    // The factor comes first: the square alone would overflow or underflow sooner.
    let mean_square = |map: &mut MapBuilder, old: ExprId, decay: f64, g: ExprId| {
        let kept = scaled(map, old, decay);
        let part = scaled(map, g, 1.0 - decay);
        let new = map.multiply(part, g);
        map.add(kept, new)
    };
    let mix = |map: &mut MapBuilder, old: ExprId, decay: f64, g: ExprId| {
        let kept = scaled(map, old, decay);
        let new = scaled(map, g, 1.0 - decay);
        map.add(kept, new)
    };
    match *rule {
        AdaptiveRule::RmsProp { alpha, epsilon, momentum, centered } => {
            state[0] = mean_square(map, state[0], alpha, g);
            let mut variance = state[0];
            if centered {
                let ahead = map.subtract(g, state[1]);
                let part = scaled(map, ahead, 1.0 - alpha);
                state[1] = map.add(state[1], part);
                let square = map.multiply(state[1], state[1]);
                variance = map.subtract(variance, square);
                let zero = map.constant(0.0);
                // Comparisons with NaN are false.
                let is_negative = map.expr(Expr::Less(variance, zero));
                variance = map.expr(Expr::Select(is_negative, zero, variance));
            }
            let root = map.unary(UnaryKind::Sqrt, variance);
            let epsilon = map.constant(epsilon);
            let denominator = map.add(root, epsilon);
            let direction = map.divide(g, denominator);
            if momentum == 0.0 {
                return direction;
            }
            let velocity = &mut state[1 + usize::from(centered)];
            let kept = scaled(map, *velocity, momentum);
            *velocity = map.add(kept, direction);
            *velocity
        }
        AdaptiveRule::Adagrad { epsilon } => {
            let square = map.multiply(g, g);
            state[0] = map.add(state[0], square);
            let root = map.unary(UnaryKind::Sqrt, state[0]);
            let epsilon = map.constant(epsilon);
            let denominator = map.add(root, epsilon);
            map.divide(g, denominator)
        }
        AdaptiveRule::Adadelta { rho, epsilon } => {
            state[0] = mean_square(map, state[0], rho, g);
            let epsilon = map.constant(epsilon);
            let [above, below] = [state[1], state[0]].map(|mean| {
                let inner = map.add(mean, epsilon);
                map.unary(UnaryKind::Sqrt, inner)
            });
            let ratio = map.divide(above, below);
            let direction = map.multiply(ratio, g);
            state[1] = mean_square(map, state[1], rho, direction);
            direction
        }
        AdaptiveRule::Lion { beta1, beta2 } => {
            let direction = mix(map, state[0], beta1, g);
            state[0] = mix(map, state[0], beta2, g);
            let [zero, one, minus] = [0.0, 1.0, -1.0].map(|number| map.constant(number));
            // Zero and NaN stay.
            let is_negative = map.expr(Expr::Less(direction, zero));
            let is_positive = map.expr(Expr::Less(zero, direction));
            let sign = map.expr(Expr::Select(is_negative, minus, direction));
            map.expr(Expr::Select(is_positive, one, sign))
        }
    }
}

/// Added to the norm, so that a zero gradient causes no division by zero.
const NORM_EPSILON: f64 = 1e-6;

impl Lower for ClipFactor {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::OfShape, results: Order::OfShape, over: Vec::new(), bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        let count = node.operands.len();
        let sums = Address::start(lowering.temporary("squares", Size::fixed(count)));
        for (index, &operand) in node.operands.iter().enumerate() {
            let mut draft = lowering.draft(node, "one thread").part("squares");
            let n = draft.var();
            let size = lowering.size(operand);
            let lanes = size.extent();
            let mut map = MapBuilder::new(lanes);
            let x = map.load(lowering.address(operand), 1);
            let square = map.multiply(x, x);
            let sum = map.fold_lanes(&[Reducer::Sum(square)])[0];
            map.store(sums.clone().offset(index), 0, sum);
            lowering.push(draft.finish(Split::Axes(vec![(n, Extent::Fixed(1))]), vec![map.finish()]));
        }
        let draft = lowering.draft(node, "one thread");
        let mut map = MapBuilder::new(Extent::Fixed(count));
        let x = map.load(sums, 1);
        let sum = map.fold_lanes(&[Reducer::Sum(x)])[0];
        let norm = map.unary(UnaryKind::Sqrt, sum);
        let epsilon = map.constant(NORM_EPSILON);
        let bound = map.constant(self.max_norm);
        let denominator = map.add(norm, epsilon);
        let ratio = map.divide(bound, denominator);
        let one = map.constant(1.0);
        let above = map.expr(Expr::Less(one, ratio));
        let factor = map.expr(Expr::Select(above, one, ratio));
        map.store(lowering.address(node.results[0]), 0, factor);
        map.store(lowering.address(node.results[1]), 0, norm);
        lowering.push(draft.finish(Split::Serial, vec![map.finish()]));
    }
}

impl Lower for ClipValue {
    fn memory(&self) -> MemoryRules {
        MemoryRules { operands: Order::Any, results: Order::Any, over: vec![(0, 0)], bytes: None }
    }

    fn lower(&self, lowering: &mut Lowering<'_>, node: &Node) {
        lowering.pointwise(node, &node.operands, &[], |map, x, _| {
            let [least, most] = [-self.max, self.max].map(|bound| map.constant(bound));
            // Comparisons with NaN are false.
            let is_below = map.expr(Expr::Less(x[0], least));
            let raised = map.expr(Expr::Select(is_below, least, x[0]));
            let is_above = map.expr(Expr::Less(most, raised));
            map.expr(Expr::Select(is_above, most, raised))
        });
    }
}
