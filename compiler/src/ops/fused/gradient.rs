//! Functions are fused after differentiation.

use super::Fused;
use crate::autodiff::no_gradient;

no_gradient!(Fused: "its operands: functions are differentiated before they are fused");
