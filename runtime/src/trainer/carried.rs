//! The states that recurrent layers carry from one training step to the next.

use windlass_compiler::plan::SlotKind;

use super::Output;
use crate::available;
use crate::error::Error;
use crate::executor::{Binding, Executor, Run};

/// The states before the next step.
#[derive(Debug)]
pub(super) struct Carried {
    states: Vec<State>,
    /// The samples whose states are carried; none if the next step begins with zeros.
    samples: Option<usize>,
}

#[derive(Debug)]
struct State {
    name: String,
    /// The slot of the states before a step, if the step reads them.
    slot: Option<usize>,
    /// Elements of one sample.
    elements: usize,
    values: Vec<f32>,
}

impl Carried {
    /// States with these names and sizes for each sample.
    pub(super) fn new(states: Vec<(String, Vec<usize>)>, executor: &Executor) -> Self {
        let states = states.into_iter().map(|(name, sizes)| State {
            slot: executor.slot(SlotKind::Input, &name),
            elements: sizes.iter().product(),
            values: Vec::new(),
            name,
        });
        Carried { states: states.collect(), samples: None }
    }

    /// The same states, which begin with zeros.
    pub(super) fn fresh(&self) -> Self {
        let states = self.states.iter().map(|state| State {
            name: state.name.clone(),
            slot: state.slot,
            elements: state.elements,
            values: Vec::new(),
        });
        Carried { states: states.collect(), samples: None }
    }

    /// Checks that states of this number of samples are carried, if any are.
    pub(super) fn check(&self, network: &str, samples: usize) -> Result<(), Error> {
        match self.samples {
            Some(carried) if carried != samples => {
                Err(Error::CarriedStates { network: network.to_owned(), carried, got: samples })
            }
            _ => Ok(()),
        }
    }

    /// Prepares the states for a step on a number of samples.
    pub(super) fn prepare(&mut self, samples: usize) -> Result<(), Error> {
        if self.samples.is_none() {
            for State { name, elements, values, .. } in &mut self.states {
                let what = || format!("the state `{name}` of a batch of {samples}");
                available::grow(values, elements.saturating_mul(samples), what)?;
                values.fill(0.0);
            }
        }
        Ok(())
    }

    pub(super) fn bind<'b>(&'b self, run: &mut Run<'_, 'b>) -> Result<(), Error> {
        for state in &self.states {
            if let Some(slot) = state.slot {
                run.bind(slot, Binding::Floats(&state.values))?;
            }
        }
        Ok(())
    }

    /// Takes the states after a step from its outputs.
    pub(super) fn take(&mut self, outputs: &[Output], samples: usize) {
        for state in &mut self.states {
            if let Some(output) = outputs.iter().find(|output| output.name == state.name) {
                state.values.copy_from_slice(&output.elements);
            }
        }
        self.samples = Some(samples);
    }

    pub(super) fn reset(&mut self) {
        self.samples = None;
    }

    /// The elements of a state before the next step, on a number of samples.
    pub(super) fn find(&self, name: &str, samples: usize) -> Option<Vec<f32>> {
        let state = self.states.iter().find(|state| state.name == name)?;
        Some(match self.samples {
            Some(_) => state.values.clone(),
            None => vec![0.0; state.elements * samples],
        })
    }

    /// The bytes of the states of a number of samples.
    pub(super) fn bytes(&self, samples: usize) -> usize {
        let elements = self.states.iter().map(|state| state.elements).fold(0, usize::saturating_add);
        elements.saturating_mul(samples).saturating_mul(size_of::<f32>())
    }
}
