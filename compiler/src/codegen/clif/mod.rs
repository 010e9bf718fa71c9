//! Translates kernels and leaves to Cranelift's IR, with vectors of 128 bits.

mod expression;
mod kernel;
mod map;
mod math;
mod tile;
mod value;

pub(super) use kernel::{Leaves, build as build_kernel};
pub(super) use map::signature as map_signature;
pub(super) use tile::{build as build_tile, signature as tile_signature};
