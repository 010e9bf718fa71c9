//! The compiler of Windlass: from a declared network to machine code.
//!
//! In pipeline order: [`graph`] (semantic operators on shapes with a symbolic batch), [`autodiff`] (graph to graph),
//! [`passes`] (graph to graph), and, with the feature `codegen`, `plan` (algorithms, memory), `kernel` (loop nests) and
//! `codegen` (Cranelift). `abi` is the binary interface of compiled kernels; all stages share [`functions`] and [`cost`].
//! [`interp`] runs any graph with plain loops: tests compare compiled results with it.

#[cfg(feature = "codegen")]
pub mod abi;
pub mod autodiff;
#[cfg(feature = "codegen")]
pub mod codegen;
pub mod cost;
pub mod dump;
pub mod entity;
pub mod error;
#[cfg(all(feature = "codegen", feature = "seeded-faults"))]
pub mod faults;
#[cfg(all(feature = "codegen", not(feature = "seeded-faults")))]
mod faults;
pub mod functions;
pub mod graph;
pub mod interp;
#[cfg(feature = "codegen")]
pub mod kernel;
pub mod ops;
pub mod pass;
pub mod passes;
#[cfg(feature = "codegen")]
pub mod pipeline;
#[cfg(feature = "codegen")]
pub mod plan;
mod setters;
pub mod shape;
pub mod summary;
#[cfg(feature = "codegen")]
pub mod target;
