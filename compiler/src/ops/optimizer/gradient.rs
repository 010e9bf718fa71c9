//! Optimiser updates have no gradients: they come after every gradient.

use super::{Adam, Adaptive, ClipFactor, ClipValue, Sgd};
use crate::autodiff::no_gradient;

no_gradient!(Sgd, Adam, Adaptive, ClipFactor, ClipValue: "its operands: it comes after the gradients");
