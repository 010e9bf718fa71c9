//! Training options.

use std::collections::BTreeSet;
use std::path::Path;

use windlass_compiler::autodiff::{Loss, Optimizer, OutputLoss, ParameterGroup, TrainingOptions};
use windlass_compiler::setters;

use crate::checkpoint::Metadata;
use crate::error::{CheckpointError, Error};
use crate::schedule::Schedule;

/// How a model is trained.
///
/// ```
/// use windlass::{Optimizer, TrainerOptions};
///
/// // Without a schedule, each optimiser uses its usual rate.
/// let options = TrainerOptions::default().optimizer(Optimizer::adam());
/// assert_eq!(options.rate(0), 0.001);
/// assert_eq!(TrainerOptions::default().rate(0), 0.1);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TrainerOptions {
    /// The loss; the cross-entropy by default.
    pub loss: Loss,
    /// The losses of several outputs, weighted and summed, instead of `loss`. The targets of a step are then given by
    /// the names of the outputs.
    pub losses: Vec<OutputLoss>,
    /// The optimiser; plain gradient descent by default.
    pub optimizer: Optimizer,
    /// Parameters with a learning rate or weight decay of their own: each belongs to the first group that contains it.
    pub groups: Vec<ParameterGroup>,
    /// Running averages of the parameters, beside the parameters themselves, which often predict better:
    /// [`Trainer::averaged`](super::Trainer::averaged). They take the memory of a second copy. Off by default.
    pub average: Option<Average>,
    /// The learning rate of each step. [`None`], the default, uses the optimiser's usual rate at every step: 0.001 for
    /// Adam and AdamW, 0.1 for gradient descent; see [`Optimizer::usual_rate`].
    pub schedule: Option<Schedule>,
    /// The maximum magnitude of each element of the gradients, like PyTorch's `clip_grad_value_`; larger elements are set
    /// to it, before `clip_norm` applies.
    pub clip_value: Option<f64>,
    /// The maximum global norm of the gradients; larger gradients are scaled down to it.
    pub clip_norm: Option<f64>,
    /// What is not trained: names of parameters and running statistics (`c1.weight`, `n1.running_mean`), or of layers
    /// and blocks, which stand for all of theirs (`c1`, `stem`), or patterns (`*.bias`), as
    /// [`names::matches`](windlass_compiler::autodiff::names::matches) says. A batch normalisation whose statistics, or whose
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
    /// The number of batches whose gradients make one update (gradient accumulation), for batches larger than memory allows.
    /// Each call of [`Trainer::step`](super::Trainer::step) takes one of them, and the last one updates the parameters by the mean of
    /// the gradients, each of which is that of the mean loss of its batch: with equally large batches, the gradient of
    /// one large batch up to rounding, unless batch normalisation or another layer mixes samples. Clipping, schedules, parameter
    /// groups and averages apply to updates, and so does [`Trainer::steps`](super::Trainer::steps). Sums take the memory of a second
    /// copy of the parameters. [`None`], the default, and 1 update after each batch.
    pub accumulate: Option<usize>,
    /// Seed of the dropout masks.
    pub seed: u32,
    /// Whether a step that makes the loss, a parameter or a state NaN or infinite is undone and fails with an
    /// [`Error::NonFiniteStep`], which names the first layer with such a result. Off by default: it copies all
    /// parameters before each step, checks every one afterwards, and runs a failed step again in the interpreter.
    pub check_finite: bool,
}

/// How running averages of the parameters are kept.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Average {
    /// An exponential moving average, which begins with the parameters after the first step, like PyTorch's
    /// `get_ema_multi_avg_fn`: `average ← decay·average + (1 − decay)·parameter`.
    Exponential {
        /// The weight of the old average, from 0 and below 1; 0.999 is usual.
        decay: f64,
    },
    /// The mean of the parameters after every step from one on, as for stochastic weight averaging (Izmailov and others
    /// 2018, arXiv:1803.05407); before it, the parameters.
    Equal {
        /// The first step that counts, from 0.
        from_step: u64,
    },
}

impl Average {
    /// How far the averages move towards the new parameters at a step, counted from 0.
    pub(super) fn share(self, step: u64) -> f64 {
        match self {
            Average::Exponential { .. } if step == 0 => 1.0,
            Average::Exponential { decay } => 1.0 - decay,
            Average::Equal { from_step } => 1.0 / (step.saturating_sub(from_step) + 1) as f64,
        }
    }

    /// Checks the settings.
    pub(super) fn check(self) -> Result<(), Error> {
        match self {
            Average::Exponential { decay } if !(0.0..1.0).contains(&decay) => {
                Err(Error::setting("average.decay", decay, "from 0 and below 1"))
            }
            _ => Ok(()),
        }
    }
}

impl TrainerOptions {
    setters! {
        loss: Loss;
        losses: impl Into<Vec<OutputLoss>> = losses.into();
        optimizer: Optimizer;
        groups: impl Into<Vec<ParameterGroup>> = groups.into();
        average: impl Into<Option<Average>> = average.into();
        schedule: impl Into<Option<Schedule>> = schedule.into();
        clip_value: impl Into<Option<f64>> = clip_value.into();
        clip_norm: impl Into<Option<f64>> = clip_norm.into();
        frozen: impl IntoIterator<Item = impl Into<String>> = frozen.into_iter().map(Into::into).collect();
        output: impl Into<String> = Some(output.into());
        carry_states: bool;
        recompute: impl Into<Option<usize>> = recompute.into();
        accumulate: impl Into<Option<usize>> = accumulate.into();
        seed: u32;
        check_finite: bool;
    }

    /// The learning rate of a step, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        match &self.schedule {
            Some(schedule) => schedule.rate(step),
            None => self.optimizer.usual_rate(),
        }
    }

    /// The learning rate of a step as an `f32`.
    pub(super) fn checked_rate(step: u64, rate: f64) -> Result<f32, Error> {
        if (rate as f32).is_finite() {
            return Ok(rate as f32);
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
        let mut options = TrainingOptions::default()
            .loss(self.loss.clone())
            .losses(self.losses.clone())
            .optimizer(self.optimizer)
            .groups(self.groups.clone())
            .average(self.average.is_some())
            .clip_value(self.clip_value)
            .clip_norm(self.clip_norm)
            .frozen(self.frozen.clone())
            .recompute(self.recompute);
        options.output.clone_from(&self.output);
        options
    }
}

/// Refuses a file written by a trainer with another optimiser. A file without an optimiser was written by a model.
pub(super) fn check_optimizer(path: &Path, metadata: &Metadata, options: &Optimizer) -> Result<(), Error> {
    match serde_json::from_value::<Optimizer>(metadata.optimizer.clone()) {
        Ok(written) if written.name() != options.name() => {
            Err(Error::Checkpoint(CheckpointError::Optimizer {
                path: path.to_owned(),
                expected: options.name(),
                got: written.name(),
            }))
        }
        _ => Ok(()),
    }
}
