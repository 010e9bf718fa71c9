//! Training options.

use std::collections::BTreeSet;
use std::path::Path;

use windlass_compiler::autodiff::{Loss, Optimizer, OutputLoss, TrainingOptions};

use crate::checkpoint::Metadata;
use crate::error::Error;
use crate::schedule::Schedule;

/// How a model is trained.
///
/// ```
/// use windlass_runtime::TrainerOptions;
/// use windlass_compiler::autodiff::Optimizer;
///
/// // Without a schedule, each optimiser uses its usual rate.
/// let options = TrainerOptions { optimizer: Optimizer::adam(), ..TrainerOptions::default() };
/// assert_eq!(options.rate(0), 0.001);
/// assert_eq!(TrainerOptions::default().rate(0), 0.1);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainerOptions {
    /// The loss; the cross-entropy by default.
    pub loss: Loss,
    /// The losses of several outputs, weighted and summed, instead of `loss`. The targets of a step are then given by
    /// the names of the outputs.
    pub losses: Vec<OutputLoss>,
    /// The optimiser; plain gradient descent by default.
    pub optimizer: Optimizer,
    /// The learning rate of each step. [`None`], the default, uses the optimiser's usual rate at every step: 0.001 for
    /// Adam and AdamW, 0.1 for gradient descent.
    pub schedule: Option<Schedule>,
    /// The maximum magnitude of each element of the gradients, like PyTorch's `clip_grad_value_`; larger elements are set
    /// to it, before `clip_norm` applies.
    pub clip_value: Option<f64>,
    /// The maximum global norm of the gradients; larger gradients are scaled down to it.
    pub clip_norm: Option<f64>,
    /// What is not trained: names of parameters and running statistics (`c1.weight`, `n1.running_mean`), or of layers
    /// and blocks, which stand for all of theirs (`c1`, `stem`). A batch normalisation whose statistics, or whose
    /// weight and bias, are frozen computes as in prediction, and its statistics do not change.
    pub frozen: BTreeSet<String>,
    /// The output used for the loss; by default the only one.
    pub output: Option<String>,
    /// Whether recurrent layers begin each step with the states that they had after the step before, without gradients
    /// between the two: truncated backpropagation through time. Each sample of a batch then continues that sample of the
    /// batch before, as with the sequential order of a [`Partition`](crate::text::Partition);
    /// [`Trainer::reset_states`](super::Trainer::reset_states) begins new sequences. The states are those of
    /// [`Model::streaming`](crate::model::Model::streaming).
    pub carry_states: bool,
    /// The length of a segment for recomputation (gradient checkpointing): the forward pass stores the states of recurrent
    /// layers only at the start of each segment of this many steps, and the backward pass computes the other values again.
    /// Long sequences need less memory, and a step takes about one forward pass longer. A length near the square root of the
    /// number of steps needs the least memory. Sequences must have a fixed length.
    pub recompute: Option<usize>,
    /// Seed of the dropout masks.
    pub seed: u32,
    /// Whether a step that makes the loss, a parameter or a state NaN or infinite is undone and fails with an
    /// [`Error::NonFiniteStep`], which names the first layer with such a result. Off by default: it copies all
    /// parameters before each step, checks every one afterwards, and runs a failed step again in the interpreter.
    pub check_finite: bool,
}

impl TrainerOptions {
    /// The learning rate of a step, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        match &self.schedule {
            Some(schedule) => schedule.rate(step),
            None => self.optimizer.usual_rate(),
        }
    }

    /// The learning rate of a step, checked as an `f32`.
    pub(super) fn checked_rate(&self, step: u64) -> Result<(f64, f32), Error> {
        let rate = self.rate(step);
        if (rate as f32).is_finite() {
            return Ok((rate, rate as f32));
        }
        let setting = format!("schedule at step {step}");
        Err(Error::setting(
            setting,
            format!("{rate:e}"),
            "finite as an f32; end training earlier, or let the rate grow less",
        ))
    }

    /// The compiler's part of the options.
    pub(super) fn of_training(&self) -> TrainingOptions {
        TrainingOptions {
            loss: self.loss.clone(),
            losses: self.losses.clone(),
            optimizer: self.optimizer,
            clip_value: self.clip_value,
            clip_norm: self.clip_norm,
            frozen: self.frozen.clone(),
            output: self.output.clone(),
            recompute: self.recompute,
        }
    }
}

/// Refuses a file written by a trainer with another optimiser. A file without an optimiser was written by a model.
pub(super) fn check_optimizer(path: &Path, options: &Optimizer) -> Result<(), Error> {
    let metadata = Metadata::read(path)?.unwrap_or_default();
    match serde_json::from_value::<Optimizer>(metadata.optimizer) {
        Ok(written) if written.name() != options.name() => Err(Error::CheckpointOptimizer {
            path: path.to_owned(),
            expected: options.name(),
            got: written.name(),
        }),
        _ => Ok(()),
    }
}
