//! The batch of a step: its open sizes, and the checks that inputs and targets fit each other and the network.

use windlass_compiler::autodiff::OutputLoss;
use windlass_compiler::graph::{Graph, Node};
use windlass_compiler::ops::Op;
use windlass_compiler::shape::Sizes;

use super::controls::Controls;
use super::sequences::LabelRows;
use super::{Target, Trainer};
use crate::error::Error;
use crate::network::{AnyNetwork, Feed};

/// The first batch normalisation of a step that would take the variance of a single value per channel for a batch of
/// one.
pub(crate) fn single_value(graph: &Graph) -> Option<String> {
    let is_one = |node: &&Node| match (&node.op, node.operands.first()) {
        (Op::BatchNormTraining(_), Some(&x)) => {
            graph.ty(x).shape.item().iter().skip(1).product::<usize>() == 1
        }
        _ => false,
    };
    graph.nodes().iter().find(is_one).map(|node| node.label.clone())
}

impl<N: AnyNetwork> Trainer<N> {
    /// The open sizes of a step, after checking that the target fits the inputs.
    pub(super) fn checked_sizes(&self, feeds: &[Feed<'_>], target: &Target<'_>) -> Result<Sizes, Error> {
        let mut sizes = self.model.ports().sizes(self.network().name(), feeds, self.least())?;
        self.check_batch(target, &sizes)?;
        for LabelRows { output, length } in &self.rows {
            let own = output.as_deref().map_or(Some(target), |output| target.of(output));
            if let Some(Target::Sequences(labels)) = own {
                sizes.set(*length, labels.most(sizes.batch()));
            }
        }
        Ok(sizes)
    }

    /// Checks the target and batch size of a step.
    fn check_batch(&self, target: &Target<'_>, sizes: &Sizes) -> Result<(), Error> {
        let network = self.network().name();
        let shape = |name: &str| {
            let mut outputs = self.model.ports().outputs.iter();
            outputs.find(|(output, _)| *output == name).map(|(_, shape)| shape)
        };
        if self.options.losses.is_empty() {
            if let Some(shape) = shape(self.loss_output()) {
                target.check(network, &self.options.loss, shape, sizes)?;
            }
        } else {
            target.check_names(network, &self.options.losses)?;
            for OutputLoss { output, loss, .. } in &self.options.losses {
                if let (Some(target), Some(shape)) = (target.of(output), shape(output)) {
                    target.check(network, loss, shape, sizes)?;
                }
            }
        }
        if let Some(carried) = &self.carried {
            carried.check(network, sizes.batch())?;
        }
        match &self.single_value {
            Some(layer) if sizes.batch() == 1 => {
                Err(Error::SingleValue { network: self.network().name().to_owned(), layer: layer.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Gives each sample of a CTC loss all steps of the output, for targets without numbers of steps.
    pub(super) fn count_all_steps(&self, controls: &mut Controls, sizes: &Sizes) {
        if !self.rows.is_empty() {
            controls.all_steps.resize(sizes.batch(), i32::MAX);
        }
    }
}
