//! The runtime of Windlass: what a program needs to run and train networks, declared with `network!` or built as it
//! runs.

mod atomic_file;
mod available;
pub mod checkpoint;
pub mod data;
pub mod error;
pub mod executor;
mod forward;
pub mod initialize;
pub mod large_pages;
pub mod machine;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod network;
pub mod options;
pub mod parameters;
pub mod predictor;
pub mod profile;
mod random;
pub mod schedule;
pub mod tensor;
mod timing;
pub mod trainer;
pub mod tuning;

pub use checkpoint::LoadOptions;
pub use error::Error;
pub use initialize::initialize;
pub use machine::Machine;
pub use memory::MemoryReport;
pub use model::Model;
pub use network::{Dynamic, Input};
pub use options::Options;
pub use parameters::Parameters;
pub use predictor::Predictor;
pub use profile::Profile;
pub use trainer::{NonFiniteOrigin, StepReport, Target, Trainer, TrainerOptions};
pub use tuning::Tuning;
