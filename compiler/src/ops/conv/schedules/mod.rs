//! How convolutions and their gradients are computed, one file or folder a schedule. Each takes a problem (a correlation, or
//! a gradient) and knows nothing of operators.

pub(super) mod depthwise;
pub(super) mod direct;
pub(super) mod direct_channels_first;
pub(super) mod im2col;
pub(super) mod weight_sums;
pub(super) mod winograd;
