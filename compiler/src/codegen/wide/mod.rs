//! Leaves for wide vectors, assembled: the only machine code that is not Cranelift's. Loops around leaves are.

mod emit;
mod lanes;
mod math;
#[cfg(test)]
mod tests;

pub(in crate::codegen) use emit::Width;
