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
use super::{Cost, Operator, expect_arity, expect_channels, expect_float, expect_type};
use crate::error::ShapeError;
use crate::shape::{Shape, Sizes, Type};

/// What a mask keeps or drops as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskUnit {
    /// Single elements.
    #[default]
    Element,
    /// Channels of a sample (Tompson et al. 2015, arXiv:1411.4280).
    Channel,
    /// Whole samples: stochastic depth (Huang et al. 2016, arXiv:1603.09382).
    Sample,
}

impl MaskUnit {
    /// Every unit.
    pub const ALL: [MaskUnit; 3] = [MaskUnit::Element, MaskUnit::Channel, MaskUnit::Sample];

    fn is_default(&self) -> bool {
        *self == MaskUnit::default()
    }

    /// The number of neighbouring elements that the mask keeps or drops as a whole.
    fn elements(self, sizes: &[usize]) -> usize {
        let axes = match self {
            MaskUnit::Element => return 1,
            MaskUnit::Channel => 2,
            MaskUnit::Sample => 1,
        };
        sizes.get(axes..).map_or(1, |sizes| sizes.iter().product())
    }
}

/// Dropout as declared; the identity at inference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dropout {
    /// The probability that an element becomes zero, at least 0 and below 1.
    pub rate: f64,
    /// What is dropped as a whole.
    #[serde(default, skip_serializing_if = "MaskUnit::is_default")]
    pub unit: MaskUnit,
}

impl Dropout {
    /// Drops single elements.
    pub fn new(rate: f64) -> Self {
        Dropout { rate, unit: MaskUnit::Element }
    }
}

/// Dropout in training: operands `x` and `seed` (`i32[2]`: the seed and the step number); the result is
/// `x · (1 / (1 − rate))` if the mask keeps the element, with the factor rounded once to the element type, else 0. The
/// mask of unit `i`, its flat index in the batch modulo 2³², is word 0 of Threefry-2x32-20 (Salmon et al. 2011) with
/// key `(seed, stream)` and counter `(i, step)`. An element is kept if that word is at least `rate · 2³²`.
///
/// Its gradient is the same operator with the same stream, applied to the incoming gradient.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropoutTraining {
    /// The probability that an element becomes zero.
    pub rate: f64,
    /// Distinguishes the dropout layers of a network.
    pub stream: u32,
    /// What is dropped as a whole.
    #[serde(default, skip_serializing_if = "MaskUnit::is_default")]
    pub unit: MaskUnit,
}

impl DropoutTraining {
    /// Drops single elements.
    pub fn new(rate: f64, stream: u32) -> Self {
        DropoutTraining { rate, stream, unit: MaskUnit::Element }
    }
}

fn check_rate(rate: f64) -> Result<(), ShapeError> {
    if (0.0..1.0).contains(&rate) {
        Ok(())
    } else {
        Err(ShapeError::NumberOutOfRange { argument: "rate", value: rate, range: "at least 0 and below 1" })
    }
}

/// Channels and samples are those of a batch.
fn check_unit(unit: MaskUnit, x: &Type) -> Result<(), ShapeError> {
    match unit {
        MaskUnit::Element => Ok(()),
        MaskUnit::Channel | MaskUnit::Sample => expect_channels(x).map(|_| ()),
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
        let op = DropoutTraining { rate: self.rate, stream, unit: self.unit }.into();
        Some(InTraining { op, is_random: true, updates: &[] })
    }
}

never_rewritten!(DropoutTraining);

impl Operator for Dropout {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        check_rate(self.rate)?;
        expect_float("input", &operands[0])?;
        check_unit(self.unit, &operands[0])?;
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
        check_unit(self.unit, &operands[0])?;
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
