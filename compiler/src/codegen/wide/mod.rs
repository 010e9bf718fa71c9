//! Leaves for wide vectors, assembled: the only machine code that is not Cranelift's. Loops around leaves are.

mod emit;
mod lanes;
mod listing;
mod map;
mod math;
mod operands;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
mod tile;

pub(in crate::codegen) use listing::listing;
pub(in crate::codegen) use map::{Argument, Span, build as build_map, pays as map_pays};
pub(in crate::codegen) use operands::Width;
pub(in crate::codegen) use tile::build as build_tile;
