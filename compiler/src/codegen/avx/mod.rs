//! Assembled AVX microkernels: the only machine code that Cranelift does not generate. Cranelift generates the loops
//! around them.

mod emit;
mod formula;
mod interleave;
mod lanes;
mod listing;
mod map;
mod math;
mod operands;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
mod tile;

pub(in crate::codegen) use listing::listing;
pub(in crate::codegen) use map::{Argument, MapKey, build as build_map, pays as map_pays};
pub(in crate::codegen) use operands::Width;
pub(in crate::codegen) use tile::build as build_tile;
