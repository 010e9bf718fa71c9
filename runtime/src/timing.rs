//! Runs programs on dummy data for timing.

use windlass_compiler::plan::{Plan, SlotKind};

use crate::error::Error;
use crate::executor::{Binding, Executor, Run};

/// Bytes that a run of a plan uses: its arenas, parameters, inputs and outputs.
pub(crate) fn bytes(plan: &Plan, batch: usize) -> usize {
    let slots: usize = plan.slots.iter().map(|slot| 4 * slot.ty.shape.elements(batch)).sum();
    let mut values = Vec::new();
    plan.sizes.values_into(&batch.into(), &mut values);
    plan.memory.bytes(&values, plan.threads) + slots
}

/// A program with memory for everything it reads and writes. Read-only slots share memory.
pub(crate) struct Rehearsal {
    executor: Executor,
    batch: usize,
    inputs: Vec<f32>,
    parameters: Vec<f32>,
    outputs: Vec<Vec<f32>>,
}

impl Rehearsal {
    /// Inputs are ones; parameters are small, so that a chain of products stays finite.
    pub(crate) fn new(executor: Executor, batch: usize) -> Self {
        let elements = |kind: SlotKind| {
            let slots = executor.slots().iter().filter(move |slot| slot.kind == kind);
            slots.map(|slot| slot.ty.shape.elements(batch))
        };
        let largest = |kind| elements(kind).max().unwrap_or(0);
        let (inputs, parameters) =
            (vec![1.0; largest(SlotKind::Input)], vec![1e-3; largest(SlotKind::Parameter)]);
        let outputs = elements(SlotKind::Output).map(|count| vec![0.0; count]).collect();
        Rehearsal { executor, batch, inputs, parameters, outputs }
    }

    /// Bytes of everything it reads and writes.
    pub(crate) fn bytes(&self) -> usize {
        bytes(self.executor.program().plan(), self.batch)
    }

    /// A run with everything bound.
    ///
    /// # Errors
    /// [`Error::Binding`] for a program that takes integers or updates parameters.
    pub(crate) fn start(&mut self) -> Result<Run<'_, '_>, Error> {
        let mut run = self.executor.start(self.batch)?;
        let mut outputs = self.outputs.iter_mut();
        for (place, slot) in self.executor.slots().iter().enumerate() {
            let count = slot.ty.shape.elements(self.batch);
            match slot.kind {
                SlotKind::Input => run.bind(place, Binding::Floats(&self.inputs[..count]))?,
                SlotKind::Parameter => run.bind(place, Binding::Floats(&self.parameters[..count]))?,
                SlotKind::Output => {
                    if let Some(output) = outputs.next() {
                        run.bind(place, Binding::Written(output))?;
                    }
                }
            }
        }
        Ok(run)
    }
}
