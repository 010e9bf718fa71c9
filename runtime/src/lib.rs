//! The runtime of Windlass: runs and trains networks that are declared with `network!` or built at run time.

mod atomic_file;
mod available;
pub mod batching;
pub mod checkpoint;
#[cfg(feature = "image")]
mod classify;
pub mod data;
pub mod error;
pub mod evaluation;
pub mod executor;
mod forward;
pub mod gradients;
pub mod initialize;
mod intermediate;
pub mod large_pages;
pub mod machine;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod network;
pub mod object;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod options;
pub mod parameters;
pub mod predictor;
pub mod profile;
mod random;
pub mod schedule;
pub mod streaming;
pub mod tensor;
pub mod text;
mod timing;
pub mod trainer;
pub mod tuning;

pub use batching::Batching;
pub use checkpoint::LoadOptions;
pub use error::Error;
pub use evaluation::{Evaluation, EvaluationOptions};
pub use gradients::{Differentiator, GradientOptions, Gradients};
pub use initialize::initialize;
pub use machine::Machine;
pub use memory::MemoryReport;
pub use model::Model;
pub use network::{Dynamic, Input};
pub use options::Options;
pub use parameters::Parameters;
pub use predictor::Predictor;
pub use profile::Profile;
pub use streaming::{Stream, Streaming};
pub use trainer::{Average, LabelSequences, NonFiniteOrigin, StepReport, Target, Trainer, TrainerOptions};
pub use tuning::Tuning;
