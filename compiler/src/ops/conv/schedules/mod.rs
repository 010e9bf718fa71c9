//! The schedules of convolutions and their gradients, one file or folder each. A schedule computes a problem (a
//! correlation or a gradient) and does not depend on operators.

mod chunks;
pub(super) mod depthwise;
pub(super) mod direct;
pub(super) mod direct_channels_first;
pub(super) mod im2col;
pub(super) mod weight_sums;
pub(super) mod winograd;
