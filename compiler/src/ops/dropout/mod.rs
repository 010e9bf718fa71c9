//! Dropout (Srivastava et al. 2014) with masks from a counter-based generator. The same seed, step and element give the
//! same decision in the interpreter, in compiled code and in the gradient, so no mask is stored.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;
pub mod threefry;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::epilogue::EpilogueStep;
use super::facts::{Elementwise, Facts, InTraining, Reach, Rewrite, Role, never_rewritten};
use super::{Cost, Operator, expect_arity, expect_float, expect_type};
use crate::error::ShapeError;
use crate::shape::{Shape, Sizes, Type};

/// Dropout as declared; the identity at inference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dropout {
    /// The probability that an element becomes zero, at least 0 and below 1.
    pub rate: f64,
}

/// Dropout in training: operands `x` and `seed` (`i32[2]`: the seed and the step number); the result is
/// `x · (1 / (1 − rate))` if the mask keeps the element, with the factor rounded once to the element type, else 0. The
/// mask of element `i`, its flat index in the batch modulo 2³², is word 0 of Threefry-2x32-20 (Salmon et al. 2011) with
/// key `(seed, stream)` and counter `(i, step)`. An element is kept if that word is at least `rate · 2³²`.
///
/// Its gradient is the same operator with the same stream, applied to the incoming gradient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropoutTraining {
    /// The probability that an element becomes zero.
    pub rate: f64,
    /// Distinguishes the dropout layers of a network.
    pub stream: u32,
}

fn check_rate(rate: f64) -> Result<(), ShapeError> {
    if (0.0..1.0).contains(&rate) {
        Ok(())
    } else {
        Err(ShapeError::NumberOutOfRange { argument: "rate", value: rate, range: "at least 0 and below 1" })
    }
}

impl DropoutTraining {
    /// Elements whose word is below this are dropped.
    pub fn threshold(&self) -> u32 {
        // The cast saturates, and the product is below 2^32 because the rate is below 1.
        (self.rate * 4_294_967_296.0) as u32
    }
}

impl Rewrite for Dropout {
    fn epilogue(&self) -> Option<&[EpilogueStep]> {
        None
    }

    fn epilogue_mut(&mut self) -> Option<&mut Vec<EpilogueStep>> {
        None
    }

    fn at(&self, _: &Sizes) -> Cow<'_, Self> {
        Cow::Borrowed(self)
    }

    fn in_training(&self, stream: u32) -> Option<InTraining> {
        let op = DropoutTraining { rate: self.rate, stream }.into();
        Some(InTraining { op, is_random: true, updates: &[] })
    }
}

never_rewritten!(DropoutTraining);

impl Operator for Dropout {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        check_rate(self.rate)?;
        expect_float("input", &operands[0])?;
        Ok(vec![operands[0].clone()])
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Identity, reach: Reach::Place, indices: None }
    }

    fn cost(&self, _: &[Type], _: &[Type]) -> Cost {
        Cost::default()
    }
}

impl Operator for DropoutTraining {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 2)?;
        check_rate(self.rate)?;
        expect_float("input", &operands[0])?;
        expect_type("seed", &operands[1], &Type::i32(Shape::fixed(&[2])))?;
        Ok(vec![operands[0].clone()])
    }

    fn takes_open_items(&self) -> bool {
        false
    }

    fn facts(&self) -> Facts<'_> {
        let role = Role::Elementwise(Elementwise { step: None, neutral: None, in_any_shape: false });
        Facts { role, reach: Reach::Place, indices: None }
    }

    fn cost(&self, _: &[Type], results: &[Type]) -> Cost {
        Cost::elementwise(&results[0], 1)
    }
}
