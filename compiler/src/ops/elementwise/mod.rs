//! Functions of one element, of two elements at the same position, and of an element and a value of its channel.

#[cfg(feature = "codegen")]
mod lower;

mod gradient;
mod reference;

pub(crate) use reference::along_axis;
use serde::{Deserialize, Serialize};

use super::epilogue::EpilogueStep;
use super::facts::{Elementwise, Facts, Reach, Role, Rows, never_rewritten};
use super::{Cost, Operator, expect_arity, expect_channels, expect_float, expect_sequences, expect_type};
use crate::error::ShapeError;
pub use crate::functions::{Activation, Number, UnaryKind};
use crate::shape::{Shape, Type};

/// A function of two elements. The `…Grad` kinds take the incoming gradient `g` first and second, unless
/// stated otherwise, the **result** `y` of the activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BinaryKind {
    /// `a + b`.
    Add,
    /// `a − b`.
    Subtract,
    /// `a · b`.
    Multiply,
    /// `a / b`.
    Divide,
    /// The larger of `a` and `b`: `a` if they are equal, NaN if one is.
    Maximum,
    /// The smaller of `a` and `b`: `a` if they are equal, NaN if one is.
    Minimum,
    /// 1 if `a ≤ b`, else 0; 0 if one is NaN.
    AtMost,
    /// 0 if `y ≤ 0`, else `g`. The result is `g` also if `y` is NaN, so that a NaN reaches the parameters before a
    /// ReLU.
    ReluGrad,
    /// `g · y · (1 − y)`.
    SigmoidGrad,
    /// `g · (1 − y²)`.
    TanhGrad,
    /// `g` times the slope of an activation. The second operand is the activation's result or its operand: see
    /// [`Activation::slope_takes_result`].
    ActivationGrad(Activation),
}

impl BinaryKind {
    /// Every kind except gradients of activations.
    pub const PLAIN: [BinaryKind; 10] = [
        BinaryKind::Add,
        BinaryKind::Subtract,
        BinaryKind::Multiply,
        BinaryKind::Divide,
        BinaryKind::Maximum,
        BinaryKind::Minimum,
        BinaryKind::AtMost,
        BinaryKind::ReluGrad,
        BinaryKind::SigmoidGrad,
        BinaryKind::TanhGrad,
    ];

    /// Every kind; activations with parameters have usual ones.
    pub const ALL: [BinaryKind; Self::PLAIN.len() + Activation::ALL.len()] = {
        let mut all = [BinaryKind::Add; Self::PLAIN.len() + Activation::ALL.len()];
        let mut index = 0;
        while index < all.len() {
            all[index] = match index.checked_sub(Self::PLAIN.len()) {
                None => Self::PLAIN[index],
                Some(index) => BinaryKind::ActivationGrad(Activation::ALL[index]),
            };
            index += 1;
        }
        all
    };

    /// The second operand that leaves every bit of the first unchanged; `None` if there is none.
    pub fn neutral(self) -> Option<f32> {
        match self {
            BinaryKind::Add => Some(-0.0),
            BinaryKind::Subtract => Some(0.0),
            BinaryKind::Multiply | BinaryKind::Divide => Some(1.0),
            BinaryKind::Maximum
            | BinaryKind::Minimum
            | BinaryKind::AtMost
            | BinaryKind::ReluGrad
            | BinaryKind::SigmoidGrad
            | BinaryKind::TanhGrad
            | BinaryKind::ActivationGrad(_) => None,
        }
    }
}

impl UnaryKind {
    /// For an activation: the kind that multiplies an incoming gradient by its slope, and whether that takes the
    /// activation's result instead of its operand. `None` for functions that are not activations.
    pub fn gradient(self) -> Option<(BinaryKind, bool)> {
        match self {
            UnaryKind::Relu => Some((BinaryKind::ReluGrad, true)),
            UnaryKind::Sigmoid => Some((BinaryKind::SigmoidGrad, true)),
            UnaryKind::Tanh => Some((BinaryKind::TanhGrad, true)),
            UnaryKind::Activation(activation) => {
                Some((BinaryKind::ActivationGrad(activation), activation.slope_takes_result()))
            }
            UnaryKind::Exp
            | UnaryKind::Log
            | UnaryKind::Sqrt
            | UnaryKind::Rsqrt
            | UnaryKind::Negate
            | UnaryKind::Square => None,
        }
    }
}

/// A function of each element: operand `x`, result of the same type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unary {
    /// The function.
    pub kind: UnaryKind,
}

/// A function of two elements at the same position: operands `a` and `b` of the same shape; `b` may also be a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Binary {
    /// The function.
    pub kind: BinaryKind,
}

/// Adds one value per channel: operands `x` `[N, C, …]` and `bias` `[C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bias {}

/// Multiplies by one value per index of some neighbouring axes: operands `x`, and `scale` with these axes. `[C]` scales
/// channels, `[N, C]` the channels of each sample, `[H, W]` pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Scale {
    /// The first axis; the batch axis (if any) is axis 0.
    pub axis: usize,
    /// The number of axes.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: usize,
}

fn one() -> usize {
    1
}

fn is_one(count: &usize) -> bool {
    *count == 1
}

impl Scale {
    /// Multiplies by one value per index of an axis.
    pub const fn along(axis: usize) -> Self {
        Scale { axis, count: 1 }
    }
}

/// Sums over all axes except the channel axis: `[N, C, …]` to `[C]`. The gradient of [`Bias`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SumChannels {}

never_rewritten!(Unary, Binary, Bias, Scale, SumChannels);

impl Operator for Unary {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        expect_float("input", &operands[0])?;
        self.kind.check()?;
        Ok(vec![operands[0].clone()])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        let step = EpilogueStep::activation(self.kind);
        let role = Role::Elementwise(Elementwise { step, neutral: None, in_any_shape: true });
        Facts { role, reach: Reach::Place, indices: None }
    }

    fn rows(&self) -> Rows {
        Rows::Apart
    }

    fn cost(&self, _: &[Type], results: &[Type]) -> Cost {
        Cost::elementwise(&results[0], self.kind.flops())
    }
}

impl Operator for Binary {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        expect_float("first operand", &operands[0])?;
        expect_float("second operand", &operands[1])?;
        if let BinaryKind::ActivationGrad(activation) = self.kind {
            activation.check()?;
        }
        if operands[1].shape != operands[0].shape && operands[1].shape != Shape::scalar() {
            return Err(ShapeError::UnequalShapes {
                left: operands[0].shape.clone(),
                right: operands[1].shape.clone(),
            });
        }
        Ok(vec![operands[0].clone()])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        let step = (self.kind == BinaryKind::Add).then_some(EpilogueStep::Add);
        let neutral = self.kind.neutral();
        let role = Role::Elementwise(Elementwise { step, neutral, in_any_shape: true });
        Facts { role, reach: Reach::Place, indices: None }
    }

    fn rows(&self) -> Rows {
        Rows::Apart
    }

    fn cost(&self, _: &[Type], results: &[Type]) -> Cost {
        let per_element = match self.kind {
            BinaryKind::Add | BinaryKind::Subtract | BinaryKind::Multiply | BinaryKind::Divide => 1,
            BinaryKind::ReluGrad | BinaryKind::Maximum | BinaryKind::Minimum | BinaryKind::AtMost => 1,
            BinaryKind::SigmoidGrad | BinaryKind::TanhGrad => 3,
            BinaryKind::ActivationGrad(activation) => 1 + activation.flops(),
        };
        Cost::elementwise(&results[0], per_element)
    }
}

impl Operator for Bias {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        expect_float("input", &operands[0])?;
        expect_sequences(operands)?;
        let channels = expect_channels(&operands[0])?;
        expect_type("bias", &operands[1], &Type::f32(Shape::fixed(&[channels])))?;
        Ok(vec![operands[0].clone()])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        let role = Role::Elementwise(Elementwise {
            step: Some(EpilogueStep::Bias),
            neutral: Some(-0.0),
            in_any_shape: false,
        });
        Facts { role, reach: Reach::Place, indices: None }
    }

    fn rows(&self) -> Rows {
        Rows::Apart
    }

    fn cost(&self, _: &[Type], results: &[Type]) -> Cost {
        Cost::elementwise(&results[0], 1)
    }
}

impl Operator for Scale {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        expect_float("input", &operands[0])?;
        expect_sequences(operands)?;
        let shape = &operands[0].shape;
        let axes = shape.dims().get(self.axis..self.axis.saturating_add(self.count));
        // The axes of steps have no factors of their own.
        let axes = axes.filter(|_| !shape.has_open_item() || self.axis + self.count <= 2);
        // One value for each sample, or for each channel of a sample.
        let has_batch = shape.is_batched() && self.axis == 0;
        match axes {
            Some(axes) if self.count > 0 && !(has_batch && self.count > 2) => {
                expect_type("scale", &operands[1], &Type::f32(Shape::new(axes)))?;
            }
            _ => {
                let axis = self.axis.saturating_add(self.count).saturating_sub(1);
                return Err(ShapeError::Axis { axis, shape: shape.clone() });
            }
        }
        Ok(vec![operands[0].clone()])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        let role = Role::Elementwise(Elementwise { step: None, neutral: Some(1.0), in_any_shape: false });
        Facts { role, reach: Reach::Place, indices: None }
    }

    fn rows(&self) -> Rows {
        if self.axis == 0 { Rows::Mixed } else { Rows::Apart }
    }

    fn cost(&self, _: &[Type], results: &[Type]) -> Cost {
        Cost::elementwise(&results[0], 1)
    }
}

impl Operator for SumChannels {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        expect_float("input", &operands[0])?;
        expect_sequences(operands)?;
        let channels = expect_channels(&operands[0])?;
        Ok(vec![Type::f32(Shape::fixed(&[channels]))])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Everywhere, indices: None }
    }

    fn rows(&self) -> Rows {
        Rows::Summed
    }

    fn cost(&self, operands: &[Type], _: &[Type]) -> Cost {
        Cost::elementwise(&operands[0], 1)
    }
}
