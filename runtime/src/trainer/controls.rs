//! The control inputs of a step: the inputs that the training graph adds to the network's own.

use windlass_compiler::autodiff::names;
use windlass_compiler::shape::DType;

use super::{Target, TrainerOptions};
use crate::error::Error;
use crate::executor::Binding;

/// Values of the control inputs.
#[derive(Default)]
pub(crate) struct Controls {
    pub(super) exact_rate: f64,
    learning_rate: [f32; 1],
    correction: [f32; 2],
    average_share: [f32; 1],
    seed: [i32; 2],
    /// For each sample, more steps than any output has: all of them count.
    pub(crate) all_steps: Vec<i32>,
}

impl TrainerOptions {
    /// The control inputs of a step with a learning rate; `batches` is the number of batches before it.
    pub(super) fn controls(&self, step: u64, batches: u64, exact_rate: f64) -> Result<Controls, Error> {
        let rate = TrainerOptions::checked_rate(step, exact_rate)?;
        let correction = self.optimizer.correction(step + 1).unwrap_or_default();
        Ok(Controls {
            exact_rate,
            learning_rate: [rate],
            correction: correction.map(|factor| factor as f32),
            average_share: [self.average.map_or(0.0, |average| average.share(step) as f32)],
            // The counter wraps after 2^32 batches; then masks repeat.
            seed: [self.seed.cast_signed(), (batches as u32).cast_signed()],
            all_steps: Vec::new(),
        })
    }
}

impl Controls {
    /// The control inputs of a graph without an update, whose dropout draws the masks of a first step.
    pub(crate) fn of_seed(seed: u32) -> Self {
        Controls { seed: [seed.cast_signed(), 0], ..Controls::default() }
    }

    /// The binding of an input that the training graph added; [`None`] for the network's own.
    pub(crate) fn binding<'b>(
        &'b self,
        name: &str,
        dtype: DType,
        target: &'b Target<'_>,
    ) -> Option<Binding<'b>> {
        let (name, target) = match names::output_of(name) {
            Some(output) => (name.split_once('.')?.0, target.of(output)?),
            None => (name, target),
        };
        match (name, dtype, target) {
            (names::LEARNING_RATE, _, _) => Some(Binding::Floats(&self.learning_rate)),
            (names::CORRECTION, _, _) => Some(Binding::Floats(&self.correction)),
            (names::AVERAGE_SHARE, _, _) => Some(Binding::Floats(&self.average_share)),
            (names::SEED, DType::I32, _) => Some(Binding::Integers(&self.seed)),
            (names::LABELS, DType::I32, Target::Labels(labels)) => Some(Binding::Integers(labels.elements())),
            (names::LABELS, _, Target::Sequences(labels)) => {
                Some(Binding::Integers(labels.labels.elements()))
            }
            (names::LABEL_LENGTHS, _, Target::Sequences(labels)) => Some(Binding::Integers(labels.lengths)),
            (names::STEP_LENGTHS, _, Target::Sequences(labels)) => {
                Some(Binding::Integers(labels.steps.unwrap_or(&self.all_steps)))
            }
            (names::TARGET, DType::F32, Target::Values(values)) => Some(Binding::Floats(values.elements())),
            _ => None,
        }
    }
}
