//! Windlass compiles neural networks declared in a macro, checks them as the program compiles, and runs them as machine
//! code.
//!
//! ```
//! windlass::network! {
//!     /// LeNet for grey images of 28×28.
//!     pub network LeNet(image: [1, 28, 28]) -> [10] {
//!         c1: conv2d(6, kernel_size = 5, padding = 2); sigmoid; avg_pool2d(2);
//!         c3: conv2d(16, kernel_size = 5); sigmoid; avg_pool2d(2);
//!         flatten;
//!         f5: linear(120); sigmoid;
//!         f6: linear(84); sigmoid;
//!         f7: linear(10)
//!     }
//! }
//!
//! assert_eq!(LeNet::IMAGE_SHAPE, [1, 28, 28]);
//! assert_eq!(LeNet::PARAMETERS[0], ("c1.weight", &[6, 1, 5, 5][..]));
//! ```
//!
//! The language is described at [`network!`].

/// The arrays that inputs may come in and results come in.
pub use ndarray;
pub use windlass_compiler::autodiff::{Loss, Optimizer};
pub use windlass_compiler::graph::Graph;
pub use windlass_compiler::summary::{Summary, summary};
#[doc = include_str!("language.md")]
pub use windlass_macros::network;
pub use windlass_runtime::network::{Input, InputError, Network};
pub use windlass_runtime::schedule::Schedule;
pub use windlass_runtime::{
    Error, Model, Options, Parameters, StepReport, Target, Trainer, TrainerOptions, checkpoint, data,
    metrics, schedule,
};

/// What expansions of [`network!`] name; no part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use windlass_runtime::network::expansion::{embedded, exactly};
}
