//! The cost of operators and kernels.

use serde::{Deserialize, Serialize};

use crate::shape::{Polynomial, Sizes, Type};

/// Floating-point operations of an operator, as a polynomial of the open sizes; a multiply-add counts as two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// The operations.
    pub flops: Polynomial,
}

impl Cost {
    /// `per_element` operations for each element of a value.
    pub fn elementwise(ty: &Type, per_element: u64) -> Self {
        Cost { flops: ty.shape.count().scaled(i64::try_from(per_element).unwrap_or(i64::MAX)) }
    }

    /// Operations at given open sizes, or for a batch of the given number of samples. Saturates.
    pub fn at(&self, sizes: impl Into<Sizes>) -> u64 {
        self.flops.at(&sizes.into()) as u64
    }

    /// Operations for each sample of the batch, with every other open size counted as 1.
    pub fn per_sample(&self) -> u64 {
        self.flops.minus(&self.flops.constant()).at(&Sizes::from(1)) as u64
    }

    /// The fraction `part / whole` of this cost.
    #[must_use]
    pub fn fraction(&self, part: usize, whole: usize) -> Self {
        let whole = whole.max(1) as i128;
        Cost { flops: self.flops.map(|flops| i128::from(flops) * part as i128 / whole) }
    }

    /// The sum of this cost and another.
    #[must_use]
    pub fn plus(&self, other: &Cost) -> Self {
        Cost { flops: self.flops.plus(&other.flops) }
    }
}
