//! Gradient accumulation: the update that follows several batches.

use std::path::Path;

use windlass_compiler::autodiff::names;
use windlass_compiler::graph::Graph;
use windlass_compiler::pass::Mode;
use windlass_compiler::pipeline::CompileTimes;
use windlass_compiler::plan::SlotKind;
use windlass_compiler::shape::Sizes;

use super::controls::Controls;
use super::{Target, Trainer, TrainerOptions};
use crate::checkpoint::Metadata;
use crate::error::{CheckpointError, Error};
use crate::executor::{Binding, Executor};
use crate::forward::parameter_slots;
use crate::memory::MemoryReport;
use crate::model::Model;
use crate::network::AnyNetwork;
use crate::parameters::Parameters;

/// The note of a file's metadata that says how many gradients are summed, and for how many batches an update is: `2 of 4`.
const NOTE: &str = "accumulated";

impl TrainerOptions {
    /// The number of batches of an update.
    pub(super) fn batches(&self) -> u64 {
        self.accumulate.map_or(1, |batches| batches as u64)
    }
}

/// The compiled update by the mean of several gradients.
pub(super) struct Update {
    graph: Graph,
    executor: Executor,
    /// The model's parameters and states, in order.
    parameters: Vec<Option<usize>>,
    /// The optimiser's state, in order.
    state: Vec<Option<usize>>,
    norm: Option<usize>,
}

impl Update {
    pub(super) fn new<N: AnyNetwork>(model: &Model<N>, graph: Graph) -> Result<(Self, CompileTimes), Error> {
        let (executor, times) = model.compile_beside(&graph, Mode::Training)?;
        let update = Update {
            parameters: parameter_slots(&executor, model.parameters()).collect(),
            state: Vec::new(),
            norm: executor.slot(SlotKind::Output, names::GRADIENT_NORM),
            graph,
            executor,
        };
        Ok((update, times))
    }

    /// Sets the order of the optimiser's state.
    pub(super) fn order(&mut self, state: &Parameters) {
        self.state = parameter_slots(&self.executor, state).collect();
    }

    pub(super) fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Updates parameters by the gradients that the state sums. Returns the norm of their mean, with clipping.
    fn run(
        &self,
        controls: &Controls,
        parameters: &mut Parameters,
        state: &mut Parameters,
    ) -> Result<Option<f32>, Error> {
        let (version, none) = (parameters.version(), Target::Named(Vec::new()));
        let mut norm = [f32::NAN];
        let mut run = self.executor.start(Sizes::from(1))?;
        for (place, slot) in self.executor.slots().iter().enumerate() {
            let is_input = slot.kind == SlotKind::Input;
            if let Some(binding) =
                is_input.then(|| controls.binding(&slot.name, slot.ty.dtype, &none)).flatten()
            {
                run.bind(place, binding)?;
            }
        }
        let parameters = self.parameters.iter().zip(parameters.write_all());
        for (slot, values) in parameters.chain(self.state.iter().zip(state.write_all())) {
            if let (Some(slot), Some(values)) = (*slot, values) {
                run.bind(slot, values)?;
            }
        }
        if let Some(slot) = self.norm {
            run.bind(slot, Binding::Written(&mut norm))?;
        }
        run.execute(version)?;
        Ok(self.norm.map(|_| norm[0]))
    }

    /// The memory of an update, beside that of the gradients.
    pub(super) fn add_memory(&self, report: &mut MemoryReport) {
        let own = MemoryReport::of(self.executor.program().plan(), &Sizes::from(1));
        report.fixed = report.fixed.saturating_add(own.batched).saturating_add(own.fixed);
        report.scratch = report.scratch.saturating_add(own.scratch);
        report.prepacked = report.prepacked.saturating_add(own.prepacked);
    }

    pub(super) fn release_memory(&self) {
        self.executor.release_memory();
    }
}

impl<N: AnyNetwork> Trainer<N> {
    /// The number of batches whose gradients are summed for the next update; always 0 without
    /// [`TrainerOptions::accumulate`].
    pub fn accumulated(&self) -> u64 {
        self.accumulated
    }

    /// Whether the next batch is the last before an update.
    pub(super) fn is_due(&self) -> bool {
        self.accumulated + 1 >= self.options.batches()
    }

    /// The number of batches so far, by which dropout draws its masks.
    pub(super) fn batches(&self) -> u64 {
        self.step.wrapping_mul(self.options.batches()).wrapping_add(self.accumulated)
    }

    /// Updates the parameters, if the batch before was the last one of an update and it is a graph of its own. Returns the
    /// norm of the gradients.
    pub(super) fn update(&mut self, controls: &Controls) -> Result<Option<f32>, Error> {
        let Some(update) = self.update.as_ref().filter(|_| self.is_due()) else { return Ok(None) };
        let norm = update.run(controls, self.model.parameters_mut(), &mut self.state);
        if norm.is_err() {
            self.forget_gradients();
        }
        norm
    }

    /// Begins a new accumulation.
    pub(super) fn forget_gradients(&mut self) {
        self.accumulated = 0;
        self.state.clear(is_sum);
    }

    /// The graph of the optimiser's state.
    pub(super) fn state_graph(&self) -> &Graph {
        self.update.as_ref().map_or(&self.graph, Update::graph)
    }

    /// Adds the number of summed gradients to the metadata of a file.
    pub(super) fn write_accumulated(&self, metadata: &mut Metadata) {
        if self.accumulated > 0 {
            let text = format!("{} of {}", self.accumulated, self.options.batches());
            metadata.notes.insert(NOTE.to_owned(), text);
        }
    }
}

/// Whether a state sums gradients.
pub(super) fn is_sum(name: &str) -> bool {
    name.starts_with(&names::accumulated(""))
}

/// The number of summed gradients in a file, which must be for updates of as many batches as the options say.
pub(super) fn read_accumulated(
    path: &Path,
    metadata: &Metadata,
    options: &TrainerOptions,
) -> Result<u64, Error> {
    let Some(text) = metadata.notes.get(NOTE) else { return Ok(0) };
    let numbers =
        text.split_once(" of ").and_then(|(count, of)| Some((count.parse().ok()?, of.parse().ok()?)));
    match numbers {
        Some((count, of)) if of == options.batches() && (1..of).contains(&count) => Ok(count),
        Some((count, of)) if count < of => {
            let (path, expected) = (path.to_owned(), options.batches());
            Err(Error::Checkpoint(CheckpointError::Accumulation {
                path,
                expected,
                got: of,
                accumulated: count,
            }))
        }
        _ => Err(Error::Checkpoint(CheckpointError::Format {
            path: path.to_owned(),
            problem: format!("its note `{NOTE}` is {text:?}"),
        })),
    }
}
