//! Holds Windlass to PyTorch: networks that `draw.py` drew, with what PyTorch computes of them in double precision, are built,
//! interpreted and compiled under many options, and every number is compared. The README of this crate states the rule.

pub mod engine;
pub mod error;
pub mod files;
pub mod judge;
pub mod runner;
pub mod settings;
pub mod stack;

pub use error::Error;
