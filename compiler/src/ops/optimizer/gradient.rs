//! Optimiser steps come after every gradient: they have none themselves.

use super::{Adam, ClipFactor, Sgd};
use crate::autodiff::no_gradient;

no_gradient!(Sgd, Adam, ClipFactor: "its operands: it comes after the gradients");
