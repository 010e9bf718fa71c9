//! The runtime of Windlass: what a program needs to run and train networks declared with `network!`.

pub mod checkpoint;
pub mod data;
pub mod error;
pub mod executor;
pub mod initialize;
pub mod metrics;
pub mod network;
mod random;
pub mod schedule;
pub mod tensor;

pub use error::Error;
pub use initialize::initialize;
