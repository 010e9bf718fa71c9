//! Fill: one number for every element of a shape, which may have a batch.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use serde::{Deserialize, Serialize};

use super::facts::{Facts, Reach, Role, never_rewritten};
use super::{Cost, Operator, expect_arity};
use crate::error::ShapeError;
use crate::shape::{Shape, Type};

/// A value whose elements are all the same number: initial states of recurrent layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fill {
    /// The shape.
    pub shape: Shape,
    /// The number.
    pub value: f32,
}

impl Fill {
    /// Zeros.
    pub fn zeros(shape: Shape) -> Self {
        Fill { shape, value: 0.0 }
    }
}

never_rewritten!(Fill);

impl Operator for Fill {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 0)?;
        self.shape.check()?;
        if !self.value.is_finite() {
            let value = f64::from(self.value);
            return Err(ShapeError::NumberOutOfRange { argument: "value", value, range: "finite" });
        }
        Ok(vec![Type::f32(self.shape.clone())])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Place, indices: None }
    }

    fn cost(&self, _: &[Type], _: &[Type]) -> Cost {
        Cost::default()
    }
}
