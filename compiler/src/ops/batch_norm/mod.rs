//! Batch normalisation (Ioffe and Szegedy 2015, arXiv:1502.03167) over the channel axis.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::elementwise::{BinaryKind, UnaryKind};
use super::epilogue::EpilogueStep;
use super::facts::{Elementwise, Facts, InTraining, Reach, Rewrite, Role, never_rewritten, takes_epilogue};
use super::{Cost, Operator, expect_arity, expect_channels, expect_float, expect_sequences, expect_type};
use crate::error::ShapeError;
use crate::shape::{Shape, Sizes, Type};

/// Normalisation with running statistics, for inference: operands `x` `[N, C, …]`, `gamma`, `beta`, `running_mean`,
/// `running_variance` (each `[C]`), then one for each epilogue step that takes an operand; result
/// `(x − mean) · (1/√(variance + ε)) · γ + β`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchNorm {
    /// Added to the variance.
    pub epsilon: f64,
    /// Weight of the newest batch in the running statistics.
    pub momentum: f64,
    /// Steps fused into the normalisation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epilogue: Vec<EpilogueStep>,
}

/// Normalisation with the statistics of the batch: operands like [`BatchNorm`]; results `y`, the batch's mean `[C]`,
/// its `1/√(variance + ε)` `[C]`, and the new running mean and variance (the unbiased variance, as in PyTorch).
///
/// `y = (x − mean) · (1/√(variance + ε)) · γ + β` uses the biased variance. A running statistic becomes
/// `(1 − momentum) · old + momentum · new`, with both factors rounded once to the element type. A channel with a single
/// element has no unbiased variance; 0 is used instead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchNormTraining {
    /// Added to the variance.
    pub epsilon: f64,
    /// Weight of the newest batch in the running statistics.
    pub momentum: f64,
    /// Steps fused into the normalisation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub epilogue: Vec<EpilogueStep>,
}

/// Gradient of [`BatchNormTraining`]: operands `g`, `x`, `gamma`, the batch's mean and inverse deviation; results the
/// gradients with respect to `x`, `gamma` and `beta`.
///
/// With an activation, `g` is the gradient to the activation of the normalised values, for which `beta` is a sixth
/// operand: they are computed again, with the same bits, and `g` is multiplied by the slope there.
///
/// With `x̂ = (x − mean) · (1/√(variance + ε))` over the `M` elements of a channel, the gradients are `Σ g` for beta,
/// `Σ g·x̂` for gamma, and `γ/√(variance + ε) · (g − Σ g / M − x̂ · Σ g·x̂ / M)` for x.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BatchNormGrad {
    /// The activation after the normalisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation: Option<UnaryKind>,
}

fn check(
    epsilon: f64,
    momentum: f64,
    epilogue: &[EpilogueStep],
    operands: &[Type],
) -> Result<Type, ShapeError> {
    if epilogue.is_empty() || operands.len() < 5 {
        expect_arity(operands, 5)?;
    }
    if !(epsilon > 0.0 && epsilon.is_finite()) {
        return Err(ShapeError::NumberOutOfRange { argument: "epsilon", value: epsilon, range: "above 0" });
    }
    if !(0.0..=1.0).contains(&momentum) {
        return Err(ShapeError::NumberOutOfRange {
            argument: "momentum",
            value: momentum,
            range: "between 0 and 1",
        });
    }
    expect_float("input", &operands[0])?;
    expect_sequences(operands)?;
    let vector = Type::f32(Shape::fixed(&[expect_channels(&operands[0])?]));
    for (operand, name) in operands[1..].iter().zip(["gamma", "beta", "running mean", "running variance"]) {
        expect_type(name, operand, &vector)?;
    }
    EpilogueStep::check_all(epilogue, &operands[5..], &operands[0])?;
    Ok(vector)
}

impl BatchNormGrad {
    /// The kind of the activation's gradient, if there is one, and whether it takes the activation's result.
    ///
    /// # Errors
    /// [`ShapeError::NotAnActivation`].
    fn slope(&self) -> Result<Option<(BinaryKind, bool)>, ShapeError> {
        let slope = |kind: UnaryKind| kind.gradient().ok_or(ShapeError::NotAnActivation { kind });
        self.activation.map(slope).transpose()
    }
}

impl Rewrite for BatchNorm {
    fn epilogue(&self) -> Option<&[EpilogueStep]> {
        Some(&self.epilogue)
    }

    fn epilogue_mut(&mut self) -> Option<&mut Vec<EpilogueStep>> {
        Some(&mut self.epilogue)
    }

    fn at(&self, _: &Sizes) -> Cow<'_, Self> {
        Cow::Borrowed(self)
    }

    fn in_training(&self, _: u32) -> Option<InTraining> {
        let BatchNorm { epsilon, momentum, epilogue } = self.clone();
        let op = BatchNormTraining { epsilon, momentum, epilogue }.into();
        Some(InTraining { op, is_random: false, updates: &[(3, 3), (4, 4)] })
    }
}

never_rewritten!(BatchNormGrad);
takes_epilogue!(BatchNormTraining);

impl Operator for BatchNorm {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        check(self.epsilon, self.momentum, &self.epilogue, operands)?;
        Ok(vec![operands[0].clone()])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        let role = Role::Elementwise(Elementwise { step: None, neutral: None, in_any_shape: false });
        Facts { role, reach: Reach::Place, indices: None }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        Cost::elementwise(&operands[0], 2 + EpilogueStep::flops(&self.epilogue))
    }
}

impl Operator for BatchNormTraining {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        let vector = check(self.epsilon, self.momentum, &self.epilogue, operands)?;
        Ok(vec![operands[0].clone(), vector.clone(), vector.clone(), vector.clone(), vector])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Place, indices: None }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        Cost::elementwise(&operands[0], 7 + EpilogueStep::flops(&self.epilogue))
    }
}

impl Operator for BatchNormGrad {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, if self.activation.is_some() { 6 } else { 5 })?;
        if let Some(kind) = self.activation {
            kind.check()?;
            self.slope()?;
        }
        expect_float("gradient", &operands[0])?;
        expect_sequences(operands)?;
        let vector = Type::f32(Shape::fixed(&[expect_channels(&operands[0])?]));
        expect_type("input", &operands[1], &operands[0])?;
        for (operand, name) in operands[2..].iter().zip(["gamma", "mean", "inverse deviation", "beta"]) {
            expect_type(name, operand, &vector)?;
        }
        Ok(vec![operands[0].clone(), vector.clone(), vector])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Everywhere, indices: None }
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        Cost::elementwise(&operands[0], 9 + self.activation.map_or(0, |kind| 3 + 2 * kind.flops()))
    }
}
