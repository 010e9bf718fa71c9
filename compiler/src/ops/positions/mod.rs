//! Sinusoidal encodings of positions (Vaswani et al. 2017, arXiv:1706.03762, section 3.5).

mod gradient;
#[cfg(feature = "codegen")]
mod lower;
mod reference;

use serde::{Deserialize, Serialize};

use super::facts::{Facts, Reach, Role, never_rewritten};
use super::{Cost, Operator, expect_arity, expect_float};
use crate::error::ShapeError;
use crate::shape::Type;

/// Adds to feature `f` of step `t` of `[N, …, T, F]` the sine of `t / 10000^(2i/F)` for even `f = 2i`, and its cosine for
/// odd `f = 2i + 1`. The number of steps may be open, up to 2²⁴.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddPositions {}

never_rewritten!(AddPositions);

/// The angle between neighbouring steps for a feature.
fn angle(feature: usize, features: usize) -> f64 {
    10_000f64.powf(-((feature / 2 * 2) as f64) / features as f64)
}

impl Operator for AddPositions {
    fn infer(&self, operands: &[Type]) -> Result<Vec<Type>, ShapeError> {
        expect_arity(operands, 1)?;
        let x = &operands[0];
        expect_float("input", x)?;
        let has_features = x.shape.dims().last().is_some_and(|dim| dim.fixed().is_some());
        if !x.shape.is_batched() || x.shape.rank() < 3 || !has_features {
            let expected = "a sequence [steps, features] with a fixed number of features".to_owned();
            return Err(ShapeError::Rank { expected, got: x.shape.clone() });
        }
        Ok(vec![x.clone()])
    }

    fn takes_open_items(&self) -> bool {
        true
    }

    fn facts(&self) -> Facts<'_> {
        Facts { role: Role::Other, reach: Reach::Place, indices: None }
    }

    fn cost(&self, _: &[Type], results: &[Type]) -> Cost {
        Cost::elementwise(&results[0], 1)
    }
}

#[cfg(test)]
mod tests {
    use super::AddPositions;
    use crate::interp::{Array, Evaluate};
    use crate::ops::Operator;
    use crate::shape::Type;

    #[test]
    fn sequences_keep_their_shape() {
        for (text, fits) in [
            ("f32[N, T, 8]", true),
            ("f32[N, 5, 7]", true),
            ("f32[N, U, T, 8]", true),
            ("f32[N, 8]", false),
            ("f32[N, 8, T]", false),
            ("f32[2, 3, 8]", false),
            ("i32[N, T, 8]", false),
        ] {
            let ty: Type = text.parse().unwrap();
            assert_eq!(AddPositions {}.infer(std::slice::from_ref(&ty)).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn features_are_pairs_of_sine_and_cosine() {
        let x = Array::<f64>::zeros([1, 4, 3]);
        let y = AddPositions {}.evaluate(&[&x], &[vec![1, 4, 3]]).remove(0);
        assert_eq!(y.real()[9..11], [3f64.sin(), 3f64.cos()]);
        let slow = 3.0 / 10_000f64.powf(2.0 / 3.0);
        assert!((y.real()[11] - slow.sin()).abs() < 1e-15);
    }
}
