//! Masks of the positions along the last axis: those after the row's own, as in causal attention, or those beyond the
//! length of a padded sequence.

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use serde::{Deserialize, Serialize};

use super::facts::{Facts, Indices, Reach, Role, never_rewritten};
use super::{Cost, Operator, expect_arity, expect_float, expect_type};
use crate::error::ShapeError;
use crate::shape::{Shape, Type};

/// The positions of the last axis that are masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Masked {
    /// In row `t`, the index along the second last axis, the positions after `t`.
    Causal,
    /// In item `n`, the positions from its length on. A negative length is 0, and one above the size of the axis masks nothing; the
    /// runtime refuses both in inputs.
    Lengths,
}

impl Masked {
    /// Every rule.
    pub const ALL: [Masked; 2] = [Masked::Causal, Masked::Lengths];
}

/// What masked positions get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// Zero: for probabilities and gradients.
    Zero,
    /// −∞: for scores, whose softmax is then 0.
    Lowest,
}

impl Fill {
    /// Every value.
    pub const ALL: [Fill; 2] = [Fill::Zero, Fill::Lowest];

    /// The value.
    pub fn value(self) -> f32 {
        match self {
            Fill::Zero => 0.0,
            Fill::Lowest => f32::NEG_INFINITY,
        }
    }
}

/// `x` with another value at masked positions, whatever is stored there, NaN too: operands `x` `[N, …, S]`, and for
/// [`Masked::Lengths`] `i32[N]`; result like `x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mask {
    /// The masked positions.
    pub masked: Masked,
    /// What they get.
    pub fill: Fill,
}

never_rewritten!(Mask);

impl Operator for Mask {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, if self.masked == Masked::Lengths { 2 } else { 1 })?;
        let x = &operands[0];
        expect_float("input", x)?;
        let (least, expected) = match self.masked {
            Masked::Causal => (3, "a batch of rows of positions [rows, positions]"),
            Masked::Lengths => (2, "a batch of positions"),
        };
        if !x.shape.is_batched() || x.shape.rank() < least {
            return Err(ShapeError::Rank { expected: expected.to_owned(), got: x.shape.clone() });
        }
        if self.masked == Masked::Lengths {
            let lengths = Type::i32(Shape::new([x.shape.dims()[0].clone()]));
            expect_type("lengths", &operands[1], &lengths)?;
        }
        Ok(vec![x.clone()])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        let indices = (self.masked == Masked::Lengths).then_some(Indices::Lengths);
        Facts { role: Role::Other, reach: Reach::Everywhere, indices }
    }

    fn cost(&self, _: &[Type], results: &[Type]) -> Cost {
        Cost::elementwise(&results[0], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fill, Mask, Masked};
    use crate::interp::{Array, Evaluate};
    use crate::ops::Operator;
    use crate::shape::Type;

    fn fits(masked: Masked, operands: &[&str]) -> bool {
        let operands: Vec<Type> = operands.iter().map(|text| text.parse().unwrap()).collect();
        Mask { masked, fill: Fill::Zero }.infer(&operands).is_ok_and(|results| results == operands[..1])
    }

    #[test]
    fn masks_keep_the_shape() {
        assert!(fits(Masked::Causal, &["f32[4*N, T, S]"]));
        assert!(fits(Masked::Lengths, &["f32[N, 4, T, S]", "i32[N]"]));
        assert!(fits(Masked::Lengths, &["f32[N, 5]", "i32[N]"]));
        assert!(!fits(Masked::Causal, &["f32[N, S]"]));
        assert!(!fits(Masked::Causal, &["f32[2, 3, 4]"]));
        assert!(!fits(Masked::Lengths, &["f32[4*N, T, S]", "i32[N]"]));
        assert!(!fits(Masked::Lengths, &["f32[N, T, S]", "f32[N]"]));
        assert!(!fits(Masked::Lengths, &["f32[N, T, S]"]));
    }

    #[test]
    fn what_is_masked_does_not_matter() {
        let x =
            Array::new([2, 2, 3], vec![1f32, 2.0, 3.0, 4.0, 5.0, f32::NAN, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0]);
        let sizes = [x.sizes.clone()];
        let causal = Mask { masked: Masked::Causal, fill: Fill::Zero }.evaluate(&[&x], &sizes).remove(0);
        assert_eq!(causal.real(), [1.0, 0.0, 0.0, 4.0, 5.0, 0.0, 7.0, 0.0, 0.0, 10.0, 11.0, 0.0]);
        let lengths = Array::ints([2], vec![2, -1]);
        let mask = Mask { masked: Masked::Lengths, fill: Fill::Lowest };
        let low = f32::NEG_INFINITY;
        let padded = mask.evaluate(&[&x, &lengths], &sizes).remove(0);
        assert_eq!(padded.real(), [1.0, 2.0, low, 4.0, 5.0, low, low, low, low, low, low, low]);
    }
}
