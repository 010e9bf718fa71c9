//! Windlass compiles neural networks declared in a macro. It checks them at compile time, and runs them as machine
//! code.
//!
//! # A tour
//!
//! [`network!`] declares a network. Every shape is checked at compile time; a layer that does not fit is an error at
//! that layer, with a suggested fix. The network becomes a type:
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
//!
//! let summary = LeNet::summary();
//! assert_eq!(summary.totals.parameters, 61_706);
//! println!("{summary}");
//! ```
//!
//! A [`Model`] is a network with parameters, compiled for prediction. It accepts batches of any size, from slices or
//! [`ndarray`] arrays, and can be used from several threads at once:
//!
//! ```
//! # windlass::network! {
//! #     pub network LeNet(image: [1, 28, 28]) -> [10] {
//! #         c1: conv2d(6, kernel_size = 5, padding = 2); sigmoid; avg_pool2d(2);
//! #         c3: conv2d(16, kernel_size = 5); sigmoid; avg_pool2d(2);
//! #         flatten; f5: linear(120); sigmoid; f6: linear(84); sigmoid; f7: linear(10)
//! #     }
//! # }
//! use windlass::ndarray::Array4;
//! use windlass::{Machine, Model, Options};
//!
//! let model: Model<LeNet> = Model::new(42)?; // initial values drawn from this seed
//! let scores = model.forward(&Array4::zeros((3, 1, 28, 28)))?;
//! assert_eq!(scores.shape(), [3, 10]);
//! let scores = model.forward(&[0.5; 2 * 28 * 28])?; // a slice holds as many samples as fit
//! assert_eq!(scores.shape(), [2, 10]);
//! let mut elements = [0.0; 2 * 10];
//! model.forward_into(&[0.5; 2 * 28 * 28], &mut [&mut elements])?; // into existing memory
//! assert_eq!(scores.as_slice(), Some(&elements[..]));
//!
//! // The time of each kernel.
//! let profile = model.profile(&[0.5; 2 * 28 * 28], 10)?;
//! println!("{}", profile.compared_with(Machine::measure(&model.options().compile.plan)?));
//!
//! let serial: Model<LeNet> = Model::with_options(42, &Options::default().threads(1))?;
//! assert_eq!(serial.parameters(), model.parameters());
//! # Ok::<(), windlass::Error>(())
//! ```
//!
//! When parameters no longer change, a [`Predictor`] holds each weight once, in the form that its kernels read. The
//! memory of a model, predictor or trainer is known before it runs:
//!
//! ```
//! # windlass::network! {
//! #     pub network LeNet(image: [1, 28, 28]) -> [10] {
//! #         c1: conv2d(6, kernel_size = 5, padding = 2); sigmoid; avg_pool2d(2);
//! #         c3: conv2d(16, kernel_size = 5); sigmoid; avg_pool2d(2);
//! #         flatten; f5: linear(120); sigmoid; f6: linear(84); sigmoid; f7: linear(10)
//! #     }
//! # }
//! use windlass::Model;
//!
//! let model: Model<LeNet> = Model::new(42)?;
//! let (memory, scores) = (model.memory(64), model.forward(&[0.5; 28 * 28])?);
//! println!("{memory}");
//!
//! let predictor = model.into_predictor()?; // or Predictor::load, from a file
//! assert_eq!(predictor.forward(&[0.5; 28 * 28])?, scores);
//! assert!(predictor.memory(64).held() < memory.held());
//! # Ok::<(), windlass::Error>(())
//! ```
//!
//! A network whose layers are known only at run time comes from a [`Builder`] and is a [`Dynamic`]. Models, predictors
//! and trainers accept it like a declared one; several inputs and outputs are given by name:
//!
//! ```
//! use windlass::{Builder, Dynamic, Layer};
//!
//! let mut builder = Builder::new("Points");
//! let point = builder.input("point", &[2])?;
//! let hidden = builder.layer("f1", &Layer::linear(16), point)?;
//! let hidden = builder.layer("", &Layer::Tanh, hidden)?;
//! let scores = builder.layer("f2", &Layer::linear(3), hidden)?;
//! builder.output("hidden", hidden)?;
//! builder.output("class", scores)?;
//!
//! let model = Dynamic::new(builder.finish()?)?.model(42)?;
//! let outputs = model.forward(&[0.5, 0.25])?;
//! assert_eq!(outputs.get("class")?.shape(), [1, 3]);
//! # Ok::<(), windlass::Error>(())
//! ```
//!
//! Convolutions can be computed by several algorithms. The compiler chooses by a cost model or, with [`Tuning`], by
//! measuring them once on each machine.
//!
//! A [`Trainer`] compiles forward, backward and update into one program. Parameters and the optimiser's state are saved
//! to safetensors files. A model can load them, and a trainer can resume from them with the same bits as if it had not
//! been interrupted:
//!
//! ```
//! # windlass::network! {
//! #     pub network LeNet(image: [1, 28, 28]) -> [10] {
//! #         c1: conv2d(6, kernel_size = 5, padding = 2); sigmoid; avg_pool2d(2);
//! #         c3: conv2d(16, kernel_size = 5); sigmoid; avg_pool2d(2);
//! #         flatten; f5: linear(120); sigmoid; f6: linear(84); sigmoid; f7: linear(10)
//! #     }
//! # }
//! use windlass::{Model, Optimizer, Options, Schedule, Trainer, TrainerOptions};
//!
//! let options = TrainerOptions::default()
//!     .optimizer(Optimizer::adam())
//!     .schedule(Schedule::cosine_with_warm_up(0.001, 1000, 100)?);
//! let mut trainer: Trainer<LeNet> = Trainer::new(Model::new(42)?, options.clone())?;
//! let (images, labels) = ([0.5; 2 * 28 * 28], [3, 7]);
//! let report = trainer.step(&images, &labels)?;
//! assert!(report.loss.is_finite());
//!
//! let path = std::env::temp_dir().join("lenet.safetensors");
//! trainer.save(&path)?;
//! let resumed = Trainer::<LeNet>::resume(&path, options, &Options::default())?;
//! assert_eq!(resumed.steps(), 1);
//! let model: Model<LeNet> = Model::load(&path)?;
//! assert_eq!(model.forward(&images)?, trainer.into_model().forward(&images)?);
//! # Ok::<(), windlass::Error>(())
//! ```
//!
//! [`Trainer::fit`] is the whole training loop: epochs, validation, metrics, checkpoints, early stopping and progress.
//! [`Model::evaluate`] computes loss and metrics of a data set. [`training`] describes both, with optimisers, schedules and
//! weights of PyTorch.
//!
//! Inputs of indices, `tokens: [T] of index`, and `embedding` make networks for text; [`text`] has vocabularies, batches,
//! sampling and beam search. For labels whose places in a sequence nothing tells, [`Loss::Ctc`] takes [`LabelSequences`].
//!
//! [`convolution`] explains the arithmetic of convolutional networks with short programs, and writes a convolution as a
//! matrix; [`sequences`] does so for text, recurrent networks and attention. [`graph_format`] describes files of graphs.
//! [`data`] reads, augments and batches images and arrays, [`metrics`] has accuracy and other metrics, and [`schedule`] holds
//! the learning rates. Every failure is an [`Error`] that says what failed, where, and how to fix it.
//!
//! # Layout
//!
//! Tensors are 32-bit floats with the last axis contiguous: images `[N, channels, height, width]`, vectors
//! `[N, features]`, the weight of a convolution `[out_channels, in_channels / groups, height, width]`, that of a dense layer
//! `[out_features, in_features]`. These are PyTorch's shapes.
//!
//! # Environment
//!
//! `WINDLASS_DUMP` lists compiler stages to write to the standard error, separated by commas: `graph`, `passes`,
//! `plan`, `kernels`, `clif`, `asm`, or `all`. `WINDLASS_DUMP_DIR` names a directory for them instead.
//! `WINDLASS_PERF_MAP=1` writes the name of every kernel for `perf`.

/// The array library of inputs and results.
pub use ndarray;
pub use windlass_compiler::autodiff::{
    AutodiffError, GradientGraphOptions, Loss, LossGraph, LossProblem, Optimizer, OutputLoss, ParameterGroup,
};
pub use windlass_compiler::codegen::Program;
pub use windlass_compiler::entity::ValueId;
pub use windlass_compiler::error::{GraphError, ShapeError};
pub use windlass_compiler::graph::initializer::Initializer;
pub use windlass_compiler::graph::{
    AttentionMask, Builder, Cell, Combination, Graph, GruReset, Heads, Layer, Recurrence, Recurrent,
    RecurrentOperands, RnnActivation, ScanInputs, ScanOperands, ScanOutputs, Scanned, Stateful, with_states,
};
pub use windlass_compiler::ops::elementwise::{Activation, Number};
pub use windlass_compiler::ops::window::{Sides, Window};
pub use windlass_compiler::pass::{Mode, PassOptions};
pub use windlass_compiler::pipeline::{CompileError, CompileOptions, CompileTimes};
pub use windlass_compiler::plan::{
    Accuracy, Convolution, Costs, Features, Im2col, Layouts, Plan, PlanError, PlanOptions, Savings,
};
pub use windlass_compiler::shape::{DType, Dim, Polynomial, Shape, Sizes, Symbol, Type};
pub use windlass_compiler::summary::{ReceptiveField, Summary, summary};
pub use windlass_compiler::target::{VECTOR_BITS, available_vector_bits};
#[doc = include_str!("language.md")]
pub use windlass_macros::network;
pub use windlass_runtime::error::{
    CheckpointError, DataSetProblem, IdxError, NetworkProblem, OutsideSteps, OutsideVocabulary,
    SequenceProblem, TensorMismatch,
};
pub use windlass_runtime::executor::Binding;
pub use windlass_runtime::machine::{Bandwidths, Caches, Machine};
pub use windlass_runtime::network::{
    AnyNetwork, Dynamic, DynamicInputs, DynamicOutputs, Feed, IndexInput, Input, InputError, Network, Samples,
};
#[cfg(feature = "onnx")]
pub use windlass_runtime::onnx;
pub use windlass_runtime::profile::{KernelTime, Profile};
pub use windlass_runtime::schedule::Schedule;
pub use windlass_runtime::tensor::{NamedShapes, NamedTensors};
pub use windlass_runtime::trainer::{
    Average, EarlyStopping, EpochReport, FitEnd, FitEvent, FitOptions, FitSchedule, History, Monitor,
    NonFiniteOrigin, Plateau, Progress, RangeTest, RatePoint, RateSearch, Stage,
};
pub use windlass_runtime::{
    Batching, Differentiator, Error, Evaluation, EvaluationOptions, GradientOptions, Gradients,
    LabelSequences, LoadOptions, MemoryReport, Model, Options, Parameters, Predictor, StepReport, Stream,
    Streaming, Target, Trainer, TrainerOptions, Tuning, checkpoint, data, initialize, metrics, object,
    schedule, text, tuning,
};

pub mod convolution {
    #![doc = include_str!("../docs/convolution.md")]

    pub use windlass_compiler::ops::conv::{AffineMap, affine_map};
}

pub mod training {
    #![doc = include_str!("../docs/training.md")]
}

pub mod sequences {
    #![doc = include_str!("../docs/sequences.md")]
}

pub mod graph_format {
    #![doc = include_str!("../docs/graph-format.md")]
}

/// Names used by expansions of [`network!`]; not part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use windlass_runtime::network::expansion::{embedded, embedded_loss};
}

#[cfg(doctest)]
mod book;

/// Runs the programs in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
