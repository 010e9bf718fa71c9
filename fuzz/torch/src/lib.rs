//! Compares Windlass with PyTorch: builds, interprets and compiles the networks of `draw.py` with many options, and
//! compares every number with PyTorch's results in double precision. The README of this crate has the method.

pub mod engine;
pub mod error;
pub mod files;
pub mod judge;
pub mod runner;
pub mod settings;
pub mod stack;

pub use error::Error;
