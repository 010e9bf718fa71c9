//! Leaves for wide vectors, assembled: the only machine code that is not Cranelift's. Loops around leaves are.

mod emit;
mod lanes;
mod map;
mod math;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
mod tile;

/// Machine code as text: bytes, sixteen a line.
pub(in crate::codegen) fn listing(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    bytes.chunks(16).map(line).collect::<Vec<_>>().join("\n")
}

pub(in crate::codegen) use emit::Width;
pub(in crate::codegen) use map::{Argument, Span, build as build_map, pays as map_pays};
pub(in crate::codegen) use tile::build as build_tile;
