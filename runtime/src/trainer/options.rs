//! How a model is trained.

use std::collections::BTreeSet;

use windlass_compiler::autodiff::{Loss, Optimizer, TrainingOptions};

use crate::error::Error;
use crate::schedule::Schedule;

/// How a model is trained.
///
/// ```
/// use windlass_runtime::TrainerOptions;
/// use windlass_compiler::autodiff::Optimizer;
///
/// // Without a schedule each optimiser has the rate that is usual for it.
/// let options = TrainerOptions { optimizer: Optimizer::adam(), ..TrainerOptions::default() };
/// assert_eq!(options.rate(0), 0.001);
/// assert_eq!(TrainerOptions::default().rate(0), 0.1);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainerOptions {
    /// What is made small; the cross-entropy by default.
    pub loss: Loss,
    /// How parameters move; plain gradient descent by default.
    pub optimizer: Optimizer,
    /// The learning rate of each step. [`None`], the default, is the optimiser's usual one at every step: 0.001 for Adam and
    /// AdamW, 0.1 for gradient descent.
    pub schedule: Option<Schedule>,
    /// The largest global norm of the gradients; larger ones are scaled down to it.
    pub clip_norm: Option<f64>,
    /// What keeps its value: names of parameters and running statistics (`c1.weight`, `n1.running_mean`), or of layers and
    /// blocks, which stand for all of theirs (`c1`, `stem`). A batch normalisation whose statistics, or whose weight and
    /// bias, are frozen computes as it does when the network predicts, and its statistics stay.
    pub frozen: BTreeSet<String>,
    /// The output the loss is taken of; the only one by default.
    pub output: Option<String>,
    /// Seed of the dropout masks.
    pub seed: u32,
    /// Whether a step whose loss, or any new value of a parameter or state, is NaN or infinite is undone, and fails with an
    /// [`Error::NonFiniteStep`] that names the first layer whose result is so. Off by default: it keeps a copy of all
    /// parameters from before each step, looks at every one after it, and, once there is something to find, runs the step
    /// again in the interpreter.
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

    /// The learning rate of a step, as steps use it.
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

    /// What the compiler needs to know of them.
    pub(super) fn of_training(&self) -> TrainingOptions {
        TrainingOptions {
            loss: self.loss,
            optimizer: self.optimizer,
            clip_norm: self.clip_norm,
            frozen: self.frozen.clone(),
            output: self.output.clone(),
        }
    }
}
