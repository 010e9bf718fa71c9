//! Sign masks have no gradients: passes add them after differentiation.

use super::{MaskedSelect, SignMask};
use crate::autodiff::no_gradient;

no_gradient!(SignMask, MaskedSelect: "its operands: bits take the place of values once gradients are made");
