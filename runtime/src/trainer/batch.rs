//! The batch of a step: its open sizes, and the checks that inputs and targets fit each other and the network.

use windlass_compiler::autodiff::{Loss, OutputLoss};
use windlass_compiler::graph::{Graph, Node};
use windlass_compiler::ops::Op;
use windlass_compiler::shape::{Shape, Sizes};

use super::controls::Controls;
use super::sequences::LabelRows;
use super::{Declared, Target, Trainer};
use crate::error::Error;
use crate::network::ports::Ports;
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

/// The losses of a network, which targets must fit.
#[derive(Clone, Copy)]
pub(crate) struct Targets<'a> {
    pub(crate) network: &'a str,
    pub(crate) ports: &'a Ports,
    /// The loss of `output`, if no losses are listed.
    pub(crate) loss: &'a Loss,
    pub(crate) losses: &'a [OutputLoss],
    /// The output of the loss, or of the first one.
    pub(crate) output: &'a str,
    /// The targets that the losses declare.
    pub(crate) declared: &'a Declared,
}

impl<'a> Targets<'a> {
    /// Checks that a target fits a run of these sizes.
    pub(crate) fn check(&self, target: &Target<'_>, sizes: &Sizes) -> Result<(), Error> {
        if let (Loss::Custom(_), true) = (self.loss, self.losses.is_empty()) {
            return self.declared.check(self.network, target, sizes);
        }
        if self.losses.is_empty() {
            return match self.shape(self.output) {
                Some(shape) => target.check(self.network, self.loss, shape, sizes),
                None => Ok(()),
            };
        }
        target.check_names(self.network, self.declared.names())?;
        for OutputLoss { output, loss, .. } in self.losses {
            if let (Some(target), Some(shape)) = (target.of(output), self.shape(output)) {
                target.check(self.network, loss, shape, sizes)?;
            }
        }
        Ok(())
    }

    /// The loss that metrics are about, and the shape of its output.
    pub(crate) fn first(&self) -> (&'a Loss, Option<&'a Shape>) {
        (self.losses.first().map_or(self.loss, |first| &first.loss), self.shape(self.output))
    }

    fn shape(&self, name: &str) -> Option<&'a Shape> {
        self.ports.outputs.iter().find(|(output, _)| output == name).map(|(_, shape)| shape)
    }
}

/// Sets the lengths of the rows of labels of CTC losses.
pub(crate) fn set_rows(rows: &[LabelRows], target: &Target<'_>, sizes: &mut Sizes) {
    for LabelRows { output, length } in rows {
        let own = output.as_deref().map_or(Some(target), |output| target.of(output));
        if let Some(Target::Sequences(labels)) = own {
            sizes.set(*length, labels.most(sizes.batch()));
        }
    }
}

impl<N: AnyNetwork> Trainer<N> {
    /// The open sizes of a step, after checking that the target fits the inputs.
    pub(super) fn checked_sizes(&self, feeds: &[Feed<'_>], target: &Target<'_>) -> Result<Sizes, Error> {
        let mut sizes = self.model.ports().sizes(self.network().name(), feeds, self.least())?;
        self.check_batch(target, &sizes)?;
        set_rows(&self.rows, target, &mut sizes);
        Ok(sizes)
    }

    /// The losses of a step, to check targets.
    pub(super) fn targets(&self) -> Targets<'_> {
        Targets {
            network: self.network().name(),
            ports: self.model.ports(),
            loss: &self.options.loss,
            losses: &self.options.losses,
            output: self.loss_output(),
            declared: &self.declared,
        }
    }

    /// Checks the target and batch size of a step.
    fn check_batch(&self, target: &Target<'_>, sizes: &Sizes) -> Result<(), Error> {
        let network = self.network().name();
        self.targets().check(target, sizes)?;
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
