//! Bits have no gradients: they come in after differentiation.

use super::{Positive, WherePositive};
use crate::autodiff::no_gradient;

no_gradient!(Positive, WherePositive: "its operands: bits take the place of values once gradients are made");
