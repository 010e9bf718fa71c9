//! The runtime of Windlass: what a program needs to run and train networks declared with `network!`.

pub mod checkpoint;
pub mod data;
pub mod error;
pub mod executor;
pub mod initialize;
pub mod machine;
pub mod metrics;
pub mod model;
pub mod network;
pub mod options;
pub mod parameters;
pub mod profile;
mod random;
pub mod schedule;
pub mod tensor;
pub mod trainer;

pub use error::Error;
pub use initialize::initialize;
pub use machine::Machine;
pub use model::Model;
pub use options::Options;
pub use parameters::Parameters;
pub use profile::Profile;
pub use trainer::{StepReport, Target, Trainer, TrainerOptions};
