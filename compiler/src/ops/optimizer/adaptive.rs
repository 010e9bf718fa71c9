//! Optimisers that scale each element of the gradient by what they remember of it: RMSprop, Adagrad, Adadelta, Lion.

use serde::{Deserialize, Serialize};

use super::{Facts, Reach, Role, check_step, in_range};
use crate::error::ShapeError;
use crate::ops::{Cost, Operator, expect_arity, expect_type};
use crate::shape::Type;

/// One step of an optimiser that scales each element of the gradient: operands `parameter`, `gradient`, `learning_rate` (a
/// scalar) and the states of its rule; results the new parameter and the new states.
///
/// Weight decay adds `weight_decay·w` to the gradient; with Lion it first scales `w` by `1 − learning_rate·weight_decay`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adaptive {
    /// How the gradient is scaled.
    pub rule: AdaptiveRule,
    /// Weight decay.
    pub weight_decay: f64,
}

/// How a gradient `g` is scaled. Factors like `1 − alpha` are rounded once to the element type.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdaptiveRule {
    /// RMSprop (Hinton, Srivastava and Swersky 2012), like PyTorch's `RMSprop`: states `v`; `a`, if centered; and the
    /// velocity `b`, with momentum.
    ///
    /// `v ← alpha·v + (1−alpha)g²;  d ← g / (√v + epsilon);  b ← momentum·b + d;  w ← w − learning_rate·b`. If centered,
    /// `a ← a + (1−alpha)(g − a)`, and the root is that of `v − a²`, or of 0 where rounding makes it negative.
    RmsProp {
        /// Decay of the mean of squares.
        alpha: f64,
        /// Added to the denominator.
        epsilon: f64,
        /// Weight of the old velocity; 0 disables it.
        momentum: f64,
        /// Whether the variance of the gradient replaces its mean square.
        centered: bool,
    },
    /// Adagrad (Duchi, Hazan and Singer 2011), like PyTorch's `Adagrad`: the state `s`.
    ///
    /// `s ← s + g²;  w ← w − learning_rate · g / (√s + epsilon)`.
    Adagrad {
        /// Added to the denominator.
        epsilon: f64,
    },
    /// Adadelta (Zeiler 2012, arXiv:1212.5701), like PyTorch's `Adadelta`: the states `v` and `u`.
    ///
    /// `v ← rho·v + (1−rho)g²;  d ← √(u + epsilon) / √(v + epsilon) · g;  u ← rho·u + (1−rho)d²;  w ← w −
    /// learning_rate·d`.
    Adadelta {
        /// Decay of both means of squares.
        rho: f64,
        /// Added below both roots.
        epsilon: f64,
    },
    /// Lion (Chen and others 2023, arXiv:2302.06675): the state `m`.
    ///
    /// `w ← w − learning_rate·sign(beta1·m + (1−beta1)g);  m ← beta2·m + (1−beta2)g`. The sign of 0 is 0, and that of
    /// NaN is NaN.
    Lion {
        /// Weight of the old moment in the direction.
        beta1: f64,
        /// Decay of the moment.
        beta2: f64,
    },
}

impl AdaptiveRule {
    /// The number of states.
    pub const fn states(&self) -> usize {
        match self {
            AdaptiveRule::RmsProp { momentum, centered, .. } => {
                1 + *centered as usize + (*momentum != 0.0) as usize
            }
            AdaptiveRule::Adagrad { .. } | AdaptiveRule::Lion { .. } => 1,
            AdaptiveRule::Adadelta { .. } => 2,
        }
    }

    /// The names of its shares, which are at least 0 and below 1, and its epsilon.
    fn settings(&self) -> (Vec<(&'static str, f64)>, Option<f64>) {
        match *self {
            AdaptiveRule::RmsProp { alpha, epsilon, momentum, .. } => {
                (vec![("alpha", alpha), ("momentum", momentum)], Some(epsilon))
            }
            AdaptiveRule::Adagrad { epsilon } => (vec![], Some(epsilon)),
            AdaptiveRule::Adadelta { rho, epsilon } => (vec![("rho", rho)], Some(epsilon)),
            AdaptiveRule::Lion { beta1, beta2 } => (vec![("beta1", beta1), ("beta2", beta2)], None),
        }
    }
}

impl Operator for Adaptive {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        let states = self.rule.states();
        expect_arity(operands, 3 + states)?;
        let (shares, epsilon) = self.rule.settings();
        for (name, share) in shares {
            in_range(name, share, (0.0..1.0).contains(&share), "at least 0 and below 1")?;
        }
        if let Some(epsilon) = epsilon {
            in_range("epsilon", epsilon, epsilon > 0.0 && epsilon.is_finite(), "above 0")?;
        }
        let is_penalty = self.weight_decay >= 0.0 && self.weight_decay.is_finite();
        in_range("weight_decay", self.weight_decay, is_penalty, "at least 0")?;
        check_step(operands)?;
        for state in &operands[3..] {
            expect_type("state", state, &operands[0])?;
        }
        Ok(vec![operands[0].clone(); 1 + states])
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Everywhere, indices: None }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        Cost::elementwise(&operands[0], 12)
    }
}
