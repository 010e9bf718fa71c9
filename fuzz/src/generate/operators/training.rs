//! Generators of optimisers.

use windlass_compiler::entity::ValueId;
use windlass_compiler::ops::optimizer::{Adam, Adaptive, AdaptiveRule, Sgd};
use windlass_compiler::shape::{Shape, Type};

use super::super::sizes::pick;
use super::super::sketch::Sketch;
use super::{scalar, vector};

pub(super) fn sgd(s: &mut Sketch<'_>) {
    let parameter = match s.chance(4) {
        true => s.floats(),
        false => {
            let sizes = s.fixed_sizes();
            s.source(&Type::f32(Shape::fixed(&sizes)), false)
        }
    };
    let ty = s.ty(parameter);
    let momentum = pick(s.numbers, &[0.0, 0.0, 0.5, 0.9]);
    let op = Sgd {
        momentum,
        nesterov: momentum > 0.0 && s.numbers.bool(),
        weight_decay: pick(s.numbers, &[0.0, 0.25, 0.1]),
    };
    let mut operands = vec![parameter, s.of_type(&ty), learning_rate(s)];
    if momentum > 0.0 {
        operands.push(s.of_type(&ty));
    }
    s.op(op, &operands);
}

pub(super) fn adam(s: &mut Sketch<'_>) {
    let sizes = s.fixed_sizes();
    let ty = Type::f32(Shape::fixed(&sizes));
    let op = Adam {
        beta1: pick(s.numbers, &[0.0, 0.5, 0.9]),
        beta2: pick(s.numbers, &[0.0, 0.99, 0.999]),
        epsilon: pick(s.numbers, &[1e-3, 1e-8]),
        weight_decay: pick(s.numbers, &[0.0, 0.01]),
        decoupled: s.numbers.bool(),
    };
    let (parameter, gradient) = (s.source(&ty, false), s.of_type(&ty));
    let correction = s.source(&vector(2), true);
    let (first, second) = (s.of_type(&ty), s.source(&ty, true));
    let rate = learning_rate(s);
    s.op(op, &[parameter, gradient, rate, correction, first, second]);
}

pub(super) fn adaptive(s: &mut Sketch<'_>) {
    let sizes = s.fixed_sizes();
    let ty = Type::f32(Shape::fixed(&sizes));
    let share = |s: &mut Sketch<'_>| pick(s.numbers, &[0.0, 0.5, 0.9, 0.99]);
    let epsilon = pick(s.numbers, &[1e-3, 1e-6, 1e-8]);
    let rule = match s.numbers.usize(0..4) {
        0 => AdaptiveRule::RmsProp {
            alpha: share(s),
            epsilon,
            momentum: pick(s.numbers, &[0.0, 0.0, 0.9]),
            centered: s.numbers.bool(),
        },
        1 => AdaptiveRule::Adagrad { epsilon },
        2 => AdaptiveRule::Adadelta { rho: share(s), epsilon },
        _ => AdaptiveRule::Lion { beta1: share(s), beta2: share(s) },
    };
    let op = Adaptive { rule, weight_decay: pick(s.numbers, &[0.0, 0.0, 0.01]) };
    let (parameter, gradient, rate) = (s.source(&ty, false), s.of_type(&ty), learning_rate(s));
    let mut operands = vec![parameter, gradient, rate];
    for state in 0..rule.states() {
        // Means of squares are positive; centred means and moments have any sign.
        let is_mean = !matches!(rule, AdaptiveRule::Lion { .. })
            && (state == 0 || matches!(rule, AdaptiveRule::Adadelta { .. }));
        operands.push(s.source(&ty, is_mean));
    }
    s.op(op, &operands);
}

fn learning_rate(s: &mut Sketch<'_>) -> ValueId {
    if s.chance(4) { s.of_type(&scalar()) } else { s.source(&scalar(), true) }
}
