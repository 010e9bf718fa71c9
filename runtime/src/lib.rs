//! Running compiled networks: data, first values, checkpoints, learning-rate schedules and metrics.

pub mod checkpoint;
pub mod data;
pub mod error;
pub mod initialize;
pub mod metrics;
mod random;
pub mod schedule;
pub mod tensor;

pub use error::Error;
pub use initialize::initialize;
//! The runtime of Windlass: what a program needs to run and train networks declared with `network!`.

pub mod network;
