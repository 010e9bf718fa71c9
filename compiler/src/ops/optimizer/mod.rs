//! Optimiser updates as operators: they compute new values from a parameter, its gradient and the optimiser's state.

mod adaptive;
#[cfg(feature = "codegen")]
pub(crate) mod fused;
mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use serde::{Deserialize, Serialize};

pub use self::adaptive::{Adaptive, AdaptiveRule};

use super::facts::{Facts, Reach, Role, never_rewritten};
use super::{Cost, Operator, expect_arity, expect_float, expect_type};
use crate::error::ShapeError;
use crate::shape::{Shape, Type};

/// Stochastic gradient descent, like PyTorch's `SGD`: operands `parameter`, `gradient`, `learning_rate` (a scalar) and,
/// with momentum, `velocity`; results the new parameter and, with momentum, the new velocity.
///
/// `d = g + weight_decay·w;  v ← momentum·v + d;  d ← d + momentum·v (Nesterov) or v;  w ← w − learning_rate·d`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sgd {
    /// Weight of the old velocity; 0 disables momentum.
    pub momentum: f64,
    /// Whether to use Nesterov's accelerated gradient.
    pub nesterov: bool,
    /// L2 penalty.
    pub weight_decay: f64,
}

/// Adam (Kingma and Ba 2015, arXiv:1412.6980) or, if `decoupled`, AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101):
/// operands `parameter`, `gradient`, `learning_rate` (a scalar), `correction` (`[2]`: `1 − β₁ᵗ`, `1 − β₂ᵗ`), first and
/// second moment; results the new parameter and the new moments.
///
/// `m ← β₁m + (1−β₁)g;  v ← β₂v + (1−β₂)g²;  w ← w − learning_rate · (m/c₁) / (√(v/c₂) + ε)`. Weight decay adds
/// `weight_decay·w` to `g` or, if decoupled, first scales `w` by `1 − learning_rate·weight_decay`. The factors `1−β`
/// are rounded once to the element type.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether weight decay scales the parameter directly (AdamW).
    pub decoupled: bool,
}

/// The factor that limits the global norm of all operands: results `min(1, max_norm / (norm + 1e-6))` and the norm
/// `√Σ‖gᵢ‖²` (like PyTorch's `clip_grad_norm_`). If the norm is NaN, the factor is NaN.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipFactor {
    /// The maximum norm.
    pub max_norm: f64,
}

/// The operand with every element limited to `−max … max` (like PyTorch's `clip_grad_value_`); NaN stays NaN.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipValue {
    /// The maximum magnitude.
    pub max: f64,
}

fn in_range(argument: &'static str, value: f64, ok: bool, range: &'static str) -> Result<(), ShapeError> {
    if ok { Ok(()) } else { Err(ShapeError::NumberOutOfRange { argument, value, range }) }
}

fn check_step(operands: &[Type]) -> Result<(), ShapeError> {
    let parameter = &operands[0];
    expect_float("parameter", parameter)?;
    expect_type("gradient", &operands[1], parameter)?;
    expect_type("learning rate", &operands[2], &Type::f32(Shape::scalar()))
}

never_rewritten!(Sgd, Adam, Adaptive, ClipFactor, ClipValue);

impl Operator for Sgd {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        let has_velocity = self.momentum != 0.0;
        expect_arity(operands, if has_velocity { 4 } else { 3 })?;
        in_range("momentum", self.momentum, (0.0..1.0).contains(&self.momentum), "at least 0 and below 1")?;
        in_range(
            "weight_decay",
            self.weight_decay,
            self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
            "at least 0",
        )?;
        in_range("momentum", self.momentum, !self.nesterov || has_velocity, "above 0 for Nesterov")?;
        check_step(operands)?;
        if has_velocity {
            expect_type("velocity", &operands[3], &operands[0])?;
            return Ok(vec![operands[0].clone(), operands[0].clone()]);
        }
        Ok(vec![operands[0].clone()])
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Everywhere, indices: None }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        Cost::elementwise(&operands[0], 6)
    }
}

impl Operator for Adam {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 6)?;
        in_range("beta1", self.beta1, (0.0..1.0).contains(&self.beta1), "at least 0 and below 1")?;
        in_range("beta2", self.beta2, (0.0..1.0).contains(&self.beta2), "at least 0 and below 1")?;
        in_range("epsilon", self.epsilon, self.epsilon > 0.0 && self.epsilon.is_finite(), "above 0")?;
        in_range(
            "weight_decay",
            self.weight_decay,
            self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
            "at least 0",
        )?;
        check_step(operands)?;
        expect_type("correction", &operands[3], &Type::f32(Shape::fixed(&[2])))?;
        expect_type("first moment", &operands[4], &operands[0])?;
        expect_type("second moment", &operands[5], &operands[0])?;
        Ok(vec![operands[0].clone(); 3])
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Everywhere, indices: None }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        Cost::elementwise(&operands[0], 14)
    }
}

impl Operator for ClipFactor {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        if operands.is_empty() {
            return Err(ShapeError::Arity { expected: "at least 1".to_owned(), got: 0 });
        }
        in_range("max_norm", self.max_norm, self.max_norm > 0.0 && self.max_norm.is_finite(), "above 0")?;
        for operand in operands {
            expect_float("gradient", operand)?;
        }
        Ok(vec![Type::f32(Shape::scalar()); 2])
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Everywhere, indices: None }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        operands.iter().fold(Cost::default(), |cost, ty| cost.plus(&Cost::elementwise(ty, 2)))
    }
}

impl Operator for ClipValue {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        in_range("max", self.max, self.max > 0.0 && self.max.is_finite(), "above 0")?;
        expect_float("gradient", &operands[0])?;
        Ok(operands.to_vec())
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Place, indices: None }
    }

    fn cost(&self, _: &[Type], results: &[Type]) -> Cost {
        Cost::elementwise(&results[0], 2)
    }
}
